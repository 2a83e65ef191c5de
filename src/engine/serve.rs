//! The service: one process that listens, looks, decides and submits.
//!
//! This loop owns the brain. Everybody else hands it something through one bounded queue and waits until it is in the
//! log; so whoever is told "done" may forget. Messages stay in the inbox until what they hint at was looked at.
//!
//! When the database does not answer, the brain is ahead of the log: it is thrown away and made anew from the log, and
//! everything that waits in the inbox is handed out again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::ahead::Ahead;
use super::brain::{Brain, Settings};
use super::error::EngineError;
use super::eyes::Eyes;
use super::hub::keys::{self, Hint, Key, Watch};
use super::hub::seen::Observation;
use super::hub::truth::Truth;
use super::observing::{Observed, Submission};
use super::patience::Patience;
use super::pauses::Held;
use super::probe::Readiness;
use super::tracking::Needed;
use super::{ingest, operator};
use crate::base::clock;
use crate::decide::load::ArchLoads;
use crate::fold::sources::Moment;
use crate::fold::{Standing, State};
use crate::log::{AnyLog, Disposition, EventLog, Pending, Position, Settled};
use crate::message::Context;
use crate::model::{Hub, Name, RebuildId, RepoId};
use crate::telemetry::Metrics;

/// How often the inbox is looked at without anybody saying that there is something: also the longest time a tick can be
/// late.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Messages read from the inbox at a time.
const PAGE: usize = 500;
/// Messages handed to lookers and not settled, at most; the rest waits in the inbox.
const OUTSTANDING_MAX: usize = 5_000;
/// Things handed to the brain and not taken yet, at most.
pub const QUEUE: usize = 64;
/// A loop that did not go round for so long stands still.
pub(super) const LOOP_STALE: Duration = Duration::from_secs(300);
/// The loop without which the service does not live.
pub const HEART: &str = "brain";
/// Things taken from the queue before the loop looks elsewhere.
const AT_ONCE: usize = 64;

/// A message that hints at something: where it lies in the inbox, and in which life of the brain it was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Its place.
    pub position: Position,
    /// A brain made anew hands everything out again; tickets of an earlier one settle nothing.
    pub life: u64,
}

/// What is handed to the brain.
#[derive(Debug)]
pub enum Input {
    /// Somebody looked.
    Looked {
        /// What was seen.
        look: Observation,
        /// The messages that led to it.
        tickets: Vec<Ticket>,
    },
    /// The content of a repository that is known to be ready can be had now.
    Content(Hub, RepoId),
    /// What became of a command.
    Submitted(Submission),
    /// How busy builders are.
    Load(Hub, ArchLoads),
    /// What a builder had installed.
    Truth(Box<Truth>),
    /// A question: whether a decided rebuild still waits to become a task.
    IsWaiting(RebuildId),
    /// A question: which sources have to be known to resolve a repository of a build tag, made at a moment.
    Sources(Hub, Name, Moment),
}

/// What the brain says when something is in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It was taken; what it brought.
    Observed(Observed),
    /// The answer to [`Input::IsWaiting`].
    Waiting(Waits),
    /// The answer to [`Input::Sources`].
    Sources(Needed),
}

/// Whether a decided rebuild still waits to become a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// Somebody closed it, or a task of it is in the log.
    No,
    /// It does, and may not be submitted for the time being.
    Paused,
    /// It does, and may be submitted.
    Yes {
        /// It may be bound to a repository, as it was decided: the hub has not refused that since.
        bound: bool,
    },
}

/// Something for the brain, and who wants to hear that it is in the log.
pub type Handed = (Input, oneshot::Sender<Heard>);

/// The way to the brain; cheap to clone.
#[derive(Clone, Debug)]
pub struct ToBrain(mpsc::Sender<Handed>);

/// The brain does not take anything any more: the service ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the service ends")]
pub struct Ending;

