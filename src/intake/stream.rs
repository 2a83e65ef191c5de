//! Follows a live source of messages: puts them into the inbox, acknowledges them, handles them,
//! and sends commands.
//!
//! Messages are acknowledged only after the inbox commit. Nothing is lost while the log, the broker
//! or the receiver of commands does not answer. Messages stay in the stream, commands stay in the
//! outbox, and the loop retries with growing pauses ([`super::patience`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::IntakeError;
use super::late::Late;
use super::patience::Patience;
use super::receive::to_incoming;
use super::recording::{self, Ingested, hearing};
use super::{delivery, receive};
use crate::base::clock;
use crate::buildroot::repo_resolver::RepoResolver;
use crate::bus::{CommandSink, MessageSource};
use crate::log::{AnyLog, EventLog, Incoming, Received};
use crate::message::Entry;
use crate::model::causes::with_causes;
use crate::model::{Class, Classified};
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;
use crate::writer::ahead::Ahead;
use crate::writer::pauses::Pauses;
use crate::writer::{HEART, LOOP_STALE, Settings, Writer};

/// How long one fetch waits for a first message. A tick can be late by this time at most.
const FETCH_WAIT: Duration = Duration::from_secs(1);
/// How to follow.
#[derive(Clone, Copy, Debug)]
pub struct Following {
    /// Most messages in one commit.
    pub batch: usize,
    /// Whether to end when the stream holds no more messages for us. For tests and for catching up.
    pub until_idle: bool,
}

/// Follows a source of messages.
pub struct Follower<'a, S: MessageSource> {
    /// The log.
    pub log: &'a AnyLog,
    /// Settings of the writer.
    pub settings: Settings,
    /// The writer's resolver.
    pub resolver: Arc<dyn RepoResolver>,
    /// The source of messages.
    pub source: &'a S,
    /// Where commands go. Without a sink they stay in the outbox.
    pub sink: Option<CommandSink>,
    /// How to follow.
    pub how: Following,
    /// The metrics.
    pub metrics: Metrics,
    /// Readiness: we are not ready while the log, the source, or the receiver of commands does not
    /// answer.
    pub readiness: Readiness,
    /// Ends the follower.
    pub stop: CancellationToken,
}

/// Messages that were fetched and are not in the inbox yet. The broker holds them for us and does
/// not deliver them again as long as we have them.
struct Fetched<A> {
    messages: Vec<Incoming>,
    /// Why a message is unreadable. `None` for a readable one.
    reasons: Vec<Option<String>>,
    acks: Vec<A>,
}

