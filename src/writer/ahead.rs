//! A log whose end is ahead of our clock. Recorded time never goes back, so it stands still until the clock is there;
//! that looks like rest.

use crate::base::clock;
use crate::model::Timestamp;

/// Machines that take turns on a log may differ by so much, in seconds.
const TOLERATED_SECS: i64 = 60;

/// What to do about it.
pub(crate) const ADVICE: &str = "set this machine's clock if it is behind; if the log was written while a clock was \
     ahead, wait, or go on from a backup of before that";

/// By how many seconds the end of a log is ahead of our clock, where that is more than clocks differ by.
pub(crate) fn ahead(end: Timestamp, now: Timestamp) -> Option<i64> {
    Some(end.since(now) / 1_000_000).filter(|secs| *secs > TOLERATED_SECS)
}

/// Whether it was said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead(bool);

impl Ahead {
    /// Looks at the time the writer has come to; says it in the journal when that is ahead, once, and when that is
    /// over.
    pub(crate) fn look(&mut self, end: Timestamp) {
        let now = clock::now();
        match (ahead(end, now), self.0) {
            (Some(secs), false) => tracing::error!(
                log = %end, clock = %now, ahead.seconds = secs,
                "the end of the log is ahead of this machine's clock; until the clock is there no tick comes and no \
                    wait ends; {ADVICE}"
            ),
            (None, true) => tracing::info!("this machine's clock has reached the end of the log; time goes on"),
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
