//! `--prompt-cache`: the beginning of a prompt that an earlier run has computed.
//!
//! A file that cannot be used is no failure: it is told of on stderr, the prompt is computed, and the file is replaced.

use std::path::PathBuf;

use wattle::error::counted;
use wattle::generate::{Forward, PromptCache, Session};

use super::say;

/// The flags of the file.
#[derive(Debug, clap::Args)]
pub(crate) struct PromptCacheArgs {
    /// Keep what the model remembers of the prompt in FILE, for a faster start of the next run that begins alike
    #[arg(long, value_name = "FILE")]
    prompt_cache: Option<PathBuf>,
    /// Only read that file, never write it
    #[arg(long, requires = "prompt_cache")]
    prompt_cache_ro: bool,
}

/// The file at work on one prompt.
#[derive(Debug)]
pub(crate) struct Kept<'p> {
    cache: Option<PromptCache>,
    prompt: &'p [u32],
    /// Tokens of the prompt that need not be computed.
    pub(crate) known: usize,
    /// The file has all of the prompt that it can have, or is only read.
    settled: bool,
}

impl PromptCacheArgs {
    /// Whether there is a file.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.prompt_cache.is_some()
    }

    /// Fills an empty session with as much of `prompt` as the file has.
    pub(crate) fn load<'p>(&self, session: &mut Session<'_>, prompt: &'p [u32]) -> Kept<'p> {
        let path = self.prompt_cache.as_deref();
        let cache = path.map(|path| PromptCache::new(path, session));
        let mut settled = self.prompt_cache_ro;
        let mut known = 0;
        if let Some(cache) = &cache {
            match cache.load(session) {
                Ok(false) => {}
                Ok(true) => {
                    let whole = prompt.len() / session.batch() * session.batch();
                    settled |= session.tokens().starts_with(&prompt[..whole]);
                    known = prompt.len() - session.resume_passes(prompt).len();
                    say(format_args!(
                        "wattle: note: {known} of {} of the prompt from {}",
                        counted(prompt.len() as u64, "token"),
                        cache.path().display()
                    ));
                }
                Err(fault) => say(format_args!("wattle: warning: {fault}")),
            }
        }
        Kept {
            cache,
            prompt,
            known,
            settled,
        }
    }
}

impl<'p> Kept<'p> {
    /// What of the prompt is still to be computed.
    pub(crate) fn rest(&self) -> &'p [u32] {
        &self.prompt[self.known..]
    }

    /// Writes what `session` has of the prompt now, unless the file has it.
    pub(crate) fn save(&self, session: &Session<'_>) {
        let Some(cache) = self.cache.as_ref().filter(|_| !self.settled) else {
            return;
        };
        match cache.save(session, self.prompt.len()) {
            Ok(true) => {}
            Ok(false) => say(format_args!(
                "wattle: note: nothing is kept in {}: the prompt has less than {}, which are run at once (-b)",
                cache.path().display(),
                counted(session.batch() as u64, "token")
            )),
            Err(fault) => say(format_args!("wattle: warning: {fault}")),
        }
    }
}
