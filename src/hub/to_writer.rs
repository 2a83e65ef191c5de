//! The way from those who work on a hub to the writer: one bounded queue, and an answer when it is in the log.

use tokio::sync::{mpsc, oneshot, watch};

use super::installed::Truth;
use super::interest::{Interest, Key};
use super::snapshot::Observation;
use crate::decide::load::ArchLoads;
use crate::decide::request::Waits;
use crate::fold::sources::Moment;
use crate::hub::turns::Observed;
use crate::log::Position;
use crate::model::{Hub, Name, RebuildId, RepoId};
use crate::writer::pauses::Held;
use crate::writer::submission::Submission;
use crate::writer::tracking::Needed;

/// Things handed to the writer and not taken yet, at most.
pub const QUEUE: usize = 64;
/// A message that hints at something: where it lies in the inbox, and in which life of the writer it was handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Its place.
    pub position: Position,
    /// A writer made anew hands everything out again; tickets of an earlier one settle nothing.
    pub life: u64,
}

/// What is handed to the writer.
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

/// What the writer says when something is in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It was taken; what it brought.
    Observed(Observed),
    /// The answer to [`Input::IsWaiting`].
    Waiting(Waits),
    /// The answer to [`Input::Sources`].
    Sources(Needed),
}

/// Something for the writer, and who wants to hear that it is in the log.
pub type Handed = (Input, oneshot::Sender<Heard>);

/// The way to the writer; cheap to clone.
#[derive(Clone, Debug)]
pub struct ToWriter(mpsc::Sender<Handed>);

/// The writer does not take anything any more: the service ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the service ends")]
pub struct Ending;

impl ToWriter {
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
    pub watch: watch::Sender<Interest>,
    /// What must not be submitted or asked for there.
    pub held: watch::Sender<Held>,
}

/// What those who submit wait for: something may be in the outbox.
pub type Outbox = watch::Sender<u64>;
