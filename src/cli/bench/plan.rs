//! What the flags of `wattle bench` ask for: setups and tests, in llama-bench's order.

use std::path::Path;

use wattle::meter::export::Columns;
use wattle::meter::record::Test;
use wattle::model::CacheType;
use wattle::{Error, Result};
use wattle_boards::Topology;

use super::Args;
use super::list::{Numbers, Pair};
use super::rival::Rival;

/// What the flags ask for, checked.
pub(super) struct Plan<'a> {
    pub(super) args: &'a Args,
    pub(super) models: Vec<Option<&'a Path>>,
    pub(super) setups: Vec<Asked>,
    pub(super) tests: Vec<Test>,
    pub(super) rival: Option<Rival>,
    /// The cores of this process, before it keeps to some of them.
    pub(super) cores: Vec<usize>,
}

/// A setup as it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) batch: usize,
    /// At most `batch`.
    pub(super) ubatch: usize,
    pub(super) threads: Option<usize>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(args: &'a Args) -> Result<Self> {
        let machine = Topology::here();
        let cores: Vec<usize> = machine.cores().iter().map(|core| core.id).collect();
        if args.repetitions == 0 {
            return Err(at_least_one("-r"));
        }
        if args.against.is_some() && args.model.is_empty() {
            return Err(Error::Argument {
                name: "--against",
                value: "without -m".into(),
                expected: "a model FILE that both programs can read".into(),
            });
        }
        let words = args.against_args.as_deref().unwrap_or("");
        let rival = args.against.as_ref().map(|program| Rival {
            program: program.clone(),
            args: words.split_whitespace().map(String::from).collect(),
            cores: cores.clone(),
        });
        Ok(Self {
            models: match args.model.as_slice() {
                [] => vec![None],
                models => models.iter().map(|path| Some(path.as_path())).collect(),
            },
            setups: setups(args)?,
            tests: tests(args)?,
            args,
            rival,
            cores,
        })
    }

    /// How many tests there are in all.
    pub(super) fn count(&self) -> usize {
        self.models.len() * self.setups.len() * self.tests.len()
    }

    pub(super) fn columns(&self) -> Columns {
        let other = |usual: usize, of: fn(&Asked) -> usize| {
            self.setups.iter().any(|asked| of(asked) != usual)
        };
        Columns {
            batch: other(BATCH, |asked| asked.batch),
            ubatch: other(UBATCH, |asked| asked.ubatch),
            cache: self.cache() != CacheType::default(),
            against: self.rival.is_some(),
            ..Columns::default()
        }
    }

    pub(super) fn cache(&self) -> CacheType {
        self.args.cache_type.into()
    }
}

/// What llama-bench takes where the flags do not say.
const BATCH: usize = 2048;
const UBATCH: usize = 512;

/// The setups in llama-bench's order.
fn setups(args: &Args) -> Result<Vec<Asked>> {
    let batches = positive("-b", &args.batch_size, Some(BATCH))?;
    let ubatches = positive("-ub", &args.ubatch_size, Some(UBATCH))?;
    let threads = positive("-t", &args.threads, None)?;
    let threads: Vec<Option<usize>> = match threads.as_slice() {
        [] => vec![None],
        threads => threads.iter().copied().map(Some).collect(),
    };
    let mut setups = Vec::new();
    for &batch in &batches {
        for &ubatch in &ubatches {
            setups.extend(threads.iter().map(|&threads| Asked {
                batch,
                ubatch: ubatch.min(batch),
                threads,
            }));
        }
    }
    Ok(setups)
}

/// The tests in llama-bench's order; at every depth prompts, then decodings, then both.
fn tests(args: &Args) -> Result<Vec<Test>> {
    let prompts = numbers(&args.n_prompt, Some(512));
    let generated = numbers(&args.n_gen, Some(128));
    let alone = prompts.iter().map(|&n| (n, 0));
    let alone = alone.chain(generated.iter().map(|&n| (0, n)));
    let pairs: Vec<(usize, usize)> = alone
        .chain(
            args.pg
                .iter()
                .map(|&Pair(prompt, generated)| (prompt, generated)),
        )
        .filter(|&pair| pair != (0, 0))
        .collect();
    if pairs.is_empty() {
        return Err(Error::Argument {
            name: "-p, -n and -pg",
            value: "0".into(),
            expected: "a number of tokens above 0 in one of them, or there is no test".into(),
        });
    }
    let depths = numbers(&args.n_depth, Some(0));
    let at = |&depth: &usize| {
        let test = move |&(prompt, generated): &(usize, usize)| Test {
            prompt,
            generated,
            depth,
        };
        pairs.iter().map(test).collect::<Vec<_>>()
    };
    Ok(depths.iter().flat_map(at).collect())
}

/// The numbers of a flag, all its uses together.
fn numbers(lists: &[Numbers], default: Option<usize>) -> Vec<usize> {
    let given: Vec<usize> = lists
        .iter()
        .flat_map(|list| list.0.iter().copied())
        .collect();
    match given.is_empty() {
        true => default.into_iter().collect(),
        false => given,
    }
}

/// The same, of a flag for which 0 means nothing.
fn positive(name: &'static str, lists: &[Numbers], default: Option<usize>) -> Result<Vec<usize>> {
    let numbers = numbers(lists, default);
    match numbers.contains(&0) {
        true => Err(at_least_one(name)),
        false => Ok(numbers),
    }
}

fn at_least_one(name: &'static str) -> Error {
    Error::Argument {
        name,
        value: "0".into(),
        expected: "at least 1".into(),
    }
}