impl ToBrain {
    /// The two ends of the queue.
    pub fn channel() -> (Self, mpsc::Receiver<Handed>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Hands something over, and returns when it is in the log, however long the database is away. Cancelled, it may be
    /// in the log or not.
    ///
    /// # Errors
    /// [`Ending`].
    pub async fn hand(&self, input: Input) -> Result<Observed, Ending> {
        match self.say(input).await? {
            Heard::Observed(observed) => Ok(observed),
            Heard::Waiting(_) | Heard::Sources(_) => Ok(Observed::default()),
        }
    }

    /// Whether a decided rebuild still waits to become a task: nobody closed it, and no task of it is in the log.
    ///
    /// # Errors
    /// [`Ending`].
    pub async fn is_waiting(&self, rebuild: RebuildId) -> Result<Waits, Ending> {
        match self.say(Input::IsWaiting(rebuild)).await? {
            Heard::Waiting(waits) => Ok(waits),
            Heard::Observed(_) | Heard::Sources(_) => Ok(Waits::No),
        }
    }

    /// The sources that have to be known to resolve a repository of a build tag, made at a moment.
    ///
    /// # Errors
    /// [`Ending`].
    pub async fn sources(&self, hub: Hub, tag: Name, made: Moment) -> Result<Needed, Ending> {
        match self.say(Input::Sources(hub, tag, made)).await? {
            Heard::Sources(sources) => Ok(sources),
            Heard::Observed(_) | Heard::Waiting(_) => Ok(Needed::default()),
        }
    }

    async fn say(&self, input: Input) -> Result<Heard, Ending> {
        let (done, heard) = oneshot::channel();
        self.0.send((input, done)).await.map_err(|_| Ending)?;
        heard.await.map_err(|_| Ending)
    }
}

/// What the loop tells those who work on one hub.
#[derive(Clone, Debug)]
pub struct ToHub {
    /// Hints, as they come out of the inbox.
    pub hints: mpsc::UnboundedSender<(Key, Ticket)>,
    /// What we care about there.
    pub watch: watch::Sender<Watch>,
    /// What must not be submitted or asked for there.
    pub held: watch::Sender<Held>,
}

/// What those who submit wait for: something may be in the outbox.
pub type Outbox = watch::Sender<u64>;

/// What the loop needs.
pub struct Service<F> {
    /// The log.
    pub log: AnyLog,
    /// How the brain works.
    pub settings: Settings,
    /// Eyes for a new brain.
    pub eyes: F,
    /// Hubs.
    pub hubs: HashMap<Hub, ToHub>,
    /// What is handed in.
    pub inputs: mpsc::Receiver<Handed>,
    /// Rung when something may be in the inbox.
    pub inbox: watch::Receiver<u64>,
    /// Rung when something may be in the outbox.
    pub outbox: Outbox,
    /// Counters.
    pub metrics: Metrics,
    /// While the database is away we are not ready.
    pub readiness: Readiness,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// How far one life of the brain got.
struct Life {
    number: u64,
    /// Last message handed out.
    after: Option<Position>,
    outstanding: usize,
}

impl<E: Eyes, F: FnMut() -> E> Service<F> {
    /// Runs until told to stop. `ready` is called once the log is folded.
    ///
    /// # Errors
    /// What cannot be waited for: a log that is damaged, or that somebody else writes to.
    pub async fn run(mut self, mut ready: impl FnMut()) -> Result<(), EngineError> {
        let mut number = 0;
        let mut patience = Patience::new("the database", "what is not in the log waits")
            .holding_up(self.readiness.clone())
            .keeping_alive(self.metrics.clone(), HEART);
        let mut ahead = Ahead::default();
        // What was taken from the queue and is not in the log yet.
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
    ) -> Result<(), EngineError> {
        let log = self.log.clone();
        let mut brain = ingest::awaken(&log, self.settings.clone(), (self.eyes)(), self.metrics.clone()).await?;
        ahead.look(brain.now());
        // Configuration holds from the start, also on an empty log: a hub's time is now.
        brain.move_clock(clock::now());
        brain.begin();
        brain.tick(&log).await?;
        brain.flush(&log).await?;
        self.tell(&mut brain);
        self.metrics.loop_begins(HEART, LOOP_STALE, clock::now());
        ready();
        // What operators said comes before what anybody asks.
        self.inbox(&mut brain, &log, &mut life).await?;
        // An earlier brain could not write it down; whoever handed it in still waits.
        while !open.is_empty() {
            self.take(&mut brain, &log, open, &mut life).await?;
        }
        while !self.stop.is_cancelled() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                handed = self.inputs.recv() => match handed {
                    Some(first) => {
                        open.push_back(first);
                        self.take(&mut brain, &log, open, &mut life).await?;
                    }
                    None => break,
                },
                changed = self.inbox.changed() => {
                    if changed.is_err() {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                }
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            self.inbox(&mut brain, &log, &mut life).await?;
            ahead.look(brain.now());
            brain.pass_time(&log, clock::now()).await?;
            brain.flush(&log).await?;
            self.tell(&mut brain);
            let counts = log.counts().await?;
            self.metrics.waiting(&counts);
            self.metrics.loop_went_round(HEART, clock::now());
            self.metrics.rebuilds_of(brain.state(), clock::now());
            if counts.outbox_pending > 0 {
                self.outbox.send_modify(|n| *n += 1);
            }
        }
        Ok(())
    }

    /// Takes what was handed in, several things to a commit, and says so when they are in the log. In case of an error
    /// all of it stays in `open`.
    async fn take(
        &mut self,
        brain: &mut Brain<E>,
        log: &AnyLog,
        open: &mut VecDeque<Handed>,
        life: &mut Life,
    ) -> Result<(), EngineError> {
        let mut heard = Vec::new();
        while heard.len() < AT_ONCE {
            if heard.len() == open.len()
                && let Ok(next) = self.inputs.try_recv()
            {
                open.push_back(next);
            }
            let Some((input, _)) = open.get(heard.len()) else { break };
            heard.push(self.input(brain, log, input, life).await?);
        }
        brain.flush(log).await?;
        // Before anybody goes on: what they do next depends on it.
        self.tell(brain);
        for (heard, (_, done)) in heard.into_iter().zip(std::iter::from_fn(|| open.pop_front())) {
            // Whoever does not wait any more does not need to know.
            let _gone = done.send(heard);
        }
        Ok(())
    }

