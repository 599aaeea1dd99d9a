//! Lists of numbers as llama-bench takes them: `512`, `128,256`, `64-256+64`, `1-16*2`; and pairs, `512,128`.

use core::str::FromStr;

/// The most numbers of a list: a wrong range should not become a day of work.
const MOST: usize = 1000;

/// Numbers and ranges, with commas between: `FIRST[-LAST[(+|*)STEP]]`, in steps of `+1` when it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbers(pub(super) Vec<usize>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = Vec::new();
        for part in text.split(',') {
            range(part, &mut numbers)?;
        }
        Ok(Self(numbers))
    }
}

/// Tokens of a prompt and tokens generated after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair(pub(super) usize, pub(super) usize);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(',') {
            Some((prompt, generated)) => Ok(Self(number(prompt)?, number(generated)?)),
            None => Err("expected two numbers with a comma between: PROMPT,GENERATED".into()),
        }
    }
}

/// Appends the numbers of one range.
fn range(text: &str, numbers: &mut Vec<usize>) -> Result<(), String> {
    let Some((first, rest)) = text.split_once('-') else {
        numbers.push(number(text)?);
        return Ok(());
    };
    let (last, times, step) = match rest.split_once(['+', '*']) {
        Some((last, step)) => (last, rest[last.len()..].starts_with('*'), number(step)?),
        None => (rest, false, 1),
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("the range {text} ends before it begins"));
    }
    let mut next = first;
    while next <= last {
        numbers.push(next);
        let after = match times {
            true => next.checked_mul(step),
            false => next.checked_add(step),
        };
        match after {
            Some(after) if after > next => next = after,
            Some(_) => return Err(format!("the range {text} never ends")),
            None => break,
        }
        if numbers.len() > MOST {
            return Err(format!("more than {MOST} numbers"));
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<usize, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| {
        format!("expected numbers and ranges (128, 128,256 or 64-256+64), found {text:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<usize>, String> {
        text.parse().map(|Numbers(numbers)| numbers)
    }

    #[test]
    fn numbers_and_ranges_are_read_as_llama_bench_reads_them() {
        for (text, expected) in [
            ("0", &[0][..]),
            ("512", &[512]),
            ("128,256,1", &[128, 256, 1]),
            ("2-5", &[2, 3, 4, 5]),
            ("64-256+64", &[64, 128, 192, 256]),
            ("64-250+64", &[64, 128, 192]),
            ("1-16*2", &[1, 2, 4, 8, 16]),
            ("7-7", &[7]),
            ("4-4*1,9", &[]),
            ("1,4-8+2,3", &[1, 4, 6, 8, 3]),
        ] {
            match expected {
                [] => assert!(list(text).is_err(), "{text}"),
                _ => assert_eq!(list(text).as_deref(), Ok(expected), "{text}"),
            }
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (text, part) in [
            ("", "found \"\""),
            ("512,", "found \"\""),
            ("a", "found \"a\""),
            ("-1", "found \"\""),
            ("+1", "found \"+1\""),
            ("1-2-3", "found \"2-3\""),
            ("1-9+", "found \"\""),
            ("9-1", "ends before it begins"),
            ("1-9+0", "never ends"),
            ("0-9*2", "never ends"),
            ("1-9*1", "never ends"),
            ("0-99999999", "more than 1000"),
            ("99999999999999999999", "found \"9999"),
        ] {
            let told = list(text).expect_err(text);
            assert!(told.contains(part), "{text:?}: {told}");
        }
        let most = usize::MAX.to_string();
        assert_eq!(list(&format!("{most}-{most}")), Ok(vec![usize::MAX]));
    }

    #[test]
    fn pairs_have_two_numbers() {
        assert_eq!("512,128".parse(), Ok(Pair(512, 128)));
        for text in ["512", "512,", "1,2,3", "1-2,3"] {
            text.parse::<Pair>().expect_err(text);
        }
    }
}
