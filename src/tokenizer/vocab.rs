//! The vocabulary as plain tables: token texts, kinds and scores, and the lookup from text to id.
//!
//! ```text
//! arena  h e l l o Ġ w o r l d ...      all texts, one after the other
//! ends   5 11 ...                       ends[i] = where the text of token i ends
//! index  hash(text) -> id               a hash table of ids; the texts themselves stay in the arena
//! ```
//!
//! One arena instead of a `String` a token: 129 280 tokens load without 129 280 allocations.
//!
//! Only tokens that plain text may become are in the index. Control, unknown, unused and byte tokens are not, so no chain
//! of merges can ever produce them: a control token comes from the template or by its id, never out of a user's text.

use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// What a token is for: `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for text that the vocabulary cannot spell.
    Unknown,
    /// Steers the model and adds nothing to the text: begin, end, role markers.
    Control,
    /// A piece of text that is always cut out as a whole, before anything else.
    UserDefined,
    /// A row of the embedding that no text uses.
    Unused,
    /// One byte of a character that has no token of its own: `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// The kind with this number in a file; 0 ("undefined", written by old converters) counts as normal.
    pub(super) fn from_id(id: i32) -> Option<Self> {
        Some(match id {
            0 | 1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }

    /// The name used in listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Unknown => "unknown",
            Self::Control => "control",
            Self::UserDefined => "user-defined",
            Self::Unused => "unused",
            Self::Byte => "byte",
        }
    }
}

/// Texts, kinds and scores of all tokens, by id.
#[derive(Debug)]
pub(super) struct Vocab {
    arena: String,
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
    scores: Vec<f32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Tokens whose text an earlier token has too; text becomes the earlier one.
    pub(super) duplicates: usize,
}

/// The texts do not fit the 32-bit offsets of the arena.
#[derive(Debug)]
pub(super) struct TooLarge;

impl Vocab {
    /// Collects `texts`, the kinds in `kinds` and the scores in `scores`; both may be empty (all normal, all 0), and what
    /// they hold beyond the texts is ignored.
    pub(super) fn new<'a>(
        texts: impl ExactSizeIterator<Item = &'a str>,
        mut kinds: Vec<TokenKind>,
        mut scores: Vec<f32>,
    ) -> Result<Self, TooLarge> {
        let mut arena = String::new();
        let mut ends = Vec::with_capacity(texts.len());
        for text in texts {
            arena.push_str(text);
            ends.push(u32::try_from(arena.len()).map_err(|_| TooLarge)?);
        }
        kinds.resize(ends.len(), TokenKind::Normal);
        scores.resize(ends.len(), 0.0);
        Ok(Self {
            arena,
            ends,
            kinds,
            scores,
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            duplicates: 0,
        })
    }

    /// Builds the index; the kinds are final from here on.
    pub(super) fn index(&mut self) {
        let mut index = HashTable::with_capacity(self.len());
        let mut duplicates = 0;
        for id in self.ids() {
            let text = self.text(id).unwrap_or_default();
            let spelled = matches!(self.kind(id), TokenKind::Normal | TokenKind::UserDefined);
            if text.is_empty() || !spelled {
                continue;
            }
            let same = |&other: &u32| self.text(other) == Some(text);
            match index.entry(self.hash(text), same, |&id| self.hash_of(id)) {
                hashbrown::hash_table::Entry::Occupied(_) => duplicates += 1,
                hashbrown::hash_table::Entry::Vacant(free) => {
                    free.insert(id);
                }
            }
        }
        self.index = index;
        self.duplicates = duplicates;
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All ids.
    pub(super) fn ids(&self) -> core::ops::Range<u32> {
        // The ends are 32-bit offsets, and the reader of the file holds the count to 2^30.
        0..u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    /// The text of token `id`, as the file spells it.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        let id = id as usize;
        let end = *self.ends.get(id)? as usize;
        let start = match id.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.arena.get(start..end)
    }

    /// The kind of token `id`; an id beyond the vocabulary is unused.
    pub(super) fn kind(&self, id: u32) -> TokenKind {
        let kind = self.kinds.get(id as usize);
        kind.copied().unwrap_or(TokenKind::Unused)
    }

    /// Changes the kind of token `id`, before [`Vocab::index`].
    pub(super) fn set_kind(&mut self, id: u32, kind: TokenKind) {
        if let Some(old) = self.kinds.get_mut(id as usize) {
            *old = kind;
        }
    }

    /// The scores, by id.
    pub(super) fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The token that plain text spelled `text` becomes as a whole.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let same = |&id: &u32| self.text(id) == Some(text);
        self.index.find(self.hash(text), same).copied()
    }

    fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text.as_bytes())
    }

    fn hash_of(&self, id: u32) -> u64 {
        self.hash(self.text(id).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocab(tokens: &[(&str, TokenKind)]) -> Vocab {
        let kinds = tokens.iter().map(|t| t.1).collect();
        let mut vocab = Vocab::new(tokens.iter().map(|t| t.0), kinds, Vec::new()).expect("small");
        vocab.index();
        vocab
    }

    #[test]
    fn text_and_id_are_inverse() {
        let v = vocab(&[
            ("a", TokenKind::Normal),
            ("", TokenKind::Normal),
            ("bc", TokenKind::UserDefined),
        ]);
        assert_eq!(v.len(), 3, "all tokens count");
        assert_eq!(
            (v.text(0), v.text(1), v.text(2)),
            (Some("a"), Some(""), Some("bc"))
        );
        assert_eq!(
            (v.find("a"), v.find("bc"), v.find("")),
            (Some(0), Some(2), None)
        );
        assert_eq!(v.text(3), None, "beyond the end");
        assert_eq!(v.kind(3), TokenKind::Unused, "beyond the end");
    }

    #[test]
    fn text_never_becomes_a_control_byte_unknown_or_unused_token() {
        for kind in [
            TokenKind::Control,
            TokenKind::Unknown,
            TokenKind::Unused,
            TokenKind::Byte,
        ] {
            assert_eq!(vocab(&[("x", kind)]).find("x"), None, "{}", kind.name());
        }
    }

    #[test]
    fn of_equal_texts_the_first_wins() {
        let v = vocab(&[
            ("x", TokenKind::Control),
            ("x", TokenKind::Normal),
            ("x", TokenKind::Normal),
        ]);
        assert_eq!(v.find("x"), Some(1), "the first that text may become");
        assert_eq!(v.duplicates, 1, "counted, never fatal");
    }
}
