//! Ctrl-C: it ends the answer that is being given, and the program when none is.
//!
//! Two flags that the signal handler may touch. While `leaves` is set a Ctrl-C ends the process at once, with exit code 130. During an
//! answer it is unset: the first Ctrl-C sets `asked`, which the answer looks at after every token, and then `leaves`, so that a second
//! one is obeyed even when the model is stuck in a long batch.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;
use signal_hook::flag;
use wattle::{Error, Result};

/// Exit code of a program that Ctrl-C ended, as shells have it: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// The handler of Ctrl-C; lives until the process ends.
#[derive(Debug)]
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    leaves: Arc<AtomicBool>,
}

/// An answer is being given.
#[derive(Debug)]
pub(crate) struct Answering<'a>(&'a Interrupt);

impl Interrupt {
    /// Takes over Ctrl-C; until an answer begins it ends the process.
    pub(crate) fn install() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let leaves = Arc::new(AtomicBool::new(true));
        // Run in this order at every signal: leave if leaving is due, else ask and make leaving due.
        flag::register_conditional_shutdown(SIGINT, EXIT_CODE.into(), Arc::clone(&leaves))
            .and_then(|_| flag::register(SIGINT, Arc::clone(&asked)))
            .and_then(|_| flag::register(SIGINT, Arc::clone(&leaves)))
            .map_err(|source| Error::io(Path::new("Ctrl-C"), "install a handler", source))?;
        Ok(Self { asked, leaves })
    }

    /// From now until the result is dropped, Ctrl-C ends the answer.
    pub(crate) fn answering(&self) -> Answering<'_> {
        self.asked.store(false, Ordering::SeqCst);
        self.leaves.store(false, Ordering::SeqCst);
        Answering(self)
    }
}

impl Answering<'_> {
    /// Whether the answer should end.
    pub(crate) fn is_over(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.leaves.store(true, Ordering::SeqCst);
    }
}
