//! SPM: merging by score, as `SentencePiece`'s BPE model does it ("llama" vocabularies, `MiniCPM3`).
//!
//! A space is spelled `▁` (U+2581). A text starts as single characters; the two neighbours whose joint text is the token of
//! the highest score merge first, ties from the left. A character that ends without a token is spelled by its bytes,
//! `<0xE6><0x88><0x91>`.

use super::merge::{Merged, Merger, NONE};
use super::vocab::{TokenKind, Vocab};

/// How a space is spelled.
pub(super) const SPACE: &str = "\u{2581}";

/// Ranks of the tokens, and the byte tokens.
#[derive(Debug)]
pub(super) struct Spm {
    /// Position in the order of falling scores; equal scores share one. By id.
    ranks: Vec<u32>,
    /// The token of each byte, or [`NONE`].
    byte_ids: [u32; 256],
}

impl Spm {
    /// Reads scores and byte tokens of `vocab`.
    pub(super) fn new(vocab: &Vocab) -> Self {
        let mut falling: Vec<f32> = vocab.scores().to_vec();
        falling.sort_unstable_by(|a, b| b.total_cmp(a));
        falling.dedup_by(|a, b| a.total_cmp(b).is_eq());
        let rank = |score: &f32| {
            let before = falling.partition_point(|s| s.total_cmp(score).is_gt());
            u32::try_from(before).unwrap_or(u32::MAX)
        };
        let mut byte_ids = [NONE; 256];
        for id in vocab.ids().filter(|&id| vocab.kind(id) == TokenKind::Byte) {
            let byte = vocab.text(id).and_then(byte_of);
            if let Some(slot) = byte.and_then(|b| byte_ids.get_mut(usize::from(b))) {
                *slot = id.min(*slot);
            }
        }
        Self {
            ranks: vocab.scores().iter().map(rank).collect(),
            byte_ids,
        }
    }

    /// Appends the tokens of `text`, in which spaces are spelled out already. `unknown` stands for bytes without a token;
    /// where it is `None`, they are left out.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        unknown: Option<u32>,
        ids: &mut Vec<u32>,
    ) {
        let mut merger = Merger::default();
        for (start, c) in text.char_indices() {
            let id = vocab.find(&text[start..start + c.len_utf8()]);
            merger.push(c.len_utf8(), id.unwrap_or(NONE));
        }
        merger.run(|left, right| {
            let id = vocab.find(text.get(left.start..right.start + right.len)?)?;
            let rank = *self.ranks.get(id as usize)?;
            Some(Merged { rank, id })
        });
        for symbol in merger.symbols() {
            if symbol.id != NONE {
                ids.push(symbol.id);
                continue;
            }
            let bytes = text.as_bytes().iter().skip(symbol.start).take(symbol.len);
            ids.extend(bytes.filter_map(|&b| match self.byte_ids[usize::from(b)] {
                NONE => unknown,
                id => Some(id),
            }));
        }
    }
}

/// The byte of a byte token: exactly `<0x`, two hexadecimal digits, `>`.
pub(super) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let hex = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(tokens: &[(&str, f32, TokenKind)], text: &str, unknown: Option<u32>) -> Vec<u32> {
        let kinds = tokens.iter().map(|t| t.2).collect();
        let scores = tokens.iter().map(|t| t.1).collect();
        let mut vocab = Vocab::new(tokens.iter().map(|t| t.0), kinds, scores).expect("small");
        vocab.index();
        let mut ids = Vec::new();
        Spm::new(&vocab).encode(&vocab, text, unknown, &mut ids);
        ids
    }

    use TokenKind::{Byte, Control, Normal};

    #[test]
    fn the_highest_score_merges_first_and_ties_from_the_left() {
        let tokens = [
            ("a", -9.0, Normal),
            ("b", -9.0, Normal),
            ("ab", -2.0, Normal),
            ("ba", -1.0, Normal),
            ("aa", -3.0, Normal),
        ];
        assert_eq!(encode(&tokens, "aba", None), [0, 3], "ba before ab");
        assert_eq!(encode(&tokens, "aaa", None), [4, 0], "the left pair first");
    }

    #[test]
    fn unknown_characters_fall_back_to_bytes_then_to_the_unknown_token() {
        let tokens = [
            ("<0xC3>", 0.0, Byte),
            ("<0xa9>", 0.0, Byte),
            ("a", 0.0, Normal),
        ];
        assert_eq!(encode(&tokens, "aé", None), [2, 0, 1]);
        assert_eq!(encode(&tokens, "é\u{2581}", Some(7)), [0, 1, 7, 7, 7]);
        assert_eq!(
            encode(&tokens, "\u{2581}a", None),
            [2],
            "left out where nothing stands for it"
        );
    }

    #[test]
    fn a_token_may_merge_from_characters_that_are_none() {
        let tokens = [("xy", 1.0, Normal), ("xyz", 0.0, Normal)];
        assert_eq!(encode(&tokens, "xyz", None), [1]);
    }

    #[test]
    fn control_and_byte_tokens_are_never_spelled() {
        let tokens = [
            ("<", 0.0, Normal),
            ("s", 0.0, Normal),
            (">", 0.0, Normal),
            ("<s", 0.0, Normal),
            ("<s>", 9.0, Control),
            ("s>", 9.0, Byte),
        ];
        assert_eq!(encode(&tokens, "<s>", None), [3, 2]);
    }

    #[test]
    fn byte_tokens_are_read_strictly() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        assert_eq!(byte_of("<0xff>"), Some(255));
        for text in [
            "<0x-1>", "<0x+1>", "<0xA>", "<0x0A0>", "<0x0G>", "0x0A", "<0x0A", "<0x é>", "",
        ] {
            assert_eq!(byte_of(text), None, "{text:?}");
        }
    }
}
