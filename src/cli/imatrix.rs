//! `wattle imatrix`: learns from a text how much each column of a model's matrices matters, for `wattle quantize --imatrix`.
//!
//! The file is llama.cpp's, and so are its numbers: either program can use those of the other.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use wattle::error::counted;
use wattle::imatrix::Imatrix;
use wattle::importance::{LearnOptions, learn};
use wattle::meter::Phase;
use wattle::os::Draft;
use wattle::perplexity::Chunks;
use wattle::{Error, Result};

use super::input::TextArgs;
use super::interrupt::Interrupt;
use super::model::ModelArgs;
use super::{corpus, progress, say, written};

/// The flags of `wattle imatrix`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("ctx_size", |arg| arg.help(
    "Tokens of a chunk; 0 = as many as the model was trained for [default: 512]"
)))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// The file to write; an importance matrix of that name is replaced
    #[arg(
        short,
        long,
        visible_alias = "output-file",
        value_name = "FILE",
        default_value = "imatrix.gguf"
    )]
    output: PathBuf,
    /// Learn from the first N chunks only
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Learn about the output head too
    #[arg(long)]
    process_output: bool,
    /// Take control tokens that are spelled out in the text as such
    #[arg(long)]
    parse_special: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    check_output(&args.output)?;
    let text = args.text.read()?;
    let interrupt = Interrupt::install_for_work()?;
    let model = args.model.load()?;
    let context = corpus::context(&model, args.model.ctx_size()).unwrap_or(corpus::CONTEXT);
    let tokens = corpus::encode(model.tokenizer()?, &text, args.parse_special);
    let chunks = Chunks::new(&tokens, context, args.chunks, corpus::bos(&model)?)?;

    let mut session = args.model.session_of(&model, Some(context))?;
    let bar = progress::Tokens::new("learning");
    let answering = interrupt.answering();
    let mut go_on = |done, total| {
        bar.at(done, total);
        answering.go_on()
    };
    let options = LearnOptions {
        output: args.process_output,
    };
    let start = Instant::now();
    let imatrix = learn(&mut session, &chunks, args.text.name(), options, &mut go_on)?;
    if answering.is_over() {
        return Ok(interrupt.exit_code());
    }
    let mut work = Phase::default();
    work.add(chunks.tokens().len(), start.elapsed());
    imatrix.save(&args.output)?;

    let file = args.output.display();
    let tensors = counted(imatrix.tensors().len(), "tensor");
    let count = counted(chunks.count(), "chunk");
    written(writeln!(
        out,
        "{file}: {tensors}, {count} of {context} tokens"
    ))?;
    say(format_args!(
        "{} in {:.2} s, {:.1} tok/s",
        counted(work.tokens, "token"),
        work.time.as_secs_f64(),
        work.rate().unwrap_or_default()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Refuses a file that could not be written, and to write over anything but an importance matrix, before the work is done.
fn check_output(path: &Path) -> Result<()> {
    let replaced = path.is_file() && Imatrix::open(path).is_ok();
    if replaced || !path.exists() {
        return Draft::create(path).map(drop);
    }
    Err(Error::Argument {
        name: "-o",
        value: path.display().to_string(),
        expected: "a new file, or an importance matrix, which is replaced".into(),
    })
}
