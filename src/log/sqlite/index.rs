//! Finds events by fact and by subject.
//!
//! Facts and subjects come in random order. An index that is updated with every event changes a
//! page of the file per event, which costs more than the event itself. So the newest events, the
//! *tail*, are found without an index: facts in memory, subjects by reading the rows, or in memory if
//! the last events of one are wanted, as for a page. Once the tail is too long, the commit that made
//! it so sorts it and adds it to the indexes.
//!
//! Invariants: all events up to `indexed_through` of table `meta` are in the indexes, and no later
//! ones. Every later fact is searched in [`Tail`]. If another process or a dropped future left the
//! tail behind, the missing part is read from the rows. Both are searched under the write lock
//! before a commit, so no fact is added twice.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use sqlx::SqliteConnection;

use super::SqliteLog;
use crate::event::{FactId, Record};
use crate::log::error::{AppendError, ReadError, StoreError};
use crate::log::rows::{signed, unsigned};

/// The tail is indexed when it is longer than this part of the log. The longer the log, the more
/// pages a merge changes.
const TAIL_PART: u64 = 32;

const THROUGH: &str = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'indexed_through'";
const SET_THROUGH: &str = "UPDATE meta SET value = CAST(? AS TEXT) WHERE key = 'indexed_through'";
const TAIL_FACTS: &str = "SELECT fact, seq FROM events WHERE seq > ? AND fact IS NOT NULL ORDER BY seq";
/// Whether the index has a fact, how far the index goes, and how far the log goes, all at the same
/// moment.
const FIND_FACT: &str = "SELECT EXISTS (SELECT 1 FROM event_facts WHERE fact = ?), \
     (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'indexed_through'), (SELECT coalesce(max(seq), 0) \
     FROM events)";
/// Sequences and subjects after an event, as one value.
const TAIL_SUBJECTS: &str = "SELECT group_concat(concat(seq, ' ', subject), ' ') \
     FROM (SELECT seq, subject FROM events WHERE seq > ? ORDER BY seq)";
/// The number of a subject, how far the index goes, and how far the log goes.
const FIND_SUBJECT: &str = "SELECT (SELECT id FROM subjects WHERE text = ?), \
     (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'indexed_through'), (SELECT coalesce(max(seq), 0) \
     FROM events)";
/// Finds the first new event whose fact is in the index. CROSS makes SQLite go from the few new
/// events to the index, never the other way.
const FIND_INDEXED: &str = "SELECT e.seq FROM events AS e CROSS JOIN event_facts AS f ON f.fact = e.fact \
     WHERE e.seq > ? ORDER BY e.seq LIMIT 1";
/// A second event with a fact exists only if somebody bypassed this program. That must not stop the
/// log.
const INDEX_FACTS: &str = "INSERT OR IGNORE INTO event_facts (fact, seq) \
     SELECT fact, seq FROM events WHERE seq > ? AND fact IS NOT NULL ORDER BY fact, seq";
const INDEX_SUBJECTS: &str =
    "INSERT INTO event_subjects (subject, seq) SELECT subject, seq FROM events WHERE seq > ? ORDER BY subject, seq";

/// The facts of events that are not in the index.
#[derive(Default)]
pub(super) struct Tail {
    /// Facts, with the sequence of their event.
    facts: FxHashMap<FactId, u64>,
    /// Facts up to here are not kept.
    from: u64,
    /// All facts up to here are known.
    to: u64,
}

impl Tail {
    /// Reads the missing facts of a log that ends at `head` and is indexed up to `through`. Cost:
    /// O(what others appended).
    async fn catch_up(&mut self, conn: &mut SqliteConnection, through: u64, head: u64) -> Result<(), StoreError> {
        if through > self.from {
            self.facts.retain(|_, seq| *seq > through);
            self.from = through;
        }
        if head > self.to {
            let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(TAIL_FACTS)
                .bind(signed(self.to.max(through)))
                .fetch_all(conn)
                .await
                .map_err(StoreError::new("read the newest facts"))?;
            // Events may have been added since the head was read.
            self.to = rows.last().map_or(head, |(_, seq)| unsigned(*seq).max(head));
            self.facts
                .extend(rows.into_iter().filter_map(|(f, seq)| Some((FactId(f.try_into().ok()?), unsigned(seq)))));
        }
        Ok(())
    }
}

/// The subjects of events that are not in the index. They are searched from the end, which takes
/// less than a look-up in the database.
#[derive(Default)]
pub(super) struct SubjectTail {
    /// Sequence and subject, in order.
    events: VecDeque<(i64, i64)>,
    /// All events up to here are known or dropped.
    to: i64,
}

impl SubjectTail {
    /// Reads the missing subjects of a log that is indexed up to `through`. Cost: O(what was
    /// appended), at first O(tail).
    async fn catch_up(&mut self, conn: &mut SqliteConnection, through: i64) -> Result<(), StoreError> {
        while self.events.front().is_some_and(|(seq, _)| *seq <= through) {
            self.events.pop_front();
        }
        let fail = || StoreError::new("read the newest subjects");
        let (text,): (Option<String>,) =
            sqlx::query_as(TAIL_SUBJECTS).bind(self.to.max(through)).fetch_one(conn).await.map_err(fail())?;
        let text = text.unwrap_or_default();
        let mut numbers = text.split_ascii_whitespace().filter_map(|n| n.parse().ok());
        while let (Some(seq), Some(subject)) = (numbers.next(), numbers.next()) {
            self.events.push_back((seq, subject));
            self.to = seq;
        }
        Ok(())
    }
}

