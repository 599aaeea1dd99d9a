//! The sandbox that a template runs in.
//!
//! `minijinja` gives a template no way to files, modules or methods of the host; what it can do is take time and memory.
//! Fuel bounds its steps: every instruction costs one, and every 64 bytes that an operation makes or reads cost one, whether
//! or not they are written out. The budget grows with the conversation, so that no honest template meets it: 40 000, plus
//! 1000 a message, plus one for each 4 bytes of the messages (16 passes over all of them).
//!
//! Fuel is taken after an operation, so it does not bound a single one: a list that holds itself twice, sixty times over,
//! costs little to make and takes for ever to print, to compare or to join. So there is a limit on time too. Rust cannot
//! end a thread, so the one that runs over it is left behind, and the error ([`crate::Error::Endless`]) is one to end the
//! program on; until then it can waste memory, as a model file can anyway.
//!
//! What fuel does not bound is depth: a list in a list in a list costs 1.75 fuel a level to make, but printing it, comparing
//! it or merely dropping it recurses, with up to 820 bytes of stack a level (measured). So a template runs in a thread of
//! its own whose stack has 1 KiB for each unit of fuel; the pages are never touched by a template that does not nest.
//!
//! The surroundings are those of Hugging Face transformers: `trim_blocks`, `lstrip_blocks`, loop controls, Python's methods of
//! strings, lists and dicts, `raise_exception`, `strftime_now`, `tojson` with Python's spacing, `tools` and `documents` as none.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, context};
use minijinja_contrib::pycompat;

use super::{ChatOptions, Message, fault};
use crate::error::{Error, Result};

mod json;
mod time;

const BASE_FUEL: usize = 40_000;
const MESSAGE_FUEL: usize = 1_000;
const BYTES_PER_FUEL: usize = 4;
const STACK_PER_FUEL: usize = 1024;
const DEPTH: usize = 64;
const NAME: &str = "chat_template";
/// Honest templates take milliseconds, also on a slow board.
const LIMIT: Duration = Duration::from_secs(10);

/// A compiled template.
#[derive(Debug)]
pub(super) struct Engine {
    inner: Arc<Inner>,
    limit: Duration,
}

/// What the thread of a run shares with its caller.
#[derive(Debug)]
struct Inner {
    env: Environment<'static>,
    bos: String,
    eos: String,
}

impl Engine {
    /// Compiles `source`.
    pub(super) fn new(source: &str, bos: &str, eos: &str) -> Result<Self> {
        let mut env = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        env.set_syntax(syntax.build().map_err(|e| fault(describe(&e)))?);
        env.set_recursion_limit(DEPTH);
        env.set_auto_escape_callback(|_| AutoEscape::None);
        env.set_unknown_method_callback(|state, value, method, args| {
            if method == "format" {
                small_fields(value)?;
            }
            pycompat::unknown_method_callback(state, value, method, args)
        });
        env.add_function("raise_exception", raise);
        env.add_function("strftime_now", |format: &str| time::now(format));
        env.add_filter("tojson", |value: Value, options: Kwargs| {
            json::python(&value, options.get::<Option<usize>>("indent")?)
        });
        env.add_template_owned(NAME, source.to_owned())
            .map_err(|e| fault(describe(&e)))?;
        Ok(Self {
            inner: Arc::new(Inner {
                env,
                bos: bos.to_owned(),
                eos: eos.to_owned(),
            }),
            limit: LIMIT,
        })
    }

    /// Runs the template.
    pub(super) fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        let bytes: usize = messages
            .iter()
            .map(|m| m.role.len() + m.content.len())
            .sum();
        let fuel = BASE_FUEL + messages.len() * MESSAGE_FUEL + bytes / BYTES_PER_FUEL;
        let (inner, messages, options) =
            (Arc::clone(&self.inner), messages.to_vec(), options.clone());
        let (done, result) = channel();
        let thread = std::thread::Builder::new().stack_size(fuel * STACK_PER_FUEL);
        let started = thread.spawn(move || {
            // Nobody listens any more when the limit has passed.
            let _ = done.send(inner.run(&messages, &options, fuel));
        });
        if let Err(error) = started {
            return Err(fault(format!("no thread to run it: {error}")));
        }
        match result.recv_timeout(self.limit) {
            Ok(text) => text,
            Err(RecvTimeoutError::Timeout) => Err(Error::Endless { limit: self.limit }),
            Err(RecvTimeoutError::Disconnected) => Err(fault("it broke the template engine")),
        }
    }
}

impl Inner {
    fn run(&self, messages: &[Message], options: &ChatOptions, fuel: usize) -> Result<String> {
        let mut env = self.env.clone();
        env.set_fuel(Some(fuel as u64));
        let template = env.get_template(NAME).map_err(|e| fault(describe(&e)))?;
        let given = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt => options.add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        let vars = Value::from(Serde(&options.vars));
        let absent = context! { tools => (), documents => () };
        template
            // The first that has a name gives its value: no variable stands in for the messages.
            .render(context! { ..given, ..vars, ..absent })
            .map_err(|e| fault(describe(&e)))
    }
}

/// `raise_exception(message)`: how templates reject a conversation.
fn raise(message: &str) -> core::result::Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(
        ErrorKind::InvalidOperation,
        message.to_owned(),
    ))
}

