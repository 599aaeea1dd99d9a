//! Marks in messages that keep the control tokens they spell from becoming control tokens.
//!
//! ```text
//! message   say <|im_end|> please          a control token, spelled out
//! marked    say <·|im_end|> please         · = a character that no message holds
//! rendered  <|im_start|>user\nsay <·|im_end|> please<|im_end|>\n
//! text      <|im_start|>user\nsay <|im_end|> please<|im_end|>\n    and the position of the mark
//! ```
//!
//! The tokenizer takes no control token with a mark inside or at its end. A mark always follows a character of a message,
//! so a token of the template, which ends before it, is never touched. Marks are also set where a message begins or ends
//! with a part of a control token, which the template's own words could complete.
//!
//! A template may also make a control token out of a message that spells none: `content.replace('/think', '')` turns
//! `<|im_/thinkend|>` into one, `content | lower` does so with `<|IM_END|>`. Against that, [`Marks::Every`] sets a mark after each
//! character that begins a control token, so that no start of one comes from a message without its mark. A template that looks
//! for `<image>` would not find it any more; so [`super::ChatTemplate::encode`] uses these marks where they change nothing in the
//! text, and [`Marks::Spelled`] where they do: a template that both looks for such text and changes it stays a way around.
//!
//! In an answer of the model, `<think>` and `</think>` stay unmarked: templates look for them to cut reasoning out, and the
//! model may write them. A role that is one plain word stays unmarked too: templates compare it (`role == 'user'`) and make
//! control tokens of it (`'<|' + role + '|>'`), and a mark, set because `<|user|>` holds the word, would spoil both.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;

use super::{Message, fault};
use crate::error::Result;

const THINK: [&str; 2] = ["<think>", "</think>"];

/// Where marks are set, beside the edges of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// In every control token that is spelled out.
    Spelled,
    /// There, and after every character that begins a control token.
    Every,
}

/// The spellings to guard, and the mark.
pub(super) struct Guard<'a> {
    controls: Vec<&'a str>,
    /// The first characters of the spellings.
    firsts: BTreeSet<char>,
    finder: AhoCorasick,
    mark: char,
}

impl<'a> Guard<'a> {
    /// Guards `controls` in `messages`.
    pub(super) fn new(
        controls: impl Iterator<Item = &'a str>,
        messages: &[Message],
    ) -> Result<Self> {
        let controls: Vec<&str> = controls.collect();
        // Noncharacters first, which no text should hold, then the private planes, which a text could not fill.
        let mark = ('\u{fdd0}'..='\u{fdef}')
            .chain('\u{f0000}'..='\u{10fffd}')
            .find(|&c| {
                let used = |text: &str| text.contains(c);
                !messages.iter().any(|m| used(&m.content) || used(&m.role))
            })
            .ok_or_else(|| fault("the messages hold every private character"))?;
        let finder = AhoCorasick::new(&controls).map_err(fault)?;
        Ok(Self {
            firsts: controls.iter().filter_map(|c| c.chars().next()).collect(),
            controls,
            finder,
            mark,
        })
    }

    /// `message` with marks.
    pub(super) fn mark(&self, message: &Message, marks: Marks) -> Message {
        let spared: &[&str] = if message.role == "assistant" {
            &THINK
        } else {
            &[]
        };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        Message {
            role: if message.role.chars().all(word) {
                message.role.clone()
            } else {
                self.marked(&message.role, &[], marks)
            },
            content: self.marked(&message.content, spared, marks),
        }
    }

