//! Makes snapshots while the writer works.
//!
//! The state is taken apart between two turns, in memory, while the writer stands still: about half
//! a second for 144,000 packages. A task packs and stores the bytes while the writer goes on. That
//! one cannot be stored is logged and counted; the next is tried a step later.

use tokio::task::JoinHandle;

use super::Writer;
use crate::base::clock::Stopwatch;
use crate::log::folding::Made;
use crate::log::folding::keeping::{self, Kept};
use crate::log::{AnyLog, LogError};
use crate::model::Seq;
use crate::model::causes::with_causes;
use crate::telemetry::Metrics;

/// What the writer knows of its snapshots.
#[derive(Default)]
pub(super) struct Snapshots {
    /// Event of the newest one, or of the last that was tried.
    last: Option<Seq>,
    /// The one that is being stored.
    storing: Option<JoinHandle<Result<Kept, LogError>>>,
}

impl Snapshots {
    /// Looks which snapshots a log has.
    pub(super) async fn of(log: &AnyLog, metrics: &Metrics) -> Result<Self, LogError> {
        let last = keeping::newest(log).await?;
        metrics.snapshot_at(last);
        Ok(Self { last, storing: None })
    }
}

/// Notes what became of a snapshot.
pub(super) fn told(metrics: &Metrics, kept: Result<Kept, LogError>) {
    match kept {
        Ok(kept) => {
            metrics.snapshot_at(kept.newest);
            metrics.snapshots_take(kept.bytes);
            tracing::debug!(newest = ?kept.newest, number = kept.number, bytes = kept.bytes, "a snapshot was stored");
        }
        Err(e) => {
            metrics.snapshot_failed();
            tracing::warn!(error = %with_causes(&e), "a snapshot could not be stored; the next is made when the log \
                has grown");
        }
    }
}

impl Writer {
    /// Makes a snapshot if one is due, and has it stored. Call it when everything is appended;
    /// otherwise it waits for the next call. A busy writer makes it later, but not much.
    pub async fn snapshot_if_due(&mut self, is_busy: bool) {
        match &self.snapshots.storing {
            Some(storing) if !storing.is_finished() => return,
            Some(_) => self.finish_snapshot().await,
            None => {}
        }
        let mut spacing = self.settings.spacing;
        if is_busy {
            spacing.step *= 2;
        }
        if self.waiting() > 0 || !spacing.is_due(self.state.seq, self.snapshots.last) {
            return;
        }
        let watch = Stopwatch::start();
        let made = Made::of(&self.state, self.hash);
        self.metrics.snapshot_held(watch.seconds());
        self.snapshots.last = self.state.seq;
        let (log, spacing) = (self.log.clone(), self.settings.spacing);
        self.snapshots.storing = Some(tokio::spawn(async move { keeping::store(&log, made, &spacing).await }));
    }

    /// Waits until the snapshot that is being stored is stored.
    pub async fn finish_snapshot(&mut self) {
        if let Some(storing) = self.snapshots.storing.take() {
            told(&self.metrics, storing.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())));
        }
    }
}