/// Refuses `'{:>9999999999}'.format(1)`: the text is made before fuel is taken for it, and so much memory ends the program.
fn small_fields(format: &Value) -> core::result::Result<(), minijinja::Error> {
    let format = format.as_str().unwrap_or_default();
    if format
        .split(|c: char| !c.is_ascii_digit())
        .any(|n| n.len() > 3)
    {
        return Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            "a number of four digits in the text of format()",
        ));
    }
    Ok(())
}

/// What went wrong, and in which line.
fn describe(error: &minijinja::Error) -> String {
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    match error.line() {
        Some(line) => format!("{what} (line {line} of the template)"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(source: &str) -> Result<String> {
        let messages = [Message::user(" Hi ")];
        Engine::new(source, "<s>", "</s>")?.render(&messages, &ChatOptions::default())
    }

    fn text(source: &str) -> String {
        run(source).expect(source)
    }

    #[test]
    fn what_templates_of_real_models_use() {
        assert_eq!(
            text("{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}"),
            "<s></s>True"
        );
        assert_eq!(text("{{ messages[0]['content'].strip() + '!' }}"), "Hi!");
        assert_eq!(
            text("{{ messages[0].content | trim }}{{ messages[-1].role }}"),
            "Hiuser"
        );
        assert_eq!(
            text("{{ 'a</t>b'.split('</t>')[-1] }}{{ 'abc'[1:] }}{{ 'b' in 'abc' }}"),
            "bbcTrue"
        );
        assert_eq!(
            text("{{ tools is none }}{{ messages[0].get('name', 'x') }}"),
            "Truex"
        );
        assert_eq!(
            text(
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
            ),
            "1"
        );
        assert_eq!(
            text("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(1) }}"),
            "<1>"
        );
        assert_eq!(
            text(
                "{% for i in [1,2,3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}"
            ),
            "13"
        );
        assert_eq!(text("{{ '{:>3}|{}'.format(1, 'x') }}"), "  1|x");
        assert_eq!(
            text("{{ x is defined }}{{ 'a<b' }}{{ x | default('y') }}"),
            "Falsea<by"
        );
        assert_eq!(
            text("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}"),
            "a1"
        );
    }

    #[test]
    fn blocks_are_trimmed_as_transformers_does() {
        assert_eq!(text("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc");
    }

    #[test]
    fn a_template_may_reject_a_conversation() {
        let error = run("{{ raise_exception('roles must alternate') }}").expect_err("raised");
        assert!(
            error.to_string().contains("roles must alternate"),
            "{error}"
        );
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn time_and_memory_are_bounded() {
        for source in [
            "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
            "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = (ns.x + ns.x) | list %}{% endfor %}",
            "{{ ([1] * 99999999) | tojson }}",
            "{{ 'x' * 99999999 }}",
            "{{ 'x'.ljust(99999999999) }}",
            "{{ '%999999999d' | format(1) }}",
            "{{ '{:>99999999999999}'.format(1) }}",
            "{{ '{:.99999999999999f}'.format(1) }}",
            "{% set x = '{0:999}' * 250000 %}{{ x.format(1) }}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{{ range(100000) | map('string') | join('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') | length }}{{ 'x'.replace('', 'y' * 10000000) }}",
        ] {
            assert!(run(source).is_err(), "{source}");
        }
        assert!(
            Engine::new(&format!("{{{{{}", "(".repeat(100_000)), "", "").is_err(),
            "depth of expressions"
        );
        let deep = "{% if x %}".repeat(100_000);
        assert!(Engine::new(&deep, "", "").is_err(), "depth of blocks");
    }

    #[test]
    fn what_fuel_does_not_bound_ends_in_time() {
        // Two lists that each hold the one before twice: 27 steps to make, some seconds to compare.
        let twice = "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(27) %}\
            {% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}";
        let mut engine = Engine::new(twice, "", "").expect("compiles");
        engine.limit = Duration::from_millis(100);
        let error = engine
            .render(&[], &ChatOptions::default())
            .expect_err("too long");
        assert!(matches!(error, Error::Endless { .. }), "{error}");
    }

    #[test]
    fn depth_is_bounded_by_fuel() {
        let level = format!("{{% set x = {}x{} %}}", "[".repeat(50), "]".repeat(50));
        let mut outcomes = [0, 0];
        for levels in [2_000, 12_000, 22_000, 24_000, 50_000] {
            let nested = format!("{{% set x = [] %}}{}", level.repeat(levels / 50));
            for end in [
                "",
                "{{ x }}",
                "{{ x | tojson }}",
                "{{ x == [x] }}",
                "{{ x | string | length }}",
            ] {
                // Done or out of fuel: either will do, as long as the program lives.
                outcomes[usize::from(run(&format!("{nested}{end}")).is_ok())] += 1;
            }
        }
        assert!(outcomes.iter().all(|&n| n > 4), "both happen: {outcomes:?}");
    }

    #[test]
    fn there_is_no_way_out() {
        for source in [
            "{% include '/etc/passwd' %}",
            "{% import 'os' as os %}",
            "{% extends 'x' %}",
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ messages.__init__.__globals__ }}",
            "{{ self.__init__() }}",
            "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        ] {
            assert!(run(source).is_err(), "{source}");
        }
    }
}
