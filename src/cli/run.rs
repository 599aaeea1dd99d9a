//! `wattle run`: continue a text, or chat.
//!
//! A text given with `-p` or `-f`, or piped in, is continued as it stands. Without one, at a terminal, the model's chat template
//! (if it has one) makes it a conversation; `--cnv` asks for that also where a text is given, which is then the first
//! message, and `--no-cnv` forbids it.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use wattle::chat::ChatTemplate;
use wattle::generate::{End, Forward, GenerateOptions, Session};
use wattle::load::Model;
use wattle::meter::Speed;
use wattle::sample::{Sampler, SamplerOptions};
use wattle::tokenizer::EncodeOptions;
use wattle::{Error, Result};

use super::answer::answer;
use super::chat::{self, Opening};
use super::energy::{Answers, PowerArgs};
use super::input::{self, TextArgs};
use super::interrupt::Interrupt;
use super::model::ModelArgs;
use super::prompt_cache::PromptCacheArgs;
use super::samples::SamplesArgs;
use super::sampling::{SamplingArgs, seed_note};
use super::{say, written};

/// The flags of `wattle run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Tokens to generate; -1 = until the model ends its answer or the context is full
    #[arg(
        short = 'n',
        long,
        alias = "n-predict",
        value_name = "N",
        default_value_t = -1,
        allow_negative_numbers = true
    )]
    predict: i64,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    samples: SamplesArgs,
    #[command(flatten)]
    prompt_cache: PromptCacheArgs,
    #[command(flatten)]
    power: PowerArgs,
    /// Chat: the text given is the first message [-cnv]
    #[arg(long, alias = "conversation", conflicts_with = "no_cnv")]
    cnv: bool,
    /// Never chat: continue the text as it stands [-no-cnv]
    #[arg(long, alias = "no-conversation")]
    no_cnv: bool,
    /// Chat: end after the first answer [-st]
    #[arg(long)]
    single_turn: bool,
    /// Chat: what the model is told first [-sys]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system_prompt: Option<String>,
    /// When the context is full, forget half of what follows the first tokens (--keep) and go on
    #[arg(long, conflicts_with = "samples")]
    context_shift: bool,
    /// Tokens of the prompt that --context-shift never forgets, besides BOS; -1 = all
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        requires = "context_shift"
    )]
    keep: i64,
    /// Go on past the model's end of answer
    #[arg(long)]
    ignore_eos: bool,
    /// Take control tokens that are spelled out in the text as such
    #[arg(long)]
    parse_special: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let given = args.text.given()?;
    let n = limit(args.predict)?;
    args.sampling.options(0)?;
    let samples = args.samples.count()?;
    let keep = args.kept()?;
    // A text that is piped in is read before the long work, so that a fault in it shows at once.
    let given = match given {
        None if !args.cnv && (args.no_cnv || !input::is_typed()) => Some(input::read_all()?),
        given => given,
    };
    if samples.is_some() && given.is_none() {
        return Err(Error::Argument {
            name: "--samples",
            value: "in a chat that goes on".into(),
            expected: "one prompt, by -p, -f or a pipe; with --cnv it is one message, by -p or -f"
                .into(),
        });
    }
    let interrupt = Interrupt::install()?;
    // Before this thread keeps to some of its cores.
    let energy = Answers::begin(&args.power)?;
    let model = args.model.load_as_tuned()?;
    let mut session = args.model.session(&model)?;
    let sampling = args.sampling.options(session.capacity())?;
    let mut sampler = args.sampler(&session, &sampling)?;

    let mut options = GenerateOptions {
        n,
        ..GenerateOptions::default()
    };

    // The template is asked for only when there is a chat: a text can be continued whatever is wrong with it.
    let template = match args.cnv || given.is_none() {
        true => model.template()?,
        false => None,
    };
    if let Some((family, reason)) = template.and_then(ChatTemplate::replaced) {
        say(format_args!(
            "wattle: note: the file's chat template failed ({reason}); ours for {family} is used"
        ));
    }
    let (speed, code) = match template {
        Some(template) if samples.is_some() => {
            let text = given.unwrap_or_default();
            let prompt = chat::opening(&session, template, args.system_prompt.clone(), text)?;
            args.drawn(&mut session, &prompt, &sampler, n, &interrupt, &energy, out)?
        }
        Some(_) if args.prompt_cache.is_asked_for() => {
            return Err(Error::Argument {
                name: "--prompt-cache",
                value: "in a chat".into(),
                expected: "a text to continue (-p or -f, without --cnv), or --samples".into(),
            });
        }
        Some(_) if args.context_shift => {
            return Err(Error::Argument {
                name: "--context-shift",
                value: "in a chat".into(),
                expected: "a text to continue (-p or -f, without --cnv): a chat is rendered again every turn, from its start".into(),
            });
        }
        Some(template) => {
            let opening = Opening {
                system: args.system_prompt.clone(),
                first: given,
                single_turn: args.single_turn,
            };
            let speed = chat::talk(
                &mut session,
                template,
                &mut sampler,
                options,
                opening,
                &interrupt,
                &energy,
                out,
            )?;
            (speed, ExitCode::SUCCESS)
        }
        None if args.cnv => {
            return Err(Error::Unsupported {
                path: args.model.name().into(),
                what: "a chat".into(),
                hint: "the file has no chat template; without --cnv a text is continued".into(),
            });
        }
        None if args.system_prompt.is_some() || args.single_turn => {
            return Err(Error::Argument {
                name: "--system-prompt, --single-turn",
                value: "without a chat".into(),
                expected: "--cnv beside them, as a text is only continued otherwise".into(),
            });
        }
        None => {
            let text = match given {
                Some(text) => text,
                None => input::read_all()?,
            };
            let prompt = tokens(&model, &text, args.parse_special)?;
            if samples.is_some() {
                args.drawn(&mut session, &prompt, &sampler, n, &interrupt, &energy, out)?
            } else {
                if args.context_shift {
                    let bos = model.tokenizer()?.bos();
                    let bos = usize::from(bos.is_some() && prompt.first().copied() == bos);
                    let keep = keep.map_or(prompt.len(), |n| n.saturating_add(bos));
                    options.shift = Some(keep.min(prompt.len()));
                }
                let kept = args.prompt_cache.load(&mut session, &prompt);
                let known = &prompt[..kept.known];
                known.iter().for_each(|&id| sampler.accept(id));
                let answer = answer(
                    &mut session,
                    kept.rest(),
                    &mut sampler,
                    options,
                    &interrupt,
                    &energy,
                    out,
                )?;
                if io::stdout().is_terminal() {
                    written(writeln!(out).and_then(|()| out.flush()))?;
                }
                kept.save(&session);
                let code = match answer.end {
                    End::Stopped => interrupt.exit_code(),
                    _ => ExitCode::SUCCESS,
                };
                (answer.speed, code)
            }
        }
    };
    let joules = energy.note(&speed);
    say(format_args!(
        "wattle: {speed}{joules}{}",
        seed_note(&sampler)
    ));
    Ok(code)
}

