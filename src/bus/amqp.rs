//! AMQP 0-9-1 (RabbitMQ), as a source of Koji messages: Fedora Messaging without its Python.
//!
//! A queue of the broker holds what we have not acknowledged, over restarts of ours and, if it is durable, of the
//! broker. A task keeps a consumer on it: whatever ends the connection (the broker's restart, a deleted queue, a lost
//! network), it connects anew with growing pauses, declares and binds again, and the messages that were not
//! acknowledged come again. Their ids show it. A queue that was deleted has lost what was in it; that is found by
//! asking the hub, see [`AmqpSource::connections`].
//!
//! What arrives is looked at before the client parses it ([`guard`]): a message may hold anything, and must not be able
//! to end us. Then it is brought into the form of a recorded line ([`delivery`]). Nothing is acknowledged before the
//! caller says so.

use std::collections::VecDeque;
use std::fmt;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

mod connect;
mod delivery;
mod error;
mod guard;
mod look;
mod relay;
mod settings;

pub use error::AmqpError;
pub use look::{BrokerSeen, QueueSeen, look};
pub use settings::{AmqpSettings, Binding, EXCHANGE, HEARTBEAT, PREFETCH, PREFETCH_MAX, QUEUE, Queue, TIMEOUT, Tls};

use super::source::{MessageSource, SourceError};
use crate::base::backoff;
use crate::message::entry::Entry;
use crate::model::causes::with_causes;
use crate::model::{Class, Classified};
use connect::Session;
use error::Doing;
use settings::Plan;

/// Most messages of one fetch.
pub const MAX_BATCH: usize = PREFETCH_MAX as usize;

/// How often in a row a broker that had let us in may refuse before it is believed. With the pauses between, that is
/// about ten seconds.
pub const REFUSALS_MAX: u32 = 6;

/// First pause between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Longest pause between attempts. A connection that held for so long starts them anew.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A message on its way from the task to a fetch.
struct Arrived<M = (Entry, Acker)> {
    /// On which connection it came.
    connection: u64,
    message: M,
}

/// Takes what has arrived, and only then asks how it stands with the connection: the first of its answer is the number
/// of the one that holds. What came on another cannot be acknowledged, comes again, and is dropped.
///
/// The order matters. The task says that there is a new connection before it hands on what came on it. Whoever asked
/// first could still see the old one, and drop messages of the new one: the broker would wait for their acknowledgement
/// as long as that connection holds.
fn take<M, S>(
    found: &mut VecDeque<Arrived<M>>,
    arrived: &mut mpsc::Receiver<Arrived<M>>,
    max: usize,
    status: impl FnOnce() -> (Option<u64>, S),
) -> S {
    while found.len() < max
        && let Ok(message) = arrived.try_recv()
    {
        found.push_back(message);
    }
    let (holds, status) = status();
    found.retain(|message| holds == Some(message.connection));
    status
}

/// How often it is looked whether others take from our queue.
const LOOK_FOR_OTHERS: Duration = Duration::from_secs(60);

/// How it stands with the connection.
#[derive(Clone)]
struct Status {
    /// Connections made so far.
    connections: u64,
    state: State,
}

#[derive(Clone)]
enum State {
    /// It holds.
    Connected(Channel, ShortString),
    /// It is being tried again; why the last one ended, or could not be made.
    Away(AmqpError),
    /// The broker refuses for good. Still tried again, in case whoever runs it relents.
    Refused(AmqpError),
}

/// When it was looked last whether others take from our queue, and on which connection that was said.
#[derive(Default)]
struct Looked {
    at: Option<Instant>,
    told: Option<u64>,
}

/// A queue of messages.
pub struct AmqpSource {
    url: String,
    timeout: Duration,
    prefetch: u16,
    arrived: Mutex<mpsc::Receiver<Arrived>>,
    looked: std::sync::Mutex<Looked>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl fmt::Debug for AmqpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpSource").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Permission to acknowledge one message; to be used once what it holds is committed. Dropped unused, the message comes
/// again when the connection ends.
pub struct AmqpAck {
    connection: u64,
    acker: Acker,
}

impl fmt::Debug for AmqpAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AmqpAck")
    }
}

impl AmqpSource {
    /// Connects, declares and binds the queue, and begins to take messages, at most `prefetch` ahead of the
    /// acknowledgements.
    ///
    /// # Errors
    /// [`AmqpError`]: unavailable when the broker does not answer, rejected when it does not let us in, the queue
    /// cannot be had as configured, or the settings make no sense.
    pub async fn open(settings: AmqpSettings) -> Result<Self, AmqpError> {
        let plan = settings.plan()?;
        let session = Session::open(&settings, &plan).await?;
        let (sender, arrived) = mpsc::channel(usize::from(settings.prefetch));
        let state = State::Connected(session.channel.clone(), session.queue.clone());
        let (status, watched) = watch::channel(Status { connections: 1, state });
        let (url, timeout, prefetch) = (plan.shown.clone(), settings.timeout, settings.prefetch);
        let task = tokio::spawn(Keeper { settings, plan, sender, status, taken: 0 }.keep(session));
        Ok(Self {
            url,
            timeout,
            prefetch,
            arrived: Mutex::new(arrived),
            looked: std::sync::Mutex::default(),
            status: watched,
            task,
        })
    }

