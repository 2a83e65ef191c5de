//! Metrics of rebuilds: submitted, running, ended.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::Metrics;
use super::register::Register;
use crate::fold::State;
use crate::model::{Outcome, Timestamp};

#[derive(Debug)]
pub(super) struct Rebuilds {
    submissions: IntCounterVec,
    running: IntGaugeVec,
    oldest: IntGaugeVec,
    finished: IntCounterVec,
}

/// Result of a submission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submission {
    /// The hub created a task.
    Submitted,
    /// The hub already had a task for it.
    Adopted,
    /// The hub refused it.
    Refused,
    /// The hub did not answer. The submission is tried again.
    Failed,
}

impl Submission {
    const WORDS: [&'static str; 4] = ["submitted", "adopted", "refused", "failed"];

    const fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

impl Rebuilds {
    pub(super) fn new(r: Register<'_>) -> Self {
        let outcomes = Outcome::ALL.map(Outcome::key);
        Self {
            submissions: r.counters_of(
                "koschei_submissions_total",
                "Submissions of rebuilds to a hub, by outcome.",
                "outcome",
                &Submission::WORDS,
            ),
            running: r.gauges("koschei_rebuilds_running", "Rebuilds that run or are about to run.", &["collection"]),
            oldest: r.gauges(
                "koschei_rebuild_oldest_seconds",
                "Age of the oldest running rebuild, in seconds; 0 if none runs.",
                &["collection"],
            ),
            finished: r.counters_of(
                "koschei_rebuild_finished_total",
                "Rebuilds that ended, by outcome.",
                "outcome",
                &outcomes,
            ),
        }
    }
}

impl Metrics {
    /// Counts a submission to a hub.
    pub fn submission(&self, outcome: Submission) {
        self.0.rebuilds.submissions.with_label_values(&[outcome.word()]).inc();
    }

    /// Counts a rebuild that ended.
    pub fn finished(&self, outcome: Outcome) {
        self.0.rebuilds.finished.with_label_values(&[outcome.key()]).inc();
    }

    /// Sets how many rebuilds of a collection run or are about to run, and the age of the oldest in
    /// seconds, absent if none runs.
    pub fn rebuilds_running(&self, collection: &str, running: u32, oldest_seconds: Option<i64>) {
        self.0.rebuilds.running.with_label_values(&[collection]).set(running.into());
        self.0.rebuilds.oldest.with_label_values(&[collection]).set(oldest_seconds.unwrap_or(0).max(0));
    }

    /// Calls [`Metrics::rebuilds_running`] for every collection of a state, as of `now`. Cost:
    /// visits every package.
    pub fn rebuilds_of(&self, state: &State, now: Timestamp) {
        for (name, c) in &state.collections {
            let busy = c.packages.values().filter(|p| p.running > 0);
            let oldest = busy.flat_map(|p| p.evidence.iter().filter(|e| e.running)).map(|e| e.at).min();
            self.rebuilds_running(name, c.running, oldest.map(|at| now.since(at) / 1_000_000));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_there_before_it_happens() {
        let metrics = Metrics::new();
        let text = metrics.render();
        for outcome in ["ok", "genuine_failure", "infrastructure_fault", "cancelled", "timed_out", "unclear"] {
            assert!(text.contains(&format!("koschei_rebuild_finished_total{{outcome=\"{outcome}\"}} 0")), "{text}");
        }
        metrics.submission(Submission::Adopted);
        metrics.rebuilds_running("f99", 2, Some(70));
        let text = metrics.render();
        assert!(text.contains(r#"koschei_submissions_total{outcome="adopted"} 1"#));
        assert!(text.contains(r#"koschei_submissions_total{outcome="refused"} 0"#));
        assert!(text.contains(r#"koschei_rebuild_oldest_seconds{collection="f99"} 70"#));
        metrics.rebuilds_running("f99", 0, None);
        assert!(metrics.render().contains(r#"koschei_rebuild_oldest_seconds{collection="f99"} 0"#));
    }
}