impl Args {
    /// `--keep`: `None` is all of the prompt.
    fn kept(&self) -> Result<Option<usize>> {
        match self.keep {
            -1 => Ok(None),
            n => usize::try_from(n).map(Some).map_err(|_| Error::Argument {
                name: "--keep",
                value: n.to_string(),
                expected: "a number of tokens, or -1 for the whole prompt".into(),
            }),
        }
    }

    /// A sampler of the session's vocabulary, which does what the flags say.
    fn sampler(&self, session: &Session<'_>, options: &SamplerOptions) -> Result<Sampler> {
        let mut sampler = session.sampler(options)?;
        if self.ignore_eos {
            sampler.suppress(session.ends().iter().copied());
        }
        Ok(sampler)
    }

    /// Draws several answers to `prompt`: the first with the seed of `first`, the others with those that follow it.
    fn drawn(
        &self,
        session: &mut Session<'_>,
        prompt: &[u32],
        first: &Sampler,
        n: Option<usize>,
        interrupt: &Interrupt,
        energy: &Answers,
        out: &mut dyn Write,
    ) -> Result<(Speed, ExitCode)> {
        let count = self.samples.count()?.unwrap_or(1) as u64;
        let seeds = (0..count).map(|i| SamplerOptions {
            seed: Some(first.seed().wrapping_add(i)),
            ..first.options().clone()
        });
        let kept = self.prompt_cache.load(session, prompt);
        let samplers = seeds.map(|options| {
            let mut sampler = self.sampler(session, &options)?;
            let known = &prompt[..kept.known];
            known.iter().for_each(|&id| sampler.accept(id));
            Ok(sampler)
        });
        let samplers = samplers.collect::<Result<_>>()?;
        let (samples, rest) = (&self.samples, kept.rest());
        let drawn = samples.draw(session, rest, samplers, n, interrupt, energy, out)?;
        kept.save(session);
        Ok(drawn)
    }
}

/// `-n`: -1 is no limit.
fn limit(n: i64) -> Result<Option<usize>> {
    match n {
        -1 => Ok(None),
        n => usize::try_from(n).map(Some).map_err(|_| Error::Argument {
            name: "-n",
            value: n.to_string(),
            expected: "a number of tokens, or -1 for no limit".into(),
        }),
    }
}

/// The tokens of a text to be continued: begun as the model wants it, and not ended.
fn tokens(model: &Model, text: &str, parse_special: bool) -> Result<Vec<u32>> {
    let tokenizer = model.tokenizer()?;
    let options = EncodeOptions {
        add_special: true,
        parse_special,
    };
    let mut ids = input::encode(tokenizer, text, &options);
    if tokenizer.adds_eos() && ids.last().copied() == tokenizer.eos() {
        ids.pop();
    }
    Ok(ids)
}
