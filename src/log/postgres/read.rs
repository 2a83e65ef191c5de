//! Reads events.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::{PostgresLog, SELECT_META, page};
use crate::event::Record;
use crate::log::IMPORTING;
use crate::log::error::{ReadError, StoreError};
use crate::log::names::{Names, Table};
use crate::log::payloads::{BlockRow, blocks_needed};
use crate::log::rows::{self, ROWS_AT_ONCE, RawRow, Texts, signed};
use crate::log::types::{Head, LogInfo, Subjects};
use crate::model::{Seq, Timestamp};

const HEAD: &str = "SELECT seq, hash, recorded_at FROM events ORDER BY seq DESC LIMIT 1";
const RECORDED_AT: &str = "SELECT recorded_at FROM events WHERE seq = $1";
const PAGE: &str = "SELECT seq, recorded_at, occurred_at, kind::int8, version::int8, source::int8, fact, \
     koji_event, subject::int8, causation, correlation, encoding::int8, payload, hash FROM events WHERE seq > $1 \
     ORDER BY seq LIMIT $2";
const SUBJECT_PAGE: &str = "SELECT seq, recorded_at, occurred_at, kind::int8, version::int8, source::int8, fact, \
     koji_event, subject::int8, causation, correlation, encoding::int8, payload, hash FROM events \
     WHERE subject = (SELECT id FROM subjects WHERE text = $1) AND seq > $2 ORDER BY seq LIMIT $3";
const SUBJECT_LAST: &str = "SELECT * FROM (SELECT seq, recorded_at, occurred_at, kind::int8, version::int8, \
     source::int8, fact, koji_event, subject::int8, causation, correlation, encoding::int8, payload, hash FROM events \
     WHERE subject = (SELECT id FROM subjects WHERE text = $1) AND seq < $2 ORDER BY seq DESC LIMIT $3) AS last \
     ORDER BY seq";
const PREFIX_PAGE: &str = "SELECT seq, recorded_at, occurred_at, kind::int8, version::int8, source::int8, fact, \
     koji_event, subject::int8, causation, correlation, encoding::int8, payload, hash FROM events \
     WHERE subject IN (SELECT id FROM subjects WHERE text >= $1 AND text < $2) AND seq > $3 ORDER BY seq LIMIT $4";
const BLOCKS: &str = "SELECT seq, encoding::int8, payload FROM events WHERE seq = ANY($1)";
const DICTIONARY: &str = "SELECT content FROM dictionaries WHERE id = $1";

const fn texts_of(table: Table) -> &'static str {
    match table {
        Table::Words => "SELECT id::int8, text FROM words WHERE id = ANY($1::int4[])",
        Table::Subjects => "SELECT id::int8, text FROM subjects WHERE id = ANY($1::int4[])",
    }
}

/// Returns the end of the log as this connection sees it.
pub(super) async fn head_of(conn: &mut PgConnection) -> Result<Head, ReadError> {
    let row = sqlx::query_as(HEAD).fetch_optional(conn).await.map_err(StoreError::new("read the head"))?;
    rows::head(row)
}

fn raw(rows: &[PgRow]) -> Result<Vec<RawRow>, ReadError> {
    rows.iter().map(RawRow::of).collect()
}

impl PostgresLog {
    pub(super) async fn info(&self) -> Result<LogInfo, ReadError> {
        let find = async |key: &'static str| -> Result<Option<String>, ReadError> {
            let row: Option<(String,)> = sqlx::query_as(SELECT_META)
                .bind(key)
                .fetch_optional(&self.inner.pool)
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
            backend: "postgres",
            importing: find(IMPORTING).await?.and_then(|whole| Seq::new(whole.parse().ok()?)),
        })
    }

    pub(super) async fn head(&self) -> Result<Head, ReadError> {
        let mut conn = self.inner.pool.acquire().await.map_err(StoreError::new("read the head"))?;
        head_of(&mut conn).await
    }

    pub(super) async fn read(&self, after: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError> {
        let rows = sqlx::query(PAGE)
            .bind(signed(after.map_or(0, Seq::get)))
            .bind(page(limit))
            .fetch_all(&self.inner.pool)
            .await
            .map_err(StoreError::new("read events"))?;
        self.records(raw(&rows)?).await
    }

    pub(super) async fn last_of_subject(
        &self,
        subject: &str,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let rows = sqlx::query(SUBJECT_LAST)
            .bind(subject)
            .bind(before.map_or(i64::MAX, |b| signed(b.get())))
            .bind(page(limit))
            .fetch_all(&self.inner.pool)
            .await
            .map_err(StoreError::new("read the last events of a subject"))?;
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
            .fetch_all(&self.inner.pool)
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
        let mut conn = self.inner.pool.acquire().await.map_err(StoreError::new("find a time"))?;
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

    /// Waits for an append. It listens first, then reads the head, then waits, so an append in
    /// between has been notified by then.
    pub(super) async fn changed(&self, after: Option<Seq>) -> Result<Head, ReadError> {
        let mut woken = self.inner.tail.listen().await;
        loop {
            woken.mark_unchanged();
            let head = self.answered(self.head()).await?;
            if head.seq > after {
                return Ok(head);
            }
            // Check again in both cases, after a notification or the timeout. That also covers a
            // listener that lost its connection.
            drop(tokio::time::timeout(self.inner.poll_interval, woken.changed()).await);
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
        let read = sqlx::query_as(BLOCKS).bind(needed).fetch_all(&self.inner.pool).await;
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
            let rows: Vec<(i64, String)> = sqlx::query_as(texts_of(table))
                .bind(missing)
                .fetch_all(&self.inner.pool)
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
                .fetch_optional(&self.inner.pool)
                .await
                .map_err(StoreError::new("read a payload dictionary"))?;
            if let Some((content,)) = row {
                self.inner.dictionaries.add(number, &content);
            }
        }
        Ok(())
    }
}
