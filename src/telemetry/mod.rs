//! Metrics of this process.
//!
//! Names: `koschei_<room>_<what>_<unit>[_total]`. Labels come from bounded sets: collection, architecture, outcome, reason, kind; never
//! packages, builds or people. Metrics are counted per batch where that is possible. Nothing here is state: a restart begins at 0.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::decide::Plan;
use crate::event::Record;
use crate::log::{Disposition, Received};
use crate::model::{Outcome, Timestamp};

/// All metrics of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    received: IntCounterVec,
    settled: IntCounterVec,
    last_message: IntGauge,
    appended: IntCounterVec,
    append_seconds: Histogram,
    head: IntGauge,
    recorded: IntGauge,
    folded: IntCounter,
    fold_seconds: Histogram,
    packages: IntGaugeVec,
    resolve_seconds: HistogramVec,
    solved: IntCounterVec,
    checked: IntCounter,
    mismatches: IntCounter,
    evaluations: IntCounter,
    evaluation_seconds: Histogram,
    chosen: IntCounter,
    held: IntGaugeVec,
    finished: IntCounterVec,
    inbox_pending: IntGauge,
    inbox_parked: IntGauge,
    outbox_pending: IntGauge,
    sent: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Seconds: from a cheap append to a slow resolution.
const SECONDS: &[f64] = &[0.0005, 0.002, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

impl Metrics {
    /// Registers everything, at zero.
    ///
    /// # Panics
    /// When two metrics have one name, which the tests exclude.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let c = IntCounter::new(name, help).expect("names are valid");
            registry.register(Box::new(c.clone())).expect("names are unique");
            c
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let c = IntCounterVec::new(Opts::new(name, help), labels).expect("names are valid");
            registry.register(Box::new(c.clone())).expect("names are unique");
            c
        };
        let gauge = |name: &str, help: &str| {
            let g = IntGauge::new(name, help).expect("names are valid");
            registry.register(Box::new(g.clone())).expect("names are unique");
            g
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let g = IntGaugeVec::new(Opts::new(name, help), labels).expect("names are valid");
            registry.register(Box::new(g.clone())).expect("names are unique");
            g
        };
        let seconds = |name: &str, help: &str| {
            let h = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))
                .expect("names are valid");
            registry.register(Box::new(h.clone())).expect("names are unique");
            h
        };
        let info = gauges("koschei_build_info", "Version of the program; always 1.", &["version"]);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let resolve = HistogramVec::new(
            HistogramOpts::new("koschei_resolve_seconds", "Time to resolve one repository on one architecture.")
                .buckets(SECONDS.to_vec()),
            &["collection", "arch"],
        )
        .expect("names are valid");
        registry.register(Box::new(resolve.clone())).expect("names are unique");
        Self(Arc::new(Inner {
            received: counters("koschei_intake_messages_total", "Messages taken in.", &["source", "result"]),
            settled: counters(
                "koschei_inbox_settled_total",
                "Messages dealt with, by what became of them.",
                &["topic", "result"],
            ),
            last_message: gauge("koschei_intake_last_message_timestamp_seconds", "When the last message was received."),
            appended: counters("koschei_log_events_total", "Events appended.", &["kind"]),
            append_seconds: seconds("koschei_log_append_seconds", "Time of one append transaction."),
            head: gauge("koschei_log_head_sequence", "Sequence of the last event."),
            recorded: gauge("koschei_log_head_timestamp_seconds", "When the last event was recorded."),
            folded: counter("koschei_fold_events_total", "Events folded when a state was rebuilt."),
            fold_seconds: seconds("koschei_fold_rebuild_seconds", "Time to rebuild the state from the log."),
            packages: gauges(
                "koschei_resolve_packages",
                "Packages by verdict in the newest resolution.",
                &["collection", "arch", "verdict"],
            ),
            resolve_seconds: resolve,
            solved: counters(
                "koschei_resolve_solved_total",
                "Source packages resolved, by solver and why it was libsolv.",
                &["solver", "reason"],
            ),
            checked: counter("koschei_resolve_checked_total", "Answers of our own solver checked with libsolv."),
            mismatches: counter(
                "koschei_resolve_mismatches_total",
                "Checked answers on which our own solver and libsolv disagreed.",
            ),
            evaluations: counter("koschei_decide_evaluations_total", "Times the rules were applied."),
            evaluation_seconds: seconds(
                "koschei_decide_evaluation_seconds",
                "Time to apply the rules to all packages.",
            ),
            chosen: counter("koschei_decide_rebuilds_total", "Rebuilds decided."),
            held: gauges(
                "koschei_decide_held_packages",
                "Packages not rebuilt at the last evaluation, by first reason.",
                &["reason"],
            ),
            finished: counters("koschei_rebuild_finished_total", "Rebuilds that ended.", &["outcome"]),
            inbox_pending: gauge("koschei_inbox_pending_messages", "Messages waiting to be dealt with."),
            inbox_parked: gauge(
                "koschei_inbox_parked_messages",
                "Messages that were not understood and wait for a newer program.",
            ),
            outbox_pending: gauge("koschei_outbox_pending_commands", "Commands decided and not delivered."),
            sent: counter("koschei_outbox_sent_total", "Commands delivered."),
            registry,
        }))
    }

    /// Messages came in.
    pub fn received(&self, source: &str, received: &[Received]) {
        let doubles = received.iter().filter(|r| matches!(r, Received::Duplicate)).count();
        let add = |result: &str, n: usize| self.0.received.with_label_values(&[source, result]).inc_by(n as u64);
        add("duplicate", doubles);
        add("stored", received.len() - doubles);
    }

    /// A message was dealt with.
    pub fn settled(&self, topic: &str, disposition: &Disposition) {
        let result = match disposition {
            Disposition::Done => "done",
            Disposition::Ignored { .. } => "ignored",
            Disposition::Parked { .. } => "parked",
        };
        self.0.settled.with_label_values(&[topic_label(topic), result]).inc();
    }

    /// Events were appended.
    pub fn appended(&self, records: &[Record], seconds: f64) {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for record in records {
            *kinds.entry(&record.kind).or_default() += 1;
        }
        for (kind, n) in kinds {
            self.0.appended.with_label_values(&[kind]).inc_by(n);
        }
        self.0.append_seconds.observe(seconds);
        if let Some(last) = records.last() {
            self.0.head.set(i64::try_from(last.seq.get()).unwrap_or(i64::MAX));
            self.0.recorded.set(last.recorded_at.micros() / 1_000_000);
        }
    }

    /// The time of the newest message.
    pub fn last_message(&self, at: Timestamp) {
        self.0.last_message.set(at.micros() / 1_000_000);
    }

    /// A state was rebuilt.
    pub fn folded(&self, events: u64, seconds: f64) {
        self.0.folded.inc_by(events);
        self.0.fold_seconds.observe(seconds);
    }

    /// A repository was resolved on an architecture: packages that resolve, do not, are not for it, are unknown.
    pub fn resolved(&self, collection: &str, arch: &str, counts: [u32; 4], seconds: f64) {
        self.0.resolve_seconds.with_label_values(&[collection, arch]).observe(seconds);
        for (verdict, n) in ["resolved", "unresolved", "excluded", "unknown"].into_iter().zip(counts) {
            self.0.packages.with_label_values(&[collection, arch, verdict]).set(n.into());
        }
    }

    /// Who resolved the source packages of one repository and architecture, and how many answers were checked and found different.
    pub fn solved(&self, native: u32, handed_over: &BTreeMap<&'static str, u32>, checked: u32, mismatches: usize) {
        self.0.solved.with_label_values(&["native", ""]).inc_by(native.into());
        for (reason, n) in handed_over {
            self.0.solved.with_label_values(&["libsolv", reason]).inc_by((*n).into());
        }
        self.0.checked.inc_by(checked.into());
        self.0.mismatches.inc_by(mismatches as u64);
    }

    /// The rules were applied.
    pub fn evaluated(&self, plan: &Plan, seconds: f64) {
        self.0.evaluations.inc();
        self.0.evaluation_seconds.observe(seconds);
        self.0.chosen.inc_by(plan.chosen.len() as u64);
        // A reason that holds nobody now reports 0; it does not vanish.
        for reason in crate::decide::Hold::keys() {
            let n = plan.held.get(*reason).copied().unwrap_or(0);
            self.0.held.with_label_values(&[reason]).set(n.into());
        }
    }

    /// A rebuild ended.
    pub fn finished(&self, outcome: Outcome) {
        self.0.finished.with_label_values(&[&outcome.as_str().replace(' ', "_")]).inc();
    }

    /// Commands were delivered.
    pub fn sent(&self, n: usize) {
        self.0.sent.inc_by(n as u64);
    }

    /// What waits.
    pub fn waiting(&self, counts: &crate::log::Counts) {
        let set = |g: &IntGauge, n: u64| g.set(i64::try_from(n).unwrap_or(i64::MAX));
        set(&self.0.inbox_pending, counts.inbox_pending);
        set(&self.0.inbox_parked, counts.inbox_parked);
        set(&self.0.outbox_pending, counts.outbox_pending);
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Encoding into memory cannot fail; a metric that could not be encoded would have failed its registration.
        if TextEncoder::new().encode(&self.0.registry.gather(), &mut text).is_err() {
            text.clear();
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// Writes [`Metrics::render`] to a file, for `node_exporter`'s textfile collector: whole or not at all.
    ///
    /// # Errors
    /// Those of writing and renaming.
    pub fn write_to(&self, path: &Path) -> std::io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        std::fs::write(&beside, self.render())?;
        std::fs::rename(&beside, path)
    }
}

/// The part of a topic that says what it is about, from a bounded set.
fn topic_label(topic: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "buildsys.task.state.change",
        "buildsys.build.state.change",
        "buildsys.tag",
        "buildsys.untag",
        "buildsys.repo.init",
        "buildsys.repo.done",
        "buildsys.package.list.change",
        "buildsys.rpm.sign",
        "unreadable",
    ];
    KNOWN.into_iter().find(|k| topic.ends_with(k)).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_and_zeroes_stay() {
        let metrics = Metrics::new();
        metrics.settled("org.fedoraproject.prod.buildsys.tag", &Disposition::Done);
        metrics.settled("anything.else.7", &Disposition::Done);
        metrics.evaluated(&Plan::default(), 0.1);
        let text = metrics.render();
        assert!(text.contains(r#"koschei_inbox_settled_total{result="done",topic="buildsys.tag"} 1"#), "{text}");
        assert!(text.contains(r#"topic="other"} 1"#));
        assert!(text.contains(r#"koschei_decide_held_packages{reason="blocked"} 0"#));
        assert!(!text.contains("anything"));
    }
}
