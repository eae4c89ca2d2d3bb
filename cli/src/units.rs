//! Sizes, durations and moments as people write and read them.
//!
//! Must not know what they are for. Whatever is printed here in short form can be typed in again.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};

const SIZES: [(&str, u64); 12] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("B", 1),
];
const SPANS: [(&str, f64); 6] =
    [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("m", 60.0), ("h", 3_600.0)];
/// A year: longer than anything that is waited for here.
const LONGEST_SECONDS: f64 = 31_536_000.0;

/// Reads `64MiB`, `1.5GiB`, `100kB`, `4096`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let known = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(unit);
    let factor = match unit {
        "" => Some(1),
        _ => SIZES.iter().find(known).map(|(_, factor)| *factor),
    };
    let number: Option<f64> = number.parse().ok();
    match (number, factor) {
        // Up to 2^53 a double is exact.
        (Some(number), Some(factor)) if number >= 0.0 && number * (factor as f64) < 9e15 => {
            Ok((number * factor as f64).round() as usize)
        }
        _ => Err("write a number of bytes such as 64MiB, 512KiB or 1048576".to_owned()),
    }
}

/// Reads `100ms`, `1.5s`, `2min`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: Option<f64> = number.parse().ok();
    let factor = SPANS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (number, factor) {
        (Some(0.0), None) if unit.is_empty() => Ok(Duration::ZERO),
        (Some(number), Some(factor)) if (0.0..LONGEST_SECONDS).contains(&(number * factor)) => {
            Ok(Duration::from_secs_f64(number * factor))
        }
        _ => Err("write a duration with its unit, such as 100ms, 2s or 1min, or 0".to_owned()),
    }
}

/// Reads a duration, or days as in `7d`: records live longer than anything else that is waited for.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    const DAY_SECONDS: u64 = 86_400;
    const MOST_DAYS: u64 = 36_500;
    let days = text.trim().strip_suffix('d').and_then(|days| days.trim().parse::<u64>().ok());
    match days.filter(|days| *days <= MOST_DAYS) {
        Some(days) => Ok(Duration::from_secs(days * DAY_SECONDS)),
        None => duration(text)
            .map_err(|_| "write a duration with its unit, such as 90s, 30min, 2h or 7d".to_owned()),
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// A moment as RFC 3339 in UTC; `-` for one that cannot be shown.
pub(crate) fn show_moment(ms: i64) -> String {
    // The year 9999, the last one that RFC 3339 can write.
    const LAST_MS: i64 = 253_402_300_799_999;
    let shown = DateTime::from_timestamp_millis(ms).filter(|_| (0..=LAST_MS).contains(&ms));
    shown.map_or_else(|| "-".to_owned(), |moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// `64.0 MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let unit = SIZES.iter().take(4).rev().find(|(_, factor)| bytes >= *factor);
    match unit {
        Some((name, factor)) => format!("{:.1} {name}", bytes as f64 / *factor as f64),
        None => format!("{bytes} B"),
    }
}

/// `1,234,567`.
pub(crate) fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1,234 records`, `1 record`.
pub(crate) fn show_counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", show_count(count), if count == 1 { "" } else { "s" })
}

/// Dollars with as many digits as it takes to see something.
pub(crate) fn show_dollars(dollars: f64) -> String {
    if dollars == 0.0 {
        "$0".to_owned()
    } else if dollars >= 0.01 {
        format!("${dollars:.2}")
    } else {
        format!("${dollars:.6}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4096),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("1.5KiB", 1536),
            ("2k", 2048),
            ("100kB", 100_000),
            ("1GB", 1_000_000_000),
            ("7B", 7),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "MiB", "-1", "1.2.3MiB", "12 parsecs", "1e30", "99999999TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, expected) in [
            ("0", 0),
            ("100ms", 100_000),
            ("250us", 250),
            ("1.5s", 1_500_000),
            ("2min", 120_000_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_micros(expected)), "{text}");
        }
        for text in ["", "soon", "100", "-1s", "1d", "1e9h", "999999999h", "."] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_shown() {
        assert_eq!(show_moment(1_700_000_003_500), "2023-11-14T22:13:23.500Z");
        assert_eq!(show_moment(-1), "-");
        assert_eq!(show_moment(i64::MAX), "-");
    }

    #[test]
    fn numbers_are_shown() {
        assert_eq!(show_bytes(1_023), "1023 B");
        assert_eq!(show_bytes(64 << 20), "64.0 MiB");
        assert_eq!(show_bytes(3 << 29), "1.5 GiB");
        assert_eq!([0, 999, 1_000, 1_234_567].map(show_count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(show_counted(1, "record"), "1 record");
        assert_eq!(show_dollars(0.000_015), "$0.000015");
    }

    /// What is printed can be typed in again.
    #[test]
    fn shown_sizes_are_read_back() {
        for size in [0, 1, 1_023, 1_024, 1_536, 64 << 20, 3 << 29, 1 << 41] {
            assert_eq!(bytes(&show_bytes(size)), Ok(size as usize));
        }
    }
}
