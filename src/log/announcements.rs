//! The second outbox: what is said on a bus about events.
//!
//! An announcement is a row that is added in the commit of its event. The sender takes the first
//! waiting row of each subject, so the rows of one subject leave in their order. A row that the
//! broker does not take holds back those behind it of the same subject, and no others.

use std::collections::HashMap;
use std::future::Future;

use super::error::{ReadError, StoreError};
use super::rows::{sequence, unsigned};
use super::types::{Announcement, AnnouncementCounts, HeldChange, SaidBefore};
use crate::event::CommandId;
use crate::model::{PersonId, Seq, Timestamp};

/// The announcements of a log. Every method is all or nothing.
pub trait Announcements {
    /// Returns announcements that wait, in the order in which they were appended, at most `limit`:
    /// of each subject only the first one. Cost: proportional to what waits.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn next_announcements(&self, limit: usize) -> impl Future<Output = Result<Vec<Announcement>, ReadError>> + Send;

    /// Notes that the broker has confirmed announcements, by id, and returns how many were waiting.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn mark_announced(&self, ids: &[String]) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Sets a waiting announcement aside that can never be sent, with the reason. The next one of
    /// its subject may leave then.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn mark_unsendable(&self, id: &str, reason: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the announcements that were set aside and why, oldest first, at most `limit`.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn set_aside(&self, limit: usize) -> impl Future<Output = Result<Vec<(Announcement, String)>, ReadError>> + Send;

    /// Returns how much waits. Cost: proportional to what waits.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn announcement_counts(&self) -> impl Future<Output = Result<AnnouncementCounts, ReadError>> + Send;

    /// Returns all announcements, sent or not, in the order of their events, those of one event in
    /// the order in which they were appended. Each has the number of its row. The list begins after
    /// an event and a number, and has at most `limit` entries.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn announcements(
        &self,
        after: Option<(Seq, u64)>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, Announcement)>, ReadError>> + Send;

    /// Returns what later announcements depend on, in the order in which they were appended: the
    /// last announcement of each subject and topic, and all about causes. Cost: looks at all of
    /// them.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn said_before(&self) -> impl Future<Output = Result<Vec<SaidBefore>, ReadError>> + Send;

    /// Returns the names of people, by id. Those that were erased are missing.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn names_of(
        &self,
        people: &[PersonId],
    ) -> impl Future<Output = Result<HashMap<PersonId, String>, ReadError>> + Send;

    /// Returns the changes that wait until they have stood long enough, by subject.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn held_changes(&self) -> impl Future<Output = Result<Vec<(String, HeldChange)>, ReadError>> + Send;

    /// Deletes announcements of events before `before` that the broker has confirmed or that were
    /// set aside, at most `limit`, and returns how many. What [`Announcements::said_before`] needs
    /// stays: the last one of each subject and topic of states, and those of causes that are open.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn prune_announcements(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Returns the id of the announcement of an event under a topic, in the form of a UUID (RFC 9562,
/// version 8: 122 bits of a hash). No other log, event or topic has the same, so a receiver may drop
/// what it knows. `about` is its subject if that is not the event's own: at a tick, several things
/// are said.
pub fn id_of(event: &CommandId, topic: &str, about: Option<&str>) -> String {
    let about = about.map(|about| format!("\0{about}")).unwrap_or_default();
    let hash = blake3::hash(format!("announcement\0{event}\0{topic}{about}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let parts = [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]];
    parts.map(hex::encode).join("-")
}

/// What later announcements depend on, in both databases. A topic says by its beginning what it is
/// about.
pub(super) const SAID: &str = "SELECT subject, topic, made_at, body FROM announcements WHERE number IN \
     (SELECT max(number) FROM announcements WHERE topic NOT LIKE 'koschei.rebuild.%' GROUP BY subject, topic) \
     OR topic LIKE 'koschei.cause.%' ORDER BY number";
/// Changes that wait.
pub(super) const HELD: &str = "SELECT subject, seq, old FROM announcements_held ORDER BY subject";

/// Number, id, sequence, subject, time, topic, headers, body, and owners.
pub(super) type AnnouncementRow = (i64, String, i64, String, i64, String, String, String, String);

/// Converts a row, and returns its number, too.
pub(super) fn of_row(row: AnnouncementRow) -> Result<(u64, Announcement), ReadError> {
    let (number, id, seq, subject, made_at, topic, headers, body, people) = row;
    let Some(seq) = sequence(seq) else {
        return Err(ReadError::Content { what: format!("announcement `{id}`: its event is not positive") });
    };
    let Ok(people) = serde_json::from_str::<Vec<PersonId>>(&people) else {
        return Err(ReadError::Content { what: format!("announcement `{id}`: its owners are no list of persons") });
    };
    let made_at = Timestamp(made_at);
    Ok((unsigned(number), Announcement { id, seq, subject, made_at, topic, headers, body, people }))
}

/// The same, and the reason why it was set aside.
pub(super) type AsideRow = (i64, String, i64, String, i64, String, String, String, String, String);

/// Converts a row.
pub(super) fn aside_of_row(row: AsideRow) -> Result<(Announcement, String), ReadError> {
    let (number, id, seq, subject, made_at, topic, headers, body, people, reason) = row;
    let row = (number, id, seq, subject, made_at, topic, headers, body, people);
    Ok((of_row(row)?.1, reason))
}

/// Subject, topic, time and body.
pub(super) type SaidRow = (String, String, i64, String);

/// Converts a row.
pub(super) fn said_of_row((subject, topic, made_at, body): SaidRow) -> SaidBefore {
    SaidBefore { subject, topic, made_at: Timestamp(made_at), body }
}

/// Converts subject, sequence and word.
pub(super) fn held_of_row((subject, seq, old): (String, i64, String)) -> Result<(String, HeldChange), ReadError> {
    let Some(seq) = sequence(seq) else {
        return Err(ReadError::Content { what: format!("the change of `{subject}` that waits has no event") });
    };
    Ok((subject, HeldChange { seq, old }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ChainHash;
    use crate::model::Seq;

    #[test]
    fn an_id_belongs_to_one_event_and_topic() {
        let event = |log: &str, seq, hash| CommandId {
            log: log.to_owned(),
            seq: Seq::new(seq).unwrap(),
            hash: ChainHash([hash; 32]),
        };
        let id = id_of(&event("a", 1, 2), "t", None);
        assert_eq!(id, "f5b4e398-671a-8464-8a27-6a8188067d4f", "it never changes");
        assert_ne!(id_of(&event("a", 1, 2), "t", Some("s")), id);
        let others =
            [(event("b", 1, 2), "t"), (event("a", 2, 2), "t"), (event("a", 1, 3), "t"), (event("a", 1, 2), "u")];
        for (event, topic) in others {
            assert_ne!(id_of(&event, topic, None), id);
        }
    }
}
