//! Keeps the work queue of a hub's commands as the outbox says, for executors that are not ours.
//!
//! The outbox is the truth: a command stays in it until its outcome is in the log. The queue gets
//! what waits there and may go, and loses what may not. A command that the queue does not have any
//! more, and whose outcome does not come, is put there again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::patience::Patience;
use crate::base::clock;
use crate::bus::{Connection, JetStreamError, QueueSettings, Server, WorkQueue};
use crate::decide::command::{BindRepo, Command, RebuildCommand};
use crate::decide::request::Waits;
use crate::hub::to_writer::{Ending, ToWriter};
use crate::hub::waiting::WaitingCommands;
use crate::log::{AnyLog, EventLog as _, LogError};
use crate::model::causes::with_causes;
use crate::model::{Hub, RebuildId};
use crate::telemetry::Metrics;
use crate::writer::pauses::Held;

/// Time after which a command that the queue does not have any more is put there again, if its
/// outcome has not come.
pub const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How often the queue is compared with the outbox if nothing is new.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often the writer is asked what still waits if nothing is new. Each question has the service
/// look at the outbox, and tell us.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Most commands that are read from the outbox.
const PAGE: usize = 10_000;
/// Name of the loop in the metrics.
const LOOP: &str = "command queue";
/// Time after which a loop without any round counts as stalled.
const STALE: Duration = Duration::from_secs(120);

/// Keeps the queue of one hub.
#[derive(Debug)]
pub struct Queueing {
    /// The hub.
    pub hub: Hub,
    /// The log, whose outbox has the commands.
    pub log: AnyLog,
    /// The queue to the writer, which knows what still waits.
    pub writer: ToWriter,
    /// The server.
    pub server: Server,
    /// The queue.
    pub queue: QueueSettings,
    /// Whether builds are bound to repositories.
    pub bind: BindRepo,
    /// Time after which a command without outcome is put into the queue again.
    pub again_after: Duration,
    /// Changes when something may be in the outbox.
    pub outbox: watch::Receiver<u64>,
    /// Changes when something must not be submitted, or may be again.
    pub held: watch::Receiver<Held>,
    /// The metrics.
    pub metrics: Metrics,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// Why a round failed.
enum Trouble {
    Queue(JetStreamError),
    Log(LogError),
    Ending,
}

impl From<JetStreamError> for Trouble {
    fn from(error: JetStreamError) -> Self {
        Self::Queue(error)
    }
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<Ending> for Trouble {
    fn from(_: Ending) -> Self {
        Self::Ending
    }
}

/// State that is kept in memory.
#[derive(Default)]
struct Memory {
    connection: Option<Connection>,
    /// Commands that the queue had once, and since when it does not have them.
    given: BTreeMap<String, Option<Instant>>,
    /// When the queue was last compared with the outbox.
    compared: Option<Instant>,
    /// When the writer was last asked, and about which rebuilds.
    asked: Option<(Instant, Vec<RebuildId>)>,
}

impl Queueing {
    /// Works until told to stop. While the server or the database does not answer, commands wait in
    /// the outbox.
    pub async fn run(mut self) {
        let alive = |patience: Patience| patience.keeping_alive(self.metrics.clone(), LOOP);
        let mut server = alive(Patience::new("NATS", "commands wait in the outbox"));
        let mut database = alive(Patience::new("the database", "commands wait in the outbox"));
        self.metrics.loop_begins(LOOP, STALE, clock::now());
        let mut memory = Memory::default();
        while !self.stop.is_cancelled() {
            self.metrics.loop_went_round(LOOP, clock::now());
            match self.round(&mut memory).await {
                Ok(()) => {
                    server.answered();
                    database.answered();
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => return,
                        changed = self.outbox.changed() => if changed.is_err() { return },
                        changed = self.held.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            memory.compared = None;
                        }
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                }
                Err(Trouble::Queue(e)) => {
                    memory.compared = None;
                    server.wait(&e, &self.stop).await;
                }
                Err(Trouble::Log(e)) => {
                    memory.compared = None;
                    database.wait(&e, &self.stop).await;
                }
                Err(Trouble::Ending) => return,
            }
        }
    }

