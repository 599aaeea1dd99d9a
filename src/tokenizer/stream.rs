//! Text from tokens, one at a time, never cutting a character.

use super::Tokenizer;

/// Collects the bytes of tokens and lets go of whole characters only.
///
/// A character may be spread over several tokens (an emoji is often three). Bytes that can no longer become a character
/// come out as U+FFFD, at once.
#[derive(Debug, Clone)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The start of a character; at most 3 bytes between calls.
    pending: Vec<u8>,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            pending: Vec::new(),
        }
    }

    /// The text that is certain once token `id` is known. Control tokens and ids outside the vocabulary add nothing.
    pub fn push(&mut self, id: u32) -> String {
        if let Some(bytes) = self.tokenizer.token_bytes(id) {
            self.pending.extend_from_slice(&bytes);
        }
        take_whole(&mut self.pending)
    }

    /// Whether the last token ended inside a character.
    pub fn is_inside(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What is left: U+FFFD if the tokens ended inside a character, else nothing.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Takes everything off `bytes` but a character's start at the end.
fn take_whole(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    loop {
        let error = match core::str::from_utf8(bytes) {
            Ok(rest) => {
                text.push_str(rest);
                bytes.clear();
                return text;
            }
            Err(error) => error,
        };
        let good = error.valid_up_to();
        text.push_str(&String::from_utf8_lossy(&bytes[..good]));
        match error.error_len() {
            Some(bad) => {
                text.push(char::REPLACEMENT_CHARACTER);
                bytes.drain(..good + bad);
            }
            None => {
                bytes.drain(..good);
                return text;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_comes_when_it_is_whole() {
        let mut bytes = b"a\xf0\x9f".to_vec();
        assert_eq!(take_whole(&mut bytes), "a");
        bytes.extend(b"\x99\x82b");
        assert_eq!(take_whole(&mut bytes), "\u{1f642}b");
        bytes.extend(b"\xff\xe6c");
        assert_eq!(take_whole(&mut bytes), "\u{fffd}\u{fffd}c");
        assert!(bytes.is_empty(), "nothing waits");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_cut_gives_what_the_whole_gives(bytes: Vec<u8>, cuts in prop::collection::vec(0usize..8, 0..40)) {
            let mut text = String::new();
            let mut pending = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                pending.extend_from_slice(now);
                text += &take_whole(&mut pending);
                prop_assert!(pending.len() < 4, "at most the start of a character waits");
                rest = later;
            }
            pending.extend_from_slice(rest);
            text += &take_whole(&mut pending);
            text += &String::from_utf8_lossy(&pending);
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
