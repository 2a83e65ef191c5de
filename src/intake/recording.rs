//! Feeds a recording in: inbox first, then the writer, then the commands.
//!
//! The steps are those for a live bus, but on the recording's own clock: a message's recorded time
//! is when the recorder saw it. So the same recording always gives the same log, byte for byte
//! except for the stand-ins of persons. Interruptions do not change it.

use std::collections::HashMap;

use super::error::IntakeError;
use crate::bus::{Progress, Recording};
use crate::log::{EventLog, Incoming, Position, Received};
use crate::message::times::NEIGHBOURS;
use crate::message::{Context, Entry, MessageTimes, Times, UNREADABLE};
use crate::model::Timestamp;
use crate::operator::{self, HEAR_EVERY};
use crate::writer::Writer;
use crate::writer::hearing::WordsTaken;

/// Source name of recorded messages in the inbox.
pub const SOURCE: &str = "recording";
/// Most messages in one commit.
pub const BATCH_MAX: usize = 10_000;

/// Counts of what happened to the messages of a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Ingested {
    /// Lines read.
    pub read: u64,
    /// Messages that had come before.
    pub duplicates: u64,
    /// Messages handled now, including those that an interrupted run left in the inbox.
    pub handled: u64,
    /// Messages set aside now because they were not understood.
    pub parked: u64,
    /// Messages with an impossible time, which got another one.
    pub retimed: u64,
    /// Number of commits.
    pub commits: u64,
}

/// Handles the messages that wait in the inbox, oldest first. `retried` has the reasons of messages
/// that had been parked.
///
/// # Errors
/// Fails if the log cannot be read or written, see [`IntakeError`].
pub async fn drain(
    writer: &mut Writer,
    batch: usize,
    retried: &HashMap<String, String>,
) -> Result<Ingested, IntakeError> {
    let mut done = Ingested::default();
    let mut after: Option<Position> = None;
    while let Some(last) = drain_page(writer, after, batch, retried, &mut done).await? {
        after = Some(last);
    }
    Ok(done)
}

/// Makes one commit of [`drain`]: handles at most `batch` messages that wait after `after`. Returns
/// the position of the last one. `None` if no message waits there.
pub(crate) async fn drain_page(
    writer: &mut Writer,
    after: Option<Position>,
    batch: usize,
    retried: &HashMap<String, String>,
    done: &mut Ingested,
) -> Result<Option<Position>, IntakeError> {
    let pending = writer.log.pending(after, batch.clamp(1, BATCH_MAX)).await?;
    let Some(last) = pending.last() else { return Ok(None) };
    for p in &pending {
        handle(writer, p.position, &p.message, retried.get(&p.message.id).map(String::as_str), done).await?;
    }
    writer.flush().await?;
    done.commits += 1;
    Ok(Some(last.position))
}

pub(crate) async fn handle(
    writer: &mut Writer,
    position: Position,
    message: &Incoming,
    retried: Option<&str>,
    done: &mut Ingested,
) -> Result<(), IntakeError> {
    done.handled += 1;
    if message.topic == UNREADABLE {
        writer.unreadable(position, UNREADABLE, retried.unwrap_or("not a message").to_owned());
        done.parked += 1;
        return Ok(());
    }
    // An operator's word that came while nobody worked on the log.
    let understood = match message.source == operator::SOURCE {
        true => writer.operator_message(position, message, &mut Vec::new()).await?,
        false => writer.message(position, message, retried).await?,
    };
    done.parked += u64::from(!understood);
    Ok(())
}

