//! Formats numbers, times and long texts for people.

use crate::model::Timestamp;

/// Formats thousandths of a point as points, with one decimal.
pub(crate) fn points(thousandths: i64) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let tenths = (thousandths.unsigned_abs() + 50) / 100;
    format!("{sign}{}.{}", tenths / 10, tenths % 10)
}

/// Formats a time (UTC) without fractions of a second: `2026-11-20 08:45:42`.
pub(crate) fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('.').next().unwrap_or(&text).trim_end_matches('Z').replace('T', " ")
}

/// Formats a time (UTC) to the minute: `2026-11-20 08:45`.
pub(crate) fn minute(at: Timestamp) -> String {
    clock(at).chars().take(16).collect()
}

/// Formats seconds in the largest unit: `3 h`.
pub(crate) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Formats seconds like [`span`], but hours with minutes: `3 h 20 min`.
pub(crate) fn span_to_minute(seconds: i64) -> String {
    match seconds {
        7_200..=172_799 => format!("{} {} min", span(seconds), seconds % 3_600 / 60),
        _ => span(seconds),
    }
}

/// Writes thousandths as percent.
pub(crate) fn percent(thousandths: u32) -> String {
    format!("{} %", (thousandths + 5) / 10)
}

/// Begins a text with a capital, like a sentence.
pub(crate) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Makes a text one line, cut to a length in characters.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= max {
        return flat;
    }
    flat.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(-5, "0 s", "0 s")]
    #[case(59, "59 s", "59 s")]
    #[case(119, "119 s", "119 s")]
    #[case(120, "2 min", "2 min")]
    #[case(7_199, "119 min", "119 min")]
    #[case(7_200, "2 h", "2 h 0 min")]
    #[case(7_300, "2 h", "2 h 1 min")]
    #[case(172_799, "47 h", "47 h 59 min")]
    #[case(172_800, "2 days", "2 days")]
    #[case(864_000, "10 days", "10 days")]
    fn how_long(#[case] secs: i64, #[case] words: &str, #[case] longer: &str) {
        assert_eq!((span(secs).as_str(), span_to_minute(secs).as_str()), (words, longer));
    }

    #[test]
    fn times() {
        assert_eq!(clock(Timestamp(1_795_164_251_414_946)), "2026-11-20 08:44:11");
        assert_eq!(minute(Timestamp(1_795_164_251_414_946)), "2026-11-20 08:44");
    }

    #[test]
    fn numbers_and_lines() {
        assert_eq!(points(-30_000), "-30.0");
        assert_eq!(points(39_245), "39.2");
        assert_eq!(points(-50), "-0.1");
        assert_eq!(one_line("a\n  b", 10), "a b");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}