    /// The next messages in the order they came, at most `max`, [`MAX_BATCH`] and what prefetch leaves. Waits up to
    /// `wait` for the first one; none after that time is an empty list. While the broker is away it is waited for, as
    /// long as `wait` allows.
    ///
    /// # Errors
    /// [`AmqpError`]: unavailable when the broker is away at the end of `wait`; rejected when it has refused
    /// [`REFUSALS_MAX`] times in a row.
    pub async fn fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AmqpAck)>, AmqpError> {
        let deadline = Instant::now() + wait;
        let mut arrived = self.arrived.lock().await;
        let mut status = self.status.clone();
        let mut found = VecDeque::new();
        loop {
            let state = take(&mut found, &mut arrived, max.clamp(1, MAX_BATCH), || {
                let Status { connections, state } = status.borrow_and_update().clone();
                (matches!(state, State::Connected(..)).then_some(connections), state)
            });
            if !found.is_empty() {
                let with_ack = |Arrived { connection, message: (entry, acker) }| (entry, AmqpAck { connection, acker });
                return Ok(found.into_iter().map(with_ack).collect());
            }
            if let State::Refused(error) = state {
                return Err(error);
            }
            tokio::select! {
                biased;
                Some(message) = arrived.recv() => found.push_back(message),
                changed = status.changed() => if changed.is_err() {
                    return Err(self.unavailable("fetch messages", "the task that does so has ended"));
                },
                () = tokio::time::sleep_until(deadline) => return match state {
                    State::Connected(channel, queue) => {
                        self.look_for_others(&channel, &queue).await;
                        Ok(Vec::new())
                    }
                    State::Away(error) | State::Refused(error) => Err(error),
                },
            }
        }
    }

    /// Acknowledges messages whose content is committed, and waits until the broker has read the acknowledgements.
    ///
    /// # Errors
    /// [`AmqpError::Unavailable`]; some messages will then come again, which their ids show.
    pub async fn ack_all(&self, acks: impl IntoIterator<Item = AmqpAck>) -> Result<(), AmqpError> {
        const DOING: &str = "acknowledge messages";
        let Status { connections, state } = self.status.borrow().clone();
        let failed = |e: lapin::Error| AmqpError::of(Doing::Running(DOING), &self.url, e);
        let acks: Vec<AmqpAck> = acks.into_iter().collect();
        if acks.is_empty() {
            return Ok(());
        }
        let State::Connected(channel, _) = state else {
            return Err(self.unavailable(DOING, "not connected"));
        };
        let sending = async {
            let ours = acks.iter().filter(|ack| ack.connection == connections);
            let sent = ours.map(|ack| ack.acker.ack(BasicAckOptions::default()));
            let sent = futures_util::future::try_join_all(sent).await.map_err(failed)?;
            // Nothing answers an acknowledgement. The answer to a later request on the same channel says that it was
            // read.
            channel.basic_qos(self.prefetch, BasicQosOptions::default()).await.map_err(failed)?;
            Ok(sent.into_iter().filter(|sent| *sent).count())
        };
        match timeout(self.timeout, sending).await {
            Ok(Ok(sent)) if sent == acks.len() => Ok(()),
            Ok(Ok(_)) => Err(self.unavailable(DOING, "the connection on which they came was lost")),
            Ok(Err(error)) => Err(error),
            Err(elapsed) => Err(self.unavailable(DOING, elapsed)),
        }
    }

    /// Whoever else takes from the queue gets some of our messages, and nobody would notice: so it is said, once a
    /// connection.
    async fn look_for_others(&self, channel: &Channel, queue: &ShortString) {
        let connection = self.connections();
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let due = looked.at.is_none_or(|at| at.elapsed() >= LOOK_FOR_OTHERS);
            if !due || looked.told == Some(connection) {
                return;
            }
            looked.at = Some(Instant::now());
        }
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = timeout(self.timeout, channel.queue_declare(queue.clone(), options, FieldTable::default())).await;
        // What is wrong with the queue otherwise ends our consumer, which is noticed.
        let Ok(Ok(found)) = asked else { return };
        let others = found.consumer_count().saturating_sub(1);
        if others > 0 {
            self.looked.lock().unwrap_or_else(PoisonError::into_inner).told = Some(connection);
            tracing::error!(queue = %queue, others, "somebody else takes messages from our queue, and each message \
                goes to one of us only; give every log a queue of its own");
        }
    }

    /// How many messages wait in the queue that nobody was given yet, for metrics.
    ///
    /// # Errors
    /// [`AmqpError::Unavailable`].
    pub async fn backlog(&self) -> Result<u32, AmqpError> {
        const DOING: &str = "look at the queue";
        let State::Connected(channel, queue) = self.status.borrow().state.clone() else {
            return Err(self.unavailable(DOING, "not connected"));
        };
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(queue, options, FieldTable::default());
        let answer = timeout(self.timeout, asked).await.map_err(|e| self.unavailable(DOING, e))?;
        Ok(answer.map_err(|e| AmqpError::of(Doing::Running(DOING), &self.url, e))?.message_count())
    }

    /// How many connections were made so far. One more than before means that publishers may have been unable to
    /// publish, or the queue was gone for a while: time to ask the hub what was missed.
    pub fn connections(&self) -> u64 {
        self.status.borrow().connections
    }

    fn unavailable(&self, doing: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AmqpError {
        AmqpError::unavailable(Doing::Running(doing), &self.url, why)
    }
}

