//! A point in a log, as people write it: an event, a time, a day, or a span before now.

use std::str::FromStr;

use super::{EventLog, LogError};
use crate::model::{Seq, Timestamp};

const DAY_SECS: i64 = 86_400;
/// Longest span that is accepted, in seconds: a thousand years.
const SPAN_SECS_MAX: i64 = 1_000 * 365 * DAY_SECS;

/// A point in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsOf {
    /// After this event; 0: before the first.
    Seq(u64),
    /// After everything that was recorded up to this time.
    Time(Timestamp),
    /// A day, given by its beginning (UTC).
    Day(Timestamp),
    /// This many seconds ago.
    Ago(i64),
}

/// The moment that a day stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Its first moment, if events after it are wanted.
    Begin,
    /// Its last moment, if the state at it is wanted.
    End,
}

/// A point that was found in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// After this event; `None`: before the first.
    Seq(Option<Seq>),
    /// After everything that was recorded up to this time.
    Time(Timestamp),
}

impl FromStr for AsOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::Time(time));
        }
        if let Ok(begin) = format!("{text}T00:00:00Z").parse() {
            return Ok(Self::Day(begin));
        }
        let joined = text.replacen(' ', "T", 1);
        if let Some(time) = ["Z", ":00Z"].iter().find_map(|end| format!("{joined}{end}").parse().ok()) {
            return Ok(Self::Time(time));
        }
        if text == "now" {
            return Ok(Self::Ago(0));
        }
        span(text).map(Self::Ago).ok_or_else(|| {
            format!(
                "`{text}` is not a point in a log; give an event's number, a time (2026-11-20T08:45:00Z, 2026-11-20 \
                    08:45), a day (2026-11-20) or a span (1 hour ago, 3 days ago)"
            )
        })
    }
}

/// Returns the seconds of a span such as `3 days ago`, `90min ago` or `1 day 2 hours ago`.
fn span(text: &str) -> Option<i64> {
    let spaced: String = text.strip_suffix("ago")?.to_lowercase();
    let mut total = 0_i64;
    let mut rest = spaced.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = match rest.split_at(digits) {
            ("", after) => (1, after.strip_prefix("an ").or_else(|| after.strip_prefix("a "))?),
            (number, after) => (number.parse::<i64>().ok()?, after),
        };
        let after = after.trim_start();
        let (unit, others) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let secs = match unit {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3_600,
            "d" | "day" | "days" => DAY_SECS,
            "w" | "week" | "weeks" => 7 * DAY_SECS,
            "month" | "months" => 30 * DAY_SECS,
            "y" | "year" | "years" => 365 * DAY_SECS,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(secs)?)?;
        rest = others.trim_start();
    }
    (total <= SPAN_SECS_MAX).then_some(total)
}

/// A point that was found, and what a person should be told about it.
pub(crate) struct Settled {
    /// The point.
    pub(crate) point: Point,
    /// The time that a day or a span stands for, in words.
    pub(crate) note: Option<String>,
}

/// Finds a point. A span counts back from `now`. If that time is after the end of the log, the span
/// counts back from the end.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub(crate) async fn settle(log: &impl EventLog, as_of: AsOf, edge: Edge, now: Timestamp) -> Result<Settled, LogError> {
    let (time, note) = match as_of {
        AsOf::Seq(n) => return Ok(Settled { point: Point::Seq(Seq::new(n)), note: None }),
        AsOf::Time(time) => return Ok(Settled { point: Point::Time(time), note: None }),
        AsOf::Day(begin) if edge == Edge::Begin => (begin, format!("that day begins at {begin}")),
        AsOf::Day(begin) => {
            let last = Timestamp(begin.0 + DAY_SECS * 1_000_000 - 1);
            // A day that is not over yet ends now.
            let end = last.min(now.max(recorded_end(log).await?.unwrap_or(Timestamp::EPOCH)));
            (end, format!("as of the end of that day (UTC), {end}"))
        }
        AsOf::Ago(secs) => {
            let time = now.plus_secs(-secs);
            match recorded_end(log).await?.filter(|end| *end < time) {
                Some(end) => {
                    let back = end.plus_secs(-secs);
                    (back, format!("the log ends earlier, at {end}; counted back from its end, that is {back}"))
                }
                None => (time, format!("that is {time}")),
            }
        }
    };
    Ok(Settled { point: Point::Time(time), note: Some(note) })
}

/// Returns the time at which the last event was recorded.
async fn recorded_end(log: &impl EventLog) -> Result<Option<Timestamp>, LogError> {
    let Some(last) = log.head().await?.seq else { return Ok(None) };
    Ok(log.read(Seq::new(last.get() - 1), 1).await?.first().map(|r| r.recorded_at))
}

impl Point {
    /// Returns the last event that counts. `None` means that no event counts.
    ///
    /// # Errors
    /// Returns a [`LogError`] if the log cannot be read.
    pub(crate) async fn seq(self, log: &impl EventLog) -> Result<Option<Seq>, LogError> {
        match self {
            Self::Seq(seq) => Ok(seq),
            Self::Time(time) => Ok(log.seq_at(time).await?),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("466", AsOf::Seq(466))]
    #[case("2026-11-20T08:45:00Z", AsOf::Time(at("2026-11-20T08:45:00Z")))]
    #[case("2026-11-20 08:45", AsOf::Time(at("2026-11-20T08:45:00Z")))]
    #[case("2026-11-20 08:45:07", AsOf::Time(at("2026-11-20T08:45:07Z")))]
    #[case("2026-11-20T08:45", AsOf::Time(at("2026-11-20T08:45:00Z")))]
    #[case("2026-11-20", AsOf::Day(at("2026-11-20T00:00:00Z")))]
    #[case("1 hour ago", AsOf::Ago(3_600))]
    #[case("an hour ago", AsOf::Ago(3_600))]
    #[case("3 days ago", AsOf::Ago(259_200))]
    #[case("90min ago", AsOf::Ago(5_400))]
    #[case("1 day 2 hours ago", AsOf::Ago(93_600))]
    #[case("2w ago", AsOf::Ago(1_209_600))]
    #[case("now", AsOf::Ago(0))]
    fn points(#[case] text: &str, #[case] expected: AsOf) {
        assert_eq!(text.parse(), Ok(expected));
    }

    #[rstest]
    fn others_are_refused_with_examples(
        #[values(
            "",
            "ago",
            "hour",
            "1 hour",
            "-1 hour ago",
            "1 fortnight ago",
            "2026-13-01",
            "2026-11",
            "99999999999999999999 days ago",
            "9000000000 years ago",
            "1é ago"
        )]
        text: &str,
    ) {
        assert!(text.parse::<AsOf>().unwrap_err().contains("1 hour ago"));
    }
}
