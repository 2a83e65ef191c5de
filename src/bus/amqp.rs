//! Receives Koji messages over AMQP 0-9-1 (RabbitMQ). Replaces the Python client of Fedora
//! Messaging.
//!
//! A queue of the broker holds the messages we have not acknowledged. It outlives our restarts and,
//! if it is durable, the broker's. A task keeps a consumer on the queue. The connection may end for
//! any reason: the broker restarts, the queue is deleted, the network fails. The task then connects
//! again with growing pauses, and declares and binds the queue again. Messages that were not
//! acknowledged come again, and their ids show it. A deleted queue has lost its messages. They are
//! found by asking the hub, see [`AmqpSource::connections`].
//!
//! [`guard`] checks every frame before the client parses it, because a message may hold anything
//! and must not be able to end the process. [`delivery`] then turns the message into the form of a
//! recorded line. Nothing is acknowledged before the caller says so.

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
mod publish;
mod relay;
mod settings;

pub use error::AmqpError;
pub use look::{BrokerSeen, QueueSeen, look, look_at_exchange};
pub use publish::{Outcome, Outgoing, PublishSettings, Publisher, Taken};
pub use settings::{AmqpSettings, Binding, EXCHANGE, HEARTBEAT, PREFETCH, PREFETCH_MAX, QUEUE, Queue, TIMEOUT, Tls};

use crate::base::backoff;
use crate::message::entry::Entry;
use crate::model::causes::with_causes;
use crate::model::{Class, Classified};
use connect::Session;
use error::Doing;
use settings::Plan;

/// Most messages of one fetch.
pub const MAX_BATCH: usize = PREFETCH_MAX as usize;

/// Number of refusals in a row after which a broker that had let us in counts as refusing for good.
/// With the pauses between them that takes about ten seconds.
pub const REFUSALS_MAX: u32 = 6;

/// First pause between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Longest pause between attempts. After a connection that held at least this long, the pauses
/// start small again.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A message on its way from the task to a fetch.
struct Arrived<M = (Entry, Acker)> {
    /// Number of the connection on which the message came.
    connection: u64,
    message: M,
}

/// Takes the messages that have arrived, and only then reads the connection's status. The first
/// part of the status is the number of the current connection. A message of another connection
/// cannot be acknowledged and comes again, so it is dropped.
///
/// The order matters. The task announces a new connection before it hands on that connection's
/// messages. If the status were read first, it could still name the old connection, and messages of
/// the new one would be dropped. The broker would then wait for their acknowledgement as long as
/// the connection holds.
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

/// Interval between checks whether other consumers take from our queue.
const LOOK_FOR_OTHERS: Duration = Duration::from_secs(60);

/// Status of the connection.
#[derive(Clone)]
struct Status {
    /// Number of connections made so far.
    connections: u64,
    state: State,
}

#[derive(Clone)]
enum State {
    /// The connection holds.
    Connected(Channel, ShortString),
    /// The task tries to connect again. Holds why the last connection ended or could not be made.
    Away(AmqpError),
    /// The broker refuses for good. The task still tries again, in case the broker's operator
    /// changes that.
    Refused(AmqpError),
}

/// When we last checked for other consumers, and for which connection we reported them.
#[derive(Default)]
struct QueueCheck {
    at: Option<Instant>,
    told: Option<u64>,
}

/// A RabbitMQ queue of messages.
pub struct AmqpSource {
    url: String,
    timeout: Duration,
    prefetch: u16,
    arrived: Mutex<mpsc::Receiver<Arrived>>,
    looked: std::sync::Mutex<QueueCheck>,
    status: watch::Receiver<Status>,
    task: JoinHandle<()>,
}

impl fmt::Debug for AmqpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpSource").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Permission to acknowledge one message. Use it after the message's content is committed. If it is
/// dropped unused, the message comes again when the connection ends.
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
    /// Connects, declares and binds the queue, and begins to take messages: at most `prefetch`
    /// ahead of the acknowledgements.
    ///
    /// # Errors
    /// Returns [`AmqpError`]. It is unavailable if the broker does not answer. It is rejected if
    /// the broker refuses the login, the queue is not available as configured, or the settings are
    /// invalid.
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

    /// Returns the next messages in the order they came. There are at most `max`, at most
    /// [`MAX_BATCH`], and at most what prefetch leaves.
    ///
    /// Waits up to `wait` for the first message. The list is empty if none came. While the broker
    /// is away, waits for it within the same time.
    ///
    /// # Errors
    /// Returns [`AmqpError`]. It is unavailable if the broker is away at the end of `wait`. It is
    /// rejected if the broker has refused [`REFUSALS_MAX`] times in a row.
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

    /// Acknowledges messages whose content is committed, and waits until the broker has read the
    /// acknowledgements.
    ///
    /// # Errors
    /// Returns [`AmqpError::Unavailable`] if the broker may not have read all of them. Some
    /// messages then come again, and their ids show it.
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
            // The broker does not answer an acknowledgement. Its answer to a later request on the
            // same channel shows that it has read the acknowledgement.
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

    /// Reports other consumers of our queue, once a connection. They get some of our messages, and
    /// nobody would notice otherwise.
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
        // Any other trouble with the queue ends our consumer, and that is noticed.
        let Ok(Ok(found)) = asked else { return };
        let others = found.consumer_count().saturating_sub(1);
        if others > 0 {
            self.looked.lock().unwrap_or_else(PoisonError::into_inner).told = Some(connection);
            tracing::error!(queue = %queue, others, "another consumer takes messages from our queue, and each \
                message reaches only one consumer; give every log a queue of its own");
        }
    }

    /// Returns how many messages wait in the queue that no consumer was given yet. Used for
    /// metrics.
    ///
    /// # Errors
    /// Returns [`AmqpError::Unavailable`] if the broker does not answer or we are not connected.
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

    /// Returns how many connections were made so far. After a new connection the hub must be asked
    /// what was missed: publishers may have been unable to publish, or the queue was gone for a
    /// while.
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

/// The task that keeps a consumer on the queue.
struct Keeper {
    settings: AmqpSettings,
    plan: Plan,
    sender: mpsc::Sender<Arrived>,
    status: watch::Sender<Status>,
    /// Number of messages taken so far. Numbers the messages.
    taken: u64,
}

impl Keeper {
    async fn keep(mut self, first: Session) {
        let mut session = first;
        let mut attempt = 0;
        loop {
            let since = Instant::now();
            let Some(why) = self.pump(&mut session).await else { return };
            // The next fetch returns this error too, and its caller logs it.
            tracing::debug!(error = %with_causes(&why), "the connection to the message broker ended");
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

    /// Hands messages on until the connection ends, and returns why it ended. Returns `None` if
    /// nobody receives the messages any more.
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
                    let why =
                        format!("the broker ended our consumer; check whether queue {} was deleted", session.queue);
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
            tracing::debug!(error = %with_causes(&error), attempt, "the message broker still does not answer");
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
        // The connection ends right after its status was read. Another one is made, and a message
        // comes on it.
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
