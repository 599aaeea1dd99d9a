//! The sandbox that a template runs in.
//!
//! `minijinja` gives a template no way to files, modules or methods of the host; what it can do is take time and memory.
//! Fuel bounds both: every instruction costs one, and every 64 bytes that an operation makes or reads cost one, whether or
//! not they are written out. The budget grows with the conversation, so that no honest template meets it: 250 000, plus
//! one for each byte of the messages (64 passes over all of them), plus 2000 a message.
//!
//! The surroundings are those of Hugging Face transformers: `trim_blocks`, `lstrip_blocks`, loop controls, Python's methods of
//! strings, lists and dicts, `raise_exception`, `strftime_now`, `tojson` with Python's spacing, `tools` and `documents` as none.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, context};

use super::{ChatOptions, Message, fault};
use crate::error::Result;

mod json;
mod time;

const BASE_FUEL: u64 = 250_000;
const MESSAGE_FUEL: u64 = 2_000;
const DEPTH: usize = 64;
const NAME: &str = "chat_template";

/// A compiled template.
#[derive(Debug)]
pub(super) struct Engine {
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
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function("raise_exception", raise);
        env.add_function("strftime_now", |format: &str| time::now(format));
        env.add_filter("tojson", |value: Value, options: Kwargs| {
            json::python(&value, options.get::<Option<usize>>("indent")?)
        });
        env.set_fuel(Some(BASE_FUEL));
        env.add_template_owned(NAME, source.to_owned())
            .map_err(|e| fault(describe(&e)))?;
        Ok(Self {
            env,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// Runs the template.
    pub(super) fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        let bytes: usize = messages
            .iter()
            .map(|m| m.role.len() + m.content.len())
            .sum();
        let turns = messages.len() as u64 * MESSAGE_FUEL;
        let mut env = self.env.clone();
        env.set_fuel(Some(BASE_FUEL + turns + bytes as u64));
        let template = env.get_template(NAME).map_err(|e| fault(describe(&e)))?;
        let given = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt => options.add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => (),
            documents => (),
        };
        let vars = Value::from(Serde(&options.vars));
        template
            .render(context! { ..vars, ..given })
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
            "<s></s>true"
        );
        assert_eq!(text("{{ messages[0]['content'].strip() + '!' }}"), "Hi!");
        assert_eq!(
            text("{{ messages[0].content | trim }}{{ messages[-1].role }}"),
            "Hiuser"
        );
        assert_eq!(
            text("{{ 'a</t>b'.split('</t>')[-1] }}{{ 'abc'[1:] }}{{ 'b' in 'abc' }}"),
            "bbctrue"
        );
        assert_eq!(
            text("{{ tools is none }}{{ messages[0].get('name', 'x') }}"),
            "truex"
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
        assert_eq!(
            text("{{ x is defined }}{{ 'a<b' }}{{ x | default('y') }}"),
            "falsea<by"
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
            "{{ 'x' * 99999999 }}",
            "{{ 'x'.ljust(99999999999) }}",
            "{{ '%999999999d' | format(1) }}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{{ range(100000) | map('string') | join('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') | length }}{{ 'x'.replace('', 'y' * 10000000) }}",
        ] {
            assert!(run(source).is_err(), "{source}");
        }
        assert!(
            Engine::new(&"(".repeat(100_000), "", "").is_err(),
            "depth of expressions"
        );
        let deep = "{% if x %}".repeat(100_000);
        assert!(Engine::new(&deep, "", "").is_err(), "depth of blocks");
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
