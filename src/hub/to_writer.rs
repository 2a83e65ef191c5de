//! The bounded queue from the parts that work on a hub to the writer. The writer answers when an
//! input is in the log.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::installed::InstalledPackages;
use super::interest::{HubObject, Interest};
use super::snapshot::Observation;
use crate::decide::load::ArchLoads;
use crate::decide::request::Waits;
use crate::fold::Tracked;
use crate::fold::tag::Moment;
use crate::hub::turns::Observed;
use crate::log::Position;
use crate::model::{Hub, Name, RebuildId, RepoId};
use crate::writer::pauses::Held;
use crate::writer::submission::Submission;
use crate::writer::tracking::Needed;

/// Maximum number of inputs in the queue.
pub const QUEUE: usize = 64;
/// A message that hints at an object: its place in the inbox, and the life of the writer that
/// handed it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The message's place in the inbox.
    pub position: Position,
    /// Number of the writer's life. After a restart of the writer, all waiting messages are handed
    /// out again. Tickets of an earlier life settle nothing.
    pub life: u64,
}

/// An input for the writer.
#[derive(Debug)]
pub enum Input {
    /// The result of a look.
    Looked {
        /// What was seen.
        look: Observation,
        /// The messages that led to the look.
        tickets: Vec<Ticket>,
    },
    /// The content of a repository is now available, with the requirements of these tracked
    /// packages, by collection. The repository was already known to be ready.
    Content(Hub, RepoId, Vec<Arc<Tracked>>),
    /// The outcome of a command.
    Submitted(Submission),
    /// The load of the builders.
    Load(Hub, ArchLoads),
    /// What a builder had installed.
    Installed(Box<InstalledPackages>),
    /// A question: do these decided rebuilds still wait to become tasks?
    AreWaiting(Vec<RebuildId>),
    /// A question: which sources must be known to resolve a repository of a build tag that was made
    /// at this moment?
    Sources(Hub, Name, Moment),
}

/// The writer's answer to an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The input is in the log. Says what it brought.
    Observed(Observed),
    /// The answer to [`Input::AreWaiting`], for each rebuild.
    Waiting(Vec<Waits>),
    /// The answer to [`Input::Sources`].
    Sources(Needed),
}

/// An input, and where to send the answer.
pub type Handed = (Input, oneshot::Sender<Reply>);

/// The sending end of the queue to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ToWriter(mpsc::Sender<Handed>);

/// The writer takes no more inputs, because the service is ending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the service ends")]
pub struct Ending;

impl ToWriter {
    /// Returns the two ends of a new queue.
    pub fn channel() -> (Self, mpsc::Receiver<Handed>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Hands over an input, and returns when it is in the log, however long the database is away.
    /// If the future is dropped, the input may be in the log or not.
    ///
    /// # Errors
    /// Returns [`Ending`] if the service is ending.
    pub async fn hand(&self, input: Input) -> Result<Observed, Ending> {
        match self.say(input).await? {
            Reply::Observed(observed) => Ok(observed),
            Reply::Waiting(_) | Reply::Sources(_) => Ok(Observed::default()),
        }
    }

    /// Asks whether a decided rebuild still waits to become a task: nobody closed it, and no task
    /// of it is in the log.
    ///
    /// # Errors
    /// Returns [`Ending`] if the service is ending.
    pub async fn is_waiting(&self, rebuild: RebuildId) -> Result<Waits, Ending> {
        Ok(self.are_waiting(vec![rebuild]).await?.first().copied().unwrap_or(Waits::No))
    }

    /// Asks the same about several rebuilds. The answers are in their order.
    ///
    /// # Errors
    /// Returns [`Ending`] if the service is ending.
    pub async fn are_waiting(&self, rebuilds: Vec<RebuildId>) -> Result<Vec<Waits>, Ending> {
        match self.say(Input::AreWaiting(rebuilds)).await? {
            Reply::Waiting(waits) => Ok(waits),
            Reply::Observed(_) | Reply::Sources(_) => Ok(Vec::new()),
        }
    }

    /// Asks which sources must be known to resolve a repository of a build tag that was made at
    /// this moment.
    ///
    /// # Errors
    /// Returns [`Ending`] if the service is ending.
    pub async fn sources(&self, hub: Hub, tag: Name, made: Moment) -> Result<Needed, Ending> {
        match self.say(Input::Sources(hub, tag, made)).await? {
            Reply::Sources(sources) => Ok(sources),
            Reply::Observed(_) | Reply::Waiting(_) => Ok(Needed::default()),
        }
    }

    async fn say(&self, input: Input) -> Result<Reply, Ending> {
        let place = self.0.reserve().await.map_err(|_| Ending)?;
        let (done, heard) = oneshot::channel();
        place.send((input, done));
        self.reply(heard).await
    }

    /// Waits for the answer. An input that comes into the queue just after the writer has closed it
    /// stays there, with the end that would answer, as long as anybody can send. So the answer is
    /// given up when the queue is closed.
    async fn reply(&self, mut heard: oneshot::Receiver<Reply>) -> Result<Reply, Ending> {
        tokio::select! {
            biased;
            reply = &mut heard => reply.map_err(|_| Ending),
            // The writer may have answered right before it closed the queue.
            () = self.0.closed() => heard.try_recv().map_err(|_| Ending),
        }
    }
}

/// What the service tells the parts that work on one hub.
#[derive(Clone, Debug)]
pub struct ToHub {
    /// Hints from the inbox.
    pub hints: mpsc::UnboundedSender<(HubObject, Ticket)>,
    /// The objects to watch on the hub.
    pub watch: watch::Sender<Interest>,
    /// What must not be submitted or requested on the hub.
    pub held: watch::Sender<Held>,
}

/// Notifies submitters that something may be in the outbox.
pub type Outbox = watch::Sender<u64>;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_input_that_comes_while_the_writer_ends_is_given_up() {
        let (writer, inputs) = ToWriter::channel();
        let place = writer.0.reserve().await.unwrap();
        drop(inputs);
        let (done, heard) = oneshot::channel();
        place.send((Input::AreWaiting(vec![RebuildId(1)]), done));
        let reply = tokio::time::timeout(Duration::from_secs(60), writer.reply(heard)).await;
        assert_eq!(reply.expect("nobody can answer any more"), Err(Ending));
    }

    #[tokio::test]
    async fn an_answer_given_before_the_end_is_heard() {
        let (writer, inputs) = ToWriter::channel();
        let (done, heard) = oneshot::channel();
        done.send(Reply::Observed(Observed::default())).unwrap();
        drop(inputs);
        assert_eq!(writer.reply(heard).await, Ok(Reply::Observed(Observed::default())));
    }
}
