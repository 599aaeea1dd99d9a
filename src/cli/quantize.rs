//! `wattle quantize IN OUT TYPE`: a model file to one with fewer bits a weight.
//!
//! The flags are those of `llama-quantize`, and so are the types that its rules give to the tensors. Different here: a split model
//! stays split unless `--merge` is given (`--keep-split` is accepted, and changes nothing); a file that exists is replaced with
//! `--force` only; and the new file appears when it is whole.
//!
//! **JSON** (`--json`). One object on standard output; fields are added over time, never renamed or removed.
//!
//! | field | content |
//! |---|---|
//! | `file`, `output` | path as given; paths of the new files, none after `--dry-run` |
//! | `type` | name of the mix |
//! | `tensors`, `parameters` | in all files |
//! | `bytes_in`, `bytes_out` | bytes of the tensors before and after |
//! | `bits_per_weight` | after |
//! | `seconds`, `threads` | of the conversion; `null` after `--dry-run` |
//! | `types` | `[{type, tensors, parameters, bytes, error}]`, largest first; `error` is the mean squared error of the converted tensors relative to the mean square of their weights, `null` where nothing was converted |
//! | `plan` | `[{name, shape, from, to, unfit}]` in file order; `unfit` is the type that the rows did not fit, or `null` |
//! | `unguided` | names of the tensors that are quantised although the importance matrix knows nothing of them |

mod report;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use wattle::gguf::Gguf;
use wattle::imatrix::Imatrix;
use wattle::pool::Pool;
use wattle::quantize::{self, Mix, Options, TensorType, unguided, writable};
use wattle::{Error, Result};

use super::interrupt::Interrupt;
use super::{progress, written};
use report::Report;

/// Arguments of `wattle quantize`.
#[derive(Debug, clap::Args)]
#[command(after_help = TYPES)]
pub(crate) struct Args {
    /// The model, best in F32, F16 or BF16; of a split model the first file
    #[arg(value_name = "IN")]
    model: PathBuf,
    /// The new file; may be left out with --dry-run
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The type, or mix of types (see below)
    #[arg(value_name = "TYPE", required_unless_present = "dry_run")]
    ty: Option<String>,
    /// Threads, as -t
    #[arg(value_name = "THREADS")]
    n_threads: Option<usize>,
    /// Importance matrix, from `wattle imatrix` or llama-imatrix
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// Convert tensors that are quantised already, which loses quality
    #[arg(long)]
    allow_requantize: bool,
    /// One type for all tensors, without the rules of the mix
    #[arg(long)]
    pure: bool,
    /// Leave output.weight as it is
    #[arg(long)]
    leave_output_tensor: bool,
    /// Type of output.weight
    #[arg(long, value_name = "TYPE")]
    output_tensor_type: Option<String>,
    /// Type of the token embeddings
    #[arg(long, value_name = "TYPE")]
    token_embedding_type: Option<String>,
    /// Type of the tensors in whose names a regular expression is found; the first that fits counts
    #[arg(long, value_name = "PATTERN=TYPE")]
    tensor_type: Vec<String>,
    /// Keep the files of a split model: the default, accepted for llama-quantize's users
    #[arg(long)]
    keep_split: bool,
    /// Write a split model to one file
    #[arg(long, conflicts_with = "keep_split")]
    merge: bool,
    /// Replace files that exist
    #[arg(short, long)]
    force: bool,
    /// Only say what would become of each tensor
    #[arg(long)]
    dry_run: bool,
    /// Threads [default: the big cores that this process may use]
    #[arg(short, long, value_name = "N", conflicts_with = "n_threads")]
    threads: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--help` says of the types.
const TYPES: &str = "Types, with bits a weight:
  F32 F16 BF16             32, 16, 16
  Q8_0                     8.5             next to no loss
  Q6_K Q5_K_M Q5_K_S       6.6, 5.7, 5.5
  Q4_K_M Q4_K_S            4.8, 4.6        Q4_K_M suits most
  IQ4_NL IQ4_XS            4.5, 4.3
  Q3_K_L Q3_K_M Q3_K_S     4.2, 3.9, 3.5   with --imatrix
  Q2_K                     3.0             with --imatrix
  Q5_1 Q5_0 Q4_1 Q4_0      6.0, 5.5, 5.0, 4.5
  MXFP4_MOE                4.25 for experts, Q8_0 for the rest
Q3_K, Q4_K and Q5_K mean their _M, MXFP4 means MXFP4_MOE.";

impl Args {
    /// The new file and the mix. With `--dry-run` the file may be missing, and the type stands in its place.
    fn target(&self) -> Result<(&Path, &'static Mix)> {
        let given = match &self.ty {
            Some(ty) => ty.clone(),
            None => self.out.to_string_lossy().into_owned(),
        };
        let mix = Mix::named(&given).ok_or_else(|| {
            let names: Vec<_> = Mix::all().iter().map(|mix| mix.name).collect();
            Error::Argument {
                name: "TYPE",
                value: given,
                expected: format!("one of {}", names.join(", ")),
            }
        })?;
        Ok((&self.out, mix))
    }

    fn options(&self, mix: &'static Mix) -> Result<Options> {
        let ty = |flag, given: &Option<String>| {
            let given = given.as_deref();
            given.map(|name| writable(flag, name)).transpose()
        };
        let patterns = self.tensor_type.iter();
        Ok(Options {
            imatrix: self.imatrix.as_deref().map(Imatrix::open).transpose()?,
            allow_requantize: self.allow_requantize,
            pure: self.pure,
            leave_output: self.leave_output_tensor,
            output_type: ty("--output-tensor-type", &self.output_tensor_type)?,
            embedding_type: ty("--token-embedding-type", &self.token_embedding_type)?,
            tensor_types: patterns
                .map(|text| TensorType::parse(text))
                .collect::<Result<_>>()?,
            merge: self.merge,
            replace: self.force,
            ..Options::new(mix)
        })
    }
}

/// Quantises a file.
///
/// # Errors
///
/// Flags, files or weights that cannot be used; `out` cannot be written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let (path, mix) = args.target()?;
    let options = args.options(mix)?;
    let interrupt = Interrupt::install_for_work()?;
    let model = Gguf::open(&args.model)?;
    let steps = quantize::plan(&model, &options)?;
    let mut report = Report::new(&model, mix, &steps);
    if let Some(imatrix) = &options.imatrix {
        report.unguided = unguided(&steps, imatrix);
    }
    if !args.dry_run {
        let pool = Pool::new(args.threads.or(args.n_threads))?;
        let started = Instant::now();
        let bar = progress::Bytes::new(report.summary.bytes_in);
        let answering = interrupt.answering();
        let mut go_on = |at: quantize::Progress<'_>| {
            bar.at(at.done_bytes, at.tensor);
            answering.go_on()
        };
        let done = quantize::write(&model, path, &steps, &options, &pool, &mut go_on)?;
        let Some(done) = done else {
            return Ok(interrupt.exit_code());
        };
        report.finish(done, started.elapsed(), pool.threads());
    }
    if args.json {
        return written(report.json(out)).map(|()| ExitCode::SUCCESS);
    }
    if args.dry_run {
        written(report.table(out))?;
    }
    report.say();
    Ok(ExitCode::SUCCESS)
}