    /// Reads the outbox, and compares the queue with it if that has something new or it is time to.
    async fn round(&self, memory: &mut Memory) -> Result<(), Trouble> {
        let waiting = WaitingCommands::read(&self.log, &self.hub, PAGE).await?;
        let is_due = memory.compared.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
        let rebuilds: Vec<RebuildId> = waiting.rebuilds.iter().map(RebuildCommand::rebuild).collect();
        let nothing_new = memory.asked.as_ref().is_some_and(|(at, of)| at.elapsed() < ASK_AGAIN && *of == rebuilds)
            && waiting.cancels.iter().all(|command| memory.given.contains_key(&command.id));
        if nothing_new && !is_due {
            return Ok(());
        }
        let answers = self.writer.are_waiting(rebuilds.clone()).await?;
        memory.asked = Some((Instant::now(), rebuilds));
        let (mut wanted, mut ended) = (BTreeMap::new(), Vec::new());
        for (command, answer) in waiting.rebuilds.into_iter().zip(answers) {
            match answer {
                Waits::Yes { bound } => {
                    let repo_id = command.repo_id.filter(|_| self.bind.binds(bound));
                    let command = RebuildCommand { repo_id, ..command };
                    wanted.insert(command.id.clone(), Command::Rebuild(Box::new(command)));
                }
                // It stays in the outbox.
                Waits::Paused => {}
                // It was closed, or its task is in the log.
                Waits::No => ended.push(command.id),
            }
        }
        wanted.extend(waiting.cancels.into_iter().map(|command| (command.id.clone(), Command::Cancel(command))));
        if !ended.is_empty() {
            self.log.mark_sent(&ended).await.map_err(LogError::from)?;
            memory.given.retain(|id, _| !ended.contains(id));
        }
        if !is_due && wanted.keys().eq(memory.given.keys()) {
            return Ok(());
        }
        let (queue, made) = self.open(&mut memory.connection).await?;
        if made && !memory.given.is_empty() {
            tracing::warn!(hub = %self.hub, "the work queue was deleted; it is made and filled again");
            memory.given.clear();
        }
        let mut held = queue.held().await?;
        for (id, command) in &wanted {
            if held.remove(id) {
                memory.given.insert(id.clone(), None);
            } else {
                self.give(memory, &queue, id, command).await?;
            }
        }
        // What is left has ended, is paused, or is of a log that was restored since.
        for id in held.iter().filter(|_| waiting.complete) {
            queue.take_out(id).await?;
        }
        memory.given.retain(|id, _| wanted.contains_key(id));
        memory.compared = Some(Instant::now());
        Ok(())
    }

    async fn open(&self, kept: &mut Option<Connection>) -> Result<(WorkQueue, bool), Trouble> {
        let connection = Connection::kept(kept, &self.server).await?;
        Ok(connection.work_queue(&self.queue).await?)
    }

    /// Puts a command into the queue that is not there, unless its outcome may be on its way.
    async fn give(&self, memory: &mut Memory, queue: &WorkQueue, id: &str, command: &Command) -> Result<(), Trouble> {
        let again = memory.given.get_mut(id);
        let is_new = again.is_none();
        if let Some(gone) = again {
            let since = *gone.get_or_insert_with(Instant::now);
            if since.elapsed() < self.again_after {
                return Ok(());
            }
            tracing::warn!(hub = %self.hub, command = %id, "the queue does not have this command any more, and no \
                outcome came that the hub confirms; the command is given again");
        }
        let json = serde_json::to_string(command).expect("a command is JSON");
        let mut not_there = None;
        match queue.put(id, json).await {
            Ok(true) => self.metrics.sent(usize::from(is_new), usize::from(!is_new)),
            Ok(false) => {}
            // The others go on. It is tried again later: the server's limit may be raised.
            Err(e @ JetStreamError::TooLarge { .. }) => {
                tracing::error!(hub = %self.hub, error = %with_causes(&e), "a command stays in the outbox; raise \
                    `max_payload` of the NATS server");
                not_there = Some(Instant::now());
            }
            Err(e) => return Err(e.into()),
        }
        memory.given.insert(id.to_owned(), not_there);
        Ok(())
    }
}
