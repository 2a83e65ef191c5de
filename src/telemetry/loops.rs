//! Whether every loop of the process still runs: each loop notes when it last went round.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGaugeVec;

use super::Metrics;
use super::register::{Register, count};
use crate::model::Timestamp;

/// Age at which a loop counts as stuck if it did not set its own.
const STALE_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Loops {
    last: IntGaugeVec,
    stale_after: IntGaugeVec,
    known: Mutex<BTreeMap<String, Turn>>,
}

/// When a loop last went round, when it last showed that it is alive, and how long after that it is
/// stale, all in seconds.
#[derive(Clone, Copy, Debug)]
struct Turn {
    last: i64,
    alive: i64,
    stale_after: i64,
}

impl Loops {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Turn>> {
        // No code panics while the lock is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turned(&self, name: &str, now: Timestamp, stale_after: Option<Duration>) {
        let last = now.micros() / 1_000_000;
        let mut known = self.known();
        let turn = match known.get_mut(name) {
            Some(turn) => turn,
            None => known.entry(name.to_owned()).or_insert(Turn {
                last,
                alive: last,
                stale_after: count(STALE_AFTER.as_secs()),
            }),
        };
        turn.last = last;
        turn.alive = last;
        if let Some(stale_after) = stale_after {
            turn.stale_after = count(stale_after.as_secs());
        }
        self.last.with_label_values(&[name]).set(turn.last);
        self.stale_after.with_label_values(&[name]).set(turn.stale_after);
    }

    pub(super) fn new(r: Register<'_>) -> Self {
        Self {
            last: r.gauges(
                "koschei_loop_last_seconds",
                "Time at which a loop last went round, in seconds since 1970.",
                &["loop"],
            ),
            stale_after: r.gauges(
                "koschei_loop_stale_after_seconds",
                "Time after which a loop that did not go round counts as stuck, in seconds.",
                &["loop"],
            ),
            known: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Notes that a loop begins. It must go round at least every `stale_after`, including the time
    /// of one round. It counts as having gone round now.
    pub fn loop_begins(&self, name: &str, stale_after: Duration, now: Timestamp) {
        self.0.loops.turned(name, now, Some(stale_after));
    }

    /// Notes that a loop went round. A loop that never began must do so every five minutes.
    pub fn loop_went_round(&self, name: &str, now: Timestamp) {
        self.0.loops.turned(name, now, None);
    }

    /// Notes that a loop waits for a server that does not answer, and tries again. The loop is
    /// alive, although it does not go round. Monitoring sees that it does not go round, but the
    /// watchdog does not restart the process, because a restart would repair nothing.
    pub fn loop_waits(&self, name: &str, now: Timestamp) {
        if let Some(turn) = self.0.loops.known().get_mut(name) {
            turn.alive = now.micros() / 1_000_000;
        }
    }

    /// Checks whether a loop that began and did not end counts as stuck.
    pub fn loop_is_stale(&self, name: &str, now: Timestamp) -> bool {
        let now = now.micros() / 1_000_000;
        self.0.loops.known().get(name).is_some_and(|t| now.saturating_sub(t.alive) > t.stale_after)
    }

    /// Notes that a loop ended on purpose.
    pub fn loop_ended(&self, name: &str) {
        self.0.loops.known().remove(name);
        // An error only means that it did not exist.
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
        assert!(!metrics.loop_is_stale("look", Timestamp::from_secs(42)));
        assert!(metrics.loop_is_stale("look", Timestamp::from_secs(43)));
        assert!(!metrics.loop_is_stale("never heard of", Timestamp::from_secs(43)));
        metrics.loop_waits("look", Timestamp::from_secs(43));
        assert!(!metrics.loop_is_stale("look", Timestamp::from_secs(73)), "it waits for somebody, and lives");
        assert!(metrics.render().contains(r#"koschei_loop_last_seconds{loop="look"} 12"#), "it did not go round");
        assert!(metrics.loop_is_stale("look", Timestamp::from_secs(74)));
        metrics.loop_ended("look");
        assert!(!metrics.loop_is_stale("look", Timestamp::from_secs(43)));
        assert!(!metrics.render().contains("\"look\""));
    }
}
