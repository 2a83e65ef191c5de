//! Metrics of snapshots, from which commands begin to fold.

use prometheus::{Histogram, IntCounter};

use super::Metrics;
use super::register::{Register, WhenKnown, count};
use crate::model::Seq;

#[derive(Debug)]
pub(super) struct Snapshots {
    sequence: WhenKnown,
    bytes: WhenKnown,
    failures: IntCounter,
    hold_seconds: Histogram,
}

impl Snapshots {
    pub(super) fn new(r: Register<'_>) -> Self {
        Self {
            sequence: r.gauge_when_known(
                "koschei_snapshot_sequence",
                "Sequence number of the event that the newest snapshot is of; absent without a snapshot.",
            ),
            bytes: r.gauge_when_known(
                "koschei_snapshot_bytes",
                "What all snapshots take of the database; absent until this process has stored one.",
            ),
            failures: r.counter("koschei_snapshot_failures_total", "Snapshots that could not be stored."),
            hold_seconds: r.seconds(
                "koschei_snapshot_hold_seconds",
                "Time for which the writer stood still so that a snapshot could be made.",
            ),
        }
    }
}

impl Metrics {
    /// Sets the event of the newest snapshot.
    pub fn snapshot_at(&self, newest: Option<Seq>) {
        if let Some(seq) = newest {
            self.0.snapshots.sequence.set(count(seq.get()));
        }
    }

    /// Sets what all snapshots take of the database.
    pub fn snapshots_take(&self, bytes: u64) {
        self.0.snapshots.bytes.set(count(bytes));
    }

    /// Counts a snapshot that could not be stored.
    pub fn snapshot_failed(&self) {
        self.0.snapshots.failures.inc();
    }

    /// Notes for how long the writer stood still.
    pub fn snapshot_held(&self, seconds: f64) {
        self.0.snapshots.hold_seconds.observe(seconds);
    }
}
