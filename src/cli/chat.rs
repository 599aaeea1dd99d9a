//! A conversation: turns are read from standard input, answered, and kept.
//!
//! Every turn renders the whole history with the model's template; the session keeps what it has in common with the turn
//! before, so that only the new end is computed. A template that drops earlier reasoning works so too.

use std::io::Write;

use wattle::Result;
use wattle::chat::{ChatOptions, ChatTemplate, Message};
use wattle::generate::{GenerateOptions, Session};
use wattle::meter::Speed;
use wattle::sample::Sampler;

use super::answer::{Answer, answer};
use super::energy::Answers;
use super::input;
use super::interrupt::Interrupt;
use super::{say, written};

/// What a conversation starts from.
#[derive(Debug)]
pub(crate) struct Opening {
    /// What the model is told before everything else.
    pub(crate) system: Option<String>,
    /// The first message of the user; read like the others when not given.
    pub(crate) first: Option<String>,
    /// End after the first answer.
    pub(crate) single_turn: bool,
}

fn message(role: &str, content: String) -> Message {
    Message {
        role: role.into(),
        content,
    }
}

/// A history that begins with what the model is told before everything else.
fn told(system: Option<String>) -> Vec<Message> {
    let system = system.into_iter();
    system.map(|text| message("system", text)).collect()
}

/// The tokens of a conversation of one message, which the model is to answer.
pub(crate) fn opening(
    session: &Session<'_>,
    template: &ChatTemplate,
    system: Option<String>,
    first: String,
) -> Result<Vec<u32>> {
    let mut history = told(system);
    history.push(message("user", first));
    let tokenizer = session.model().tokenizer()?;
    template.encode(tokenizer, &history, &ChatOptions::default())
}

/// Talks until the input ends; returns the speed of all answers together.
pub(crate) fn talk(
    session: &mut Session<'_>,
    template: &ChatTemplate,
    sampler: &mut Sampler,
    options: GenerateOptions,
    opening: Opening,
    interrupt: &Interrupt,
    energy: &Answers,
    out: &mut dyn Write,
) -> Result<Speed> {
    let mut history: Vec<Message> = told(opening.system);
    let mut first = opening.first;
    let mut speed = Speed::default();
    loop {
        let said = match first.take() {
            Some(text) => text,
            None => match input::read_line()? {
                Some(line) => line,
                None => break,
            },
        };
        if said.trim().is_empty() {
            continue;
        }
        history.push(message("user", said));
        let prompt = template.encode(
            session.model().tokenizer()?,
            &history,
            &ChatOptions::default(),
        )?;
        let rest = session.resume(&prompt);
        let Answer {
            text, speed: this, ..
        } = answer(session, rest, sampler, options, interrupt, energy, out)?;
        written(writeln!(out).and_then(|()| out.flush()))?;
        speed.add(&this);
        history.push(message("assistant", text));
        if opening.single_turn {
            break;
        }
    }
    if input::is_typed() {
        say(format_args!(""));
    }
    Ok(speed)
}
