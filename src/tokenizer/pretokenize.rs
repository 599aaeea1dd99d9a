//! Pre-tokenizers: the cuts of a text that merges never cross.
//!
//! A pre-tokenizer is a list of regular expressions. Each cuts every piece it gets into its matches and the rests between
//! them, and hands all of these to the next; what leaves the last is merged, piece by piece.
//!
//! Nearly all lists end in `\s+(?!\S)|\s+`: white space before a word, except its last character, which belongs to the word.
//! [`regex`] has no look-ahead, in exchange it runs in linear time on any text: a backtracking engine gives up, or runs out
//! of its step limit, on a megabyte of spaces. So here such a list ends in `\s+`, and [`Step::keep_last`] gives the last
//! character back.
//!
//! The expressions are facts of the models: each was fixed when its vocabulary was trained. They are those of the models'
//! own `tokenizer.json`; where llama.cpp rewrote one for want of Unicode classes (`gpt-4o`), the original stands here.

use regex::Regex;

mod table;
pub(super) use table::{Rules, Step, find, names};

/// The compiled expressions of one [`Rules`].
#[derive(Debug)]
pub(super) struct PreTokenizer {
    steps: Vec<(Regex, &'static Step)>,
}

impl PreTokenizer {
    /// Compiles the expressions of `rules`: a few milliseconds, most of it for Unicode classes.
    pub(super) fn new(rules: &'static Rules) -> Self {
        let compile = |step: &'static Step| {
            let regex = Regex::new(step.pattern).expect("a constant that a test compiles");
            (regex, step)
        };
        Self {
            steps: rules.steps.iter().map(compile).collect(),
        }
    }

    /// Calls `emit` with the pieces of `text`: none is empty, and together they are `text`.
    pub(super) fn split(&self, text: &str, mut emit: impl FnMut(&str)) {
        cut(&self.steps, text, &mut emit);
    }
}

/// Cuts `text` with the first of `steps` and every piece with the others.
fn cut(steps: &[(Regex, &'static Step)], text: &str, emit: &mut dyn FnMut(&str)) {
    let Some(((regex, step), others)) = steps.split_first() else {
        if !text.is_empty() {
            emit(text);
        }
        return;
    };
    let mut rest = 0;
    while let Some(found) = regex.find_at(text, rest) {
        let end = if step.keep_last {
            without_last(text, found.range(), step.newlines)
        } else {
            found.end()
        };
        if end == rest {
            break;
        }
        for piece in [rest..found.start(), found.start()..end] {
            if !piece.is_empty() {
                cut(others, &text[piece], emit);
            }
        }
        rest = end;
    }
    if rest < text.len() {
        cut(others, &text[rest..], emit);
    }
}

/// Where `\s+(?!\S)|\s+` would end a match of `\s+`: one character earlier, if a word follows and something stays.
fn without_last(text: &str, found: core::ops::Range<usize>, newlines: bool) -> usize {
    let end = found.end;
    let space = &text[found];
    let Some(last) = space.chars().next_back() else {
        return end;
    };
    // A match that ends a line came from the alternative for newlines, where there is one.
    let by_newline = newlines && matches!(last, '\r' | '\n');
    let one = space.len() == last.len_utf8();
    if end == text.len() || one || by_newline || !space.chars().all(char::is_whitespace) {
        return end;
    }
    end - last.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(name: &str, text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        PreTokenizer::new(find(name).expect("known")).split(text, |p| pieces.push(p.to_owned()));
        pieces
    }

    #[test]
    fn every_expression_compiles_and_every_name_is_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for name in names() {
            assert!(seen.insert(name), "{name} twice");
            PreTokenizer::new(find(name).expect("listed"));
        }
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_word() {
        assert_eq!(
            split("gpt-2", "a   b\n\nc  "),
            ["a", "  ", " b", "\n", "\n", "c", "  "]
        );
        assert_eq!(split("gpt-2", "\tx \t1"), ["\t", "x", " ", "\t", "1"]);
        assert_eq!(
            split("qwen2", "a   b\n\nc  "),
            ["a", "  ", " b", "\n\n", "c", "  "]
        );
        assert_eq!(split("qwen2", "x \n  \n   y"), ["x", " \n  \n", "  ", " y"]);
    }

    #[test]
    fn digits() {
        assert_eq!(split("smollm", "a 1234"), ["a", " ", "1", "2", "3", "4"]);
        assert_eq!(split("deepseek-v3", "a 1234"), ["a", " ", "123", "4"]);
        assert_eq!(split("llama-bpe", "a 1234"), ["a", " ", "123", "4"]);
        assert_eq!(split("gpt-2", "a 1234"), ["a", " 1234"]);
    }

    #[test]
    fn scripts_and_case() {
        assert_eq!(
            split("deepseek-v3", "我们 go,now 日本語です"),
            ["我们", " go", ",now", " ", "日本語です"]
        );
        // The class for punctuation runs from ':' to '~' and so holds ASCII letters: it cuts " gö" again. That is how the
        // models were trained.
        assert_eq!(
            split("deepseek-llm", "我们 gö,now\n"),
            ["我们", " g", "ö", ",", "now", "\n"]
        );
        assert_eq!(split("kimi-k2", "漢字kana I'LL"), ["漢字", "kana", " I'LL"]);
        assert_eq!(
            split("gpt-4o", "camelCase don't"),
            ["camel", "Case", " don't"]
        );
        assert_eq!(split("youtu", "ㄅㄆ，12"), ["ㄅㄆ", "，", "1", "2"]);
    }

    #[test]
    fn long_runs_take_linear_time() {
        for text in [
            " ".repeat(1 << 20) + "x",
            "a".repeat(1 << 20),
            "\n ".repeat(1 << 19),
        ] {
            for name in ["deepseek-v3", "gpt-2"] {
                assert_eq!(split(name, &text).concat(), text, "{name}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn nothing_is_lost(text in "(\\PC|\\s|[a-z0-9 \\n'一-三ㄅ가]){0,60}") {
            for rules in table::all() {
                let mut pieces = String::new();
                let mut empty = false;
                PreTokenizer::new(rules).split(&text, |p| {
                    empty |= p.is_empty();
                    pieces.push_str(p);
                });
                prop_assert_eq!(&pieces, &text, "{}", rules.names[0]);
                prop_assert!(!empty, "an empty piece from {}", rules.names[0]);
            }
        }
    }
}
