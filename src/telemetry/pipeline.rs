//! Metrics of the way from message to command: intake, inbox, log, folding, outbox.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Metrics;
use super::register::{Register, WhenKnown, count};
use crate::event::Record;
use crate::message::{RESULT_TOPIC, Topic, UNREADABLE};
use crate::model::Timestamp;

#[derive(Debug)]
pub(super) struct Pipeline {
    received: IntCounterVec,
    settled: IntCounterVec,
    last_message: WhenKnown,
    appended: IntCounterVec,
    append_seconds: Histogram,
    head: WhenKnown,
    recorded: WhenKnown,
    folded: IntCounter,
    fold_seconds: Histogram,
    inbox_pending: IntGauge,
    inbox_parked: IntGauge,
    outbox_pending: WhenKnown,
    delivers: AtomicBool,
    sent: IntCounter,
    repeated: IntCounter,
}

impl Pipeline {
    pub(super) fn new(r: Register<'_>) -> Self {
        Self {
            received: r.counters(
                "koschei_intake_messages_total",
                "Messages received, by source and result.",
                &["source", "result"],
            ),
            settled: r.counters(
                "koschei_inbox_settled_total",
                "Messages handled, by topic and result.",
                &["topic", "result"],
            ),
            last_message: r.gauge_when_known(
                "koschei_intake_last_message_timestamp_seconds",
                "Time at which the last message was received, in seconds since 1970; before the first message, the \
                    start of the intake.",
            ),
            appended: r.counters("koschei_log_events_total", "Events appended to the log, by kind.", &["kind"]),
            append_seconds: r.seconds("koschei_log_append_seconds", "Time of one append transaction."),
            head: r.gauge_when_known("koschei_log_head_sequence", "Sequence number of the last event."),
            recorded: r.gauge_when_known(
                "koschei_log_head_timestamp_seconds",
                "Time at which the last event was recorded, in seconds since 1970.",
            ),
            folded: r.counter("koschei_fold_events_total", "Events folded to rebuild a state."),
            fold_seconds: r.seconds("koschei_fold_rebuild_seconds", "Time to rebuild the state from the log."),
            inbox_pending: r.gauge("koschei_inbox_pending_messages", "Messages that wait to be handled."),
            inbox_parked: r.gauge(
                "koschei_inbox_parked_messages",
                "Messages that were set aside because they were not understood.",
            ),
            outbox_pending: r.gauge_when_known(
                "koschei_outbox_pending_commands",
                "Commands that are decided but not delivered; absent if nothing delivers them.",
            ),
            delivers: AtomicBool::new(false),
            sent: r.counter("koschei_outbox_sent_total", "Commands delivered for the first time."),
            repeated: r
                .counter("koschei_outbox_repeated_total", "Commands delivered again, which the receiver already had."),
        }
    }
}

impl Metrics {
    /// Counts received messages: the new ones, and the duplicates.
    pub fn received(&self, source: &str, (new, duplicates): (usize, usize)) {
        let counter = &self.0.pipeline.received;
        let add = |result: &str, n: usize| counter.with_label_values(&[source, result]).inc_by(n as u64);
        add("duplicate", duplicates);
        add("stored", new);
    }

    /// Notes that a live source was opened. Until the first message, this time counts as that of
    /// the last message, so that a source that never sends anything is also found silent.
    pub fn intake_begins(&self, at: Timestamp) {
        self.0.pipeline.last_message.set_first(at.micros() / 1_000_000);
    }

    /// Sets the time of the newest message.
    pub fn last_message(&self, at: Timestamp) {
        self.0.pipeline.last_message.set(at.micros() / 1_000_000);
    }

    /// Counts a handled message. `result` is one of a few words.
    pub fn settled(&self, topic: &str, result: &'static str) {
        self.0.pipeline.settled.with_label_values(&[topic_label(topic), result]).inc();
    }

    /// Counts appended events.
    pub fn appended(&self, records: &[Record], seconds: f64) {
        let pipeline = &self.0.pipeline;
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for record in records {
            *kinds.entry(&record.kind).or_default() += 1;
        }
        for (kind, n) in kinds {
            pipeline.appended.with_label_values(&[kind]).inc_by(n);
        }
        pipeline.append_seconds.observe(seconds);
        if let Some(last) = records.last() {
            pipeline.head.set(count(last.seq.get()));
            pipeline.recorded.set(last.recorded_at.micros() / 1_000_000);
        }
    }

    /// Counts the events of a rebuilt state.
    pub fn folded(&self, events: u64, seconds: f64) {
        self.0.pipeline.folded.inc_by(events);
        self.0.pipeline.fold_seconds.observe(seconds);
    }

    /// Counts delivered commands: the new ones, and those the receiver already had.
    pub fn sent(&self, new: usize, repeated: usize) {
        self.0.pipeline.sent.inc_by(new as u64);
        self.0.pipeline.repeated.inc_by(repeated as u64);
    }

    /// Notes that commands are delivered. Without a delivery, they stay in the outbox for good, and
    /// no alert must fire.
    pub fn delivery_begins(&self) {
        self.0.pipeline.delivers.store(true, Ordering::Relaxed);
    }

    /// Sets what waits.
    pub fn waiting(&self, waiting: QueueLengths) {
        self.0.pipeline.inbox_pending.set(count(waiting.messages));
        self.0.pipeline.inbox_parked.set(count(waiting.parked));
        if self.0.pipeline.delivers.load(Ordering::Relaxed) {
            self.0.pipeline.outbox_pending.set(count(waiting.commands));
        }
    }
}

/// What waits in the database of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLengths {
    /// Messages in the inbox.
    pub messages: u64,
    /// Messages that were set aside.
    pub parked: u64,
    /// Commands in the outbox.
    pub commands: u64,
}

/// Returns the label of a topic, from a bounded set.
fn topic_label(topic: &str) -> &'static str {
    match Topic::of(topic) {
        Some(topic) => topic.name,
        None if topic == UNREADABLE => UNREADABLE,
        None if topic == RESULT_TOPIC => RESULT_TOPIC,
        None => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let metrics = Metrics::new();
        metrics.settled("org.fedoraproject.prod.buildsys.tag", "done");
        metrics.settled("anything.else.7", "done");
        let text = metrics.render();
        assert!(text.contains(r#"koschei_inbox_settled_total{result="done",topic="buildsys.tag"} 1"#), "{text}");
        assert!(text.contains(r#"topic="other"} 1"#));
        assert!(!text.contains("anything"));
    }

    #[test]
    fn commands_wait_only_for_somebody() {
        let metrics = Metrics::new();
        let waiting = QueueLengths { messages: 1, parked: 0, commands: 7 };
        metrics.waiting(waiting);
        assert!(!metrics.render().contains("koschei_outbox_pending_commands"));
        metrics.delivery_begins();
        metrics.waiting(waiting);
        assert!(metrics.render().contains("koschei_outbox_pending_commands 7\n"));
    }

    #[test]
    fn times_are_absent_until_they_are_known() {
        let metrics = Metrics::new();
        let silent = "koschei_intake_last_message_timestamp_seconds";
        assert!(!metrics.render().contains(silent), "a process that takes nothing in has no silent source");
        metrics.intake_begins(Timestamp::from_secs(1000));
        assert!(metrics.render().contains(&format!("{silent} 1000\n")));
        metrics.last_message(Timestamp::from_secs(2000));
        metrics.intake_begins(Timestamp::from_secs(3000));
        assert!(metrics.render().contains(&format!("{silent} 2000\n")), "another source that opens says nothing");
    }
}
