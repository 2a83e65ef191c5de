//! Metrics of what is announced.

use prometheus::{IntCounter, IntCounterVec};

use super::Metrics;
use super::register::{Register, WhenKnown, count};
use crate::announce::TOPICS;
use crate::model::Timestamp;

#[derive(Debug)]
pub(super) struct Announcements {
    sent: IntCounterVec,
    unroutable: IntCounter,
    refused: IntCounter,
    waiting: WhenKnown,
    oldest: WhenKnown,
    unsendable: WhenKnown,
}

impl Announcements {
    pub(super) fn new(r: Register<'_>) -> Self {
        Self {
            sent: r.counters_of(
                "koschei_announcements_sent_total",
                "Announcements that the broker has confirmed, by topic.",
                "topic",
                &TOPICS,
            ),
            unroutable: r.counter(
                "koschei_announcements_unroutable_total",
                "Announcements that the broker has confirmed and that no queue takes.",
            ),
            refused: r.counter(
                "koschei_announcements_refused_total",
                "Announcements that a queue refused, or that wait for a queue; they are sent again.",
            ),
            waiting: r.gauge_when_known(
                "koschei_announcements_waiting",
                "Announcements that the broker has not confirmed; absent if nothing is announced.",
            ),
            oldest: r.gauge_when_known(
                "koschei_announcements_oldest_age_seconds",
                "Age of the oldest of these in seconds, 0 if there is none; absent if nothing is announced.",
            ),
            unsendable: r.gauge_when_known(
                "koschei_announcements_unsendable",
                "Announcements that were set aside because no broker takes them; absent if nothing is announced.",
            ),
        }
    }
}

/// The announcements in the database of a log.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct AnnouncementQueue {
    /// Number of those that no broker has confirmed.
    pub waiting: u64,
    /// Time of the first of these.
    pub oldest: Option<Timestamp>,
    /// Number of those that no broker takes.
    pub unsendable: u64,
}

impl Metrics {
    /// Counts an announcement that the broker has confirmed.
    pub fn announced(&self, topic: &str) {
        // A stored topic is one of ours. Another one must not become a label.
        if let Some(topic) = TOPICS.iter().find(|ours| **ours == topic) {
            self.0.announcements.sent.with_label_values(&[topic]).inc();
        }
    }

    /// Counts an announcement that no queue takes.
    pub fn announced_to_nobody(&self) {
        self.0.announcements.unroutable.inc();
    }

    /// Counts an announcement that the broker does not take now.
    pub fn announcement_refused(&self) {
        self.0.announcements.refused.inc();
    }

    /// Sets what waits to be announced.
    pub fn announcements_waiting(&self, queue: AnnouncementQueue, now: Timestamp) {
        let metrics = &self.0.announcements;
        let age = queue.oldest.map_or(0, |at| (now.micros() - at.micros()).max(0) / 1_000_000);
        metrics.waiting.set(count(queue.waiting));
        metrics.oldest.set(age);
        metrics.unsendable.set(count(queue.unsendable));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_has_an_age() {
        let metrics = Metrics::new();
        assert!(!metrics.render().contains("\nkoschei_announcements_waiting"), "nothing is announced");
        let at = Timestamp::from_secs;
        metrics.announcements_waiting(AnnouncementQueue { waiting: 3, oldest: Some(at(100)), unsendable: 1 }, at(160));
        let text = metrics.render();
        for line in ["waiting 3", "oldest_age_seconds 60", "unsendable 1", "sent_total{topic=\"koschei.package"] {
            assert!(text.contains(&format!("\nkoschei_announcements_{line}")), "{line}\n{text}");
        }
        metrics.announcements_waiting(AnnouncementQueue::default(), at(170));
        assert!(metrics.render().contains("oldest_age_seconds 0\n"));
        metrics.announced("anything");
        metrics.announced(TOPICS[0]);
        metrics.announced_to_nobody();
        let text = metrics.render();
        assert!(text.contains("sent_total{topic=\"koschei.package.state.change\"} 1\n"), "{text}");
        assert!(text.contains("unroutable_total 1\n") && !text.contains("anything"));
    }
}
