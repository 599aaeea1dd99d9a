//! Reads Rust source just well enough to judge it: blanks comments and literals, splits the rest into tokens, and resolves
//! every path that starts at `crate`, `super`, or a crate of this workspace. No parser crate: the rules need only names.

/// A token with the line (from 1) that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// `text` with comments and the insides of string and character literals replaced by spaces; line breaks stay.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !follows_word(&chars, at) => raw_string_end(&chars, at).unwrap_or(at),
            'b' | 'c' if !follows_word(&chars, at) && chars.get(at + 1) == Some(&'r') => {
                raw_string_end(&chars, at + 1).unwrap_or(at)
            }
            '\'' => char_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// The part of blanked `code` before the unit tests at the foot of the file: what the program is made of.
pub(crate) fn without_tests(code: &str) -> &str {
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let rest = code[start + "#[cfg(test)]".len()..].trim_start();
        if rest.starts_with("mod tests {") {
            return &code[..start];
        }
        from = start + 1;
    }
    code
}

/// The child modules in files of their own that blanked `code` declares for tests only: `#[cfg(test)] mod name;`.
pub(crate) fn test_modules(code: &str) -> Vec<String> {
    let declared = code.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let (name, _) = rest.trim_start().strip_prefix("mod ")?.split_once(';')?;
        name.chars().all(is_word).then(|| name.to_string())
    });
    declared.collect()
}

/// Words, `::` and single signs of blanked `code`.
pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            out.push(Token {
                line: number + 1,
                text: rest[..length].to_string(),
            });
            rest = rest[length..].trim_start();
        }
    }
    out
}

/// Every path that leaves its own module, from the crate root: `use super::{os::Mapped, error}` in `src/gguf.rs` gives
/// `os::Mapped` and `error`. Paths that start at another crate of the workspace keep that crate's name as their first word.
///
/// `module` is the module of the file: `["gguf", "value"]` for `src/gguf/value.rs`.
pub(crate) fn paths(tokens: &[Token], module: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut out = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let starts = at == 0 || tokens[at - 1].text != "::";
        let leads_on = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        let root: Vec<String> = match token.text.as_str() {
            _ if !starts => continue,
            "wattle_kernels" | "wattle_boards" => vec![token.text.clone()],
            "crate" | "wattle" if leads_on => Vec::new(),
            "super" if leads_on => match module.split_last() {
                Some((_, parent)) => parent.iter().map(ToString::to_string).collect(),
                None => continue,
            },
            _ => continue,
        };
        if leads_on {
            tree(tokens, at + 2, root, token.line, &mut out);
        } else {
            out.push((token.line, root));
        }
    }
    out
}

/// Follows one use tree from `at` (the token after `::`), adds each of its paths, and returns where it ends.
fn tree(
    tokens: &[Token],
    mut at: usize,
    mut path: Vec<String>,
    line: usize,
    out: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    loop {
        match tokens.get(at).map(|token| token.text.as_str()) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    if tokens[at].text == "," {
                        at += 1;
                    } else {
                        let line = tokens[at].line;
                        at = tree(tokens, at, path.clone(), line, out);
                        while tokens
                            .get(at)
                            .is_some_and(|token| token.text != "," && token.text != "}")
                        {
                            at += 1; // `as name`
                        }
                    }
                }
                return at + 1;
            }
            Some("super") => {
                path.pop();
            }
            Some("self") => {}
            Some(word) if word.starts_with(is_word) => path.push(word.to_string()),
            _ => {
                out.push((line, path)); // `*`, or not a path after all
                return at + 1;
            }
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            out.push((line, path));
            return at;
        }
        at += 1;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && is_word(chars[at - 1])
}

fn line_end(chars: &[char], at: usize) -> usize {
    let length = chars[at..].iter().position(|c| *c == '\n');
    length.map_or(chars.len(), |length| at + length)
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// The end of `r"..."` or `r#"..."#` whose `r` stands at `at`; `None` when that is a word that begins with r, or `r#word`.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let close = (open + 1..chars.len()).find(|i| {
        let after = chars[i + 1..].iter().take(hashes);
        chars[*i] == '"' && after.filter(|c| **c == '#').count() == hashes
    });
    Some(close.map_or(chars.len(), |close| close + 1 + hashes))
}

/// The end of the character literal whose quote stands at `at`; `None` when that is a lifetime or a label.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        let close = chars.get(at + 3..)?.iter().position(|c| *c == '\'')?;
        return Some(at + 3 + close + 1);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

#[cfg(test)]
mod tests {
    use super::{code, paths, test_modules, tokens, without_tests};

    fn resolved(text: &str, module: &[&str]) -> Vec<String> {
        paths(&tokens(&code(text)), module)
            .into_iter()
            .map(|(line, path)| format!("{line} {}", path.join("::")))
            .collect()
    }

    #[test]
    fn comments_and_literals_are_blank() {
        let text = "a // unsafe\n/* unsafe /* b */ unsafe */ c \"unsafe \\\" unsafe\" 'u' '\\'' r#\"unsafe\"# d::<'static>(b\"e\", '\\u{1F600}')";
        let words: Vec<String> = tokens(&code(text)).into_iter().map(|t| t.text).collect();
        assert_eq!(
            words.join(" "),
            "a c d :: < ' static > ( b , )",
            "only code must be left"
        );
        assert_eq!(
            code("\"a\nb\" c").lines().count(),
            2,
            "line breaks inside literals must stay"
        );
    }

    #[test]
    fn the_tests_at_the_foot_are_cut_and_other_test_items_are_not() {
        let text = "#[cfg(test)]\nmod tests;\nuse a::b;\nfn f() {}\n#[cfg(test)]\nmod tests { use crate::c; }";
        assert_eq!(
            without_tests(text),
            "#[cfg(test)]\nmod tests;\nuse a::b;\nfn f() {}\n",
            "only the last module must go"
        );
    }

    #[test]
    fn modules_for_tests_are_told_from_others() {
        let text = "mod a;\n#[cfg(test)]\nmod reference;\n#[cfg(test)]\nuse b;\n#[cfg(test)]\nmod tests { mod c; }";
        assert_eq!(test_modules(text), ["reference"], "only `mod name;`");
    }

    #[test]
    fn paths_are_resolved_from_the_root() {
        assert_eq!(
            resolved(
                "use crate::{os::Mapped as M, error::{self, Error}};\nuse crate::pool;",
                &["gguf"]
            ),
            ["1 os::Mapped", "1 error", "1 error::Error", "2 pool"],
            "use trees"
        );
        assert_eq!(
            resolved(
                "use super::super::load::Model; super::value::X",
                &["gguf", "split"]
            ),
            ["1 load::Model", "1 gguf::value::X"],
            "super"
        );
        assert_eq!(
            resolved(
                "fn f() -> crate::Result<u8> { wattle::cli::run() }",
                &["main"]
            ),
            ["1 Result", "1 cli::run"],
            "paths in signatures and bodies"
        );
        assert_eq!(
            resolved(
                "pub(crate) fn f() {} use wattle_kernels as k; use wattle_boards::*;",
                &["pool"]
            ),
            ["1 wattle_kernels", "1 wattle_boards"],
            "other crates; `pub(crate)` is no path"
        );
    }
}
