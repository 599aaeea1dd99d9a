//! Families of chat formats, and our own template for each.
//!
//! ```text
//! V2      B{system}\n\nUser: {u}\n\nAssistant: {a}EUser: {u}\n\nAssistant:
//! V3      B{system}<|User|>{u}<|Assistant|>{a}E<|User|>{u}<|Assistant|>
//! R1      as V3; earlier answers without what precedes </think>; the prompt ends in <|Assistant|><think>\n
//! V3.1    as R1, but every answer begins with </think>; the prompt ends in </think>, or <think> with `thinking`
//! ChatML  <|im_start|>{role}\n{text}<|im_end|>\n ... <|im_start|>assistant\n
//! ```
//!
//! (B = BOS, E = EOS; `|` in the DeepSeek markers is U+FF5C.) The formats are those that the models document.

/// A chat format that many models share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// DeepSeek-V2, V2-Lite, Coder-V2.
    DeepSeekV2,
    /// DeepSeek-V2.5, V3.
    DeepSeekV3,
    /// DeepSeek-R1 and its distills.
    DeepSeekR1,
    /// DeepSeek-V3.1.
    DeepSeekV31,
    /// `ChatML`: Qwen, SmolLM2, MiniCPM3.
    ChatMl,
}

impl core::fmt::Display for Family {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::DeepSeekV2 => "DeepSeek-V2",
            Self::DeepSeekV3 => "DeepSeek-V3",
            Self::DeepSeekR1 => "DeepSeek-R1",
            Self::DeepSeekV31 => "DeepSeek-V3.1",
            Self::ChatMl => "ChatML",
        })
    }
}

impl Family {
    /// The family that a template is of, by what it writes.
    pub fn of(source: &str) -> Option<Self> {
        let has = |text: &str| source.contains(text);
        if has("<\u{ff5c}User\u{ff5c}>") && has("<\u{ff5c}Assistant\u{ff5c}>") {
            return Some(match (has("</think>"), has("thinking")) {
                (false, _) => Self::DeepSeekV3,
                (true, false) => Self::DeepSeekR1,
                (true, true) => Self::DeepSeekV31,
            });
        }
        if has("User: ") && has("Assistant: ") && has("eos_token") {
            return Some(Self::DeepSeekV2);
        }
        has("<|im_start|>").then_some(Self::ChatMl)
    }

    /// Our template.
    pub fn source(self) -> &'static str {
        match self {
            Self::DeepSeekV2 => include_str!("deepseek_v2.jinja"),
            Self::DeepSeekV3 => include_str!("deepseek_v3.jinja"),
            Self::DeepSeekR1 => include_str!("deepseek_r1.jinja"),
            Self::DeepSeekV31 => include_str!("deepseek_v31.jinja"),
            Self::ChatMl => include_str!("chatml.jinja"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_templates_are_of_their_own_family() {
        use Family::{ChatMl, DeepSeekR1, DeepSeekV2, DeepSeekV3, DeepSeekV31};
        for family in [DeepSeekV2, DeepSeekV3, DeepSeekR1, DeepSeekV31, ChatMl] {
            assert_eq!(Family::of(family.source()), Some(family));
        }
        assert_eq!(Family::of("{{ messages }}"), None);
    }
}
