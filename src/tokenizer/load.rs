//! A tokenizer from the `tokenizer.*` keys of a file.

use std::collections::BTreeSet;

use super::pretokenize::{self, Rules};
use super::special::Specials;
use super::vocab::{TokenKind, Vocab};
use super::{Algorithm, Tokenizer, bpe, spm};
use crate::error::{Error, Place, Result};
use crate::gguf::Metadata;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";

/// Tokens that end an answer, whatever the keys say: converters name only one or two of a model's several.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<|EOT|>",
    "[EOS]",
    "<eos>",
    "<end_of_utterance>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
    // Padding and file marks of fill-in-the-middle: after them comes no answer either.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<reponame>",
    "<|file_sep|>",
];

/// The two kinds of vocabulary.
#[derive(Clone, Copy)]
enum Model {
    Bpe(&'static Rules),
    Spm,
}

impl Model {
    fn is_spm(self) -> bool {
        matches!(self, Self::Spm)
    }
}

impl Tokenizer {
    /// The tokenizer that `meta` describes.
    ///
    /// # Errors
    ///
    /// The file has no tokenizer, one of an unknown kind, or a broken one: the error names the key.
    pub fn from_gguf(meta: &Metadata) -> Result<Self> {
        let mut notes = Vec::new();
        let model = model(meta, &mut notes)?;
        let mut vocab = vocab(meta, model)?;
        let id = |key: &str| id_of(meta, key, vocab.len());
        let spm_default =
            |id: u32| Some(id).filter(|&id| model.is_spm() && (id as usize) < vocab.len());
        let bos = id("bos_token_id")?.or(spm_default(1));
        let eos = id("eos_token_id")?.or(spm_default(2));
        let unknown = id("unknown_token_id")?.or(spm_default(0));
        let turns = [id("eot_token_id")?, id("eom_token_id")?];

        let mut ends: BTreeSet<u32> = [eos].into_iter().chain(turns).flatten().collect();
        let known: BTreeSet<&str> = ENDS.iter().copied().collect();
        for id in vocab.ids() {
            let text = vocab.text(id).unwrap_or_default();
            let (end, marker) = (known.contains(text), is_marker(text));
            if end {
                ends.insert(id);
            }
            if end || marker && vocab.kind(id) == TokenKind::UserDefined {
                vocab.set_kind(id, TokenKind::Control);
            }
        }
        if meta.get(TYPES).is_none() {
            untyped(&mut vocab, model, [bos, eos, turns[0], turns[1]], unknown);
        }
        vocab.index();
        if vocab.duplicates > 0 {
            notes.push(format!(
                "{} of the tokens repeat the text of an earlier one",
                vocab.duplicates
            ));
        }

        let flag = |key: &str| meta.bool(&format!("tokenizer.ggml.{key}"));
        let adds_bos = flag("add_bos_token")?.unwrap_or(match model {
            Model::Bpe(rules) => rules.adds_bos,
            Model::Spm => true,
        });
        let adds_eos = flag("add_eos_token")?.unwrap_or(false);
        let adds_space = match model {
            Model::Spm => flag("add_space_prefix")?.unwrap_or(true),
            Model::Bpe(_) => false,
        };
        let algorithm = match model {
            Model::Bpe(rules) => {
                let merges = texts(meta, MERGES)?;
                Algorithm::Bpe(Box::new(bpe::Bpe::new(&vocab, merges.into_iter(), rules)))
            }
            Model::Spm => Algorithm::Spm(Box::new(spm::Spm::new(&vocab))),
        };
        let inside = |&id: &u32| (id as usize) < vocab.len();
        Ok(Self {
            algorithm,
            specials: Specials::new(&vocab)?,
            bos,
            eos,
            unknown,
            adds_bos,
            adds_eos,
            adds_space,
            ends,
            suppressed: suppressed(meta)?.into_iter().filter(inside).collect(),
            notes,
            vocab,
        })
    }
}

/// The kind of vocabulary, and for BPE its pre-tokenizer.
fn model(meta: &Metadata, notes: &mut Vec<String>) -> Result<Model> {
    let unsupported = |what: String, hint: String| Error::Unsupported {
        path: meta.path().to_path_buf(),
        what,
        hint,
    };
    match meta.str(MODEL)? {
        Some("gpt2") => {}
        Some("llama") => return Ok(Model::Spm),
        None | Some("none") => {
            let place = Place::Key(MODEL.to_owned());
            let found = if meta.get(MODEL).is_none() {
                "no such key"
            } else {
                "\"none\""
            };
            let error = Error::file(meta.path(), place, "a tokenizer", found);
            return Err(error.advise("the file can be used by token ids only"));
        }
        Some(other) => {
            let hint = "known are \"gpt2\" (byte-level BPE) and \"llama\" (SPM)";
            return Err(unsupported(format!("tokenizer {other:?}"), hint.to_owned()));
        }
    }
    let pre = match meta.str(PRE)? {
        Some(name) => name,
        None => {
            notes.push(format!(
                "the file has no {PRE}: its tokens may differ from those the model learnt"
            ));
            "default"
        }
    };
    let rules = pretokenize::find(pre).ok_or_else(|| {
        let names: Vec<&str> = pretokenize::names().collect();
        unsupported(
            format!("pre-tokenizer {pre:?}"),
            format!("known are {}", names.join(", ")),
        )
    })?;
    Ok(Model::Bpe(rules))
}

/// Texts, kinds and scores.
fn vocab(meta: &Metadata, model: Model) -> Result<Vocab> {
    let texts = texts(meta, TOKENS)?;
    if texts.is_empty() {
        return Err(meta.unfit(TOKENS, "at least one token"));
    }
    let enough = |key: &str, len: usize| {
        if len < texts.len() {
            let place = Place::Key(key.to_owned());
            let expected = format!("one element for each of the {} tokens", texts.len());
            return Err(Error::file(meta.path(), place, expected, format!("{len}")));
        }
        Ok(())
    };
    let mut kinds = Vec::new();
    if let Some(types) = meta.i32s(TYPES)? {
        enough(TYPES, types.len())?;
        for (id, &ty) in types.iter().take(texts.len()).enumerate() {
            kinds.push(TokenKind::from_id(ty).ok_or_else(|| {
                let place = Place::Key(TYPES.to_owned());
                Error::file(
                    meta.path(),
                    place,
                    "types from 0 to 6",
                    format!("{ty} for token {id}"),
                )
            })?);
        }
    }
    let mut scores = Vec::new();
    if model.is_spm() && meta.get(SCORES).is_some() {
        scores = match meta.f32s(SCORES) {
            Ok(floats) => floats.unwrap_or_default(),
            // Some converters write whole numbers. Only their order matters.
            Err(error) => match meta.i32s(SCORES) {
                Ok(Some(whole)) => whole.into_iter().map(|s| s as f32).collect(),
                _ => return Err(error),
            },
        };
        enough(SCORES, scores.len())?;
    }
    Vocab::new(texts.into_iter(), kinds, scores)
        .map_err(|_| meta.unfit(TOKENS, "at most 4 GiB of text"))
}

/// The strings of `key`, which must be there, as UTF-8.
fn texts<'a>(meta: &'a Metadata, key: &str) -> Result<Vec<&'a str>> {
    let strings = meta.strings(key)?.ok_or_else(|| meta.missing(key))?;
    let mut texts = Vec::with_capacity(strings.len());
    for (i, bytes) in strings.enumerate() {
        texts.push(core::str::from_utf8(bytes).map_err(|_| {
            let place = Place::Key(key.to_owned());
            let found = format!("\"{}\" as element {i}", bytes.escape_ascii());
            Error::file(meta.path(), place, "strings in UTF-8", found)
        })?);
    }
    Ok(texts)
}

