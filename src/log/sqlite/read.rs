//! Reading events.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{SELECT_META, SqliteLog, page, signed, unsigned};
use crate::event::{ChainHash, FactId, Record};
use crate::log::codec::{PLAIN, decode_payload};
use crate::log::error::{ReadError, StoreError};
use crate::log::names::{Names, Table};
use crate::log::types::{Head, LogInfo, Subjects};
use crate::model::{Seq, Timestamp};

const HEAD: &str = "SELECT seq, hash, recorded_at FROM events ORDER BY seq DESC LIMIT 1";
const RECORDED_AT: &str = "SELECT recorded_at FROM events WHERE seq = ?";
const PAGE: &str = "SELECT seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, causation, \
     correlation, encoding, payload, hash FROM events WHERE seq > ? ORDER BY seq LIMIT ?";
const SUBJECT_PAGE: &str = "SELECT seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, \
     causation, correlation, encoding, payload, hash FROM events \
     WHERE subject = (SELECT id FROM subjects WHERE text = ?) AND seq > ? ORDER BY seq LIMIT ?";
const PREFIX_PAGE: &str = "SELECT seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, \
     causation, correlation, encoding, payload, hash FROM events \
     WHERE subject IN (SELECT id FROM subjects WHERE text >= ? AND text < ?) AND seq > ? ORDER BY seq LIMIT ?";
const DICTIONARY: &str = "SELECT content FROM dictionaries WHERE id = ?";

const fn texts_of(table: Table) -> &'static str {
    match table {
        Table::Words => "SELECT id, text FROM words WHERE id IN (SELECT value FROM json_each(?))",
        Table::Subjects => "SELECT id, text FROM subjects WHERE id IN (SELECT value FROM json_each(?))",
    }
}

/// The end of the log as this connection sees it.
pub(super) async fn head_of(conn: &mut SqliteConnection) -> Result<Head, ReadError> {
    let row: Option<(i64, Vec<u8>, i64)> =
        sqlx::query_as(HEAD).fetch_optional(conn).await.map_err(StoreError::new("read the head"))?;
    let Some((seq, hash, recorded_at)) = row else { return Ok(Head::EMPTY) };
    let seq = Seq::new(unsigned(seq))
        .ok_or_else(|| ReadError::Content { what: "the head: its sequence is not positive".to_owned() })?;
    let hash = hash
        .try_into()
        .map(ChainHash)
        .map_err(|_| ReadError::Damaged { seq, what: "its hash has not 32 bytes".to_owned() })?;
    Ok(Head { seq: Some(seq), hash, recorded_at: Timestamp(recorded_at) })
}

