//! The service: one process that listens, looks at hubs, decides and submits.
//!
//! This loop owns the writer. All other tasks hand their input in through one bounded queue, and
//! wait until it is in the log. A task that is told "done" may therefore forget its input. A
//! message stays in the inbox until its hint has been looked up.
//!
//! If the database does not answer, the writer is ahead of the log. It is then thrown away and
//! opened again from the log, and everything that waits in the inbox is handed out again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::buildroot::MakeResolver;
use crate::decide::request::waits;
use crate::hub::installed::InstalledPackages;
use crate::hub::interest::{self, Hint, HubObject, Interest};
use crate::hub::to_writer::{Handed, Input, Outbox, Reply, Ticket, ToHub};
use crate::hub::turns::Observed;
use crate::intake::patience::Patience;
use crate::log::{Announcements as _, AnyLog, Disposition, EventLog, LogError, Pending, Position, Settled};
use crate::message::{Context, RESULT_SOURCE, RESULT_TOPIC, UNREADABLE};
use crate::model::Hub;
use crate::operator;
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;
use crate::writer::ahead::Ahead;
use crate::writer::pauses::Held;
use crate::writer::results::ResultOf;
use crate::writer::{HEART, LOOP_STALE, Settings, Writer};

/// Interval at which the inbox is read without a wake-up. A tick can be late by this time at most.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Longest time that a resolution waits for commands to leave before it is examined.
const EXAMINED_AT_LATEST: Duration = Duration::from_secs(30);
/// Messages read from the inbox at a time.
const PAGE: usize = 500;
/// Most messages that are handed out and not settled. The rest waits in the inbox.
const OUTSTANDING_MAX: usize = 5_000;
/// Most inputs taken from the queue before the loop does its other work.
const AT_ONCE: usize = 64;

/// Everything the loop needs.
pub struct Service {
    /// The log.
    pub log: AnyLog,
    /// Settings of the writer.
    pub settings: Settings,
    /// Makes a resolver for a new writer.
    pub resolver: MakeResolver,
    /// Channels to the tasks of each hub.
    pub hubs: HashMap<Hub, ToHub>,
    /// Inputs from the other tasks.
    pub inputs: mpsc::Receiver<Handed>,
    /// Signals that the inbox may have something.
    pub inbox: watch::Receiver<u64>,
    /// Signals that the outbox may have something.
    pub outbox: Outbox,
    /// Signals that something may have to be announced. `None` if nothing is announced.
    pub announcements: Option<Outbox>,
    /// The metrics.
    pub metrics: Metrics,
    /// Readiness: we are not ready while the database is away.
    pub readiness: Readiness,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// One life of the writer, and how far it got.
struct Life {
    number: u64,
    /// Position of the last message handed out.
    after: Option<Position>,
    outstanding: usize,
}

impl Service {
    /// Runs until told to stop. Calls `ready` once the log is folded.
    ///
    /// # Errors
    /// Fails if waiting does not help: the log is damaged or has another writer.
    pub async fn run(mut self, mut ready: impl FnMut()) -> Result<(), LogError> {
        let mut number = 0;
        let mut patience = Patience::new("the database", "everything that is not in the log yet waits")
            .holding_up(self.readiness.clone())
            .keeping_alive(self.metrics.clone(), HEART);
        let mut ahead = Ahead::default();
        // Inputs taken from the queue that are not in the log yet.
        let mut open = VecDeque::new();
        loop {
            let life = Life { number, after: None, outstanding: 0 };
            let mut begun = || {
                patience.answered();
                ready();
            };
            match self.live(life, &mut open, &mut ahead, &mut begun).await {
                Ok(()) => return Ok(()),
                Err(e) if e.may_pass() => {
                    if !patience.wait(&e, &self.stop).await {
                        return Ok(());
                    }
                }
                Err(e) => return Err(e),
            }
            number += 1;
        }
    }