impl<S: MessageSource> Follower<'_, S> {
    /// Follows until told to stop, or with `until_idle` until no message waits.
    ///
    /// Services that do not answer are waited for: messages stay in the stream, commands in the
    /// outbox. If the log does not answer, the writer is ahead of it. The writer is then thrown
    /// away and opened again, and it handles what waits in the inbox.
    ///
    /// # Errors
    /// Fails if waiting does not help: the log is damaged, is elsewhere, or has another writer.
    /// Everything handled is committed.
    pub async fn run(mut self) -> Result<Ingested, IntakeError> {
        let mut done = Ingested::default();
        let mut fetched = None;
        let mut database = Patience::new("the database", "messages stay with the bus")
            .holding_up(self.readiness.clone())
            .keeping_alive(self.metrics.clone(), HEART);
        let mut others = Others {
            source: Patience::new("the source of messages", "it is asked again until it does")
                .holding_up(self.readiness.clone()),
            sink: Patience::new("the receiver of commands", "they stay in the outbox")
                .holding_up(self.readiness.clone()),
            ahead: Ahead::default(),
            late: Late::default(),
        };
        self.metrics.loop_begins(HEART, LOOP_STALE, clock::now());
        if self.sink.is_some() {
            self.metrics.delivery_begins();
        }
        loop {
            match self.live(&mut fetched, &mut done, &mut database, &mut others).await {
                Ok(()) => return Ok(done),
                Err(e) if e.may_pass() => {
                    if !database.wait(&e, &self.stop).await {
                        return Ok(done);
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Runs one writer until the log does not answer.
    async fn live(
        &mut self,
        fetched: &mut Option<Fetched<S::Ack>>,
        done: &mut Ingested,
        database: &mut Patience,
        others: &mut Others,
    ) -> Result<(), IntakeError> {
        let (log, how) = (self.log, self.how);
        let mut writer =
            Writer::open(log, self.settings.clone(), Arc::clone(&self.resolver), self.metrics.clone()).await?;
        if let Some(held) = fetched {
            let taken = take_in(log, self.source, held, &self.metrics).await?;
            done.count(&taken);
            *fetched = None;
        }
        catch_up(&mut writer, how.batch, done).await?;
        database.answered();
        self.readiness.ready();
        while !self.stop.is_cancelled() {
            others.ahead.look(writer.now());
            // Time passes and commands go out even while the source is away.
            let fetch = async {
                match others.source.is_due() {
                    true => Some(self.source.fetch(how.batch, FETCH_WAIT).await),
                    false => {
                        tokio::time::sleep(FETCH_WAIT).await;
                        None
                    }
                }
            };
            let (got, heard) = tokio::select! {
            biased;
            () = self.stop.cancelled() => break,
            got = hearing(&mut writer, done, fetch) => got};
            let entries = match got {
                Some(Ok(entries)) => {
                    others.source.answered();
                    entries
                }
                Some(Err(e)) => {
                    others.source.failed(&e);
                    Vec::new()
                }
                None => Vec::new(),
            };
            let idle = entries.is_empty();
            if let Err(e) = heard {
                *fetched = (!idle).then(|| Fetched::of(entries, S::NAME));
                return Err(e);
            }
            if !idle {
                let held = fetched.insert(Fetched::of(entries, S::NAME));
                let taken = take_in(log, self.source, held, &self.metrics).await?;
                done.count(&taken);
                let Fetched { messages, reasons, .. } = fetched.take().expect("just put there");
                let mut now = *done;
                for ((message, reason), received) in messages.iter().zip(reasons).zip(taken) {
                    if let Some(Received::Stored { position }) = received {
                        recording::handle(&mut writer, position, message, reason.as_deref(), &mut now).await?;
                    }
                }
                writer.flush().await?;
                *done = Ingested { commits: now.commits + 1, ..now };
            }
            writer.pass_time(clock::now()).await?;
            writer.flush().await?;
            others.late.look(&mut writer).await?;
            if let Some(sink) = &mut self.sink
                && others.sink.is_due()
            {
                match Box::pin(deliver(&mut writer, sink, done, &self.metrics)).await {
                    Ok(()) => others.sink.answered(),
                    // A sink that once took commands is waited for, whatever it answers now.
                    Err(IntakeError::Sink(e)) if e.class() != Class::Broken => others.sink.failed(&e),
                    Err(e) => return Err(e),
                }
            }
            writer.snapshot_if_due(!idle).await;
            let counts = log.counts().await?;
            self.metrics.waiting(counts.into());
            self.metrics.loop_went_round(HEART, clock::now());
            if counts.inbox_pending > 0 {
                // Our messages are handled, so another writer put this one into the inbox. When two
                // writers share a log, one of them finds that the other has appended, and ends. No
                // other source has the messages that it acknowledged.
                catch_up(&mut writer, how.batch, done).await?;
                continue;
            }
            // Messages requested a moment ago may still be on their way.
            if idle && how.until_idle && self.source.waiting().await.is_ok_and(|waiting| waiting == 0) {
                break;
            }
        }
        writer.finish_snapshot().await;
        Ok(())
    }
}

/// Handles the messages that wait in the inbox, including those of other processes.
async fn catch_up(writer: &mut Writer, batch: usize, done: &mut Ingested) -> Result<(), IntakeError> {
    let mut after = None;
    loop {
        // Operators' words come before older messages.
        done.heard(writer.hear().await?);
        let mut now = *done;
        after = recording::drain_page(writer, after, batch, &HashMap::new(), &mut now).await?;
        *done = now;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Delivers the commands that wait and are not paused. Handles operators' words right before each
/// hand-over, so that nothing goes out once a pause is in the log.
async fn deliver(
    writer: &mut Writer,
    sink: &mut CommandSink,
    done: &mut Ingested,
    metrics: &Metrics,
) -> Result<(), IntakeError> {
    loop {
        done.heard(writer.hear().await?);
        let log = writer.log.clone();
        let commands = delivery::ready(&log, &Pauses::of(writer.state()), sink).await?;
        if commands.is_empty() {
            return Ok(());
        }
        let (handed, heard) = Box::pin(hearing(writer, done, delivery::hand_over(&log, sink, commands, metrics))).await;
        // A writer that is ahead of the log must not go on, whatever the sink answers.
        heard?;
        handed?;
    }
}

/// State of waiting for everything except the log: the source, the receiver of commands, the
/// archive, and our own clock if the log is ahead of it.
struct Others {
    source: Patience,
    sink: Patience,
    ahead: Ahead,
    late: Late,
}

impl<A> Fetched<A> {
    fn of(entries: Vec<(Entry, A)>, source: &str) -> Self {
        let now = clock::now();
        let (entries, acks): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let (messages, reasons) = entries.into_iter().map(|e| to_incoming(e, source, now)).unzip();
        Self { messages, reasons, acks }
    }
}

/// Puts fetched messages into the inbox, acknowledges them, and returns the result for each.
async fn take_in<S: MessageSource>(
    log: &impl EventLog,
    source: &S,
    fetched: &mut Fetched<S::Ack>,
    metrics: &Metrics,
) -> Result<Vec<Option<Received>>, IntakeError> {
    let received = receive::receive(log, &fetched.messages).await?;
    // The messages are on disk, so the broker may forget them. If it misses the acknowledgement,
    // they come again and are dropped by their ids.
    if let Err(e) = source.ack_all(std::mem::take(&mut fetched.acks)).await {
        tracing::warn!(error = %with_causes(&e), "messages could not be acknowledged and will come again");
    }
    metrics.received(S::NAME, Received::counts(received.iter().flatten()));
    if let Some(newest) = fetched.messages.last() {
        metrics.last_message(newest.received_at);
    }
    Ok(received)
}