/// Feeds a whole recording in, `batch` messages to a commit. Handles operators' words between two
/// batches, and while no line comes.
///
/// # Errors
/// Fails if the log or the recording fails, see [`IntakeError`]. If the recording breaks off,
/// everything read before is committed.
pub async fn feed(
    writer: &mut Writer,
    recording: Recording,
    batch: usize,
    progress: &mut dyn FnMut(Progress, &Ingested),
) -> Result<Ingested, IntakeError> {
    let batch = batch.clamp(1, BATCH_MAX);
    let mut times = times(&writer.log, &writer.settings.context).await?;
    let first_time = writer.state().recorded_at;
    if writer.state().seq.is_some() {
        times.reached(first_time);
    }
    let mut reading = recording.in_thread();
    let mut ahead = Vec::new();
    if times.is_new() {
        reading.fill(&mut ahead, NEIGHBOURS).await;
        times.expect(ahead.iter().map(|entry| entry.as_ref().map_or(MessageTimes::default(), said)));
        // Waiting words came before the log had any time. They take effect at the time of the first
        // message.
        let first =
            ahead.first().and_then(|entry| times.clone().take(entry.as_ref().map_or(MessageTimes::default(), said)));
        writer.move_clock(first.unwrap_or(first_time));
    }
    let mut done = drain(writer, batch, &HashMap::new()).await?;
    // The position after the last handled message. 0 if not known.
    let mut next = 0_u64;
    loop {
        let mut entries = Vec::with_capacity(batch);
        let mut broken = None;
        let later = ahead.split_off(batch.min(ahead.len()));
        let mut read = std::mem::replace(&mut ahead, later);
        let ((), heard) = hearing(writer, &mut done, reading.fill(&mut read, batch)).await;
        heard?;
        for entry in read {
            match entry {
                Ok(entry) => {
                    done.read += 1;
                    entries.push(entry);
                }
                Err(e) => broken = Some(e),
            }
        }
        let mut known = writer.log.received(&entries.iter().map(id).collect::<Vec<_>>()).await?;
        let (mut incoming, mut reasons) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for entry in entries {
            // A message that came before says nothing about time, and is not taken in again.
            let sent_at = match known.insert(id(&entry).to_owned()) {
                true => times.take(said(&entry)).unwrap_or(first_time),
                false => first_time,
            };
            let (message, reason) = to_incoming(entry, sent_at);
            incoming.push(message);
            reasons.push(reason);
        }
        if !incoming.is_empty() {
            let received = writer.log.receive(&incoming).await?;
            writer.metrics.received(SOURCE, Received::counts(&received));
            let stored: Vec<Position> = received
                .iter()
                .filter_map(|r| match r {
                    Received::Stored { position } => Some(*position),
                    Received::Duplicate => None,
                })
                .collect();
            done.duplicates += (received.len() - stored.len()) as u64;
            // The messages in memory are the next ones only if nobody else can have put anything
            // before or between them.
            let follows = stored.iter().zip(next..).all(|(p, expected)| p.0 == expected) && next > 0;
            if follows && stored.len() == received.len() {
                for ((message, reason), position) in incoming.iter().zip(&reasons).zip(&stored) {
                    handle(writer, *position, message, reason.as_deref(), &mut done).await?;
                }
                writer.flush().await?;
                done.commits += 1;
            } else if !stored.is_empty() {
                let unreadable = incoming.iter().zip(&reasons).filter_map(|(m, r)| Some((m.id.clone(), r.clone()?)));
                let drained = drain(writer, batch, &unreadable.collect()).await?;
                done.handled += drained.handled;
                done.parked += drained.parked;
                done.commits += drained.commits;
            }
            next = stored.last().map_or(next, |p| p.0 + 1);
            writer.snapshot_if_due(false).await;
            progress(reading.progress(), &done);
        }
        if let Some(e) = broken {
            return Err(e.into());
        }
        if incoming.len() < batch {
            break;
        }
    }
    // Handle what another process put into the inbox and did not handle. Then adopt the policy, if
    // no message has caused that.
    let left = drain(writer, batch, &HashMap::new()).await?;
    done.handled += left.handled;
    done.parked += left.parked;
    writer.adopt().await?;
    done.retimed = writer.retimed;
    Ok(done)
}

/// Learns the publishers' clocks from the last messages in the inbox. Operators' words do not
/// count, because another machine's clock timed them.
pub(crate) async fn times(log: &impl EventLog, context: &Context) -> Result<Times, IntakeError> {
    let mut times = Times::new(context.clock_tolerance_secs);
    for past in log.last_received(operator::SOURCE, NEIGHBOURS).await? {
        let said = match &past.body {
            _ if past.topic == UNREADABLE => MessageTimes::default(),
            Some(body) => MessageTimes::of(body),
            None => MessageTimes { seen: Some(past.received_at), sent: None },
        };
        times.remember(said, past.received_at);
    }
    Ok(times)
}

fn said(entry: &Entry) -> MessageTimes {
    match entry {
        Entry::Message(m) => m.said(),
        Entry::Unreadable(_) => MessageTimes::default(),
    }
}

fn id(entry: &Entry) -> &str {
    match entry {
        Entry::Message(m) => &m.id,
        Entry::Unreadable(u) => &u.id,
    }
}

/// Returns the inbox form of an entry, and why it is unreadable if it is.
fn to_incoming(entry: Entry, received_at: Timestamp) -> (Incoming, Option<String>) {
    match entry {
        Entry::Message(m) => {
            let message = Incoming { id: m.id, source: SOURCE.to_owned(), topic: m.topic, received_at, body: m.raw };
            (message, None)
        }
        Entry::Unreadable(u) => {
            let message = Incoming {
                id: u.id,
                source: SOURCE.to_owned(),
                topic: UNREADABLE.to_owned(),
                received_at,
                body: u.raw,
            };
            (message, Some(format!("line {}: {}", u.line, u.reason)))
        }
    }
}

/// Waits for `something`, and handles operators' words meanwhile. If the log does not answer, it
/// still waits for `something`, so that fetched messages are not lost.
pub(super) async fn hearing<T>(
    writer: &mut Writer,
    done: &mut Ingested,
    something: impl Future<Output = T>,
) -> (T, Result<(), IntakeError>) {
    let mut something = std::pin::pin!(something);
    loop {
        tokio::select! {
            biased;
            happened = &mut something => return (happened, Ok(())),
            () = tokio::time::sleep(HEAR_EVERY) => match writer.hear().await {
                Ok(heard) => done.heard(heard),
                Err(e) => return (something.await, Err(e.into())),
            },
        }
    }
}

impl Ingested {
    /// Counts operators' words as handled messages.
    pub(super) fn heard(&mut self, heard: WordsTaken) {
        self.handled += heard.words;
        self.parked += heard.parked;
    }

    /// Counts received messages.
    pub(super) fn count(&mut self, received: &[Option<Received>]) {
        self.read += received.len() as u64;
        self.duplicates += received.iter().filter(|r| matches!(r, Some(Received::Duplicate))).count() as u64;
    }
}