    async fn live(
        &mut self,
        mut life: Life,
        open: &mut VecDeque<Handed>,
        ahead: &mut Ahead,
        ready: &mut impl FnMut(),
    ) -> Result<(), LogError> {
        let mut writer =
            Writer::open(&self.log, self.settings.clone(), (self.resolver)(), self.metrics.clone()).await?;
        ahead.look(writer.now());
        // The configuration holds from the start, even on an empty log, because a hub's time is
        // now.
        writer.move_clock(clock::now());
        writer.begin();
        writer.tick().await?;
        writer.flush().await?;
        self.tell(&mut writer);
        self.metrics.loop_begins(HEART, LOOP_STALE, clock::now());
        ready();
        // Operators' words come before the inputs of other tasks.
        self.inbox(&mut writer, &mut life).await?;
        // An earlier writer could not append these inputs, and their senders still wait.
        while !open.is_empty() {
            self.take(&mut writer, open, &mut life).await?;
        }
        let mut examines = false;
        let answered = writer.examiner_answered();
        while !self.stop.is_cancelled() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                handed = self.inputs.recv() => match handed {
                    Some(first) => {
                        open.push_back(first);
                        self.take(&mut writer, open, &mut life).await?;
                    }
                    None => break,
                },
                changed = self.inbox.changed() => {
                    if changed.is_err() {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                }
                () = answered.notified() => {}
                () = tokio::time::sleep(if examines { Duration::ZERO } else { LOOK_AGAIN }) => {}
            }
            self.inbox(&mut writer, &mut life).await?;
            ahead.look(writer.now());
            writer.pass_time(clock::now()).await?;
            writer.flush().await?;
            self.tell(&mut writer);
            // Commands are out by now. Whoever hands something in meanwhile waits for it.
            writer.snapshot_if_due(!self.inputs.is_empty()).await;
            let counts = self.log.counts().await?;
            self.metrics.waiting(counts.into());
            self.metrics.loop_went_round(HEART, clock::now());
            self.metrics.rebuilds_of(writer.state(), clock::now());
            self.metrics.causes_of(writer.state());
            if counts.outbox_pending > 0 {
                self.outbox.send_modify(|n| *n += 1);
            }
            if let Some(bell) = &self.announcements {
                let counts = self.log.announcement_counts().await?;
                self.metrics.announcements_waiting(counts.into(), clock::now());
                if counts.waiting > 0 {
                    bell.send_modify(|n| *n += 1);
                }
            }
            // Other inputs wait for one step of this, so commands go to the hub first. If the hub
            // does not take them, this does not wait for it.
            examines = writer.has_unexamined()
                && (counts.outbox_pending == 0 || writer.resolved_since(clock::now()) > EXAMINED_AT_LATEST);
            if examines {
                writer.examine(clock::now()).await?;
                writer.flush().await?;
                examines = !writer.waits_for_examiner();
            }
        }
        writer.finish_snapshot().await;
        Ok(())
    }

    /// Takes inputs, several to a commit, and tells the senders when they are in the log. After an
    /// error all of them stay in `open`.
    async fn take(
        &mut self,
        writer: &mut Writer,
        open: &mut VecDeque<Handed>,
        life: &mut Life,
    ) -> Result<(), LogError> {
        let mut heard = Vec::new();
        while heard.len() < AT_ONCE {
            if heard.len() == open.len()
                && let Ok(next) = self.inputs.try_recv()
            {
                open.push_back(next);
            }
            let Some((input, _)) = open.get(heard.len()) else { break };
            heard.push(self.input(writer, input, life).await?);
        }
        writer.flush().await?;
        // Tell the hub tasks before the senders go on, because their next step depends on it.
        self.tell(writer);
        for (heard, (_, done)) in heard.into_iter().zip(std::iter::from_fn(|| open.pop_front())) {
            // A sender that does not wait any more need not know.
            let _gone = done.send(heard);
        }
        Ok(())
    }

    async fn input(&self, writer: &mut Writer, input: &Input, life: &mut Life) -> Result<Reply, LogError> {
        match input {
            Input::Looked { look, tickets } => {
                let tickets: Vec<Ticket> = tickets.iter().copied().filter(|t| t.life == life.number).collect();
                life.outstanding = life.outstanding.saturating_sub(tickets.len());
                let done = |t: Ticket| Settled { position: t.position, disposition: Disposition::Done };
                let observed = writer.observed(look, tickets.into_iter().map(done).collect()).await?;
                if look.complete {
                    self.metrics.reconciled(look.hub.as_str(), look.at, observed.missed, observed.invented);
                }
                return Ok(Reply::Observed(observed));
            }
            Input::AreWaiting(rebuilds) => {
                return Ok(Reply::Waiting(rebuilds.iter().map(|rebuild| waits(writer.state(), *rebuild)).collect()));
            }
            Input::Sources(hub, tag, made) => return Ok(Reply::Sources(writer.sources_of(hub, tag, *made))),
            Input::Content(hub, repo, of) => writer.content(hub, *repo, Some(of), clock::now()).await?,
            Input::Submitted(what) => writer.submission(what.clone(), clock::now()).await?,
            Input::Load(hub, loads) => writer.load(hub, loads.clone()),
            Input::Installed(found) => writer.installed(InstalledPackages::clone(found), clock::now()).await?,
        }
        Ok(Reply::Observed(Observed::default()))
    }

