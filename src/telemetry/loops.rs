//! Whether everything still turns: each loop of the process says when it last went round.

use std::time::Duration;

use prometheus::IntGaugeVec;

use super::Metrics;
use super::register::{Register, count};
use crate::model::Timestamp;

/// How old a loop may become that did not say.
const STALE_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Loops {
    last: IntGaugeVec,
    stale_after: IntGaugeVec,
}

impl Loops {
    pub(super) fn new(r: Register<'_>) -> Self {
        Self {
            last: r.gauges(
                "koschei_loop_last_seconds",
                "When a loop last went round, as seconds since 1970.",
                &["loop"],
            ),
            stale_after: r.gauges(
                "koschei_loop_stale_after_seconds",
                "Time after which a loop that did not go round is taken to stand still.",
                &["loop"],
            ),
        }
    }
}

impl Metrics {
    /// A loop begins, and is to go round at least every `stale_after`, the time one round may take included. It counts as having
    /// gone round now.
    pub fn loop_begins(&self, name: &str, stale_after: Duration, now: Timestamp) {
        self.0.loops.stale_after.with_label_values(&[name]).set(count(stale_after.as_secs()));
        self.0.loops.last.with_label_values(&[name]).set(now.micros() / 1_000_000);
    }

    /// A loop went round. One that never began is to do so every five minutes.
    pub fn loop_went_round(&self, name: &str, now: Timestamp) {
        let stale_after = self.0.loops.stale_after.with_label_values(&[name]);
        if stale_after.get() == 0 {
            stale_after.set(count(STALE_AFTER.as_secs()));
        }
        self.0.loops.last.with_label_values(&[name]).set(now.micros() / 1_000_000);
    }

    /// A loop ended on purpose; nobody waits for it any more.
    pub fn loop_ended(&self, name: &str) {
        // Errors only say that it was not there.
        drop(self.0.loops.last.remove_label_values(&[name]));
        drop(self.0.loops.stale_after.remove_label_values(&[name]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_come_and_go() {
        let metrics = Metrics::new();
        metrics.loop_begins("look", Duration::from_secs(30), Timestamp::from_secs(10));
        metrics.loop_went_round("look", Timestamp::from_secs(12));
        metrics.loop_went_round("other", Timestamp::from_secs(13));
        let text = metrics.render();
        assert!(text.contains(r#"koschei_loop_last_seconds{loop="look"} 12"#), "{text}");
        assert!(text.contains(r#"koschei_loop_stale_after_seconds{loop="look"} 30"#));
        assert!(text.contains(r#"koschei_loop_stale_after_seconds{loop="other"} 300"#));
        metrics.loop_ended("look");
        assert!(!metrics.render().contains("\"look\""));
    }
}
