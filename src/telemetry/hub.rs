//! Metrics of requests to Koji: calls, hints, reconciliation, files.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::Metrics;
use super::register::{Register, count};
use crate::model::{Class, Timestamp};

#[derive(Debug)]
pub(super) struct HubMetrics {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    up: IntGaugeVec,
    look_pending: IntGauge,
    reconciled: IntGaugeVec,
    reconcile_every: IntGaugeVec,
    differences: IntCounterVec,
    files: IntCounterVec,
}

/// How a request for a file of the repositories ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileOutcome {
    /// It was fetched.
    Fetched,
    /// It was in the cache, so no request was made.
    Cached,
    /// The server does not have it.
    Missing,
    /// It arrived damaged: wrong checksum, too long, cut off.
    Bad,
    /// The server did not answer, or refused.
    Failed,
}

impl FileOutcome {
    const WORDS: [&'static str; 5] = ["fetched", "cached", "missing", "bad", "failed"];

    const fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

impl HubMetrics {
    pub(super) fn new(r: Register<'_>) -> Self {
        Self {
            requests: r.counters(
                "koschei_hub_requests_total",
                "Requests to Koji's hub, by method and outcome.",
                &["method", "outcome"],
            ),
            request_seconds: r.seconds_by(
                "koschei_hub_request_seconds",
                "Time of one request to Koji's hub, without retries.",
                &["method"],
            ),
            up: r.gauges("koschei_hub_up", "1 if the hub answered the last request, otherwise 0.", &["hub"]),
            look_pending: r.gauge("koschei_look_pending", "Hints that wait until the hub is asked about them."),
            reconciled: r.gauges(
                "koschei_reconciled_timestamp_seconds",
                "Time at which the hub was last compared with the log, in seconds since 1970; 0 if never.",
                &["hub"],
            ),
            reconcile_every: r.gauges(
                "koschei_reconcile_interval_seconds",
                "Configured time between two comparisons of the hub with the log.",
                &["hub"],
            ),
            differences: r.counters_of(
                "koschei_reconciled_differences_total",
                "Facts that messages had not reported (missed) or had reported wrongly (invented), as found by \
                    reconciliation.",
                "kind",
                &["missed", "invented"],
            ),
            files: r.counters_of(
                "koschei_file_requests_total",
                "Requests for files of repositories, by outcome.",
                "outcome",
                &FileOutcome::WORDS,
            ),
        }
    }
}

impl Metrics {
    /// Notes that a hub is configured, and how often it is compared with the log. It counts as down
    /// until it answers. `last` is the last comparison in the log; absent if there was none.
    pub fn hub_known(&self, hub: &str, reconcile_every: Duration, last: Option<Timestamp>) {
        drop(self.0.hub.up.with_label_values(&[hub]));
        self.0.hub.reconciled.with_label_values(&[hub]).set(last.map_or(0, |at| at.micros() / 1_000_000));
        self.0.hub.reconcile_every.with_label_values(&[hub]).set(count(reconcile_every.as_secs()));
    }

    /// Counts a request to a hub. `failed` is absent if the hub answered. `method` is Koji's name
    /// of the method, which never contains ids.
    pub fn hub_request(&self, method: &str, failed: Option<Class>, seconds: f64) {
        let outcome = failed.map_or("ok", Class::as_str);
        self.0.hub.requests.with_label_values(&[method, outcome]).inc();
        self.0.hub.request_seconds.with_label_values(&[method]).observe(seconds);
    }

    /// Sets whether a hub answers.
    pub fn hub_up(&self, hub: &str, up: bool) {
        self.0.hub.up.with_label_values(&[hub]).set(up.into());
    }

    /// Sets how many hints wait until the hub is asked about them.
    pub fn look_pending(&self, hints: usize) {
        self.0.hub.look_pending.set(count(hints));
    }

    /// Notes a complete comparison of a hub with the log. `missed` and `invented` are those of the
    /// event `reconciled`.
    pub fn reconciled(&self, hub: &str, at: Timestamp, missed: u32, invented: u32) {
        self.0.hub.reconciled.with_label_values(&[hub]).set(at.micros() / 1_000_000);
        self.0.hub.differences.with_label_values(&["missed"]).inc_by(missed.into());
        self.0.hub.differences.with_label_values(&["invented"]).inc_by(invented.into());
    }

    /// Counts a request for a file of a repository.
    pub fn file_request(&self, outcome: FileOutcome) {
        self.0.hub.files.with_label_values(&[outcome.word()]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_was_never_heard_of_is_down_and_overdue() {
        let metrics = Metrics::new();
        assert!(!metrics.render().contains("koschei_hub_up{"), "without a hub there is none to be down");
        metrics.hub_known("primary", Duration::from_secs(600), None);
        let text = metrics.render();
        assert!(text.contains(r#"koschei_hub_up{hub="primary"} 0"#), "{text}");
        assert!(text.contains(r#"koschei_reconciled_timestamp_seconds{hub="primary"} 0"#));
        assert!(text.contains(r#"koschei_reconcile_interval_seconds{hub="primary"} 600"#));
        metrics.hub_known("primary", Duration::from_secs(600), Some(Timestamp::from_secs(4)));
        assert!(
            metrics.render().contains(r#"koschei_reconciled_timestamp_seconds{hub="primary"} 4"#),
            "before we came"
        );
        metrics.hub_request("getBuild", None, 0.1);
        metrics.hub_request("getBuild", Some(Class::Unavailable), 0.1);
        metrics.hub_up("primary", true);
        metrics.reconciled("primary", Timestamp::from_secs(5), 3, 1);
        metrics.file_request(FileOutcome::Missing);
        let text = metrics.render();
        assert!(text.contains(r#"koschei_hub_requests_total{method="getBuild",outcome="unavailable"} 1"#));
        assert!(text.contains(r#"koschei_hub_up{hub="primary"} 1"#));
        assert!(text.contains(r#"koschei_reconciled_differences_total{kind="missed"} 3"#));
        assert!(text.contains(r#"koschei_file_requests_total{outcome="missing"} 1"#));
        assert!(text.contains(r#"koschei_file_requests_total{outcome="bad"} 0"#));
    }
}
