//! Text to tokens and back, from the `tokenizer.*` keys of a GGUF file alone.
//!
//! ```text
//! text ── special ──► plain parts ── pretokenize ──► pieces ── bpe ─┐
//!          │                 └──────────── spm ────────────────────┴► ids
//!          └── control and user-defined tokens, by their spelling ──► ids
//! ```
//!
//! # Why not the crate `tokenizers`
//!
//! It was to do this work if it could be built from a vocabulary of 129k tokens in under 150 ms. It stands on that line.
//! Medians of 15 builds in memory (release, 2 shared cores of an x86 server, DeepSeek-V3: 128 815 tokens and 127 741 merges;
//! the short vocabulary is its first 49 152 tokens, for this module `SmolLM2` of the same size):
//!
//! | | 129k | 49k |
//! |---|---|---|
//! | `tokenizers` 0.23.2, its BPE model alone | 103 to 150 ms | |
//! | the same, merges checked first | 125 to 150 ms | 41 to 51 ms |
//! | this module, from the file's keys to a [`Tokenizer`] | 37 to 39 ms | 10 ms |
//!
//! The check is not optional: building it panics on a merge that is longer than the longest token, and files come from
//! anywhere. On the boards that this is for, everything takes four times as long. Its pre-tokenizers end without a word
//! when an expression reaches its step limit. And the SPM vocabularies need a merge loop of our own in any case;
//! `merge.rs` serves both. So `tokenizers` is the oracle instead: `tests/tokenizer_oracle.rs` compares ids with those that
//! it gave for the real vocabularies.
//!
//! # Safety of a prompt
//!
//! A control token (`<|im_end|>`, `<｜User｜>`) ends turns and changes roles. A text that a user typed must not contain
//! any, however it is spelled, so [`EncodeOptions::parse_special`] is off by default, and [`crate::chat`] allows control
//! tokens only in the words of the template itself.

use std::borrow::Cow;
use std::collections::BTreeSet;

mod bpe;
mod bytes;
mod load;
mod merge;
mod pretokenize;
mod special;
mod spm;
mod stream;
mod vocab;

pub(crate) use bytes::char_of;
pub use stream::TextStream;
pub use vocab::TokenKind;

use special::Part;
use vocab::Vocab;

/// The names of all pre-tokenizers (`tokenizer.ggml.pre`) that are known.
pub fn pre_tokenizers() -> impl Iterator<Item = &'static str> {
    pretokenize::names()
}

/// What [`Tokenizer::encode`] adds to a text and finds in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Begin with BOS and close with EOS where the model wants that. A text that begins with BOS gets no second one.
    pub add_special: bool,
    /// Take control tokens that are spelled out in the text as such. Never for what a user typed.
    pub parse_special: bool,
}

/// The tokenizer of a model.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    algorithm: Algorithm,
    specials: special::Specials,
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    adds_bos: bool,
    adds_eos: bool,
    adds_space: bool,
    ends: BTreeSet<u32>,
    suppressed: Vec<u32>,
    notes: Vec<String>,
}

/// How plain text becomes tokens.
#[derive(Debug)]
enum Algorithm {
    Bpe(Box<bpe::Bpe>),
    Spm(Box<spm::Spm>),
}

impl Tokenizer {
    /// Number of tokens. The rows of the output matrix may be more.
    pub fn len(&self) -> usize {
        self.vocab.len()
    }

    /// Whether there is no token; never true of a loaded tokenizer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether `id` ends an answer: EOS, end of turn, end of message, and whatever other token is known to do so.
    pub fn is_eog(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// All tokens that end an answer, rising.
    pub fn eog(&self) -> impl Iterator<Item = u32> {
        self.ends.iter().copied()
    }

    /// Whether a text begins with BOS.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// Whether a text ends with EOS.
    pub fn adds_eos(&self) -> bool {
        self.adds_eos
    }

    /// Tokens that must never be sampled, by the word of the file (`tokenizer.ggml.suppress_tokens`).
    pub fn suppressed(&self) -> &[u32] {
        &self.suppressed
    }

    /// What the user should know about this tokenizer: guesses that had to be made, keys that could not be used.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What token `id` is for.
    pub fn kind(&self, id: u32) -> TokenKind {
        self.vocab.kind(id)
    }

    /// Whether `id` is a row that no text uses: reserved, padding, or beyond the vocabulary. Mask it when sampling.
    pub fn is_unused(&self, id: u32) -> bool {
        match self.vocab.kind(id) {
            TokenKind::Unused => true,
            TokenKind::Control => self
                .vocab
                .text(id)
                .is_some_and(|t| t.to_ascii_lowercase().contains("unused")),
            _ => false,
        }
    }

    /// The text of token `id` as the vocabulary spells it: `Ġthe`, `<|im_end|>`, `<0x0A>`.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocab.text(id)
    }

