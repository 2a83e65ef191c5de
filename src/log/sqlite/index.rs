//! Finding events by fact and by subject.
//!
//! Facts and subjects come in random order. An index that is kept up with every event touches a page of the file per
//! event, which costs more than the event does. So the newest events, the *tail*, are found without an index: facts in
//! memory, subjects by looking through the rows. When the tail is long, it is sorted and put into the indexes by the
//! commit that made it too long.
//!
//! Invariants: everything up to `indexed_through` of table `meta` is in the indexes, and nothing after it. Every fact
//! after it is looked for in [`Tail`], which is read from the rows as far as another process or a dropped future left
//! it behind. Both are looked at under the write lock before a commit, so no fact gets in twice.

use rustc_hash::FxHashMap;
use sqlx::SqliteConnection;

use super::SqliteLog;
use crate::event::{FactId, Record};
use crate::log::error::{AppendError, ReadError, StoreError};
use crate::log::rows::{signed, unsigned};

/// The tail is indexed when it is longer than this part of the log: the longer the log, the more pages a merge touches.
const TAIL_PART: u64 = 32;

const THROUGH: &str = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'indexed_through'";
const SET_THROUGH: &str = "UPDATE meta SET value = CAST(? AS TEXT) WHERE key = 'indexed_through'";
const TAIL_FACTS: &str = "SELECT fact, seq FROM events WHERE seq > ? AND fact IS NOT NULL ORDER BY seq";
/// Whether the index knows a fact, how far it goes, and how far the log does; all of the same moment.
const FIND_FACT: &str = "SELECT EXISTS (SELECT 1 FROM event_facts WHERE fact = ?), \
     (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'indexed_through'), (SELECT coalesce(max(seq), 0) \
     FROM events)";
/// The first event after some whose fact is in the index. CROSS: from the few new events to the index, never the other
/// way.
const FIND_INDEXED: &str = "SELECT e.seq FROM events AS e CROSS JOIN event_facts AS f ON f.fact = e.fact \
     WHERE e.seq > ? ORDER BY e.seq LIMIT 1";
/// A second event with a fact is only there if somebody forced it past us; that must not stop the log.
const INDEX_FACTS: &str = "INSERT OR IGNORE INTO event_facts (fact, seq) \
     SELECT fact, seq FROM events WHERE seq > ? AND fact IS NOT NULL ORDER BY fact, seq";
const INDEX_SUBJECTS: &str =
    "INSERT INTO event_subjects (subject, seq) SELECT subject, seq FROM events WHERE seq > ? ORDER BY subject, seq";

/// Facts of the events that are not in the index.
#[derive(Default)]
pub(super) struct Tail {
    /// With the sequence of their event.
    facts: FxHashMap<FactId, u64>,
    /// Nothing before this is kept.
    from: u64,
    /// All facts up to here are known.
    to: u64,
}

impl Tail {
    /// Reads what is missing for a log that ends at `head` and is indexed up to `through`. Cost: O(what others
    /// appended).
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
            // Events may have come in between asking for the head and this.
            self.to = rows.last().map_or(head, |(_, seq)| unsigned(*seq).max(head));
            self.facts
                .extend(rows.into_iter().filter_map(|(f, seq)| Some((FactId(f.try_into().ok()?), unsigned(seq)))));
        }
        Ok(())
    }
}

/// What the indexes lack, as seen before an append.
pub(super) struct Unindexed {
    through: u64,
    /// The first of the new records whose fact is in the tail.
    known: Option<u64>,
}

impl SqliteLog {
    pub(super) async fn find_fact(&self, fact: &FactId) -> Result<bool, ReadError> {
        let fail = || StoreError::new("look for a fact");
        let mut conn = self.inner.readers.acquire().await.map_err(fail())?;
        // Before looking: what the tail has forgotten by now is in the index by now.
        let mut tail = self.inner.tail.lock().await;
        let (indexed, through, head): (bool, i64, i64) =
            sqlx::query_as(FIND_FACT).bind(fact.0.to_vec()).fetch_one(&mut *conn).await.map_err(fail())?;
        if indexed {
            return Ok(true);
        }
        tail.catch_up(&mut conn, unsigned(through), unsigned(head)).await?;
        Ok(tail.facts.contains_key(fact))
    }

    /// Looks for facts of `records` in the tail of the log that ends at `head`.
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

    /// Refuses `records`, which were just written after `head`, when the log has a fact of theirs; else puts the tail
    /// into the indexes if it is long enough. Says whether it did. Cost: a lookup per fact; for the tail a sort, and
    /// writing a part of the indexes.
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

    /// Takes committed records into the tail; `indexed` if they went into the indexes with the rest of it.
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
