//! The tokenizer through the library: small vocabularies, and files that are wrong in every way we could think of. More than 400
//! lines, because every fault is a case of its own over the same builder.

use proptest::prelude::*;
use wattle::Error;
use wattle::gguf::{Gguf, Writer};
use wattle::tokenizer::{EncodeOptions, TokenKind, Tokenizer, pre_tokenizers};

const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};
const SPECIAL: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: true,
};
const WHOLE: EncodeOptions = EncodeOptions {
    add_special: true,
    parse_special: true,
};

fn load(keys: impl FnOnce(&mut Writer)) -> wattle::Result<Tokenizer> {
    let mut w = Writer::new();
    w.key("general.architecture", "llama").expect("new");
    keys(&mut w);
    let file = w
        .start(Vec::new())
        .and_then(|b| b.finish())
        .expect("memory");
    let gguf = Gguf::from_bytes("test.gguf".as_ref(), file).expect("well formed");
    Tokenizer::from_gguf(gguf.metadata())
}

/// The characters of the 256 bytes, in the order of the bytes.
fn byte_chars() -> Vec<String> {
    let own = |b: &u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let chars = (0..256u32).map(|b| {
        if own(&b) {
            return b;
        }
        next += 1;
        next - 1
    });
    chars
        .map(|c| char::from_u32(c).expect("assigned").to_string())
        .collect()
}

/// Tokens 0 to 255 are the bytes; then "ab", "abc", " a", two control tokens, one user-defined, one unused.
fn bpe_keys(w: &mut Writer, pre: &str) {
    let mut tokens = byte_chars();
    tokens.extend(["ab", "abc", "Ġa", "<s>", "</s>", "<tab>", "[PAD1]"].map(str::to_owned));
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let mut types = vec![1_i32; 259];
    types.extend([3, 3, 4, 5]);
    w.key("tokenizer.ggml.model", "gpt2").expect("new");
    w.key("tokenizer.ggml.pre", pre).expect("new");
    w.array("tokenizer.ggml.tokens", &tokens).expect("new");
    w.array("tokenizer.ggml.token_type", &types).expect("new");
    let merges = ["a b", "ab c", "Ġ a", "< s", "<s >", "nothing here"];
    w.array("tokenizer.ggml.merges", &merges).expect("new");
    w.key("tokenizer.ggml.bos_token_id", 259_u32).expect("new");
    w.key("tokenizer.ggml.eos_token_id", 260_u64).expect("new");
}

fn bpe(pre: &str) -> Tokenizer {
    load(|w| {
        bpe_keys(w, pre);
        w.key("tokenizer.ggml.add_bos_token", true).expect("new");
    })
    .expect("good")
}

#[test]
fn bytes_merges_and_specials() {
    let t = bpe("gpt-2");
    assert_eq!(t.encode("abc ab", &PLAIN), [257, 32, 256]);
    assert_eq!(t.encode("é", &PLAIN), [0xc3, 0xa9]);
    assert_eq!(
        t.encode("a<tab>b", &PLAIN),
        [97, 261, 98],
        "user-defined always"
    );
    assert_eq!(t.encode("<s>", &SPECIAL), [259]);
    assert_eq!(
        t.encode("<s>", &PLAIN),
        [60, 115, 62],
        "spelled by a user: three characters"
    );
    assert_eq!(t.decode(&[257, 259, 261, 262, 0xc3, 0xa9]), "abc<tab>é");
    assert_eq!(t.token_text(258), Some("Ġa"));
    assert_eq!(t.token_bytes(258).as_deref(), Some(&b" a"[..]));
    assert_eq!(
        t.token_bytes(259).as_deref(),
        Some(&b""[..]),
        "control tokens add nothing"
    );
    assert_eq!(
        (t.token_text(263), t.token_bytes(263)),
        (None, None),
        "beyond the end"
    );
    assert!(
        t.is_unused(262) && t.is_unused(9999) && !t.is_unused(0),
        "unused ids"
    );
    assert_eq!(t.kind(260), TokenKind::Control);
    assert_eq!((t.special("</s>"), t.special("ab")), (Some(260), None));
    assert!(t.notes().is_empty(), "{:?}", t.notes());
}

