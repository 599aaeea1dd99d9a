//! The list of pre-tokenizers, under the names of `tokenizer.ggml.pre`.

/// One pre-tokenizer, and what its vocabularies expect beside it.
#[derive(Debug)]
pub(in crate::tokenizer) struct Rules {
    /// Its names in files.
    pub(in crate::tokenizer) names: &'static [&'static str],
    /// The expressions, in the order of their use.
    pub(in crate::tokenizer) steps: &'static [Step],
    /// Whether a piece that is a token is taken as it is, without merging ("ignore merges").
    pub(in crate::tokenizer) whole_first: bool,
    /// Whether a text begins with BOS where the file does not say.
    pub(in crate::tokenizer) adds_bos: bool,
}

/// One expression.
#[derive(Debug)]
pub(in crate::tokenizer) struct Step {
    /// The expression, for [`regex`].
    pub(in crate::tokenizer) pattern: &'static str,
    /// The `\s+` at its end stands for `\s+(?!\S)|\s+`.
    pub(in crate::tokenizer) keep_last: bool,
    /// An alternative before that takes white space up to the end of a line.
    pub(in crate::tokenizer) newlines: bool,
}

/// An expression as it stands.
const fn plain(pattern: &'static str) -> Step {
    Step {
        pattern,
        keep_last: false,
        newlines: false,
    }
}

/// An expression whose last alternative stands for `\s+(?!\S)|\s+`.
const fn words(pattern: &'static str) -> Step {
    Step {
        pattern,
        keep_last: true,
        newlines: false,
    }
}

/// [`words`], after an alternative for the ends of lines.
const fn lines(pattern: &'static str) -> Step {
    Step {
        pattern,
        keep_last: true,
        newlines: true,
    }
}

/// The pre-tokenizer that files call `name`.
pub(in crate::tokenizer) fn find(name: &str) -> Option<&'static Rules> {
    RULES.iter().find(|r| r.names.contains(&name))
}

/// All names.
pub(in crate::tokenizer) fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().flat_map(|r| r.names.iter().copied())
}

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static Rules> {
    RULES.iter()
}

#[rustfmt::skip]
const RULES: &[Rules] = &[
    // DeepSeek-V3, R1, V3.1 and their kin
    Rules {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        steps: &[
            plain(r"\p{N}{1,3}"),
            plain(r"[一-龥぀-ゟ゠-ヿ]+"),
            lines(r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+"##),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // DeepSeek-LLM, V2, V2-Lite, V2.5, Coder-V2: letters that have case, then CJK and Hangul
    Rules {
        names: &["deepseek-llm"],
        steps: &[
            plain(r"[\r\n]"),
            plain(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"),
            plain(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            plain(r"\s+$"),
            plain(r"[一-龥ࠀ-一가-퟿]+"),
            plain(r"\p{N}+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // DeepSeek-Coder (the first)
    Rules {
        names: &["deepseek-coder"],
        steps: &[
            plain(r"[\r\n]"),
            plain(r"\s?\p{L}+"),
            plain(r"\s?\p{P}+"),
            plain(r"[一-龥ࠀ-一가-퟿]+"),
            plain(r"\p{N}"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // Qwen2, Qwen3 and the R1 distills from them: digits one by one
    Rules {
        names: &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
        steps: &[
            lines(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // Qwen3.5: marks belong to their letters
    Rules {
        names: &["qwen35"],
        steps: &[
            lines(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // Llama 3 and the R1 distills from it: digits by three
    Rules {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
        steps: &[
            lines(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: true,
        adds_bos: true,
    },
    // the cuts of Llama 3 alone
    Rules {
        names: &["dbrx", "smaug-bpe", "chatglm-bpe"],
        steps: &[
            lines(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // GLM-4, GLM-4.7-Flash
    Rules {
        names: &["glm4", "glm5"],
        steps: &[
            lines(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: true,
        adds_bos: false,
    },
    // MiniCPM5
    Rules {
        names: &["minicpm5"],
        steps: &[
            plain(r"\p{N}{1,3}"),
            lines(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: true,
        adds_bos: false,
    },
    // SmolLM, StarCoder: GPT-2 with digits one by one
    Rules {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        steps: &[
            plain(r"\p{N}"),
            words(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // GPT-2, GigaChat3
    Rules {
        names: &["gpt-2", "gigachat", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert"],
        steps: &[
            words(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // Kimi-K2, Moonlight, Kimi-Linear: Han apart, words by case
    Rules {
        names: &["kimi-k2"],
        steps: &[
            lines(r"\p{Han}+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // Youtu-LLM: Hangul, punctuation, Bopomofo, Han and kana apart; words by case; digits one by one
    Rules {
        names: &["youtu"],
        steps: &[
            plain(r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"),
            lines(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: true,
        adds_bos: false,
    },
    // GPT-4o, Kanana-2: words by case
    Rules {
        names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        steps: &[
            lines(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // Mistral's Tekken
    Rules {
        names: &["tekken"],
        steps: &[
            lines(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"),
        ],
        whole_first: true,
        adds_bos: true,
    },
    // Ling (BailingMoE): one line end a piece
    Rules {
        names: &["bailingmoe", "bailingmoe2", "llada-moe"],
        steps: &[
            lines(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // Seed-Coder
    Rules {
        names: &["seed-coder"],
        steps: &[
            lines(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+"),
        ],
        whole_first: false,
        adds_bos: false,
    },
    // files without `tokenizer.ggml.pre`
    Rules {
        names: &["default"],
        steps: &[
            plain(r"[\p{P}\$\+<=>\^~\|]+"),
            words(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"),
            plain(r"\p{N}+"),
            plain(r"[0-9][0-9][0-9]"),
        ],
        whole_first: false,
        adds_bos: false,
    },
];
