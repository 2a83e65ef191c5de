//! From a bus into the inbox: a message is acknowledged once it is on disk, and looked at later.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::hub::backoff::Backoff;
use super::stage::stage;
use super::trouble::Trouble;
use super::{clock, live};
use crate::bus::MessageSource;
use crate::log::{AnyLog, EventLog};
use crate::model::{Class, Classified};
use crate::telemetry::Metrics;

/// Messages taken at a time.
const BATCH: usize = 200;
/// How long one fetch waits for a first message.
const WAIT: Duration = Duration::from_secs(1);
/// A source that gave nothing, not even an answer, for so long stands still.
const STALE: Duration = Duration::from_secs(120);

/// Takes messages in until told to stop. What does not answer is waited for: messages stay where they are.
pub async fn run<S: MessageSource>(
    source: S,
    log: AnyLog,
    inbox: watch::Sender<u64>,
    mut reconnected: impl FnMut(&S) -> bool,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
    let mut trouble = Trouble::default();
    metrics.intake_begins(clock::now());
    metrics.loop_begins("intake", STALE, clock::now());
    while !stop.is_cancelled() {
        let fetched = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            fetched = source.fetch(BATCH, WAIT) => fetched,
        };
        let entries = match fetched {
            Ok(entries) => entries,
            Err(e) => {
                let text = super::error::with_causes(&e);
                match e.class() {
                    _ if !trouble.is_new(&text) => tracing::debug!(error = %text, "the bus is still away"),
                    Class::Unavailable => tracing::warn!(error = %text, "the bus does not answer"),
                    _ => tracing::error!(error = %text, "the bus does not let us in; polling goes on"),
                }
                if !backoff.wait(&stop).await {
                    return;
                }
                continue;
            }
        };
        backoff.reset();
        if trouble.is_over() {
            tracing::info!("the bus answers again");
        }
        metrics.loop_went_round("intake", clock::now());
        if reconnected(&source) {
            inbox.send_modify(|n| *n += 1);
        }
        if entries.is_empty() {
            continue;
        }
        let now = clock::now();
        let (entries, acks): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let incoming: Vec<_> = entries.into_iter().map(|e| live::to_incoming(e, S::NAME, now).0).collect();
        let mut batches = vec![incoming];
        while let Some(batch) = batches.pop() {
            match log.receive(&batch).await {
                Ok(received) => {
                    metrics.received(S::NAME, &received);
                    metrics.last_message(now);
                    stage!("taken in", messages = batch.len());
                }
                // One of them is beyond the bounds of the inbox; sources let no such thing through, so this is said loudly.
                Err(e) if e.class() == Class::Rejected && batch.len() > 1 => {
                    batches.extend(batch.into_iter().rev().map(|m| vec![m]));
                }
                Err(e) if e.class() == Class::Rejected => {
                    let id = batch.first().map(|m| m.id.as_str()).unwrap_or_default();
                    tracing::error!(message = %id, error = %super::error::with_causes(&e), "a message cannot be kept");
                }
                Err(e) => {
                    tracing::warn!(error = %super::error::with_causes(&e), "messages cannot be put into the inbox yet");
                    batches.push(batch);
                    if !backoff.wait(&stop).await {
                        return;
                    }
                }
            }
        }
        backoff.reset();
        // On disk. If the broker does not hear this they come again and are dropped by their ids.
        if let Err(e) = source.ack_all(acks).await {
            tracing::warn!(error = %e, "messages could not be acknowledged and will come again");
        }
        inbox.send_modify(|n| *n += 1);
    }
}