#[test]
fn one_bos_at_most() {
    let t = bpe("gpt-2");
    assert_eq!(t.encode("a", &WHOLE), [259, 97]);
    assert_eq!(t.encode("<s>a", &WHOLE), [259, 97], "not two");
    assert_eq!(t.encode("", &WHOLE), [259]);
    assert_eq!(t.encode("a", &SPECIAL), [97]);
}

#[test]
fn eog_is_eos_and_what_is_known_by_its_text() {
    let t = load(|w| {
        w.key("tokenizer.ggml.model", "gpt2").expect("new");
        w.key("tokenizer.ggml.pre", "qwen2").expect("new");
        let tokens = [
            "x",
            "<|im_end|>",
            "end",
            "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
            "eot",
        ];
        w.array("tokenizer.ggml.tokens", &tokens).expect("new");
        w.array("tokenizer.ggml.merges", &["a b"]).expect("new");
        w.key("tokenizer.ggml.eos_token_id", 2_u8).expect("new");
        w.key("tokenizer.ggml.eot_token_id", 4_i32).expect("new");
        w.array("tokenizer.ggml.suppress_tokens", &[0_i32, -1, 99])
            .expect("new");
    })
    .expect("good");
    assert_eq!(t.eog().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(t.is_eog(3) && !t.is_eog(0), "by id");
    assert_eq!(t.kind(1), TokenKind::Control, "whatever the file says");
    assert_eq!(t.suppressed(), [0], "ids that exist");
}

#[test]
fn role_markers_are_control_tokens_though_the_file_calls_them_user_defined() {
    let user = "<\u{ff5c}User\u{ff5c}>";
    let t = load(|w| {
        w.key("tokenizer.ggml.model", "gpt2").expect("new");
        w.key("tokenizer.ggml.pre", "deepseek-v3").expect("new");
        let tokens = ["x", user, "<|tool|>", "<think>", "<|>", "|a|>"];
        w.array("tokenizer.ggml.tokens", &tokens).expect("new");
        w.array("tokenizer.ggml.token_type", &[1_i32, 4, 4, 4, 4, 4])
            .expect("new");
        w.array("tokenizer.ggml.merges", &["a b"]).expect("new");
    })
    .expect("good");
    use TokenKind::{Control, Normal, UserDefined};
    let kinds: Vec<TokenKind> = (0..6).map(|id| t.kind(id)).collect();
    assert_eq!(
        kinds,
        [
            Normal,
            Control,
            Control,
            UserDefined,
            UserDefined,
            UserDefined
        ]
    );
    let text = format!("x{user}<think>");
    assert_eq!(t.encode(&text, &PLAIN), [0, 3], "never out of plain text");
    assert_eq!(t.encode(&text, &SPECIAL), [0, 1, 3]);
}

fn spm_keys(w: &mut Writer) {
    let tokens = [
        "<unk>",
        "<s>",
        "</s>",
        "<0x0A>",
        "<0xC3>",
        "<0xA9>",
        "\u{2581}",
        "a",
        "\u{2581}a",
        "aa",
        "<0x-1>",
    ];
    w.key("tokenizer.ggml.model", "llama").expect("new");
    w.array("tokenizer.ggml.tokens", &tokens).expect("new");
    let scores = [
        0.0_f32, 0.0, 0.0, 0.0, 0.0, 0.0, -3.0, -3.0, -1.0, -2.0, 0.0,
    ];
    w.array("tokenizer.ggml.scores", &scores).expect("new");
    let types = [2_i32, 3, 3, 6, 6, 6, 1, 1, 1, 1, 6];
    w.array("tokenizer.ggml.token_type", &types).expect("new");
}

#[test]
fn spm_defaults() {
    let t = load(spm_keys).expect("good");
    assert_eq!(
        (t.bos(), t.eos(), t.adds_bos(), t.adds_eos()),
        (Some(1), Some(2), true, false)
    );
    assert_eq!(
        t.encode("aa", &WHOLE),
        [1, 8, 7],
        "BOS, and a space before the text"
    );
    assert_eq!(t.encode("", &WHOLE), [1]);
    assert_eq!(
        t.encode("\né!", &PLAIN),
        [6, 3, 4, 5, 0],
        "bytes, then the unknown token"
    );
    assert_eq!(
        t.encode("a</s>a", &SPECIAL),
        [8, 2, 8],
        "a space after a special token, too"
    );
    assert_eq!(
        t.decode(&[1, 8, 7, 3]),
        "aa\n",
        "the space in front is ours"
    );
    assert_eq!(t.stream().push(8), " a", "a continued text keeps it");
    let t = load(|w| {
        spm_keys(w);
        w.key("tokenizer.ggml.add_space_prefix", false)
            .expect("new");
        w.key("tokenizer.ggml.add_bos_token", 0_u8).expect("new");
        w.key("tokenizer.ggml.add_eos_token", true).expect("new");
    })
    .expect("good");
    assert_eq!(t.encode("aa", &WHOLE), [9, 2]);
    assert_eq!(t.decode(&[8]), " a");
}

#[test]
fn kinds_are_guessed_where_the_file_has_none() {
    let t = load(|w| {
        w.key("tokenizer.ggml.model", "llama").expect("new");
        let tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "a", "<0x0A"];
        w.array("tokenizer.ggml.tokens", &tokens).expect("new");
    })
    .expect("good");
    use TokenKind::{Byte, Control, Normal, Unknown};
    let kinds: Vec<TokenKind> = (0..6).map(|id| t.kind(id)).collect();
    assert_eq!(kinds, [Unknown, Control, Control, Byte, Normal, Normal]);
}

