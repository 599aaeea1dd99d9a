//! Special tokens in a text: found by their spelling, before anything else is cut.
//!
//! The leftmost match wins, of those the longest (`<think>` before `<`). User-defined tokens are always cut out. Control
//! tokens only where the text may hold them: in a chat template's own words, never in what a user typed. The two may be
//! mixed in one text: [`Specials::cut`] takes the positions (guards) at which a control token must not be found.

use core::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::vocab::{TokenKind, Vocab};
use crate::error::{Error, Result};

/// Finders for special tokens.
#[derive(Debug)]
pub(super) struct Specials {
    always: Finder,
    all: Finder,
}

#[derive(Debug)]
struct Finder {
    machine: AhoCorasick,
    ids: Vec<u32>,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Plain text.
    Text(Range<usize>),
    /// A special token.
    Token(u32),
}

impl Specials {
    /// The special tokens of `vocab`.
    pub(super) fn new(vocab: &Vocab) -> Result<Self> {
        let ids_of = |kinds: &[TokenKind]| -> Vec<u32> {
            let named = |&id: &u32| !vocab.text(id).unwrap_or_default().is_empty();
            let wanted = vocab.ids().filter(|&id| kinds.contains(&vocab.kind(id)));
            wanted.filter(named).collect()
        };
        use TokenKind::{Control, Unknown, UserDefined};
        Ok(Self {
            always: Finder::new(vocab, ids_of(&[UserDefined]))?,
            all: Finder::new(vocab, ids_of(&[Control, Unknown, UserDefined]))?,
        })
    }

    /// Ids of all special tokens, rising.
    pub(super) fn ids(&self) -> &[u32] {
        &self.all.ids
    }

    /// Cuts `text` into plain text and tokens, in order. `parse` allows control tokens, except where one of `guards` (byte
    /// positions, rising) lies after their start and not after their end.
    pub(super) fn cut(&self, text: &str, parse: bool, guards: &[usize]) -> Vec<Part> {
        let mut parts = Vec::new();
        let finder = if parse { &self.all } else { &self.always };
        let (mut plain, mut from) = (0, 0);
        // The next token that is always cut out, kept from one guard to the next: searched for again at each of them, a text
        // of nothing but guarded tokens would take quadratic time.
        let mut own: Option<Option<(Range<usize>, u32)>> = None;
        while let Some((found, id)) = finder.find(text, from) {
            let (found, id) = if guarded(guards, &found) {
                let next = match own.take() {
                    Some(None) => None,
                    Some(Some(next)) if next.0.start >= found.start => Some(next),
                    _ => self.always.find(text, found.start),
                };
                // Only tokens that are always cut out count here; they have no guards.
                match own.insert(next) {
                    Some((own, id)) if own.start == found.start => (own.clone(), *id),
                    _ => {
                        let first = text[found.start..].chars().next();
                        from = found.start + first.map_or(1, char::len_utf8);
                        continue;
                    }
                }
            } else {
                (found, id)
            };
            if plain < found.start {
                parts.push(Part::Text(plain..found.start));
            }
            parts.push(Part::Token(id));
            (plain, from) = (found.end, found.end);
        }
        if plain < text.len() {
            parts.push(Part::Text(plain..text.len()));
        }
        parts
    }
}

impl Finder {
    fn new(vocab: &Vocab, ids: Vec<u32>) -> Result<Self> {
        let texts = ids.iter().map(|&id| vocab.text(id).unwrap_or_default());
        let machine = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(texts)
            .map_err(|_| Error::Memory {
                what: format!("a search for {} special tokens", ids.len()),
                bytes: 0,
            })?;
        Ok(Self { machine, ids })
    }

    fn find(&self, text: &str, from: usize) -> Option<(Range<usize>, u32)> {
        let input = aho_corasick::Input::new(text).range(from..);
        let found = self.machine.find(input)?;
        let id = *self.ids.get(found.pattern().as_usize())?;
        Some((found.range(), id))
    }
}

/// Whether one of `guards` lies inside `found` or at its end.
fn guarded(guards: &[usize], found: &Range<usize>) -> bool {
    let next = guards.partition_point(|&g| g <= found.start);
    guards.get(next).is_some_and(|&g| g <= found.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Part::{Text, Token};

    fn specials() -> Specials {
        let tokens = [
            ("<s>", TokenKind::Control),
            ("<s>x", TokenKind::Control),
            ("\u{a0}\u{a0}", TokenKind::UserDefined),
            ("<", TokenKind::Normal),
            ("", TokenKind::Control),
            ("<unk>", TokenKind::Unknown),
        ];
        let kinds = tokens.iter().map(|t| t.1).collect();
        let vocab = Vocab::new(tokens.iter().map(|t| t.0), kinds, Vec::new()).expect("small");
        Specials::new(&vocab).expect("small")
    }

    #[test]
    fn leftmost_then_longest() {
        let parts = specials().cut("a<s>x<s><unk>", true, &[]);
        assert_eq!(parts, [Text(0..1), Token(1), Token(0), Token(5)]);
    }

    #[test]
    fn control_tokens_only_when_asked_for() {
        assert_eq!(specials().cut("<s><unk>", false, &[]), [Text(0..8)]);
        let parts = specials().cut("<s>\u{a0}\u{a0}", false, &[]);
        assert_eq!(parts, [Text(0..3), Token(2)], "user-defined always");
    }

    #[test]
    fn a_guard_stops_the_control_token_around_it_and_no_other() {
        let text = "<s><s>\u{a0}\u{a0}<s>";
        let parts = specials().cut(text, true, &[4]);
        assert_eq!(parts, [Token(0), Text(3..6), Token(2), Token(0)]);
        let parts = specials().cut(text, true, &[3]);
        assert_eq!(
            parts,
            [Text(0..3), Token(0), Token(2), Token(0)],
            "at its end"
        );
        assert_eq!(
            specials().cut(text, true, &[0])[0],
            Token(0),
            "at its start"
        );
    }

    #[test]
    fn many_guards_take_no_quadratic_time() {
        let n = 1 << 20;
        let text = "<s>".repeat(n) + "\u{a0}\u{a0}";
        let guards: Vec<usize> = (0..n).map(|i| 3 * i + 1).collect();
        let parts = specials().cut(&text, true, &guards);
        assert_eq!(parts, [Text(0..3 * n), Token(2)]);
    }
}
