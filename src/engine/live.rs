//! Following a live source of messages: into the inbox, acknowledge, handle, let commands out.
//!
//! Acknowledged only after the inbox commit. While the broker or the receiver of commands does not answer, nothing is lost: messages
//! stay in the stream, commands in the outbox, and the loop tries again with growing pauses.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::brain::Brain;
use super::error::{EngineError, with_causes};
use super::eyes::Eyes;
use super::ingest::{self, Ingested, UNREADABLE};
use super::trouble::Trouble;
use super::{clock, outbox};
use crate::bus::{CommandSink, Entry, MessageSource};
use crate::log::{EventLog, Incoming, Received};
use crate::model::{Class, Classified, Timestamp};
use crate::telemetry::Metrics;

/// How long one fetch waits for a first message: also the longest time a tick can be late.
const FETCH_WAIT: Duration = Duration::from_secs(1);
/// First pause after something did not answer; doubled up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How to follow.
#[derive(Clone, Copy, Debug)]
pub struct Following {
    /// Most messages in one commit.
    pub batch: usize,
    /// End when the stream holds nothing more for us; for tests and catching up.
    pub until_idle: bool,
}

/// Follows a source until told to stop.
///
/// # Errors
/// See [`EngineError`]; what does not answer for now is waited for, not an error. Everything handled is committed.
pub async fn follow<E: Eyes, S: MessageSource>(
    brain: &mut Brain<E>,
    log: &impl EventLog,
    source: &S,
    mut sink: Option<CommandSink>,
    how: Following,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<Ingested, EngineError> {
    let mut done = ingest::drain(brain, log, how.batch, &HashMap::new()).await?;
    let mut pause = PAUSE_FIRST;
    let mut trouble = Trouble::default();
    while !stop.is_cancelled() {
        let fetched = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            fetched = source.fetch(how.batch, FETCH_WAIT) => fetched,
        };
        let entries = match fetched {
            Ok(entries) => entries,
            Err(e) if e.class() == Class::Unavailable => {
                let text = with_causes(&e);
                if trouble.is_new(&text) {
                    tracing::warn!(error = %text, "the source of messages does not answer; it is asked again until it does");
                }
                wait(&mut pause, stop).await;
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        pause = PAUSE_FIRST;
        if trouble.is_over() {
            tracing::info!("the source of messages answers again");
        }
        let idle = entries.is_empty();
        if !idle {
            take_in(brain, log, source, entries, &mut done, metrics).await?;
        }
        brain.pass_time(log, clock::now()).await?;
        brain.flush(log).await?;
        if let Some(sink) = &mut sink
            && let Err(e) = outbox::deliver(log, sink, metrics).await
        {
            if e.class() != Class::Unavailable {
                return Err(e);
            }
            tracing::warn!(error = %e, "commands stay in the outbox");
        }
        metrics.waiting(&log.counts().await?);
        // What was asked for a moment ago may still be on its way.
        if idle && how.until_idle && source.waiting().await.is_ok_and(|waiting| waiting == 0) {
            break;
        }
    }
    Ok(done)
}

/// Waits before trying again; longer each time, with jitter so that several followers do not come at once.
async fn wait(pause: &mut Duration, stop: &CancellationToken) {
    let jittered = pause.mul_f64(0.75 + rand::random::<f64>() / 2.0);
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(jittered) => {}
    }
    *pause = (*pause * 2).min(PAUSE_MAX);
}

async fn take_in<E: Eyes, S: MessageSource>(
    brain: &mut Brain<E>,
    log: &impl EventLog,
    source: &S,
    entries: Vec<(Entry, S::Ack)>,
    done: &mut Ingested,
    metrics: &Metrics,
) -> Result<(), EngineError> {
    let now = clock::now();
    let (entries, handles): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let (incoming, reasons): (Vec<_>, Vec<_>) = entries.into_iter().map(|e| to_incoming(e, S::NAME, now)).unzip();
    let received = log.receive(&incoming).await?;
    // On disk: the broker may forget them. If it does not hear this, they come again and are dropped by their ids.
    if let Err(e) = source.ack_all(handles).await {
        tracing::warn!(error = %e, "messages could not be acknowledged and will come again");
    }
    metrics.received(S::NAME, &received);
    metrics.last_message(now);
    done.read += incoming.len() as u64;
    for ((message, reason), received) in incoming.iter().zip(reasons).zip(received) {
        match received {
            Received::Duplicate => done.duplicates += 1,
            Received::Stored { position } => {
                ingest::handle(brain, log, position, message, reason.as_deref(), done).await?;
            }
        }
    }
    brain.flush(log).await?;
    done.commits += 1;
    Ok(())
}

/// The inbox form of an entry, and why it is unreadable if it is.
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