#[test]
fn duplicates_and_missing_pre_are_notes() {
    let t = load(|w| {
        w.key("tokenizer.ggml.model", "gpt2").expect("new");
        w.array("tokenizer.ggml.tokens", &["a", "a", "", ""])
            .expect("new");
        w.array("tokenizer.ggml.merges", &["a"]).expect("new");
    })
    .expect("good");
    assert_eq!(t.encode("a", &PLAIN), [0]);
    let notes = t.notes().join("\n");
    assert!(notes.contains("tokenizer.ggml.pre"), "{notes}");
    assert!(notes.contains("1 of the tokens repeat"), "{notes}");
}

/// Loads a byte-level vocabulary that `change` may spoil, and gives the error.
fn spoiled(change: impl FnOnce(&mut Writer), words: &[&str]) {
    let error = load(change).expect_err("refused");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} lacks {word:?}");
    }
}

#[test]
fn broken_files_are_refused_by_key() {
    let gpt2 = |w: &mut Writer| {
        w.key("tokenizer.ggml.model", "gpt2").expect("new");
        w.key("tokenizer.ggml.pre", "gpt-2").expect("new");
    };
    let tokens = |w: &mut Writer| {
        w.array("tokenizer.ggml.tokens", &["a", "b"]).expect("new");
    };
    let merges = |w: &mut Writer| {
        w.array("tokenizer.ggml.merges", &["a b"]).expect("new");
    };
    spoiled(
        |_| (),
        &["tokenizer.ggml.model", "no such key", "token ids only"],
    );
    spoiled(
        |w| w.key("tokenizer.ggml.model", "none").expect("new"),
        &["\"none\""],
    );
    spoiled(
        |w| w.key("tokenizer.ggml.model", "bert").expect("new"),
        &["\"bert\"", "gpt2"],
    );
    spoiled(
        |w| w.key("tokenizer.ggml.model", 1_u32).expect("new"),
        &["tokenizer.ggml.model"],
    );
    let unknown_pre = |w: &mut Writer| {
        w.key("tokenizer.ggml.model", "gpt2").expect("new");
        w.key("tokenizer.ggml.pre", "no-such").expect("new");
    };
    spoiled(
        unknown_pre,
        &["pre-tokenizer \"no-such\"", "deepseek-v3", "smollm"],
    );
    spoiled(gpt2, &["tokenizer.ggml.tokens", "no such key"]);
    let empty = |w: &mut Writer| {
        gpt2(w);
        w.array::<&str>("tokenizer.ggml.tokens", &[]).expect("new");
    };
    spoiled(empty, &["tokenizer.ggml.tokens", "at least one"]);
    let no_merges = |w: &mut Writer| {
        gpt2(w);
        tokens(w);
    };
    spoiled(no_merges, &["tokenizer.ggml.merges"]);
    let numbers = |w: &mut Writer| {
        gpt2(w);
        w.array("tokenizer.ggml.tokens", &[1_u32]).expect("new");
    };
    spoiled(numbers, &["tokenizer.ggml.tokens", "strings"]);
    let few_types = |w: &mut Writer| {
        gpt2(w);
        tokens(w);
        merges(w);
        w.array("tokenizer.ggml.token_type", &[1_i32]).expect("new");
    };
    spoiled(few_types, &["tokenizer.ggml.token_type", "2 tokens"]);
    let bad_type = |w: &mut Writer| {
        gpt2(w);
        tokens(w);
        merges(w);
        w.array("tokenizer.ggml.token_type", &[1_i32, 7])
            .expect("new");
    };
    spoiled(bad_type, &["tokenizer.ggml.token_type", "7 for token 1"]);
    let bad_bos = |w: &mut Writer| {
        gpt2(w);
        tokens(w);
        merges(w);
        w.key("tokenizer.ggml.bos_token_id", 2_u32).expect("new");
    };
    spoiled(bad_bos, &["tokenizer.ggml.bos_token_id", "2 tokens"]);
    let bad_scores = |w: &mut Writer| {
        w.key("tokenizer.ggml.model", "llama").expect("new");
        tokens(w);
        w.array("tokenizer.ggml.scores", &["x", "y"]).expect("new");
    };
    spoiled(bad_scores, &["tokenizer.ggml.scores"]);
}

