//! One answer, printed as it comes.

use std::io::Write;
use std::time::Instant;

use wattle::Result;
use wattle::generate::{End, Forward, GenerateOptions, Session};
use wattle::meter::Speed;
use wattle::meter::energy::Timing;
use wattle::sample::Sampler;

use super::energy::Answers;
use super::interrupt::Interrupt;
use super::{progress, say, written};

/// What came of a prompt.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) speed: Speed,
    pub(crate) end: End,
}

/// Prints the answer to `prompt` as it comes, until it ends or Ctrl-C ends it.
pub(crate) fn answer(
    session: &mut Session<'_>,
    prompt: &[u32],
    sampler: &mut Sampler,
    options: GenerateOptions,
    interrupt: &Interrupt,
    energy: &Answers,
    out: &mut dyn Write,
) -> Result<Answer> {
    let answering = interrupt.answering();
    let bar = progress::Tokens::new("reading");
    let context = session.capacity();
    let mut go_on = |done, total| {
        bar.at(done, total);
        answering.go_on()
    };
    energy.mark();
    let begin = Instant::now();
    let mut pieces = session.generate_watched(prompt, sampler, options, &mut go_on)?;
    energy.mark();
    let prompt_end = Instant::now();
    let mut text = String::new();
    while !answering.is_over() {
        let Some(piece) = pieces.next() else { break };
        let piece = piece?.text;
        written(out.write_all(piece.as_bytes()).and_then(|()| out.flush()))?;
        text.push_str(&piece);
    }
    let speed = *pieces.speed();
    energy.add(Timing {
        begin,
        prompt: speed.prefill.tokens,
        prompt_end,
        generated: speed.decode.tokens,
        end: Instant::now(),
    });
    let end = pieces.end().unwrap_or(End::Stopped);
    if end == End::Context {
        say(format_args!(
            "\nwattle: the context of {context} tokens is full; -c raises it, and --context-shift goes on without its middle"
        ));
    }
    Ok(Answer { text, speed, end })
}
