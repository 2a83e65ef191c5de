//! Detects a log whose end is ahead of this machine's clock.
//!
//! Recorded time never goes back. The log therefore stands still until the clock reaches its end,
//! and that looks like an idle service.

use crate::base::clock;
use crate::model::Timestamp;

/// Tolerated clock difference in seconds between machines that take turns on a log.
const TOLERATED_SECS: i64 = 60;

/// Advice for an operator whose log is ahead of the clock.
pub(crate) const ADVICE: &str = "set this machine's clock if it is behind; if the log was written while a clock was \
    ahead, wait, or continue from an earlier backup";

/// Returns by how many seconds the end of a log is ahead of our clock. `None` if the difference is
/// within the tolerance.
pub(crate) fn ahead(end: Timestamp, now: Timestamp) -> Option<i64> {
    Some(end.since(now) / 1_000_000).filter(|secs| *secs > TOLERATED_SECS)
}

/// Whether the journal already says that the log is ahead.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead(bool);

impl Ahead {
    /// Compares the writer's time with the clock. Logs once when the log is ahead, and once when
    /// the clock has caught up.
    pub(crate) fn look(&mut self, end: Timestamp) {
        let now = clock::now();
        match (ahead(end, now), self.0) {
            (Some(secs), false) => tracing::error!(
                log = %end, clock = %now, ahead.seconds = secs,
                "the end of the log is ahead of this machine's clock; until the clock reaches it, no tick is \
                    recorded and no wait ends; {ADVICE}"
            ),
            (None, true) => {
                tracing::info!("this machine's clock has reached the end of the log; ticks are recorded again")
            }
            _ => {}
        }
        self.0 = ahead(end, now).is_some();
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::behind(-3_600, None)]
    #[case::the_same(0, None)]
    #[case::as_clocks_differ(60, None)]
    #[case::ahead(61, Some(61))]
    #[case::years(4_000_000_000, Some(4_000_000_000))]
    fn the_end_is_ahead(#[case] by: i64, #[case] expected: Option<i64>) {
        let now = Timestamp::from_secs(1_800_000_000);
        assert_eq!(ahead(now.plus_secs(by), now), expected);
    }
}