    /// `text` with a mark after the first character of every spelling, and where `marks` says, but for the spellings in `spared`.
    fn marked(&self, text: &str, spared: &[&str], marks: Marks) -> String {
        let mut starts: BTreeSet<usize> = self
            .finder
            .find_overlapping_iter(text)
            .filter(|found| {
                let control = self.controls.get(found.pattern().as_usize());
                control.is_none_or(|c| !spared.contains(c))
            })
            .map(|found| found.start())
            .collect();
        for control in self.controls.iter().filter(|c| !spared.contains(c)) {
            for (cut, _) in control.char_indices().skip(1) {
                let (head, tail) = control.split_at(cut);
                if text.ends_with(head) {
                    starts.insert(text.len() - head.len());
                }
                // The message may also end before the control token does.
                if !text.is_empty() && (text.starts_with(tail) || tail.starts_with(text)) {
                    starts.insert(0);
                }
            }
        }
        if marks == Marks::Every {
            let begins = |&(at, c): &(usize, char)| {
                let rest = text.get(at..).unwrap_or_default();
                self.firsts.contains(&c) && !spared.iter().any(|s| rest.starts_with(s))
            };
            starts.extend(text.char_indices().filter(begins).map(|(at, _)| at));
        }
        let mut marked = String::with_capacity(text.len() + starts.len() * 4);
        for (at, c) in text.char_indices() {
            marked.push(c);
            if starts.contains(&at) {
                marked.push(self.mark);
            }
        }
        marked
    }

    /// `rendered` without marks, and where they were (byte positions, rising).
    pub(super) fn unmark(&self, rendered: &str) -> (String, Vec<usize>) {
        let mut text = String::with_capacity(rendered.len());
        let mut guards = Vec::new();
        for c in rendered.chars() {
            if c == self.mark {
                guards.push(text.len());
            } else {
                text.push(c);
            }
        }
        (text, guards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(message: &Message) -> String {
        let controls = ["<|end|>", "<s>", "</think>", "\u{1}"];
        let guard = Guard::new(controls.into_iter(), core::slice::from_ref(message)).expect("few");
        let marked = guard.mark(message, Marks::Spelled).content;
        let (text, guards) = guard.unmark(&marked);
        assert_eq!(text, message.content, "marks come out again");
        assert_eq!(
            guards.len(),
            marked.matches(guard.mark).count(),
            "one position a mark"
        );
        marked.replace(guard.mark, "·")
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["", "Hello!", " a < b ", "end", "x|>", "<|", "1 <s"] {
            let expected = match text {
                "end" => "e·nd", // inside <|end|>
                "<|" => "<·|",
                "1 <s" => "1 <·s",
                other => other,
            };
            assert_eq!(marked(&Message::user(text)), expected);
        }
    }

    #[test]
    fn spellings_and_parts_at_the_edges_are_marked() {
        assert_eq!(marked(&Message::user("a<s>b<|end|>")), "a<·s>b<·|end|>");
        assert_eq!(marked(&Message::user("|> a <|en")), "|·> a <·|en");
        assert_eq!(
            marked(&Message::user("a\u{1}b")),
            "a\u{1}·b",
            "a token of one character"
        );
    }

    #[test]
    fn the_model_may_close_its_thoughts() {
        assert_eq!(
            marked(&Message::assistant("x</think>y<s>")),
            "x</think>y<·s>"
        );
        assert_eq!(marked(&Message::user("x</think>y")), "x<·/think>y");
    }

    #[test]
    fn every_start_of_a_control_token_is_marked_when_asked_for() {
        let controls = ["<|end|>", "</think>"];
        let answer = Message::assistant("a</think>b<c < |>");
        let guard = Guard::new(controls.into_iter(), core::slice::from_ref(&answer)).expect("few");
        let marked = guard.mark(&answer, Marks::Every).content;
        assert_eq!(
            marked.replace(guard.mark, "·"),
            "a</think>b<·c <· |>",
            "but where the model may write one"
        );
    }

    #[test]
    fn a_role_of_one_word_is_left_alone() {
        let controls = ["<|user|>", "<|end|>"];
        for (role, expected) in [
            ("user", "user"),
            ("us", "us"),
            ("user|><|end|>", "u\u{fdd0}ser|><\u{fdd0}|end|>"),
        ] {
            let message = Message::new(role, "");
            let messages = core::slice::from_ref(&message);
            let guard = Guard::new(controls.into_iter(), messages).expect("few");
            assert_eq!(guard.mark(&message, Marks::Every).role, expected);
        }
    }

    #[test]
    fn the_mark_is_a_character_that_is_not_in_use() {
        let message = Message::user("\u{fdd0}<s>\u{fdd1}");
        assert_eq!(marked(&message), "\u{fdd0}<·s>\u{fdd1}");
    }
}
