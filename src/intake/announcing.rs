//! Sends what is announced: reads it from the outbox, publishes it, and marks it once the broker has
//! confirmed it.
//!
//! If the process ends after the broker has a message and before the mark, the message is sent
//! again, with the same id. A wave has at most one message of each subject, so those of one subject
//! leave in their order. A message that the broker does not take holds back those behind it of the
//! same subject; the others go on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::patience::Patience;
use crate::announce::koschei_messages;
use crate::base::clock;
use crate::bus::{Outgoing, Publisher, Taken};
use crate::log::{Announcement, Announcements as _, AnyLog, LogError};
use crate::model::{Class, Classified, PersonId};
use crate::telemetry::Metrics;

/// Most messages that wait for their confirms at a time.
const WAVE: usize = 200;
/// Longest name of a user that becomes a header, in bytes. AMQP allows 255 bytes for the whole name
/// of a header.
const USER_MAX: usize = 200;
/// How often the outbox is read without a wake-up.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Name of the loop in the metrics.
const LOOP: &str = "announcer";
/// Time after which a loop without any round counts as stalled.
const STALE: Duration = Duration::from_secs(120);
/// What happens while the broker does not take messages.
const MEANWHILE: &str = "they stay in the outbox and are sent later, all else goes on";

/// A broker does not take an announcement now.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(
        "publish {topic} about {subject}: a queue refuses it; see which queue of the broker is full \
         (x-overflow = reject-publish), and empty it or take away its limit"
    )]
    Refused { topic: String, subject: String },
    #[error(
        "publish {topic} about {subject}: no queue takes it; bind one to the exchange, or set `no_queue = \"skip\"` \
         in `[announce]`"
    )]
    NoQueue { topic: String, subject: String },
}

impl Classified for NotTaken {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

/// Sends announcements.
pub struct Announcer {
    /// The log.
    pub log: AnyLog,
    /// Where they go.
    pub publisher: Publisher,
    /// Whether a message that no queue takes waits. Else it counts as sent.
    pub waits_for_queue: bool,
    /// Signals that something may wait.
    pub rung: watch::Receiver<u64>,
    /// The metrics.
    pub metrics: Metrics,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// What the loop remembers between two waves.
struct Memory {
    broker: Patience,
    database: Patience,
    refusals: Patience,
    /// Messages that the broker did not take, until all are tried again.
    held: HashSet<String>,
}

impl Announcer {
    /// Sends announcements until told to stop. While the broker or the database does not answer,
    /// they wait.
    pub async fn run(mut self) {
        let alive = |patience: Patience| patience.keeping_alive(self.metrics.clone(), LOOP);
        let mut memory = Memory {
            broker: alive(Patience::new("the broker of announcements", MEANWHILE)),
            database: alive(Patience::new("the database", "announcements wait")),
            refusals: Patience::new("the broker of announcements", MEANWHILE),
            held: HashSet::new(),
        };
        self.metrics.loop_begins(LOOP, STALE, clock::now());
        let mut rung = self.rung.clone();
        while !self.stop.is_cancelled() {
            self.metrics.loop_went_round(LOOP, clock::now());
            match self.wave(&mut memory).await {
                Ok(true) => memory.database.answered(),
                Ok(false) => {
                    memory.database.answered();
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        Ok(()) = rung.changed() => {}
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                }
                Err(e) => {
                    if !memory.database.wait(&e, &self.stop).await {
                        return;
                    }
                }
            }
        }
    }

    /// Sends one wave. Returns `false` if there was nothing to send.
    async fn wave(&mut self, memory: &mut Memory) -> Result<bool, LogError> {
        if memory.refusals.is_due() {
            memory.held.clear();
        }
        let mut wave = self.log.next_announcements(WAVE + memory.held.len()).await?;
        wave.retain(|a| !memory.held.contains(&a.id));
        wave.truncate(WAVE);
        if wave.is_empty() {
            return Ok(false);
        }
        let people: BTreeSet<&PersonId> = wave.iter().flat_map(|a| &a.people).collect();
        let people: Vec<PersonId> = people.into_iter().cloned().collect();
        let names = if people.is_empty() { HashMap::new() } else { self.log.names_of(&people).await? };
        let outgoing: Vec<Outgoing> = wave.iter().map(|a| outgoing(a, &names)).collect();
        let outcome = tokio::select! {
            // What was sent and not marked is sent again after the next start.
            () = self.stop.cancelled() => return Ok(false),
            outcome = self.publisher.publish(&outgoing) => outcome,
        };
        self.settle(wave, outcome.taken, memory).await?;
        match outcome.error {
            None => memory.broker.answered(),
            Some(e) => {
                memory.broker.wait(&e, &self.stop).await;
            }
        }
        Ok(true)
    }