/// The token id under `tokenizer.ggml.KEY`; 2^32-1 means none.
fn id_of(meta: &Metadata, key: &str, len: usize) -> Result<Option<u32>> {
    let key = format!("tokenizer.ggml.{key}");
    // -1 is how some converters write "none" into an i32.
    let none = meta.get(&key).and_then(crate::gguf::Value::integer) == Some(-1);
    match if none { None } else { meta.u32(&key)? } {
        None | Some(u32::MAX) => Ok(None),
        Some(id) if (id as usize) < len => Ok(Some(id)),
        Some(_) => Err(meta.unfit(&key, format!("the id of one of the {len} tokens"))),
    }
}

/// `tokenizer.ggml.suppress_tokens`; negative entries mean nothing.
fn suppressed(meta: &Metadata) -> Result<Vec<u32>> {
    let ids = meta.i32s("tokenizer.ggml.suppress_tokens")?;
    let ids = ids.unwrap_or_default().into_iter();
    Ok(ids.filter_map(|id| u32::try_from(id).ok()).collect())
}

/// Whether `text` looks like `<|...|>` or `<｜...｜>`. `DeepSeek`'s `<｜User｜>` is an ordinary added token in its own vocabulary, so
/// that some converters write it as user-defined, which would let anybody's text change roles.
fn is_marker(text: &str) -> bool {
    ["|", "\u{ff5c}"].iter().any(|bar| {
        let inner = text.strip_prefix('<').and_then(|t| t.strip_prefix(bar));
        inner.is_some_and(|t| t.strip_suffix('>').is_some_and(|t| t.ends_with(bar)))
    })
}

/// Kinds for a file without `tokenizer.ggml.token_type`: what can be told from keys and spelling.
fn untyped(vocab: &mut Vocab, model: Model, control: [Option<u32>; 4], unknown: Option<u32>) {
    for id in control.into_iter().flatten() {
        vocab.set_kind(id, TokenKind::Control);
    }
    if !model.is_spm() {
        return;
    }
    if let Some(id) = unknown {
        vocab.set_kind(id, TokenKind::Unknown);
    }
    for id in vocab.ids() {
        if vocab.text(id).and_then(spm::byte_of).is_some() {
            vocab.set_kind(id, TokenKind::Byte);
        }
    }
}
