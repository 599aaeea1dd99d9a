//! A made-up vocabulary of any size: a byte-level BPE that can spell every text.
//!
//! ```text
//! 0, 1         <s>, </s>
//! 2 .. 258     the 256 bytes
//! then         the 100 syllables of one consonant and one vowel, each with the merge that makes it
//! then         words: a space and one syllable (with merges), two syllables, three ...
//! ```
//!
//! So a random model answers in words, and texts have about as many tokens as bytes: prompts of a benchmark are counted
//! in tokens anyway.

use std::io;

use crate::gguf::Writer;
use crate::tokenizer::char_of;

const BEGIN: (&str, u32) = ("<s>", 0);
const END: (&str, u32) = ("</s>", 1);

const CONSONANTS: &str = "bcdfghjklmnpqrstvwxz";
const VOWELS: &str = "aeiou";

/// Kinds of tokens, the values of `tokenizer.ggml.token_type`.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

/// Adds a vocabulary of `size` tokens, which llama.cpp splits by the rules named `pre`.
pub(super) fn put(head: &mut Writer, size: usize, pre: &str) -> io::Result<()> {
    let (tokens, merges) = tokens(size);
    let mut kinds = vec![NORMAL; tokens.len()];
    for (_, id) in [BEGIN, END] {
        kinds[id as usize] = CONTROL;
    }
    head.key("tokenizer.ggml.model", "gpt2")?;
    head.key("tokenizer.ggml.pre", pre)?;
    head.array("tokenizer.ggml.tokens", &tokens)?;
    head.array("tokenizer.ggml.token_type", &kinds)?;
    head.array("tokenizer.ggml.merges", &merges)?;
    head.key("tokenizer.ggml.bos_token_id", BEGIN.1)?;
    head.key("tokenizer.ggml.eos_token_id", END.1)?;
    head.key("tokenizer.ggml.add_bos_token", true)?;
    head.key("tokenizer.ggml.add_eos_token", false)
}

/// The tokens and the merges.
fn tokens(size: usize) -> (Vec<String>, Vec<String>) {
    let space = char_of(b' ');
    let mut tokens: Vec<String> = [BEGIN.0, END.0].map(str::to_owned).into();
    tokens.extend((0..=u8::MAX).map(|byte| char_of(byte).to_string()));
    let mut merges = Vec::new();
    let mut syllables = Vec::new();
    for consonant in CONSONANTS.chars() {
        for vowel in VOWELS.chars() {
            syllables.push(format!("{consonant}{vowel}"));
            merges.push(format!("{consonant} {vowel}"));
        }
    }
    merges.extend(syllables.iter().map(|one| format!("{space} {one}")));
    tokens.extend_from_slice(&syllables);
    // Words by length: the number of a word, in the digits 1 to 100, is its syllables.
    for number in 1.. {
        if tokens.len() >= size {
            break;
        }
        let mut left: usize = number;
        let mut word = Vec::new();
        while left > 0 {
            word.push(syllables[(left - 1) % syllables.len()].as_str());
            left = (left - 1) / syllables.len();
        }
        word.reverse();
        tokens.push(format!("{space}{}", word.concat()));
    }
    (tokens, merges)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::gguf::Gguf;
    use crate::synth::Shape;
    use crate::tokenizer::{EncodeOptions, Tokenizer};

    #[test]
    fn every_size_has_as_many_tokens_all_different() {
        for shape in Shape::all() {
            let size = shape.vocab as usize;
            let (tokens, merges) = tokens(size);
            assert_eq!(tokens.len(), size, "{}", shape.name);
            let known: HashSet<&str> = tokens.iter().map(String::as_str).collect();
            assert_eq!(known.len(), size, "{}: a token twice", shape.name);
            for merge in merges {
                assert!(known.contains(merge.replace(' ', "").as_str()), "{merge:?}");
            }
        }
    }

    #[test]
    fn it_spells_every_text() {
        for shape in Shape::all() {
            let mut head = Writer::new();
            put(&mut head, 512, shape.pre).expect("fresh keys");
            let body = head.start(Vec::new()).expect("in memory");
            let bytes = body.finish().expect("in memory");
            let file = Gguf::from_bytes("vocab".as_ref(), bytes).expect("a sound file");
            let tokenizer = Tokenizer::from_gguf(file.metadata()).expect("a sound vocabulary");
            assert_eq!(tokenizer.notes(), [""; 0], "{}", shape.name);
            for text in ["tell me a story", " 12 + 3\n\n", "été 早上 🦊\u{0}", ""] {
                let tokens = tokenizer.encode(text, &EncodeOptions::default());
                assert_eq!(tokenizer.decode(&tokens), text, "{}", shape.name);
            }
            let word = tokenizer.encode(" te", &EncodeOptions::default());
            assert_eq!(word.len(), 1, "{}: merged", shape.name);
        }
    }
}
