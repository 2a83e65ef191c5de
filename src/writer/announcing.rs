//! Announces changes of state: puts what is said about them on a bus into the same commit.

use std::collections::HashSet;

use super::Writer;
use crate::event::{CommandId, Event, Record};
use crate::log::announcements::id_of;
use crate::log::{Announcement, Announcements, AnyLog, LogError};
use crate::message::koschei_messages::{self, Announced};

/// What was announced so far.
#[derive(Default)]
pub(super) struct Told {
    /// Subjects with an announcement. `None` if nothing is announced.
    subjects: Option<HashSet<String>>,
}

impl Told {
    /// Reads what was announced so far, if this writer `announces`.
    pub(super) async fn read(log: &AnyLog, announces: bool) -> Result<Self, LogError> {
        let subjects = if announces { Some(log.announced_subjects().await?) } else { None };
        Ok(Self { subjects })
    }
}

impl Writer {
    /// Announces an event that is about to be folded, if it says something to others. `record` is
    /// the event's, and the last one of the chain.
    pub(super) fn announce_event(&mut self, record: &Record, event: &Event) {
        let Some(told) = &mut self.told.subjects else { return };
        let collection = koschei_messages::collection_of(event).and_then(|name| self.state.collections.get(name));
        let Some(collection) = collection else { return };
        let before = told.contains(&record.subject);
        let said = koschei_messages::announced(event, &collection.settings, record.recorded_at, before);
        let Some(Announced { topic, headers, body }) = said else { return };
        if !before {
            told.insert(record.subject.clone());
        }
        let id = CommandId { log: self.log_id.clone(), seq: record.seq, hash: record.hash };
        self.commit.announcements.push(Announcement {
            id: id_of(&id, topic),
            seq: record.seq,
            subject: record.subject.clone(),
            made_at: record.recorded_at,
            topic: topic.to_owned(),
            headers,
            body,
        });
    }
}