impl SqliteLog {
    pub(super) async fn read_info(&self) -> Result<LogInfo, ReadError> {
        let meta = async |key: &'static str| -> Result<String, ReadError> {
            let row: Option<(String,)> = sqlx::query_as(SELECT_META)
                .bind(key)
                .fetch_optional(&self.inner.readers)
                .await
                .map_err(StoreError::new("read about the log"))?;
            row.map(|r| r.0).ok_or_else(|| ReadError::Content { what: format!("`{key}` of the log: it is missing") })
        };
        Ok(LogInfo {
            log_id: meta("log_id").await?,
            created_at: Timestamp(meta("created_at").await?.parse().unwrap_or(0)),
            min_reader: meta("min_reader").await?.parse().unwrap_or(0),
            schema_version: self.inner.schema_version,
            backend: "sqlite",
        })
    }

    pub(super) async fn read_head(&self) -> Result<Head, ReadError> {
        let mut conn = self.inner.readers.acquire().await.map_err(StoreError::new("read the head"))?;
        head_of(&mut conn).await
    }

    pub(super) async fn read_page(&self, after: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError> {
        let rows = sqlx::query(PAGE)
            .bind(signed(after.map_or(0, Seq::get)))
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read events"))?;
        self.records(rows).await
    }

    pub(super) async fn read_subject_page(
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
        self.records(rows).await
    }

    /// Binary search: recorded time never goes back.
    pub(super) async fn find_seq_at(&self, time: Timestamp) -> Result<Option<Seq>, ReadError> {
        let mut conn = self.inner.readers.acquire().await.map_err(StoreError::new("find a time"))?;
        let head = head_of(&mut conn).await?;
        // Invariant: everything up to `low` is at or before `time`, everything from `high` is after it.
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

    /// Appends of this handle wake us at once, others are found by looking every `poll_interval`.
    pub(super) async fn wait_for_change(&self, after: Option<Seq>) -> Result<Head, ReadError> {
        let mut appended = self.inner.appended.subscribe();
        loop {
            // Before looking, so that an append between looking and waiting is not missed.
            appended.mark_unchanged();
            let head = self.read_head().await?;
            if head.seq > after {
                return Ok(head);
            }
            // Either answer means: look again. The sender lives as long as we do.
            drop(tokio::time::timeout(self.inner.poll_interval, appended.changed()).await);
        }
    }

    async fn records(&self, rows: Vec<SqliteRow>) -> Result<Vec<Record>, ReadError> {
        let ids = |column: usize| rows.iter().filter_map(move |r| r.try_get::<i64, _>(column).ok());
        let words = self.texts(Table::Words, &self.inner.words, ids(3).chain(ids(5))).await?;
        let subjects = self.texts(Table::Subjects, &self.inner.subjects, ids(8)).await?;
        self.load_dictionaries(ids(11)).await?;
        let reader = self.inner.dictionaries.reader();
        let mut decoders = HashMap::new();
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let seq = row
                .try_get::<i64, _>(0)
                .ok()
                .and_then(|n| Seq::new(unsigned(n)))
                .ok_or_else(|| ReadError::Content { what: "an event: its sequence is not positive".to_owned() })?;
            let bad = |what: String| ReadError::Damaged { seq, what };
            let raw = RawRow::of(&row).map_err(|e| bad(e.to_string()))?;
            let decoder = match decoders.entry(raw.encoding) {
                std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
                std::collections::hash_map::Entry::Vacant(e) => e.insert(reader.decoder(raw.encoding).map_err(bad)?),
            };
            let text = |map: &HashMap<i64, Arc<str>>, id: i64, what: &str| {
                map.get(&id).map(|t| t.to_string()).ok_or_else(|| bad(format!("its {what} {id} is missing")))
            };
            records.push(Record {
                seq,
                recorded_at: Timestamp(raw.recorded_at),
                occurred_at: Timestamp(raw.occurred_at),
                kind: text(&words, raw.kind, "kind")?,
                version: u16::try_from(raw.version).map_err(|_| bad("its version is out of range".to_owned()))?,
                source: text(&words, raw.source, "source")?,
                fact: match raw.fact {
                    None => None,
                    Some(bytes) => {
                        Some(FactId(bytes.try_into().map_err(|_| bad("its fact has not 16 bytes".to_owned()))?))
                    }
                },
                koji_event: raw.koji_event,
                subject: text(&subjects, raw.subject, "subject")?,
                causation: cause(raw.causation).map_err(bad)?,
                correlation: cause(raw.correlation).map_err(bad)?,
                payload: decode_payload(decoder.as_mut(), raw.payload).map_err(bad)?,
                hash: ChainHash(raw.hash.try_into().map_err(|_| bad("its hash has not 32 bytes".to_owned()))?),
            });
        }
        Ok(records)
    }

    async fn texts(
        &self,
        table: Table,
        cache: &Names,
        ids: impl Iterator<Item = i64>,
    ) -> Result<HashMap<i64, Arc<str>>, ReadError> {
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
        let missing: std::collections::BTreeSet<i64> = encodings.filter(|e| *e != PLAIN && !reader.knows(*e)).collect();
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

/// A column with the sequence of another event. A number that is none is damage, not absence: the hash would not tell.
fn cause(column: Option<i64>) -> Result<Option<Seq>, String> {
    column.map(|n| Seq::new(unsigned(n)).ok_or_else(|| format!("its cause {n} is not a sequence"))).transpose()
}

/// A row's columns, not interpreted.
struct RawRow {
    recorded_at: i64,
    occurred_at: i64,
    kind: i64,
    version: i64,
    source: i64,
    fact: Option<Vec<u8>>,
    koji_event: Option<i64>,
    subject: i64,
    causation: Option<i64>,
    correlation: Option<i64>,
    encoding: i64,
    payload: Vec<u8>,
    hash: Vec<u8>,
}

impl RawRow {
    fn of(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            recorded_at: row.try_get(1)?,
            occurred_at: row.try_get(2)?,
            kind: row.try_get(3)?,
            version: row.try_get(4)?,
            source: row.try_get(5)?,
            fact: row.try_get(6)?,
            koji_event: row.try_get(7)?,
            subject: row.try_get(8)?,
            causation: row.try_get(9)?,
            correlation: row.try_get(10)?,
            encoding: row.try_get(11)?,
            payload: row.try_get(12)?,
            hash: row.try_get(13)?,
        })
    }
}
