//! Bytes as printable characters: how byte-level BPE vocabularies spell their tokens.
//!
//! 188 bytes stand for the character of the same number: `!` to `~`, `¡` to `¬`, `®` to `ÿ`. The other 68 (controls, the
//! space, 127 to 160, 173) take U+0100 onwards, in order; the space is the 33rd of them, `Ġ` (U+0120).
//! The map is that of GPT-2 (Radford et al. 2019, `bytes_to_unicode`).

/// The character that spells `byte`.
pub(crate) fn char_of(byte: u8) -> char {
    let code = match byte {
        33..=126 | 161..=172 | 174..=255 => u32::from(byte),
        0..=32 => 256 + u32::from(byte),
        127..=160 => 256 + 33 + u32::from(byte - 127),
        173 => 256 + 67,
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that `c` spells.
pub(super) fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (33..=126 | 161..=172 | 174..=255) => u8::try_from(code).ok(),
        code @ 256..=288 => u8::try_from(code - 256).ok(),
        code @ 289..=322 => u8::try_from(code - 289 + 127).ok(),
        323 => Some(173),
        _ => None,
    }
}

/// The bytes that the token text `text` spells. A character outside the map stands for itself.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Spells `bytes`, appending to `text`.
pub(super) fn encode(bytes: &[u8], text: &mut String) {
    text.extend(bytes.iter().map(|&b| char_of(b)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for byte in 0..=255u8 {
            let c = char_of(byte);
            assert!(seen.insert(c), "{c:?} spells two bytes");
            assert_eq!(byte_of(c), Some(byte), "{c:?}");
        }
    }

    #[test]
    fn known_spellings() {
        let mut text = String::new();
        encode(b" \n\tA\xad\x7f\xff", &mut text);
        assert_eq!(text, "\u{120}\u{10a}\u{109}A\u{143}\u{121}\u{ff}");
        assert_eq!(
            decode("\u{120}\u{ff5c}"),
            b" \xef\xbd\x9c",
            "U+FF5C stands for itself"
        );
    }
}
