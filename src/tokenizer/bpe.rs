//! Byte-level BPE: the merges of a vocabulary, applied inside each pre-token.

use hashbrown::HashMap;

use super::bytes;
use super::merge::{Merged, Merger, NONE};
use super::pretokenize::{PreTokenizer, Rules};
use super::vocab::Vocab;

/// Merge table, byte tokens and pre-tokenizer.
#[derive(Debug)]
pub(super) struct Bpe {
    /// (left, right) -> what they become. The rank is the line number in the list of merges.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// The token of each single byte, or [`NONE`].
    byte_ids: [u32; 256],
    /// Take a pre-token that is in the vocabulary as it is, without merging.
    whole_first: bool,
    pre: PreTokenizer,
}

impl Bpe {
    /// Reads `merges` ("left right", best first). A merge whose sides or result are not in the vocabulary can never apply
    /// and is passed over; of equal pairs the first counts.
    pub(super) fn new<'a>(
        vocab: &Vocab,
        merges: impl ExactSizeIterator<Item = &'a str>,
        rules: &'static Rules,
    ) -> Self {
        let mut table = HashMap::with_capacity(merges.len());
        let mut joined = String::new();
        for (rank, line) in (0u32..).zip(merges) {
            let Some((left, right)) = halves(line) else {
                continue;
            };
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let ids = (vocab.find(left), vocab.find(right), vocab.find(&joined));
            if let (Some(l), Some(r), Some(both)) = ids {
                table.entry((l, r)).or_insert((rank, both));
            }
        }
        let mut byte_ids = [NONE; 256];
        for (byte, id) in (0u8..=255).zip(&mut byte_ids) {
            let mut text = String::new();
            bytes::encode(&[byte], &mut text);
            *id = vocab.find(&text).unwrap_or(NONE);
        }
        Self {
            merges: table,
            byte_ids,
            whole_first: rules.whole_first,
            pre: PreTokenizer::new(rules),
        }
    }

    /// Appends the tokens of `text`, which holds no special tokens. `unknown` stands for bytes without a token; where it
    /// is `None`, they are left out.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        unknown: Option<u32>,
        ids: &mut Vec<u32>,
    ) {
        let mut merger = Merger::default();
        let mut spelled = String::new();
        self.pre.split(text, |piece| {
            if self.whole_first {
                spelled.clear();
                bytes::encode(piece.as_bytes(), &mut spelled);
                if let Some(id) = vocab.find(&spelled) {
                    ids.push(id);
                    return;
                }
            }
            merger.clear();
            for &byte in piece.as_bytes() {
                merger.push(1, self.byte_ids[usize::from(byte)]);
            }
            merger.run(|left, right| {
                let &(rank, id) = self.merges.get(&(left.id, right.id))?;
                Some(Merged { rank, id })
            });
            ids.extend(merger.symbols().filter_map(|s| match s.id {
                NONE => unknown,
                id => Some(id),
            }));
        });
    }
}

/// The two sides of a merge: split at the first space that is not the first character.
fn halves(line: &str) -> Option<(&str, &str)> {
    let first = line.chars().next()?.len_utf8();
    let at = first + line.get(first..)?.find(' ')?;
    Some((line.get(..at)?, line.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_are_split_at_the_first_space_but_one_in_front() {
        assert_eq!(halves("a b"), Some(("a", "b")));
        assert_eq!(halves("  b"), Some((" ", "b")), "the left side is a space");
        assert_eq!(halves("é b c"), Some(("é", "b c")));
        assert_eq!(halves("ab"), None);
        assert_eq!(halves(""), None);
    }

    #[test]
    fn a_merge_without_its_tokens_is_passed_over() {
        let texts = ["a", "b", "c", "ab"];
        let mut vocab = Vocab::new(texts.into_iter(), Vec::new(), Vec::new()).expect("small");
        vocab.index();
        let rules = super::super::pretokenize::find("gpt-2").expect("known");
        // "b c" makes no token, "x y" has none, "nonsense" is no merge, "a b" comes twice.
        let merges = ["b c", "x y", "nonsense", "", "a b", "a b"];
        let bpe = Bpe::new(&vocab, merges.into_iter(), rules);
        let mut ids = Vec::new();
        bpe.encode(&vocab, "abcabz", None, &mut ids);
        assert_eq!(ids, [3, 2, 3], "ab c ab; z has no token");
        ids.clear();
        bpe.encode(&vocab, "zé", Some(9), &mut ids);
        assert_eq!(ids, [9, 9, 9], "one unknown a byte");
    }
}
