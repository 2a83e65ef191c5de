//! Metrics of the events that are published on NATS JetStream.

use prometheus::IntCounter;

use super::Metrics;
use super::register::{Register, WhenKnown, count};

#[derive(Debug)]
pub(super) struct Events {
    published: IntCounter,
    shortened: IntCounter,
    behind: WhenKnown,
}

impl Events {
    pub(super) fn new(r: Register<'_>) -> Self {
        Self {
            published: r.counter("koschei_events_published_total", "Events that NATS JetStream has acknowledged."),
            shortened: r.counter(
                "koschei_events_shortened_total",
                "Events published without their data, because the server does not take messages as large.",
            ),
            behind: r.gauge_when_known(
                "koschei_events_behind",
                "Events of the log that NATS JetStream has not acknowledged; absent if none are published.",
            ),
        }
    }
}

impl Metrics {
    /// Counts events that the server has acknowledged.
    pub fn events_published(&self, events: usize) {
        self.0.events.published.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// Counts an event that was published without its data.
    pub fn event_shortened(&self) {
        self.0.events.shortened.inc();
    }

    /// Sets how many events of the log the server has not acknowledged.
    pub fn events_behind(&self, events: u64) {
        self.0.events.behind.set(count(events));
    }
}
