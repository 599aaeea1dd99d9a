//! `wattle perplexity`: how well a model predicts a text, and how far it is from another model.
//!
//! One line, `perplexity 12.3456 +/- 0.1234`, or a line for each number of a comparison, or the same as JSON. Numbers are
//! comparable with those of llama.cpp's perplexity tool, and so are the files of `--kl-base`.
//!
//! **JSON** (`--json`). One object; fields are added over time, never renamed or removed. `x_error` is one standard deviation
//! of `x`, `null` from a single token and beyond 1e308.
//!
//! | field | content |
//! |---|---|
//! | `model` | path as given |
//! | `ppl`, `ppl_error` | perplexity; `null` beyond 1e308, which `nll` tells then |
//! | `nll`, `nll_error` | mean negative log-probability, `ln(ppl)`; always a number |
//! | `bits_per_byte` | of the text of the scored tokens; absent when one of them spells nothing |
//! | `context`, `chunks` | tokens of a chunk, number of chunks |
//! | `scored_tokens`, `tokens` | tokens with a probability; tokens that went through the model |
//! | `seconds`, `tokens_per_second` | of the model |
//! | `base` | after `--kl-divergence`: see below |
//!
//! `base` holds `file`; `ppl`, `ln_ppl_ratio`, `ppl_ratio`, `kl`, `p_change`, `p_change_rms` and `same_top`, each with its error;
//! `kl_median`, `kl_99`, `kl_99_9` and `kl_max`. Ratios too are `null` beyond 1e308; `ln_ppl_ratio` is always a number.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use wattle::error::counted;
use wattle::meter::Phase;
use wattle::perplexity::{Base, Chunks, Divergence, Judge, Mean, Perplexity, Saving, measure};
use wattle::{Error, Model, Result};

use super::input::TextArgs;
use super::interrupt::{Answering, Interrupt};
use super::model::ModelArgs;
use super::{corpus, progress, say};

mod report;

use report::Outcome;

/// The flags of `wattle perplexity`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("ctx_size", |arg| arg.help(
    "Tokens of a chunk; 0 = as many as the model was trained for [default: 512, or what the file of --kl-divergence has]"
)))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Measure the first N chunks only
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Save the model's distributions in FILE, or compare with those in it (--kl-divergence)
    #[arg(
        long,
        value_name = "FILE",
        alias = "save-all-logits",
        alias = "kl-divergence-base"
    )]
    kl_base: Option<PathBuf>,
    /// Compare the model with the one that --kl-base was saved from, on that one's text
    #[arg(long, requires = "kl_base")]
    kl_divergence: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let base = match (&args.kl_base, args.kl_divergence) {
        (Some(path), true) => Some(Base::open(path)?),
        _ => None,
    };
    let text = match base {
        Some(_) => args.text.given()?,
        None => Some(args.text.read()?),
    };
    let interrupt = Interrupt::install_for_work()?;
    let model = args.model.load()?;
    let n_vocab = model.transformer().config().n_vocab;
    let context = context(args, &model, base.as_ref())?;

    let mut tokens = Vec::new();
    if let Some(base) = &base {
        base.check_vocab(n_vocab)?;
        tokens.extend_from_slice(base.tokens());
    }
    if let Some(text) = text {
        let text = corpus::encode(model.tokenizer()?, &text, false);
        match &base {
            Some(base) => {
                let compared = args
                    .chunks
                    .map_or(usize::MAX, |n| n.saturating_mul(context));
                base.check_text(&text, compared)?;
            }
            None => tokens = text,
        }
    }
    let chunks = Chunks::new(&tokens, context, args.chunks, corpus::bos(&model)?)?;

    let Some(done) = outcome(args, &model, &chunks, base, &interrupt)? else {
        return Ok(interrupt.exit_code());
    };
    if args.json {
        report::json(&done, &model, &chunks, args.kl_base.as_deref(), out)?;
    } else {
        report::lines(&done, out)?;
    }
    say(format_args!(
        "{} of {context} tokens, {} scored; {} in {:.2} s, {:.1} tok/s",
        counted(chunks.count(), "chunk"),
        done.nll.count(),
        counted(done.work.tokens, "token"),
        done.work.time.as_secs_f64(),
        done.work.rate().unwrap_or_default()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Tokens of a chunk: what the file of a comparison has, what the flag says, or 512.
fn context(args: &Args, model: &Model, base: Option<&Base>) -> Result<usize> {
    let asked = corpus::context(model, args.model.ctx_size());
    match (base.map(Base::context), asked) {
        (Some(of_file), Some(asked)) if of_file != asked => Err(Error::Argument {
            name: "-c",
            value: asked.to_string(),
            expected: format!("{of_file}, the chunk that --kl-base was saved with, or no -c"),
        }),
        (Some(of_file), _) => Ok(of_file),
        (None, asked) => Ok(asked.unwrap_or(corpus::CONTEXT)),
    }
}

/// Measures with the judge that the flags ask for. `None` after Ctrl-C.
fn outcome(
    args: &Args,
    model: &Model,
    chunks: &Chunks<'_>,
    base: Option<Base>,
    interrupt: &Interrupt,
) -> Result<Option<Outcome>> {
    let n_vocab = model.transformer().config().n_vocab;
    let mut comparison = None;
    // Before a file is begun, and until it has its name: Ctrl-C leaves no part of one.
    let answering = interrupt.answering();
    let (nll, work) = match (base, &args.kl_base) {
        (Some(base), _) => {
            let mut judge = Divergence::new(base, n_vocab)?;
            let work = run_past(&mut judge, args, model, chunks, &answering)?;
            let nll = *judge.nll();
            comparison = judge.finish();
            (nll, work)
        }
        (None, Some(path)) => {
            let mut judge = Saving::create(path, chunks, n_vocab)?;
            let work = run_past(&mut judge, args, model, chunks, &answering)?;
            let nll = *judge.nll();
            if work.is_some() {
                judge.finish()?;
            }
            (nll, work)
        }
        (None, None) => {
            let mut judge = Perplexity::default();
            let work = run_past(&mut judge, args, model, chunks, &answering)?;
            (*judge.nll(), work)
        }
    };
    Ok(work.map(|work| Outcome {
        nll,
        comparison,
        work,
    }))
}

/// Runs the chunks past `judge`. `None` after Ctrl-C.
fn run_past(
    judge: &mut dyn Judge,
    args: &Args,
    model: &Model,
    chunks: &Chunks<'_>,
    answering: &Answering<'_>,
) -> Result<Option<Phase>> {
    let mut session = args.model.session_of(model, Some(chunks.context()))?;
    let bar = progress::Tokens::new("measuring");
    let start = Instant::now();
    let mut go_on = |done, total, nll: &Mean| {
        if nll.count() > 0 {
            bar.say(format!("perplexity {:.2}", nll.estimate().exp()));
        }
        bar.at(done, total);
        answering.go_on()
    };
    measure(&mut session, model.pool(), chunks, judge, &mut go_on)?;
    let mut work = Phase::default();
    work.add(chunks.run(), start.elapsed());
    Ok((!answering.is_over()).then_some(work))
}