impl Drop for AmqpSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MessageSource for AmqpSource {
    type Ack = AmqpAck;
    const NAME: &'static str = "amqp";

    async fn fetch(&self, max: usize, wait: Duration) -> Result<Vec<(Entry, AmqpAck)>, SourceError> {
        Ok(Self::fetch(self, max, wait).await?)
    }

    async fn ack_all(&self, acks: Vec<AmqpAck>) -> Result<(), SourceError> {
        Ok(Self::ack_all(self, acks).await?)
    }

    async fn waiting(&self) -> Result<u64, SourceError> {
        Ok(self.backlog().await?.into())
    }
}

/// The task that keeps a consumer on the queue.
struct Keeper {
    settings: AmqpSettings,
    plan: Plan,
    sender: mpsc::Sender<Arrived>,
    status: watch::Sender<Status>,
    /// Messages taken so far, for numbering them.
    taken: u64,
}

impl Keeper {
    async fn keep(mut self, first: Session) {
        let mut session = first;
        let mut attempt = 0;
        loop {
            let since = Instant::now();
            let Some(why) = self.pump(&mut session).await else { return };
            // Whoever fetches hears it as well, and says it.
            tracing::debug!(error = %with_causes(&why), "the message broker's connection ended");
            self.status.send_modify(|status| status.state = State::Away(why));
            drop(session);
            if since.elapsed() >= MAX_PAUSE {
                attempt = 0;
            }
            session = self.connect_again(&mut attempt).await;
            let state = State::Connected(session.channel.clone(), session.queue.clone());
            self.status.send_modify(|status| {
                status.connections += 1;
                status.state = state;
            });
        }
    }

    /// Hands messages on until the connection ends, and says why it did; nothing when nobody wants them any more.
    async fn pump(&mut self, session: &mut Session) -> Option<AmqpError> {
        const DOING: Doing<'_> = Doing::Running("take messages");
        let (connection, cuts) = (self.status.borrow().connections, session.relay.cuts());
        loop {
            match session.consumer.next().await {
                Some(Ok(delivery)) => {
                    self.taken += 1;
                    let entry = delivery::entry(&delivery, self.taken, cuts.take(delivery.delivery_tag));
                    self.sender.send(Arrived { connection, message: (entry, delivery.acker) }).await.ok()?;
                }
                Some(Err(error)) => {
                    let error = session.relay.why().map_or(error, Into::into);
                    return Some(AmqpError::of(DOING, &self.plan.shown, error));
                }
                None => {
                    let why = format!("the broker ended our consumer: was queue {} deleted?", session.queue);
                    return Some(AmqpError::unavailable(DOING, &self.plan.shown, why));
                }
            }
        }
    }

    async fn connect_again(&self, attempt: &mut u32) -> Session {
        let mut refusals = 0;
        loop {
            *attempt += 1;
            tokio::time::sleep(backoff::after(*attempt, FIRST_PAUSE, MAX_PAUSE)).await;
            let error = match Session::open(&self.settings, &self.plan).await {
                Ok(session) => return session,
                Err(error) => error,
            };
            refusals = if error.class() == Class::Rejected { refusals + 1 } else { 0 };
            tracing::debug!(error = %with_causes(&error), attempt, "the message broker is still away");
            let state = if refusals >= REFUSALS_MAX { State::Refused(error) } else { State::Away(error) };
            self.status.send_modify(|status| status.state = state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_comes_on_a_new_connection_is_not_dropped_with_the_old_one() {
        let (sender, mut arrived) = mpsc::channel(10);
        let send = |connection, message| assert!(sender.try_send(Arrived { connection, message }).is_ok());
        let (mut found, connection) = (VecDeque::new(), Cell::new(1));
        send(1, "first");
        // Right after it was asked the connection ends, another is made, and a message comes on it.
        take(&mut found, &mut arrived, 10, || {
            let answer = (Some(connection.replace(2)), ());
            send(2, "second");
            answer
        });
        take(&mut found, &mut arrived, 10, || (Some(connection.get()), ()));
        let found: Vec<&str> = found.iter().map(|a| a.message).collect();
        assert_eq!(found, ["second"], "the first one comes again");
    }

    #[test]
    fn a_refusal_is_believed_soon() {
        let most: Duration = (1..=REFUSALS_MAX).map(|n| FIRST_PAUSE * (1 << (n - 1))).sum();
        assert!(most < Duration::from_secs(15), "a refusal is to be seen while somebody is looking: {most:?}");
    }
}
