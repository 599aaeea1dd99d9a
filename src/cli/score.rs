//! `wattle score`: the log-probability of every token of a text.
//!
//! One line a token (position, id, log-probability, text) and one for the total, or the same as JSON. With `--logits` the raw
//! logits go to a file too, one row a token, what the model says after it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use wattle::error::counted;
use wattle::generate::{Forward, Session};
use wattle::score::{Alternative, Scorer, Scores, rows};
use wattle::tokenizer::EncodeOptions;
use wattle::{Error, Result};

use super::input::{self, TextArgs};
use super::interrupt::Interrupt;
use super::model::ModelArgs;
use super::npy::NpyWriter;
use super::token::{JsonAlternative, JsonToken, Names};
use super::{progress, written};

/// The flags of `wattle score`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// The text as token ids, taken as they are; works without a tokenizer in the file
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with_all = ["prompt", "file"])]
    tokens: Option<Vec<u32>>,
    /// Do not begin with the model's BOS token
    #[arg(long)]
    no_bos: bool,
    /// Take control tokens that are spelled out in the text as such
    #[arg(long)]
    parse_special: bool,
    /// Also name the N most probable tokens in every place
    #[arg(long, value_name = "N", default_value_t = 0)]
    top: usize,
    /// Write the raw logits to FILE (.npy, float32, shape [tokens, vocabulary])
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let text = match args.tokens {
        Some(_) => None,
        None => Some(args.text.read()?),
    };
    let interrupt = Interrupt::install_for_work()?;
    let model = args.model.load()?;
    let tokenizer = model.tokenizer();
    let ids = match (&args.tokens, text) {
        (Some(ids), _) => ids.clone(),
        (None, text) => {
            let options = EncodeOptions {
                add_special: !args.no_bos,
                parse_special: args.parse_special,
            };
            input::encode(tokenizer?, &text.unwrap_or_default(), &options)
        }
    };
    let mut session = args.model.session(&model)?;
    let Some(scores) = compute(&mut session, &ids, args, &interrupt)? else {
        return Ok(interrupt.exit_code());
    };
    let names = Names::of_model(&model);
    if args.json {
        print_json(&scores, &names, out)?;
    } else {
        print_lines(&scores, &names, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Scores the tokens, and writes their logits on the way if that is wanted. `None` after Ctrl-C, which leaves no file behind.
fn compute(
    session: &mut Session<'_>,
    ids: &[u32],
    args: &Args,
    interrupt: &Interrupt,
) -> Result<Option<Scores>> {
    if ids.is_empty() {
        return Err(Error::Argument {
            name: "score",
            value: "(an empty text)".into(),
            expected: "at least one token".into(),
        });
    }
    let shape = (ids.len(), session.n_vocab());
    let answering = interrupt.answering();
    let mut npy = match &args.logits {
        Some(path) => Some(NpyWriter::create(path, shape)?),
        None => None,
    };
    let mut scorer = Scorer::new(ids, args.top);
    let bar = progress::Tokens::new("scoring");
    let mut go_on = |done, total| {
        bar.at(done, total);
        answering.go_on()
    };
    rows(session, ids, &mut go_on, &mut |position, logits| {
        if let Some(npy) = &mut npy {
            npy.row(logits)?;
        }
        scorer.push(position, logits)
    })?;
    if answering.is_over() {
        return Ok(None);
    }
    if let Some(npy) = npy {
        npy.finish()?;
    }
    Ok(Some(scorer.finish()))
}

fn print_lines(scores: &Scores, names: &Names<'_>, out: &mut dyn Write) -> Result<()> {
    for (position, token) in scores.tokens.iter().enumerate() {
        let position = position.to_string();
        written(line(out, &position, token.id, token.logprob, names))?;
        for other in &token.top {
            written(line(out, "", other.id, Some(other.logprob), names))?;
        }
    }
    if !scores.next.is_empty() {
        written(writeln!(out, "next:"))?;
    }
    for other in &scores.next {
        written(line(out, "", other.id, Some(other.logprob), names))?;
    }
    written(write!(
        out,
        "{} after the first, log-probability {:.6}",
        counted(scores.tokens.len() - 1, "token"),
        scores.total()
    ))?;
    if let Some(perplexity) = scores.perplexity() {
        written(match perplexity.is_finite() {
            true => write!(out, ", perplexity {perplexity:.4}"),
            false => write!(out, ", perplexity beyond 1e308"),
        })?;
    }
    written(writeln!(out))
}

/// `position id logprob "text"`, in columns; an alternative has no position.
fn line(
    out: &mut dyn Write,
    position: &str,
    id: u32,
    logprob: Option<f64>,
    names: &Names<'_>,
) -> std::io::Result<()> {
    let logprob = logprob.map_or_else(|| "-".into(), |logprob| format!("{logprob:.6}"));
    write!(out, "{position:>6} {id:>7} {logprob:>12}")?;
    if let Some(name) = names.of(id) {
        write!(out, "  {name:?}")?;
    }
    writeln!(out)
}

#[derive(Debug, Serialize)]
struct JsonScores {
    tokens: Vec<JsonToken>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    next: Vec<JsonAlternative>,
    /// Natural logarithm.
    logprob: f64,
    /// `null` when nothing was scored, and beyond the numbers that JSON can hold.
    perplexity: Option<f64>,
}

fn print_json(scores: &Scores, names: &Names<'_>, out: &mut dyn Write) -> Result<()> {
    let alternatives = |others: &[Alternative]| -> Vec<JsonAlternative> {
        let named = others.iter().map(|other| JsonAlternative {
            id: other.id,
            text: names.of(other.id),
            logprob: other.logprob,
        });
        named.collect()
    };
    let tokens = scores.tokens.iter().enumerate();
    let tokens = tokens.map(|(position, token)| JsonToken {
        position,
        id: token.id,
        text: names.of(token.id),
        logprob: token.logprob,
        top: alternatives(&token.top),
    });
    let json = JsonScores {
        tokens: tokens.collect(),
        next: alternatives(&scores.next),
        logprob: scores.total(),
        perplexity: scores.perplexity().filter(|ppl| ppl.is_finite()),
    };
    written(serde_json::to_writer(&mut *out, &json).map_err(Into::into))?;
    written(writeln!(out))
}
