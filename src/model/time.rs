//! Points in time: whole microseconds since 1970, UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z. They are stored and hashed as this integer, and shown
/// as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// An error for a text that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time (expected RFC 3339, such as 2026-11-20T08:44:11Z)")]
pub struct BadTime(pub String);

impl Timestamp {
    /// 1970-01-01T00:00:00Z. It is also the recorded time of an empty log.
    pub const EPOCH: Self = Self(0);

    /// Converts whole seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Converts seconds with a fraction, as in Koji's `*_ts` fields and `seen_at` in recordings.
    /// Returns `None` for values that are not finite or beyond the year 9999.
    #[expect(clippy::cast_possible_truncation, reason = "range is checked first")]
    pub fn from_secs_f64(secs: f64) -> Option<Self> {
        let micros = (secs * 1e6).round();
        if micros.is_finite() && micros.abs() < 2.6e17 { Some(Self(micros as i64)) } else { None }
    }

    /// Returns the microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Returns this time plus `secs` seconds.
    #[must_use]
    pub const fn plus_secs(self, secs: i64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(1_000_000)))
    }

    /// Returns the microseconds from `earlier` to `self`. Negative if `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl FromStr for Timestamp {
    type Err = BadTime;

    /// Parses RFC 3339 and Koji's own `YYYY-MM-DD HH:MM:SS.ffffff+00:00`.
    fn from_str(text: &str) -> Result<Self, BadTime> {
        let trimmed = text.trim();
        trimmed
            .parse::<jiff::Timestamp>()
            .map(|t| Self(t.as_microsecond()))
            .map_err(|_| BadTime(text.chars().take(80).collect()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_koji_writes() {
        let iso: Timestamp = "2026-11-20T08:44:17.414946+00:00".parse().unwrap();
        let koji: Timestamp = "2026-11-20 08:44:17.414946+00:00".parse().unwrap();
        assert_eq!(iso, koji);
        assert_eq!(iso.to_string(), "2026-11-20T08:44:17.414946Z");
        assert_eq!("2026-11-20T08:44:11Z".parse(), Ok(Timestamp::from_secs(1_795_164_251)));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn floats_are_bounded() {
        assert_eq!(Timestamp::from_secs_f64(1.5), Some(Timestamp(1_500_000)));
        assert_eq!(Timestamp::from_secs_f64(f64::NAN), None);
        assert_eq!(Timestamp::from_secs_f64(1e300), None);
    }
}
