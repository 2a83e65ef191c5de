//! Receives messages from a bus into the inbox. A message is acknowledged once it is on disk, and
//! looked at later.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::patience::Patience;
use crate::base::clock;
use crate::base::stage::stage;
use crate::bus::MessageSource;
use crate::log::{AnyLog, EventLog, Incoming, ReceiveError, Received};
use crate::message::{Entry, UNREADABLE};
use crate::model::Timestamp;
use crate::telemetry::Metrics;

/// Most messages of one fetch.
const BATCH: usize = 200;
/// How long one fetch waits for a first message.
const WAIT: Duration = Duration::from_secs(1);
/// Time after which a source without any answer counts as stalled.
const STALE: Duration = Duration::from_secs(120);

/// What messages are, for the journal and the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    what: &'static str,
    meanwhile: &'static str,
    heart: &'static str,
    /// Whether it is shown when the last message came.
    shows_silence: bool,
}

/// Messages of a bus, when the hub is also polled.
pub const BUS: Intake = Intake { what: "the bus", meanwhile: "polling goes on", heart: "intake", shows_silence: true };
/// Results of outside executors.
pub const RESULTS: Intake = Intake {
    what: "the stream of results",
    meanwhile: "results wait there, and polling finds tasks",
    heart: "intake of results",
    shows_silence: false,
};

impl Intake {
    /// Returns the patience for the source.
    pub fn patience(self) -> Patience {
        Patience::new(self.what, self.meanwhile)
    }
}

/// Receives messages until told to stop. Waits while the source or the database does not answer;
/// messages then stay with the source.
pub async fn run<S: MessageSource>(
    (source, intake): (S, Intake),
    log: AnyLog,
    inbox: watch::Sender<u64>,
    mut reconnected: impl FnMut(&S) -> bool,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut bus = intake.patience();
    let mut database = Patience::new("the inbox", "messages are not acknowledged");
    if intake.shows_silence {
        metrics.intake_begins(clock::now());
    }
    metrics.loop_begins(intake.heart, STALE, clock::now());
    while !stop.is_cancelled() {
        let fetched = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            fetched = source.fetch(BATCH, WAIT) => fetched,
        };
        let entries = match fetched {
            Ok(entries) => entries,
            Err(e) => {
                if !bus.wait(&e, &stop).await {
                    return;
                }
                continue;
            }
        };
        bus.answered();
        metrics.loop_went_round(intake.heart, clock::now());
        if reconnected(&source) {
            inbox.send_modify(|n| *n += 1);
        }
        if entries.is_empty() {
            continue;
        }
        let now = clock::now();
        let (entries, acks): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let incoming: Vec<_> = entries.into_iter().map(|e| to_incoming(e, S::NAME, now).0).collect();
        // A message that is already in the inbox is a duplicate, so the whole batch may be retried.
        let received = loop {
            match receive(&log, &incoming).await {
                Ok(received) => break received,
                Err(e) => {
                    if !database.wait(&e, &stop).await {
                        return;
                    }
                }
            }
        };
        database.answered();
        metrics.received(S::NAME, Received::counts(received.iter().flatten()));
        if intake.shows_silence {
            metrics.last_message(now);
        }
        stage!("taken in", messages = received.len());
        // The messages are on disk. If the broker misses the acknowledgement, they come again and
        // are dropped by their ids.
        if let Err(e) = source.ack_all(acks).await {
            tracing::warn!(
                error = %crate::model::causes::with_causes(&e),
                "messages could not be acknowledged and will come again"
            );
        }
        inbox.send_modify(|n| *n += 1);
    }
}

/// Puts messages into the inbox and returns the result for each. `None` means that the message
/// exceeds the bounds of the inbox and cannot be kept. Sources let no such message through, so this
/// is logged as an error.
///
/// # Errors
/// Returns the database's error. Some of the messages may be in the inbox. Retrying all of them is
/// right.
pub(crate) async fn receive(log: &impl EventLog, batch: &[Incoming]) -> Result<Vec<Option<Received>>, ReceiveError> {
    match log.receive(batch).await {
        Ok(received) => return Ok(received.into_iter().map(Some).collect()),
        Err(ReceiveError::TooLong { .. }) => (),
        Err(e) => return Err(e),
    }
    let mut received = Vec::with_capacity(batch.len());
    for message in batch {
        received.push(match log.receive(std::slice::from_ref(message)).await {
            Ok(one) => one.into_iter().next(),
            Err(e @ ReceiveError::TooLong { .. }) => {
                let text = crate::model::causes::with_causes(&e);
                tracing::error!(message = %message.id, error = %text, "a message cannot be stored");
                None
            }
            Err(e) => return Err(e),
        });
    }
    Ok(received)
}

/// Returns the inbox form of an entry, and why it is unreadable if it is.
pub(super) fn to_incoming(entry: Entry, source: &str, received_at: Timestamp) -> (Incoming, Option<String>) {
    let source = source.to_owned();
    match entry {
        Entry::Message(m) => (Incoming { id: m.id, source, topic: m.topic, received_at, body: m.raw }, None),
        Entry::Unreadable(u) => {
            let message = Incoming { id: u.id, source, topic: UNREADABLE.to_owned(), received_at, body: u.raw };
            (message, Some(format!("message {} of the stream: {}", u.line, u.reason)))
        }
    }
}