    /// Marks what the broker has, sets aside what it never takes, and holds back the rest.
    async fn settle(
        &self,
        wave: Vec<Announcement>,
        taken: Vec<Option<Taken>>,
        memory: &mut Memory,
    ) -> Result<(), LogError> {
        let (mut confirmed, mut not_taken) = (Vec::new(), None);
        let was_fine = memory.held.is_empty();
        for (message, taken) in wave.into_iter().zip(taken) {
            let Announcement { id, topic, subject, .. } = message;
            match taken {
                Some(Taken::Confirmed) => {
                    self.metrics.announced(&topic);
                    confirmed.push(id);
                }
                Some(Taken::Unroutable) if !self.waits_for_queue => {
                    tracing::debug!(%id, topic, subject, "no queue takes an announcement");
                    self.metrics.announced_to_nobody();
                    confirmed.push(id);
                }
                Some(Taken::Unroutable) => {
                    self.metrics.announcement_refused();
                    memory.held.insert(id);
                    not_taken = not_taken.or(Some(NotTaken::NoQueue { topic, subject }));
                }
                Some(Taken::Refused) => {
                    self.metrics.announcement_refused();
                    memory.held.insert(id);
                    not_taken = not_taken.or(Some(NotTaken::Refused { topic, subject }));
                }
                Some(Taken::Unsendable(why)) => {
                    self.log.mark_unsendable(&id, &why).await?;
                    tracing::error!(%id, topic, subject, why, "an announcement can never be sent; it was set aside, \
                        and the next one of its subject leaves");
                }
                None => {}
            }
        }
        self.log.mark_announced(&confirmed).await?;
        match not_taken {
            Some(error) if was_fine => memory.refusals.failed(&error),
            None if was_fine => memory.refusals.answered(),
            _ => {}
        }
        Ok(())
    }
}

/// Makes a message of a row. The names of owners are added here, because they are not stored with
/// it: a person who is forgotten must not stay in old rows. A body of the original has no place for
/// them.
fn outgoing(a: &Announcement, names: &HashMap<PersonId, String>) -> Outgoing {
    let mut message =
        Outgoing { id: a.id.clone(), topic: a.topic.clone(), headers: a.headers.clone(), body: a.body.clone() };
    let known = a.people.iter().filter_map(|person| names.get(person));
    let users: BTreeSet<&str> = known.map(String::as_str).filter(|name| name.len() <= USER_MAX).collect();
    if users.is_empty() {
        return message;
    }
    let headers = users.iter().map(|user| (format!("fedora_messaging_user_{user}"), true.into()));
    message.headers = with(&a.headers, headers);
    if ![koschei_messages::PACKAGE, koschei_messages::COLLECTION].contains(&a.topic.as_str()) {
        let users: Vec<&str> = users.into_iter().collect();
        message.body = with(&a.body, std::iter::once(("usernames".to_owned(), users.into())));
    }
    message
}

/// Adds fields to a JSON object. What is no object stays as it is.
fn with(object: &str, fields: impl Iterator<Item = (String, Value)>) -> String {
    match serde_json::from_str::<Map<String, Value>>(object) {
        Ok(mut known) => {
            known.extend(fields);
            Value::Object(known).to_string()
        }
        Err(_) => object.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Seq, Timestamp};

    #[test]
    fn owners_are_named_if_they_are_known() {
        let person = |n: u8| PersonId::new(format!("p-{n}"));
        let long = "x".repeat(300);
        let names = [(1, "bob"), (2, "alice"), (3, long.as_str())];
        let names = names.into_iter().map(|(n, name)| (person(n), name.to_owned())).collect();
        let mut a = Announcement {
            id: "id".to_owned(),
            seq: Seq::new(1).unwrap(),
            subject: "s".to_owned(),
            made_at: Timestamp(0),
            topic: crate::announce::richer::PACKAGE_CHANGED.to_owned(),
            headers: r#"{"a":1}"#.to_owned(),
            body: r#"{"b":2}"#.to_owned(),
            people: vec![person(1), person(2), person(3), person(4)],
        };
        let users = r#""fedora_messaging_user_alice":true,"fedora_messaging_user_bob":true"#;
        let made = outgoing(&a, &names);
        assert_eq!(made.headers, format!(r#"{{"a":1,{users}}}"#));
        assert_eq!(made.body, r#"{"b":2,"usernames":["alice","bob"]}"#);
        a.topic = koschei_messages::PACKAGE.to_owned();
        let made = outgoing(&a, &names);
        assert_eq!((made.headers, made.body), (format!(r#"{{"a":1,{users}}}"#), a.body.clone()));
        a.people = vec![person(4)];
        assert_eq!(outgoing(&a, &names).headers, a.headers, "nobody is known");
    }
}