#[test]
fn text_that_is_no_utf8_is_refused() {
    let mut w = Writer::new();
    w.key("tokenizer.ggml.model", "llama").expect("new");
    w.array("tokenizer.ggml.tokens", &["QQ", "b"]).expect("new");
    let mut file = w
        .start(Vec::new())
        .and_then(|b| b.finish())
        .expect("memory");
    let at = file.windows(2).position(|w| w == b"QQ").expect("there");
    file[at] = 0xff;
    let gguf = Gguf::from_bytes("test.gguf".as_ref(), file).expect("well formed");
    let error = Tokenizer::from_gguf(gguf.metadata()).expect_err("refused");
    assert!(matches!(error, Error::File(_)), "{error}");
    assert!(
        error.to_string().contains("\"\\xffQ\" as element 0"),
        "{error}"
    );
}

#[test]
fn minus_one_means_none() {
    for none in [-1_i32, 0] {
        let t = load(|w| {
            bpe_keys_without_ids(w);
            w.key("tokenizer.ggml.eos_token_id", none).expect("new");
        });
        let eos = t.expect("good").eos();
        assert_eq!(eos, u32::try_from(none).ok(), "-1 is no id");
    }
}

fn bpe_keys_without_ids(w: &mut Writer) {
    w.key("tokenizer.ggml.model", "gpt2").expect("new");
    w.key("tokenizer.ggml.pre", "gpt-2").expect("new");
    w.array("tokenizer.ggml.tokens", &["a"]).expect("new");
    w.array("tokenizer.ggml.merges", &["a a"]).expect("new");
}

#[test]
fn a_long_word_takes_no_quadratic_time() {
    let t = bpe("llama-bpe");
    let text = "abc".repeat(100_000);
    let ids = t.encode(&text, &PLAIN);
    assert_eq!(ids, vec![257; 100_000]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_text_comes_back(text in "(\\PC|\\s|[ab<s>/]|ab|<tab>|</s>|中|🙂){0,40}") {
        for pre in ["gpt-2", "deepseek-v3", "deepseek-llm", "llama-bpe", "kimi-k2"] {
            let t = bpe(pre);
            let ids = t.encode(&text, &PLAIN);
            prop_assert_eq!(t.decode(&ids), &*text, "{}", pre);
            prop_assert!(ids.iter().all(|&id| t.kind(id) != TokenKind::Control), "{}: {:?}", pre, ids);
            let mut stream = t.stream();
            let mut streamed = String::new();
            for &id in &ids {
                streamed += &stream.push(id);
                prop_assert!(text.starts_with(&streamed), "whole characters of the text");
            }
            prop_assert_eq!(streamed + &stream.finish(), &*text, "{}", pre);
        }
    }

    #[test]
    fn any_ids_decode(ids in prop::collection::vec(0u32..300, 0..40)) {
        let t = bpe("gpt-2");
        let mut stream = t.stream();
        let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
        streamed += &stream.finish();
        prop_assert_eq!(streamed, t.decode(&ids));
    }
}

#[test]
fn every_pre_tokenizer_loads() {
    for pre in pre_tokenizers() {
        let t = bpe(pre);
        assert_eq!(
            t.decode(&t.encode("It's 1234 中文\n", &PLAIN)),
            "It's 1234 中文\n",
            "{pre}"
        );
    }
}
