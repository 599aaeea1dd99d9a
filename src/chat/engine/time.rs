//! `strftime_now`: today's date for the templates that state it, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The present time by `format`.
pub(super) fn now(format: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    strftime(format, since.map_or(0, |d| d.as_secs()))
}

/// `format` at `s` seconds after 1970. Knows `%Y %y %m %d %e %B %b %H %M %S %%`; others stay as they are.
fn strftime(format: &str, s: u64) -> String {
    let (year, month, day) = civil(s / 86_400);
    let name = usize::try_from(month - 1).ok().and_then(|m| MONTHS.get(m));
    let name = name.copied().unwrap_or_default();
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => text += &year.to_string(),
            Some('y') => text += &format!("{:02}", year % 100),
            Some('m') => text += &format!("{month:02}"),
            Some('d') => text += &format!("{day:02}"),
            Some('e') => text += &format!("{day:2}"),
            Some('B') => text += name,
            Some('b') => text += name.get(..3).unwrap_or_default(),
            Some('H') => text += &format!("{:02}", s / 3600 % 24),
            Some('M') => text += &format!("{:02}", s / 60 % 60),
            Some('S') => text += &format!("{:02}", s % 60),
            Some('%') | None => text.push('%'),
            Some(other) => text.extend(['%', other]),
        }
    }
    text
}

/// Year, month, day of the `days`-th day after 1970-01-01 (Gregorian; Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let of_era = z % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153; // months from March
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(strftime("%d %b %Y", 0), "01 Jan 1970");
        assert_eq!(
            strftime("%Y-%m-%dT%H:%M:%S", 951_868_799),
            "2000-02-29T23:59:59"
        );
        assert_eq!(
            strftime("%e %B %y %% %Q %", 1_735_689_600),
            " 1 January 25 % %Q %"
        );
    }
}
