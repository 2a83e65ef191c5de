//! Announces what happens: puts what is said about it on a bus into the same commit.

use std::collections::BTreeMap;

use super::Writer;
use crate::announce::{Held, Said, Saying, Teller, Telling, Word};
use crate::event::{CommandId, Event, Record};
use crate::log::announcements::id_of;
use crate::log::{Announcement, Announcements, AnyLog, EventLog, HeldChange, LogError};
use crate::model::Seq;

/// Reads what was said so far and what waits, if anything is to be told.
///
/// # Errors
/// Fails if the log cannot be read, and as broken if a change that waits has no event.
pub(super) async fn teller(log: &AnyLog, telling: Option<Telling>) -> Result<Option<Teller>, LogError> {
    let Some(telling) = telling else { return Ok(None) };
    let mut said = Said::default();
    for row in log.said_before().await? {
        said.hear(&row.subject, &row.topic, row.made_at, &row.body);
    }
    let mut held = BTreeMap::new();
    for (subject, change) in log.held_changes().await? {
        held.insert(subject.clone(), waiting(log, &subject, &change).await?);
    }
    Ok(Some(Teller::new(telling, said, held)))
}

async fn waiting(log: &AnyLog, subject: &str, change: &HeldChange) -> Result<Held, LogError> {
    let broken = |what: String| LogError::Broken(format!("the change of `{subject}` that waits: {what}"));
    let before = Seq::new(change.seq.get() - 1);
    let record = log.read(before, 1).await?.pop().filter(|record| record.seq == change.seq);
    let record = record.ok_or_else(|| broken(format!("there is no event {}", change.seq)))?;
    let event = record.decode().map_err(|e| broken(e.to_string()))?.event;
    let old = Word::of(&change.old).ok_or_else(|| broken(format!("`{}` is no state", change.old)))?;
    Ok(Held { event, seq: record.seq, hash: record.hash, since: record.recorded_at, old })
}

impl Writer {
    /// Announces what is to be said at an event that is about to be folded. `record` is the event's,
    /// and the last one of the chain.
    pub(super) fn announce_event(&mut self, record: &Record, event: &Event) {
        let Some(teller) = &mut self.teller else { return };
        teller.hear(record.into(), event, &self.state);
        let decided = teller.take();
        for saying in decided.sayings {
            let announcement = self.row(saying, record);
            self.commit.announcements.push(announcement);
        }
        let held = |(seq, old): (Seq, Word)| HeldChange { seq, old: old.as_str().to_owned() };
        self.commit.held.extend(decided.held.into_iter().map(|(subject, change)| (subject, change.map(held))));
    }

    fn row(&self, saying: Saying, record: &Record) -> Announcement {
        let Saying { seq, hash, at, subject, message, people } = saying;
        let event = CommandId { log: self.log_id.clone(), seq, hash };
        // What is said at a tick is about something else than the tick.
        let about = (seq == record.seq && subject != record.subject).then_some(subject.as_str());
        Announcement {
            id: id_of(&event, message.topic, about),
            seq,
            made_at: at,
            topic: message.topic.to_owned(),
            headers: message.headers,
            body: message.body,
            people,
            subject,
        }
    }
}
