//! The kernel's way to write a set of cores: `0-3,8,10-11`.

/// An id past this is no core of any machine; it keeps a broken file from filling the memory.
const MOST: usize = 8192;

/// The ids in `text`, in its order; `None` when it is not such a list. An empty text is the empty list.
pub(crate) fn parse(text: &str) -> Option<Vec<usize>> {
    let mut ids = Vec::new();
    let text = text.trim();
    if text.is_empty() {
        return Some(ids);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        if first > last || last >= MOST || ids.len() > MOST {
            return None;
        }
        ids.extend(first..=last);
    }
    Some(ids)
}

/// The list of `ids`, which are in order: the reverse of reading one.
#[must_use]
pub fn name(ids: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &id in ids {
        match parts.last_mut() {
            Some((_, last)) if id.checked_sub(1) == Some(*last) => *last = id,
            _ => parts.push((id, id)),
        }
    }
    let part = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::{name, parse};

    #[test]
    fn a_list_is_written_as_it_is_read() {
        for text in ["0-3,8,10-11", "5", "", "0,2,4-5"] {
            assert_eq!(name(&parse(text).expect("a list")), text);
        }
    }

    #[test]
    fn lists_of_the_kernel() {
        assert_eq!(parse("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse("5"), Some(vec![5]));
        assert_eq!(parse("\n"), Some(vec![]));
    }

    #[test]
    fn what_is_no_list() {
        for text in [
            "-",
            "3-1",
            "a",
            "0-99999999999999999999",
            "0-4000000000",
            ",",
            "0-",
            "\0",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        let long = vec!["0-8191"; 1000].join(",");
        assert_eq!(parse(&long), None, "a list longer than any machine");
    }
}
