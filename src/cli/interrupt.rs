//! Ctrl-C: it ends the answer that is being given, and the program when none is.
//!
//! Two flags that the signal handler may touch. While `leaves` is set a Ctrl-C ends the process at once, with exit code 130. During an
//! answer it is unset: the first Ctrl-C sets `asked`, which the answer looks at after every token, and then `leaves`, so that a second
//! one is obeyed even when the model is stuck in a long batch.
//!
//! Work that writes a file takes SIGTERM (`kill`, `timeout`, a service that is stopped) the same way, so that no unfinished file stays
//! behind. Not SIGHUP: a handler would undo `nohup`.

use core::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use wattle::{Error, Result};

/// The handler of Ctrl-C; lives until the process ends.
#[derive(Debug)]
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    leaves: Arc<AtomicBool>,
    /// The exit code that the signal asks for.
    code: Arc<AtomicUsize>,
}

/// An answer is being given.
#[derive(Debug)]
pub(crate) struct Answering<'a>(&'a Interrupt);

impl Interrupt {
    /// Takes over Ctrl-C; until an answer begins it ends the process.
    pub(crate) fn install() -> Result<Self> {
        let interrupt = Self {
            asked: Arc::default(),
            leaves: Arc::new(AtomicBool::new(true)),
            code: Arc::new(AtomicUsize::new(usize::from(exit_code(SIGINT)))),
        };
        interrupt.listen(SIGINT)?;
        Ok(interrupt)
    }

    /// Takes over Ctrl-C and SIGTERM, for one piece of work (the answer) after which the process ends.
    pub(crate) fn install_for_work() -> Result<Self> {
        let interrupt = Self::install()?;
        interrupt.listen(SIGTERM)?;
        Ok(interrupt)
    }

    /// As [`install_for_work`](Self::install_for_work), for work that must put something back before the process ends: a second signal
    /// does not end it at once.
    pub(crate) fn install_for_restoring() -> Result<Self> {
        let interrupt = Self {
            asked: Arc::default(),
            leaves: Arc::default(),
            code: Arc::new(AtomicUsize::new(usize::from(exit_code(SIGINT)))),
        };
        for signal in [SIGINT, SIGTERM] {
            let code = exit_code(signal);
            flag::register_usize(signal, Arc::clone(&interrupt.code), code.into())
                .and_then(|_| flag::register(signal, Arc::clone(&interrupt.asked)))
                .map_err(no_handler)?;
        }
        Ok(interrupt)
    }

    fn listen(&self, signal: i32) -> Result<()> {
        let code = exit_code(signal);
        // Run in this order at every signal: leave if leaving is due, else ask and make leaving due.
        flag::register_conditional_shutdown(signal, code.into(), Arc::clone(&self.leaves))
            .and_then(|_| flag::register_usize(signal, Arc::clone(&self.code), code.into()))
            .and_then(|_| flag::register(signal, Arc::clone(&self.asked)))
            .and_then(|_| flag::register(signal, Arc::clone(&self.leaves)))
            .map_err(no_handler)?;
        Ok(())
    }

    /// The exit code of a program that ends because it was asked to.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let code = self.code.load(Ordering::SeqCst);
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }

    /// From now until the result is dropped, Ctrl-C ends the answer.
    pub(crate) fn answering(&self) -> Answering<'_> {
        self.asked.store(false, Ordering::SeqCst);
        self.leaves.store(false, Ordering::SeqCst);
        Answering(self)
    }
}

fn no_handler(source: std::io::Error) -> Error {
    Error::io(Path::new("Ctrl-C"), "install a handler", source)
}

/// Exit code of a program that a signal ended, as shells have it.
fn exit_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}

impl Answering<'_> {
    /// Whether the answer should end.
    pub(crate) fn is_over(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// The same, as long work asks for it.
    pub(crate) fn go_on(&self) -> ControlFlow<()> {
        match self.is_over() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.leaves.store(true, Ordering::SeqCst);
    }
}
