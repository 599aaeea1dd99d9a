//! Chat templates: a conversation as the text that the model was trained on.
//!
//! A GGUF file brings its template along (`tokenizer.chat_template`, Jinja). It is a program from an unknown hand, so it
//! runs in a sandbox: no files, no loader, no attributes beyond the data given, and fuel for every step and every byte it
//! makes (`chat/engine.rs`). A template that cannot be used is replaced by our own for the same family (`chat/family.rs`).
//!
//! # Who may write control tokens
//!
//! The template's own words may; what a user, a system prompt or the model itself wrote may not, and in the rendered text
//! the two are one string. So before rendering, `chat/guard.rs` puts an invisible mark into every spelling of a control token
//! that a message holds; afterwards the marks are taken out again and become positions at which the tokenizer takes no
//! control token. Trimming, splitting and comparing work as ever, for where more marks than those in the spellings would change
//! what the template writes, they are left out. Encoding messages and template words apart would be simpler, but wrong: "User: " and
//! "hello" are other tokens than "User: hello".

use serde::Serialize;

use crate::error::{Error, Result};
use crate::gguf::Metadata;
use crate::tokenizer::{EncodeOptions, Tokenizer};

mod engine;
mod family;
mod guard;

use guard::Marks;

pub use family::Family;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: "system", "user", "assistant".
    pub role: String,
    /// What is said: plain text, whatever it spells.
    pub content: String,
}

impl Message {
    /// A turn of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }

    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A turn of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// What the model is told before the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }
}

/// What a template is given beside the messages.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatOptions {
    /// End with what opens the model's answer.
    pub add_generation_prompt: bool,
    /// Further variables of the template, such as `thinking` (DeepSeek-V3.1) or `enable_thinking` (Qwen3). They do not take
    /// the place of the messages. Unlike these they are not guarded: a control token that one spells is a control token.
    pub vars: serde_json::Map<String, serde_json::Value>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            vars: serde_json::Map::new(),
        }
    }
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    engine: engine::Engine,
    replaced: Option<(Family, String)>,
}

impl ChatTemplate {
    /// The template of a file; `None` when it has none.
    ///
    /// It is tried with a single question. If it fails and its family is known, our own template of that family takes its
    /// place, and [`ChatTemplate::replaced`] tells.
    ///
    /// # Errors
    ///
    /// The key is no text, or the template fails and its family is not known.
    pub fn from_gguf(meta: &Metadata, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let source = meta.str("tokenizer.chat_template")?;
        let text = |id: Option<u32>| {
            id.and_then(|id| tokenizer.token_text(id))
                .unwrap_or_default()
        };
        let (bos, eos) = (text(tokenizer.bos()), text(tokenizer.eos()));
        source.map(|s| Self::from_source(s, bos, eos)).transpose()
    }

    /// The template `source`, for which BOS and EOS are spelled `bos` and `eos`. It is tried as in
    /// [`ChatTemplate::from_gguf`].
    ///
    /// # Errors
    ///
    /// The template fails and its family is not known.
    pub fn from_source(source: &str, bos: &str, eos: &str) -> Result<Self> {
        let tried = engine::Engine::new(source, bos, eos).and_then(|engine| {
            engine.render(&[Message::user("Hello")], &ChatOptions::default())?;
            Ok(engine)
        });
        match (tried, Family::of(source)) {
            (Ok(engine), _) => Ok(Self {
                engine,
                replaced: None,
            }),
            // Its thread still runs: nothing is to be built on that.
            (Err(error @ Error::Endless { .. }), _) | (Err(error), None) => Err(error),
            (Err(error), Some(family)) => Ok(Self {
                replaced: Some((family, error.to_string())),
                ..Self::of_family(family, bos, eos)?
            }),
        }
    }

    /// Our own template for `family`.
    ///
    /// # Errors
    ///
    /// None: these templates compile.
    pub fn of_family(family: Family, bos: &str, eos: &str) -> Result<Self> {
        Ok(Self {
            engine: engine::Engine::new(family.source(), bos, eos)?,
            replaced: None,
        })
    }

    /// The family whose template of ours is used because that of the file failed, and why it failed.
    pub fn replaced(&self) -> Option<(Family, &str)> {
        self.replaced.as_ref().map(|(f, why)| (*f, why.as_str()))
    }

    /// The text of a conversation.
    ///
    /// For tokens use [`ChatTemplate::encode`]: in this text, control tokens of the template cannot be told from those that
    /// a message spells.
    ///
    /// # Errors
    ///
    /// The template rejects the conversation, or runs out of fuel.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        self.engine.render(messages, options)
    }

    /// The tokens of a conversation: one BOS at most, control tokens only from the template.
    ///
    /// # Errors
    ///
    /// Those of [`ChatTemplate::render`].
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<Vec<u32>> {
        let guard = guard::Guard::new(tokenizer.control_texts(), messages)?;
        let render = |marks| {
            let marked: Vec<Message> = messages.iter().map(|m| guard.mark(m, marks)).collect();
            let rendered = self.engine.render(&marked, options)?;
            Ok(guard.unmark(&rendered))
        };
        let (text, guards) = match (render(Marks::Spelled)?, render(Marks::Every)) {
            ((text, _), Ok((same, guards))) if same == text => (text, guards),
            (spelled, _) => spelled,
        };
        let parse = EncodeOptions {
            add_special: false,
            parse_special: true,
        };
        let mut ids = tokenizer.encode_guarded(&text, &parse, &guards);
        let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
        if let Some(bos) = bos.filter(|bos| ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }
}

/// The failure of a template.
fn fault(reason: impl core::fmt::Display) -> Error {
    Error::Template {
        reason: reason.to_string(),
    }
}