    /// Hands out what waits in the inbox: operators' words to the writer, hints to the hub tasks.
    async fn inbox(&self, writer: &mut Writer, life: &mut Life) -> Result<(), LogError> {
        // This happens even while so many hints are outstanding that no more are handed out, as
        // when a hub is away.
        let heard = writer.hear().await?;
        if heard.words > 0 {
            self.tell(writer);
        }
        // A message that was not reached yet is handed out in its turn.
        for p in heard.again {
            if life.after.is_some_and(|after| p.position <= after) {
                self.message(writer, p, life).await?;
            }
        }
        writer.flush().await?;
        while life.outstanding < OUTSTANDING_MAX {
            let pending = self.log.pending(life.after, PAGE).await?;
            let Some(last) = pending.last() else { return Ok(()) };
            life.after = Some(last.position);
            for p in pending {
                self.message(writer, p, life).await?;
            }
            writer.flush().await?;
        }
        Ok(())
    }

    async fn message(&self, writer: &mut Writer, p: Pending, life: &mut Life) -> Result<(), LogError> {
        let Pending { position, message } = p;
        if message.source == operator::SOURCE {
            // This word came in after the last one was heard. Messages that wait again because of
            // it are handed out at once.
            let mut again = Vec::new();
            writer.operator_message(position, &message, &mut again).await?;
            for p in again {
                Box::pin(self.message(writer, p, life)).await?;
            }
            return Ok(());
        }
        if message.topic == UNREADABLE {
            writer.unreadable(position, UNREADABLE, "not a message".to_owned());
            return Ok(());
        }
        if message.source == RESULT_SOURCE {
            return self.result(writer, position, &message.body, life).await;
        }
        let context: &Context = &self.settings.context;
        let disposition = match interest::hint(&message, context, writer.state()) {
            Hint::Look(hub, key) => match self.look(&hub, key, position, life) {
                true => return Ok(()),
                false => Disposition::Ignored { reason: format!("no hub `{hub}` is configured") },
            },
            Hint::Fact => {
                writer.message(position, &message, None).await?;
                return Ok(());
            }
            Hint::Nothing(why) => Disposition::Ignored { reason: why.to_owned() },
            Hint::Rejected(reason) => Disposition::Parked { reason },
        };
        writer.settle_message(position, &message.topic, disposition);
        Ok(())
    }

    /// Has a hub's task look at an object because of a message. Returns `false` if there is no such hub.
    fn look(&self, hub: &Hub, key: HubObject, position: Position, life: &mut Life) -> bool {
        let Some(to) = self.hubs.get(hub) else { return false };
        life.outstanding += 1;
        // A missing receiver ends the service. The message waits for the next start.
        let _gone = to.hints.send((key, Ticket { position, life: life.number }));
        true
    }

    /// Takes in what an outside executor says about a command.
    async fn result(
        &self,
        writer: &mut Writer,
        position: Position,
        raw: &[u8],
        life: &mut Life,
    ) -> Result<(), LogError> {
        match writer.result(position, raw, clock::now()).await? {
            ResultOf::Settled => {}
            ResultOf::Look(hub, task) => {
                if !self.look(&hub, HubObject::Task(task), position, life) {
                    let reason = format!("no hub `{hub}` is configured");
                    writer.settle_message(position, RESULT_TOPIC, Disposition::Ignored { reason });
                }
            }
            ResultOf::Sent(command) => {
                // In this order: a command that is still in the outbox is given again, and ends again.
                writer.flush().await?;
                self.log.mark_sent(&[command]).await?;
            }
        }
        Ok(())
    }

    /// Tells the hub tasks what we are interested in and what is held back, if that changed.
    fn tell(&self, writer: &mut Writer) {
        for (hub, to) in &self.hubs {
            let mut watch = Interest::of(writer.state(), hub);
            writer.watch_tracked(hub, &mut watch);
            to.watch.send_if_modified(|old| {
                let changed = *old != watch;
                *old = watch;
                changed
            });
            let held = Held::of(writer.state(), hub);
            to.held.send_if_modified(|old| {
                let changed = *old != held;
                *old = held;
                changed
            });
        }
    }
}
