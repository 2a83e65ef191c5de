//! Reads events.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::{SELECT_META, SqliteLog, page};
use crate::event::Record;
use crate::log::IMPORTING;
use crate::log::error::{ReadError, StoreError};
use crate::log::names::{Names, Table};
use crate::log::payloads::{BlockRow, blocks_needed};
use crate::log::rows::{self, ROWS_AT_ONCE, RawRow, Texts, signed};
use crate::log::types::{Head, LogInfo, PAGE_MAX, Subjects};
use crate::model::{Seq, Timestamp};

const HEAD: &str = "SELECT seq, hash, recorded_at FROM events ORDER BY seq DESC LIMIT 1";
const RECORDED_AT: &str = "SELECT recorded_at FROM events WHERE seq = ?";
const PAGE: &str = "SELECT seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, causation, \
     correlation, encoding, payload, hash FROM events WHERE seq > ? ORDER BY seq LIMIT ?";
/// The same rows joined to one value of text and bytes, which `rows::unpack` reads. Passing the 14
/// columns of a row one by one from SQLite's thread costs more than reading them.
const PACKED_PAGE: &str = "SELECT CAST(group_concat(row, '') AS BLOB), count(*) \
     FROM (SELECT concat(seq, ' ', recorded_at, ' ', occurred_at, ' ', kind, ' ', version, ' ', source, ' ', subject, \
     ' ', koji_event, ' ', causation, ' ', correlation, ' ', encoding, ' ', length(fact), ' ', length(hash), ' ', \
     length(payload), ' ', fact, hash, payload) AS row FROM events WHERE seq > ? ORDER BY seq LIMIT ?)";
/// Number of rows in one such value: about 200 KB.
const PACKED_ROWS: usize = 1000;
/// Reads from the index, and from the events that are not in it yet. `$subjects` is the condition
/// for the subject.
macro_rules! subject_page {
    ($subjects:literal, $after:literal, $limit:literal) => {
        concat!(
            "SELECT seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, causation, \
             correlation, encoding, payload, hash FROM events WHERE seq IN (\
             SELECT seq FROM (SELECT seq FROM event_subjects WHERE subject ",
            $subjects,
            " AND seq > ",
            $after,
            " ORDER BY seq LIMIT ",
            $limit,
            ") UNION ALL SELECT seq FROM (SELECT seq FROM events WHERE seq > max(",
            $after,
            ", (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'indexed_through')) AND subject ",
            $subjects,
            " ORDER BY seq LIMIT ",
            $limit,
            ")) ORDER BY seq LIMIT ",
            $limit
        )
    };
}
const SUBJECT_PAGE: &str = subject_page!("= (SELECT id FROM subjects WHERE text = ?1)", "?2", "?3");
const PREFIX_PAGE: &str = subject_page!("IN (SELECT id FROM subjects WHERE text >= ?1 AND text < ?2)", "?3", "?4");
/// The last events of a subject: from the index, and those of the tail, which are bound.
const SUBJECT_LAST: &str = "SELECT seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, \
     causation, correlation, encoding, payload, hash FROM events WHERE seq IN (\
     SELECT seq FROM (SELECT seq FROM (SELECT seq FROM event_subjects WHERE subject = ?1 AND seq < ?2 \
     ORDER BY seq DESC LIMIT ?3) UNION SELECT value FROM json_each(?4)) ORDER BY seq DESC LIMIT ?3) ORDER BY seq";
const BLOCKS: &str = "SELECT seq, encoding, payload FROM events WHERE seq IN (SELECT value FROM json_each(?))";
const DICTIONARY: &str = "SELECT content FROM dictionaries WHERE id = ?";

const fn texts_of(table: Table) -> &'static str {
    match table {
        Table::Words => "SELECT id, text FROM words WHERE id IN (SELECT value FROM json_each(?))",
        Table::Subjects => "SELECT id, text FROM subjects WHERE id IN (SELECT value FROM json_each(?))",
    }
}

/// Returns the end of the log as this connection sees it.
pub(super) async fn head_of(conn: &mut SqliteConnection) -> Result<Head, ReadError> {
    let row = sqlx::query_as(HEAD).fetch_optional(conn).await.map_err(StoreError::new("read the head"))?;
    rows::head(row)
}

fn raw(rows: &[SqliteRow]) -> Result<Vec<RawRow>, ReadError> {
    rows.iter().map(RawRow::of).collect()
}

