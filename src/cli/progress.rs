//! What moves on standard error while the user waits: only at a terminal, gone when the work is done.

use core::time::Duration;
use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Something is being done, and how long it takes is not known. Disappears when dropped.
#[derive(Debug)]
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    pub(crate) fn new(what: String) -> Self {
        let bar = ProgressBar::with_draw_target(None, target())
            .with_style(ProgressStyle::default_spinner())
            .with_message(what);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self(bar)
    }

    /// One that moves only when something is [said](Self::say), and never if `hidden`.
    pub(crate) fn still(hidden: bool) -> Self {
        let target = match hidden {
            true => ProgressDrawTarget::hidden(),
            false => target(),
        };
        Self(
            ProgressBar::with_draw_target(None, target)
                .with_style(ProgressStyle::default_spinner()),
        )
    }

    /// Changes what is said.
    pub(crate) fn say(&self, what: String) {
        self.0.set_message(what);
        self.0.tick();
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Tokens on their way through the model. Shown from the second batch on, since a short prompt is done before it could be read.
#[derive(Debug)]
pub(crate) struct Tokens(ProgressBar);

impl Tokens {
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let style = "{msg} {wide_bar} {pos}/{len} tokens, {eta} left";
        // The template is ours and correct; a plain bar is no loss should it not be.
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar.with_message(what))
    }

    /// Changes what is said before the bar.
    pub(crate) fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// `done` of `total` tokens are through.
    pub(crate) fn at(&self, done: usize, total: usize) {
        if done == total {
            self.0.finish_and_clear();
        } else if done > 0 {
            if self.0.is_hidden() {
                self.0.set_draw_target(target());
                self.0.set_length(total as u64);
            }
            self.0.set_position(done as u64);
        }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Bytes of a model that are converted.
#[derive(Debug)]
pub(crate) struct Bytes(ProgressBar);

impl Bytes {
    pub(crate) fn new(total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target());
        let style = "{msg:32!} {wide_bar} {bytes}/{total_bytes}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// `done` bytes are through; `what` is at work.
    pub(crate) fn at(&self, done: u64, what: &str) {
        if !self.0.is_hidden() {
            self.0.set_message(what.to_owned());
            self.0.set_position(done);
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn target() -> ProgressDrawTarget {
    if stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}