/// What the indexes lack, as found before an append.
pub(super) struct Unindexed {
    through: u64,
    /// The first of the new records whose fact is in the tail.
    known: Option<u64>,
}

impl SqliteLog {
    pub(super) async fn has_fact(&self, fact: &FactId) -> Result<bool, ReadError> {
        let fail = || StoreError::new("look for a fact");
        let mut conn = self.inner.readers.acquire().await.map_err(fail())?;
        // Lock the tail before the query: whatever the tail has dropped by now is in the index by
        // now.
        let mut tail = self.inner.tail.lock().await;
        let (indexed, through, head): (bool, i64, i64) =
            sqlx::query_as(FIND_FACT).bind(fact.0.to_vec()).fetch_one(&mut *conn).await.map_err(fail())?;
        if indexed {
            return Ok(true);
        }
        tail.catch_up(&mut conn, unsigned(through), unsigned(head)).await?;
        Ok(tail.facts.contains_key(fact))
    }

    /// Searches the tail for the last events about exactly `subject` before `before`, at most
    /// `limit`. Returns the number of the subject and the events. Returns `None` if no event is about
    /// it.
    pub(super) async fn in_tail(
        &self,
        conn: &mut SqliteConnection,
        subject: &str,
        before: i64,
        limit: usize,
    ) -> Result<Option<(i64, Vec<i64>)>, ReadError> {
        let fail = || StoreError::new("look for a subject");
        let (id, through, head): (Option<i64>, i64, i64) =
            sqlx::query_as(FIND_SUBJECT).bind(subject).fetch_one(&mut *conn).await.map_err(fail())?;
        let Some(id) = id else { return Ok(None) };
        let mut tail = self.inner.subject_tail.lock().await;
        if tail.to < head {
            tail.catch_up(conn, through).await?;
        }
        let found = tail.events.iter().rev().filter(|(seq, of)| *of == id && *seq < before).map(|(seq, _)| *seq);
        Ok(Some((id, found.take(limit).collect())))
    }

    /// Searches the tail of the log that ends at `head` for the facts of `records`.
    pub(super) async fn look_in_tail(
        &self,
        conn: &mut SqliteConnection,
        head: u64,
        records: &[Record],
    ) -> Result<Unindexed, StoreError> {
        let (through,): (i64,) =
            sqlx::query_as(THROUGH).fetch_one(&mut *conn).await.map_err(StoreError::new("look for facts"))?;
        let through = unsigned(through);
        let mut tail = self.inner.tail.lock().await;
        tail.catch_up(conn, through, head).await?;
        let known = records.iter().find(|r| r.fact.is_some_and(|f| tail.facts.contains_key(&f)));
        Ok(Unindexed { through, known: known.map(|r| r.seq.get()) })
    }

    /// Refuses `records`, which were just written after `head`, if the log has one of their facts.
    /// Otherwise adds the tail to the indexes if it is long enough, and returns whether it did.
    /// Cost: one look-up per fact. For the tail: a sort, and writing a part of the indexes.
    pub(super) async fn index(
        &self,
        conn: &mut SqliteConnection,
        head: u64,
        records: &[Record],
        unindexed: &Unindexed,
    ) -> Result<bool, AppendError> {
        let fail = || StoreError::new("index events");
        let Some(last) = records.last() else { return Ok(false) };
        let indexed: Option<(i64,)> =
            sqlx::query_as(FIND_INDEXED).bind(signed(head)).fetch_optional(&mut *conn).await.map_err(fail())?;
        let indexed = indexed.map(|(seq,)| unsigned(seq));
        if let Some(seq) = unindexed.known.into_iter().chain(indexed).min()
            && let Some(Record { seq, fact: Some(fact), .. }) = records.iter().find(|r| r.seq.get() == seq)
        {
            return Err(AppendError::DuplicateFact { seq: *seq, fact: fact.to_string() });
        }
        let through = unindexed.through;
        if last.seq.get().saturating_sub(through) < self.inner.index_after.max(through / TAIL_PART) {
            return Ok(false);
        }
        for statement in [INDEX_FACTS, INDEX_SUBJECTS] {
            sqlx::query(statement).bind(signed(through)).execute(&mut *conn).await.map_err(fail())?;
        }
        sqlx::query(SET_THROUGH).bind(signed(last.seq.get())).execute(&mut *conn).await.map_err(fail())?;
        Ok(true)
    }

    /// Adds committed records to the tail. `indexed` says that they were added to the indexes with
    /// the rest of the tail.
    pub(super) async fn extend_tail(&self, head: u64, records: &[Record], indexed: bool) {
        let Some(last) = records.last().map(|r| r.seq.get()) else { return };
        let mut tail = self.inner.tail.lock().await;
        if indexed {
            tail.facts.retain(|_, seq| *seq > last);
            tail.from = tail.from.max(last);
            tail.to = tail.to.max(last);
        } else if tail.to == head {
            tail.facts.extend(records.iter().filter_map(|r| Some((r.fact?, r.seq.get()))));
            tail.to = last;
        }
    }
}