impl SqliteLog {
    pub(super) async fn info(&self) -> Result<LogInfo, ReadError> {
        let find = async |key: &'static str| -> Result<Option<String>, ReadError> {
            let row: Option<(String,)> = sqlx::query_as(SELECT_META)
                .bind(key)
                .fetch_optional(&self.inner.readers)
                .await
                .map_err(StoreError::new("read about the log"))?;
            Ok(row.map(|r| r.0))
        };
        let meta = async |key: &'static str| -> Result<String, ReadError> {
            let found = find(key).await?;
            found.ok_or_else(|| ReadError::Content { what: format!("`{key}` of the log: it is missing") })
        };
        Ok(LogInfo {
            log_id: meta("log_id").await?,
            created_at: Timestamp(meta("created_at").await?.parse().unwrap_or(0)),
            min_reader: meta("min_reader").await?.parse().unwrap_or(0),
            schema_version: self.inner.schema_version,
            backend: "sqlite",
            importing: find(IMPORTING).await?.and_then(|whole| Seq::new(whole.parse().ok()?)),
        })
    }

    pub(super) async fn head(&self) -> Result<Head, ReadError> {
        let mut conn = self.inner.readers.acquire().await.map_err(StoreError::new("read the head"))?;
        head_of(&mut conn).await
    }

    pub(super) async fn read(&self, after: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError> {
        let limit = limit.min(PAGE_MAX);
        let mut records = Vec::with_capacity(limit);
        let mut rows = self.chunk(after, limit).await?;
        while let Some(last) = rows.last().map(|r| r.seq) {
            let wanted = limit - records.len() - rows.len();
            // SQLite's thread reads the next rows while these are decompressed.
            let next = async { if wanted == 0 { Ok(Vec::new()) } else { self.chunk(Some(last), wanted).await } };
            let (next, done) = tokio::join!(next, self.records(std::mem::take(&mut rows)));
            records.append(&mut done?);
            rows = next?;
        }
        Ok(records)
    }

    /// Reads the next rows: at most `wanted`, and never more than [`PACKED_ROWS`]. An empty result
    /// means the end of the log.
    async fn chunk(&self, after: Option<Seq>, wanted: usize) -> Result<Vec<RawRow>, ReadError> {
        let wanted = wanted.min(PACKED_ROWS);
        match self.packed_rows(after, wanted).await {
            Some(rows) => Ok(rows),
            None => self.rows(after, wanted).await,
        }
    }

    /// Reads rows joined to one value. Returns `None` if that is not possible: the rows are too
    /// long together, or this program cannot have written them. They must then be read column by
    /// column, which shows the faulty one.
    async fn packed_rows(&self, after: Option<Seq>, wanted: usize) -> Option<Vec<RawRow>> {
        let (packed, count): (Option<Vec<u8>>, i64) = sqlx::query_as(PACKED_PAGE)
            .bind(signed(after.map_or(0, Seq::get)))
            .bind(page(wanted))
            .fetch_one(&self.inner.readers)
            .await
            .ok()?;
        rows::unpack(&packed.unwrap_or_default(), usize::try_from(count).ok()?)
    }

    async fn rows(&self, after: Option<Seq>, wanted: usize) -> Result<Vec<RawRow>, ReadError> {
        let rows = sqlx::query(PAGE)
            .bind(signed(after.map_or(0, Seq::get)))
            .bind(page(wanted))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read events"))?;
        raw(&rows)
    }

    pub(super) async fn last_of_subject(
        &self,
        subject: &str,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let fail = || StoreError::new("read the last events of a subject");
        let before = before.map_or(i64::MAX, |b| signed(b.get()));
        let limit = limit.min(PAGE_MAX);
        let mut conn = self.inner.readers.acquire().await.map_err(fail())?;
        // The tail comes first: what it has dropped since is in the index by now.
        let Some((id, newest)) = self.in_tail(&mut conn, subject, before, limit).await? else {
            return Ok(Vec::new());
        };
        let rows = sqlx::query(SUBJECT_LAST)
            .bind(id)
            .bind(before)
            .bind(page(limit))
            .bind(serde_json::json!(newest).to_string())
            .fetch_all(&mut *conn)
            .await
            .map_err(fail())?;
        drop(conn);
        let mut records = self.scattered(raw(&rows)?).await?;
        records.reverse();
        Ok(records)
    }

    pub(super) async fn read_subject(
        &self,
        subjects: Subjects<'_>,
        after: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let query = match subjects {
            Subjects::Exactly(subject) => sqlx::query(SUBJECT_PAGE).bind(subject),
            Subjects::Under(prefix) => sqlx::query(PREFIX_PAGE).bind(prefix).bind(format!("{prefix}\u{10ffff}")),
        };
        let rows = query
            .bind(signed(after.map_or(0, Seq::get)))
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read events by subject"))?;
        self.scattered(raw(&rows)?).await
    }

    /// Makes records of rows that need not be consecutive.
    async fn scattered(&self, rows: Vec<RawRow>) -> Result<Vec<Record>, ReadError> {
        let mut rows = rows.into_iter();
        let mut records = Vec::with_capacity(rows.len());
        while rows.len() > 0 {
            records.append(&mut self.records(rows.by_ref().take(ROWS_AT_ONCE).collect()).await?);
        }
        Ok(records)
    }

    /// Finds the event by binary search, because recorded time never goes back.
    pub(super) async fn seq_at(&self, time: Timestamp) -> Result<Option<Seq>, ReadError> {
        let mut conn = self.inner.readers.acquire().await.map_err(StoreError::new("find a time"))?;
        let head = head_of(&mut conn).await?;
        // Invariant: all events up to `low` are at or before `time`, and all from `high` on are
        // after it.
        let (mut low, mut high) = (0, head.seq.map_or(0, Seq::get) + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let row: Option<(i64,)> = sqlx::query_as(RECORDED_AT)
                .bind(signed(middle))
                .fetch_optional(&mut *conn)
                .await
                .map_err(StoreError::new("find a time"))?;
            match row {
                Some((at,)) if at <= time.micros() => low = middle,
                Some(_) => high = middle,
                None => {
                    let seq = Seq::new(middle).unwrap_or(Seq::FIRST);
                    return Err(ReadError::Damaged { seq, what: "it is missing".to_owned() });
                }
            }
        }
        Ok(Seq::new(low))
    }

    /// Waits for an append. Appends by this handle wake it at once, and others are found by a check
    /// every `poll_interval`.
    pub(super) async fn changed(&self, after: Option<Seq>) -> Result<Head, ReadError> {
        let mut appended = self.inner.appended.subscribe();
        loop {
            // Reset the mark before reading the head, so that an append between reading and waiting
            // is not missed.
            appended.mark_unchanged();
            let head = self.head().await?;
            if head.seq > after {
                return Ok(head);
            }
            // Check again in both cases, after an append or the timeout. The sender lives as long
            // as this handle.
            drop(tokio::time::timeout(self.inner.poll_interval, appended.changed()).await);
        }
    }

    async fn records(&self, rows: Vec<RawRow>) -> Result<Vec<Record>, ReadError> {
        let words = rows.iter().flat_map(|r| [r.kind, r.source]);
        let words = self.texts(Table::Words, &self.inner.words, words).await?;
        let subjects = self.texts(Table::Subjects, &self.inner.subjects, rows.iter().map(|r| r.subject)).await?;
        let blocks = self.blocks(&rows).await?;
        let encodings = rows.iter().map(|r| r.encoding).chain(blocks.iter().map(|b| b.1));
        self.load_dictionaries(encodings).await?;
        Texts { words, subjects }.records(rows, &mut self.inner.dictionaries.reader().decoder(blocks))
    }

    /// Reads the blocks that `rows` need and do not contain.
    async fn blocks(&self, rows: &[RawRow]) -> Result<Vec<BlockRow>, ReadError> {
        let needed = blocks_needed(rows.iter().map(|r| (r.seq, r.encoding)));
        if needed.is_empty() {
            return Ok(Vec::new());
        }
        let needed = serde_json::json!(needed).to_string();
        let read = sqlx::query_as(BLOCKS).bind(needed).fetch_all(&self.inner.readers).await;
        Ok(read.map_err(StoreError::new("read payloads"))?)
    }

    async fn texts(
        &self,
        table: Table,
        cache: &Names,
        ids: impl Iterator<Item = i64>,
    ) -> Result<FxHashMap<i64, Arc<str>>, ReadError> {
        let (mut found, missing) = cache.texts(ids);
        if !missing.is_empty() {
            let ids = serde_json::json!(missing).to_string();
            let rows: Vec<(i64, String)> = sqlx::query_as(texts_of(table))
                .bind(ids)
                .fetch_all(&self.inner.readers)
                .await
                .map_err(StoreError::new("read texts"))?;
            found.extend(rows.iter().map(|(id, text)| (*id, Arc::from(text.as_str()))));
            cache.add(rows);
        }
        Ok(found)
    }

    async fn load_dictionaries(&self, encodings: impl Iterator<Item = i64>) -> Result<(), ReadError> {
        let reader = self.inner.dictionaries.reader();
        let missing: BTreeSet<i64> = encodings.filter_map(|e| reader.lacks(e)).collect();
        for number in missing {
            let row: Option<(Vec<u8>,)> = sqlx::query_as(DICTIONARY)
                .bind(number)
                .fetch_optional(&self.inner.readers)
                .await
                .map_err(StoreError::new("read a payload dictionary"))?;
            if let Some((content,)) = row {
                self.inner.dictionaries.add(number, &content);
            }
        }
        Ok(())
    }
}
