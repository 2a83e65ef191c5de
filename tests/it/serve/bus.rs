//! A bus that carries a hub's messages to a broker, well or badly.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::hub::{BusMessage, Hub};
use crate::rabbitmq_server::{Publisher, RabbitServer};

/// What the bus does to messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    Fair,
    /// Loses a third, and duplicates, delays and invents messages.
    Bad,
    /// Loses everything.
    Silent,
}

/// Carries messages from the hub to the broker.
pub(crate) struct Carrier {
    mood: Arc<Mutex<Mood>>,
    stop: CancellationToken,
    task: JoinHandle<Counts>,
}

#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) carried: usize,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) delayed: usize,
    pub(crate) invented: usize,
}

impl Carrier {
    pub(crate) async fn start(hub: Hub, rabbit: &RabbitServer) -> Self {
        let (mood, stop) = (Arc::new(Mutex::new(Mood::Fair)), CancellationToken::new());
        let publisher = rabbit.publisher().await;
        let task = tokio::spawn(carry(hub, publisher, Arc::clone(&mood), stop.clone()));
        Self { mood, stop, task }
    }

    pub(crate) fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) async fn stop(self) -> Counts {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn carry(hub: Hub, publisher: Publisher, mood: Arc<Mutex<Mood>>, stop: CancellationToken) -> Counts {
    let mut rng = StdRng::seed_from_u64(99);
    let mut counts = Counts::default();
    let mut late: Vec<BusMessage> = Vec::new();
    loop {
        let from = hub.clone();
        let sent = tokio::task::spawn_blocking(move || from.wait_messages(Duration::from_millis(50))).await.unwrap();
        // Delayed messages come after others that were sent later.
        let mut out = Vec::new();
        for message in sent {
            let mood = *mood.lock().unwrap();
            if mood == Mood::Silent || (mood == Mood::Bad && rng.random_bool(0.3)) {
                counts.lost += 1;
                continue;
            }
            if mood == Mood::Bad {
                if rng.random_bool(0.05) {
                    counts.doubled += 1;
                    let mut again = message.clone();
                    again.id = crate::hub::bus::uuid();
                    late.push(if rng.random() { again } else { message.clone() });
                }
                if rng.random_bool(0.02) {
                    counts.invented += 1;
                    out.push(invented(&message));
                }
                if rng.random_bool(0.2) {
                    counts.delayed += 1;
                    late.push(message);
                    continue;
                }
            }
            out.push(message);
        }
        if !out.is_empty() || stop.is_cancelled() {
            out.append(&mut late);
        }
        for message in out {
            counts.carried += 1;
            publisher.line("amq.topic", &message.line(0.0).to_string()).await;
        }
        if stop.is_cancelled() && hub.core.lock().bus.is_empty() {
            return counts;
        }
    }
}

/// Returns a similar message about another object, for which nothing happened.
fn invented(message: &BusMessage) -> BusMessage {
    let mut other = message.clone();
    other.id = crate::hub::bus::uuid();
    for number in ["build_id", "repo_id", "id", "task_id"] {
        if let Some(n) = other.body[number].as_i64() {
            other.body[number] = (n + 7_000_000_000).into();
        }
    }
    if other.body["info"].is_object() {
        other.body["info"]["id"] = other.body["id"].clone();
    }
    other
}
