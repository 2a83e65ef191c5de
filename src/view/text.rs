//! Numbers, times and long texts, as they are written for people.

use crate::model::Timestamp;

/// Thousandths of a point as points, one decimal.
pub(crate) fn points(thousandths: i64) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let tenths = (thousandths.unsigned_abs() + 50) / 100;
    format!("{sign}{}.{}", tenths / 10, tenths % 10)
}

/// A time (UTC) without fractions of a second: `2026-11-20 08:45:42`.
pub(crate) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('.').next().unwrap_or(&text).trim_end_matches('Z').replace('T', " ")
}

/// One line, cut to a length.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= max {
        return flat;
    }
    flat.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lines() {
        assert_eq!(points(-30_000), "-30.0");
        assert_eq!(points(39_245), "39.2");
        assert_eq!(points(-50), "-0.1");
        assert_eq!(one_line("a\n  b", 10), "a b");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}