    /// What token `id` adds to a text: bytes, not always whole characters. Nothing for control, unknown and unused tokens.
    pub fn token_bytes(&self, id: u32) -> Option<Cow<'_, [u8]>> {
        let text = self.vocab.text(id)?;
        Some(match (self.vocab.kind(id), &self.algorithm) {
            (TokenKind::Control | TokenKind::Unknown | TokenKind::Unused, _) => Cow::default(),
            (TokenKind::UserDefined, _) => Cow::Borrowed(text.as_bytes()),
            (TokenKind::Byte, _) => match spm::byte_of(text) {
                Some(byte) => Cow::Owned(vec![byte]),
                None => Cow::Borrowed(text.as_bytes()),
            },
            (TokenKind::Normal, Algorithm::Bpe(_)) => Cow::Owned(bytes::decode(text)),
            (TokenKind::Normal, Algorithm::Spm(_)) if text.contains(spm::SPACE) => {
                Cow::Owned(text.replace(spm::SPACE, " ").into_bytes())
            }
            (TokenKind::Normal, Algorithm::Spm(_)) => Cow::Borrowed(text.as_bytes()),
        })
    }

    /// The control, unknown or user-defined token spelled `text`.
    pub fn special(&self, text: &str) -> Option<u32> {
        let mut ids = self.specials.ids().iter().copied();
        ids.find(|&id| self.vocab.text(id) == Some(text))
    }

    /// The spellings of all control tokens.
    pub(crate) fn control_texts(&self) -> impl Iterator<Item = &str> {
        let ids = self.specials.ids().iter().copied();
        ids.filter(|&id| self.vocab.kind(id) != TokenKind::UserDefined)
            .filter_map(|id| self.vocab.text(id))
    }

    /// The tokens of `text`.
    pub fn encode(&self, text: &str, options: &EncodeOptions) -> Vec<u32> {
        self.encode_guarded(text, options, &[])
    }

    /// [`Tokenizer::encode`], but a control token is not taken where one of `guards` (byte positions in `text`, rising)
    /// lies after its start and not after its end.
    pub(crate) fn encode_guarded(
        &self,
        text: &str,
        options: &EncodeOptions,
        guards: &[usize],
    ) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        let bos = self.bos.filter(|_| options.add_special && self.adds_bos);
        ids.extend(bos);
        let mut after_token = true;
        for part in self.specials.cut(text, options.parse_special, guards) {
            after_token = match part {
                Part::Token(id) => {
                    ids.push(id);
                    true
                }
                Part::Text(range) => {
                    self.encode_plain(&text[range], after_token, &mut ids);
                    false
                }
            };
        }
        if bos.is_some() && ids.get(1).copied() == bos {
            ids.remove(0);
        }
        let eos = self.eos.filter(|_| options.add_special && self.adds_eos);
        if ids.last().copied() != eos {
            ids.extend(eos);
        }
        ids
    }

    fn encode_plain(&self, text: &str, after_token: bool, ids: &mut Vec<u32>) {
        match &self.algorithm {
            Algorithm::Bpe(bpe) => bpe.encode(&self.vocab, text, self.unknown, ids),
            Algorithm::Spm(spm) => {
                let prefix = if self.adds_space && after_token {
                    spm::SPACE
                } else {
                    ""
                };
                let text = format!("{prefix}{}", text.replace(' ', spm::SPACE));
                spm.encode(&self.vocab, &text, self.unknown, ids);
            }
        }
    }

    /// The text of `ids`. Bytes that are no UTF-8 become U+FFFD; the space that SPM puts before a text is taken off.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for part in ids.iter().filter_map(|&id| self.token_bytes(id)) {
            bytes.extend_from_slice(&part);
        }
        let text = match bytes.strip_prefix(b" ") {
            Some(rest) if self.adds_space => rest,
            _ => &bytes,
        };
        String::from_utf8_lossy(text).into_owned()
    }

    /// A decoder for tokens that come one at a time and continue a text (so no leading space is taken off).
    pub fn stream(&self) -> TextStream<'_> {
        TextStream::new(self)
    }
}