    async fn input(
        &self,
        brain: &mut Brain<E>,
        log: &AnyLog,
        input: &Input,
        life: &mut Life,
    ) -> Result<Heard, EngineError> {
        match input {
            Input::Looked { look, tickets } => {
                let tickets: Vec<Ticket> = tickets.iter().copied().filter(|t| t.life == life.number).collect();
                life.outstanding = life.outstanding.saturating_sub(tickets.len());
                let done = |t: Ticket| Settled { position: t.position, disposition: Disposition::Done };
                let observed = brain.observed(log, look, tickets.into_iter().map(done).collect()).await?;
                if look.complete {
                    self.metrics.reconciled(look.hub.as_str(), look.at, observed.missed, observed.invented);
                }
                return Ok(Heard::Observed(observed));
            }
            Input::IsWaiting(rebuild) => {
                return Ok(Heard::Waiting(waits(brain.state(), *rebuild)));
            }
            Input::Sources(hub, tag, made) => return Ok(Heard::Sources(brain.sources_of(hub, tag, *made))),
            Input::Content(hub, repo) => brain.content(log, hub, *repo, clock::now()).await?,
            Input::Submitted(what) => brain.submission(log, what.clone(), clock::now()).await?,
            Input::Load(hub, loads) => brain.load(hub, loads.clone()),
            Input::Truth(truth) => brain.truth(log, Truth::clone(truth), clock::now()).await?,
        }
        Ok(Heard::Observed(Observed::default()))
    }

    /// Hands out what waits in the inbox: operators' words to the brain, hints to those who look.
    async fn inbox(&self, brain: &mut Brain<E>, log: &AnyLog, life: &mut Life) -> Result<(), EngineError> {
        // Also while so much waits to be looked at that nothing more is handed out, as when a hub is away.
        let heard = brain.hear(log).await?;
        if heard.words > 0 {
            self.tell(brain);
        }
        // What was not reached yet is handed out in its turn.
        for p in heard.again {
            if life.after.is_some_and(|after| p.position <= after) {
                self.message(brain, log, p, life).await?;
            }
        }
        brain.flush(log).await?;
        while life.outstanding < OUTSTANDING_MAX {
            let pending = log.pending(life.after, PAGE).await?;
            let Some(last) = pending.last() else { return Ok(()) };
            life.after = Some(last.position);
            for p in pending {
                self.message(brain, log, p, life).await?;
            }
            brain.flush(log).await?;
        }
        Ok(())
    }

    async fn message(
        &self,
        brain: &mut Brain<E>,
        log: &AnyLog,
        p: Pending,
        life: &mut Life,
    ) -> Result<(), EngineError> {
        let Pending { position, message } = p;
        if message.source == operator::SOURCE {
            // One that came in since words were last heard; what waits again because of it is at hand at once.
            let mut again = Vec::new();
            brain.operator_message(log, position, &message, &mut again).await?;
            for p in again {
                Box::pin(self.message(brain, log, p, life)).await?;
            }
            return Ok(());
        }
        if message.topic == ingest::UNREADABLE {
            brain.unreadable(position, ingest::UNREADABLE, "not a message".to_owned());
            return Ok(());
        }
        let context: &Context = &self.settings.context;
        let disposition = match keys::hint(&message, context, brain.state()) {
            Hint::Look(hub, key) => match self.hubs.get(&hub) {
                Some(to) => {
                    life.outstanding += 1;
                    // A looker that is gone ends the service; the message waits for the next one.
                    let _gone = to.hints.send((key, Ticket { position, life: life.number }));
                    return Ok(());
                }
                None => Disposition::Ignored { reason: format!("no hub `{hub}` is configured") },
            },
            Hint::Nothing(why) => Disposition::Ignored { reason: why.to_owned() },
            Hint::Rejected(reason) => Disposition::Parked { reason },
        };
        brain.settle_message(position, &message.topic, disposition);
        Ok(())
    }

    /// Tells those who work on hubs what we care about now, where that changed.
    fn tell(&self, brain: &mut Brain<E>) {
        for (hub, to) in &self.hubs {
            let mut watch = Watch::of(brain.state(), hub);
            brain.watch_tracked(hub, &mut watch);
            to.watch.send_if_modified(|old| {
                let changed = *old != watch;
                *old = watch;
                changed
            });
            let held = Held::of(brain.state(), hub);
            to.held.send_if_modified(|old| {
                let changed = *old != held;
                *old = held;
                changed
            });
        }
    }
}

fn waits(state: &State, rebuild: RebuildId) -> Waits {
    match state.standing(rebuild) {
        Standing::Closed | Standing::Submitted(..) => return Waits::No,
        Standing::Paused => return Waits::Paused,
        Standing::Open => {}
    }
    let hub = state.rebuilds.get(&rebuild).and_then(|open| state.collections.get(&open.collection));
    let hub = hub.map(|c| c.settings.building_hub());
    let unbound = hub.and_then(|hub| state.hubs.get(hub)).and_then(|h| h.unbound.as_ref());
    Waits::Yes { bound: unbound.is_none_or(|r| r.trial == Some(rebuild)) }
}
