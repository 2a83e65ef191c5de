//! Appends one commit in one transaction.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use serde_json::json;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::{SqliteLog, read_only};
use crate::event::Record;
use crate::log::append::{PackedAttachment, check_chain, prepare, state_of};
use crate::log::error::{AppendError, StoreError};
use crate::log::names::{Names, Table};
use crate::log::payloads::PayloadEncoder;
use crate::log::rows::{signed, unsigned};
use crate::log::types::{Commit, Head, OutboxCommand, Position, Settled};
use crate::model::{PersonId, Seq};

/// Sizes of multi-row statements, largest first. Each statement crosses to SQLite's thread, and
/// each size is compiled once.
const CHUNKS: [usize; 3] = [100, 10, 1];
static INSERT_EVENTS: LazyLock<[String; 3]> = LazyLock::new(|| {
    CHUNKS.map(|rows| {
        let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        format!(
            "INSERT INTO events (seq, recorded_at, occurred_at, kind, version, source, fact, koji_event, subject, \
             causation, correlation, encoding, payload, hash) VALUES {}",
            vec![row; rows].join(", ")
        )
    })
});
const INSERT_ATTACHMENT: &str = "INSERT INTO attachments (digest, content) VALUES (?, ?)";
const SETTLE: &str = "UPDATE inbox SET state = s.state, reason = s.reason FROM (SELECT value ->> 0 AS position, \
     value ->> 1 AS state, value ->> 2 AS reason FROM json_each(?)) AS s \
     WHERE inbox.position = s.position AND inbox.state = 0";
const RETRY: &str = "UPDATE inbox SET state = 0, reason = NULL \
     WHERE position IN (SELECT value FROM json_each(?)) AND state = 3";
const FIND_UNSETTLED: &str = "SELECT s.value FROM json_each(?) AS s WHERE NOT EXISTS \
     (SELECT 1 FROM inbox WHERE position = s.value AND state = 0) LIMIT 1";
const INSERT_COMMANDS: &str = "INSERT INTO outbox (id, seq, kind, payload) SELECT value ->> 0, value ->> 1, \
     value ->> 2, value ->> 3 FROM json_each(?) ORDER BY key";
const FIND_COMMAND: &str = "SELECT id FROM outbox WHERE id IN (SELECT value FROM json_each(?)) ORDER BY number LIMIT 1";
const INSERT_PERSON: &str = "INSERT INTO persons (id, name) VALUES (?, ?)";

const fn select_names(table: Table) -> &'static str {
    match table {
        Table::Words => "SELECT id, text FROM words WHERE text IN (SELECT value FROM json_each(?))",
        Table::Subjects => "SELECT id, text FROM subjects WHERE text IN (SELECT value FROM json_each(?))",
    }
}

const fn max_name(table: Table) -> &'static str {
    match table {
        Table::Words => "SELECT coalesce(max(id), 0) FROM words",
        Table::Subjects => "SELECT coalesce(max(id), 0) FROM subjects",
    }
}

const fn insert_names(table: Table) -> &'static str {
    match table {
        Table::Words => "INSERT INTO words (id, text) SELECT value ->> 0, value ->> 1 FROM json_each(?)",
        Table::Subjects => "INSERT INTO subjects (id, text) SELECT value ->> 0, value ->> 1 FROM json_each(?)",
    }
}

impl SqliteLog {
    pub(super) async fn append(&self, expected: Option<Seq>, commit: &Commit) -> Result<Head, AppendError> {
        let fail = || StoreError::new("append");
        let Some(payloads) = &self.inner.payloads else { return Err(read_only("append").into()) };
        let attachments = prepare(commit)?;
        let mut tx = self.begin("append").await?;
        let head = super::read::head_of(&mut tx).await?;
        if head.seq != expected {
            return Err(AppendError::Conflict { expected, found: head.seq });
        }
        if let Some(as_of) = commit.persons_as_of
            && super::erase::erasures(&mut tx).await? != as_of
        {
            return Err(AppendError::Erased);
        }
        let at = head.seq.map_or(0, Seq::get);
        let unindexed = self.look_in_tail(&mut tx, at, &commit.records).await?;

        let words = commit.records.iter().flat_map(|r| [r.kind.as_str(), r.source.as_str()]);
        let words = intern(&mut tx, Table::Words, &self.inner.words, words).await?;
        let subjects = commit.records.iter().map(|r| r.subject.as_str());
        let subjects = intern(&mut tx, Table::Subjects, &self.inner.subjects, subjects).await?;
        let mut rows = Rows {
            records: &commit.records,
            head,
            encoder: payloads.encoder(),
            words: &words.numbers,
            subjects: &subjects.numbers,
        };
        let mut statement = rows.next()?;
        while let Some(insert) = statement {
            // While SQLite's thread writes these rows, hash and compress the next ones.
            let (inserted, next) = tokio::join!(insert.execute(&mut *tx), async { rows.next() });
            inserted.map_err(fail())?;
            statement = next?;
        }
        let new_head = rows.head;
        let indexed = self.index(&mut tx, at, &commit.records, &unindexed).await?;
        insert_attachments(&mut tx, &attachments).await?;
        retry(&mut tx, &commit.retried).await?;
        settle(&mut tx, &commit.settled).await?;
        insert_commands(&mut tx, &commit.commands).await?;
        super::announcements::insert(&mut tx, &commit.announcements).await?;
        super::announcements::hold(&mut tx, &commit.held).await?;
        insert_persons(&mut tx, &commit.persons).await?;
        self.finish(tx, "append").await?;
        self.inner.words.add(words.new);
        self.inner.subjects.add(subjects.new);
        self.extend_tail(at, &commit.records, indexed).await;
        if let Some(seq) = new_head.seq {
            self.inner.appended.send_replace(seq.get());
        }
        Ok(new_head)
    }
}

/// Makes statements of records, one chunk at a time, and checks the hash chain.
struct Rows<'a> {
    /// The records still to be written.
    records: &'a [Record],
    /// The head before these records.
    head: Head,
    encoder: PayloadEncoder<'a>,
    words: &'a FxHashMap<&'a str, i64>,
    subjects: &'a FxHashMap<&'a str, i64>,
}

impl Rows<'_> {
    fn next(&mut self) -> Result<Option<Query<'static, Sqlite, SqliteArguments>>, AppendError> {
        let sizes = CHUNKS.iter().zip(INSERT_EVENTS.iter());
        let Some((size, sql)) = sizes.into_iter().find(|(size, _)| self.records.len() >= **size) else {
            return Ok(None);
        };
        let left = self.records;
        let (records, rest) = left.split_at(*size);
        self.records = rest;
        self.head = check_chain(self.head, records)?;
        let mut query = sqlx::query(AssertSqlSafe(sql.as_str()));
        for (i, r) in records.iter().enumerate() {
            let (encoding, payload) = self.encoder.encode(left.get(i..).unwrap_or_default());
            query = query
                .bind(signed(r.seq.get()))
                .bind(r.recorded_at.micros())
                .bind(r.occurred_at.micros())
                .bind(self.words[r.kind.as_str()])
                .bind(i64::from(r.version))
                .bind(self.words[r.source.as_str()])
                .bind(r.fact.map(|f| f.0.to_vec()))
                .bind(r.koji_event)
                .bind(self.subjects[r.subject.as_str()])
                .bind(r.causation.map(|s| signed(s.get())))
                .bind(r.correlation.map(|s| signed(s.get())))
                .bind(encoding)
                .bind(payload.into_owned())
                .bind(r.hash.0.to_vec());
        }
        Ok(Some(query))
    }
}

/// The numbers of all texts, and the rows that may be cached once the transaction is committed.
struct Interned<'a> {
    numbers: FxHashMap<&'a str, i64>,
    new: Vec<(i64, String)>,
}

async fn intern<'a>(
    conn: &mut SqliteConnection,
    table: Table,
    cache: &Names,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Interned<'a>, StoreError> {
    let fail = || StoreError::new("number texts");
    let (mut numbers, missing) = cache.numbers(texts);
    if missing.is_empty() {
        return Ok(Interned { numbers, new: Vec::new() });
    }
    let stored: Vec<(i64, String)> = sqlx::query_as(select_names(table))
        .bind(json!(missing).to_string())
        .fetch_all(&mut *conn)
        .await
        .map_err(fail())?;
    let mut new = stored;
    let mut known: FxHashMap<String, i64> = new.iter().map(|(id, text)| (text.clone(), *id)).collect();
    let (mut last,): (i64,) = sqlx::query_as(max_name(table)).fetch_one(&mut *conn).await.map_err(fail())?;
    let mut rows = Vec::new();
    for text in missing {
        let id = known.remove(text).unwrap_or_else(|| {
            last += 1;
            rows.push(json!([last, text]));
            new.push((last, text.to_owned()));
            last
        });
        numbers.insert(text, id);
    }
    if !rows.is_empty() {
        let rows = serde_json::Value::Array(rows).to_string();
        sqlx::query(insert_names(table)).bind(rows).execute(&mut *conn).await.map_err(fail())?;
    }
    Ok(Interned { numbers, new })
}

async fn insert_attachments(conn: &mut SqliteConnection, attachments: &[PackedAttachment]) -> Result<(), StoreError> {
    for attachment in attachments {
        sqlx::query(INSERT_ATTACHMENT)
            .bind(attachment.digest.to_vec())
            .bind(attachment.content.as_slice())
            .execute(&mut *conn)
            .await
            .map_err(StoreError::new("append an attachment"))?;
    }
    Ok(())
}

async fn retry(conn: &mut SqliteConnection, retried: &[Position]) -> Result<(), AppendError> {
    if retried.is_empty() {
        return Ok(());
    }
    let positions = json!(retried.iter().map(|p| p.0).collect::<Vec<_>>()).to_string();
    let done = sqlx::query(RETRY).bind(positions).execute(&mut *conn).await;
    done.map_err(StoreError::new("retry inbox messages"))?;
    Ok(())
}

async fn settle(conn: &mut SqliteConnection, settled: &[Settled]) -> Result<(), AppendError> {
    if settled.is_empty() {
        return Ok(());
    }
    let fail = || StoreError::new("settle inbox messages");
    let positions = json!(settled.iter().map(|s| s.position.0).collect::<Vec<_>>()).to_string();
    let odd: Option<(i64,)> =
        sqlx::query_as(FIND_UNSETTLED).bind(positions).fetch_optional(&mut *conn).await.map_err(fail())?;
    if let Some((position,)) = odd {
        return Err(AppendError::NotPending { position: unsigned(position) });
    }
    let rows: Vec<_> = settled
        .iter()
        .map(|s| {
            let (state, reason) = state_of(&s.disposition);
            json!([s.position.0, state, reason])
        })
        .collect();
    sqlx::query(SETTLE).bind(json!(rows).to_string()).execute(&mut *conn).await.map_err(fail())?;
    Ok(())
}

async fn insert_commands(conn: &mut SqliteConnection, commands: &[OutboxCommand]) -> Result<(), AppendError> {
    if commands.is_empty() {
        return Ok(());
    }
    let fail = || StoreError::new("append commands");
    let rows: Vec<_> = commands.iter().map(|c| json!([c.id, c.seq, c.kind, c.payload])).collect();
    let Err(e) = sqlx::query(INSERT_COMMANDS).bind(json!(rows).to_string()).execute(&mut *conn).await else {
        return Ok(());
    };
    let ids = json!(commands.iter().map(|c| &c.id).collect::<Vec<_>>()).to_string();
    let taken: Option<(String,)> =
        sqlx::query_as(FIND_COMMAND).bind(ids).fetch_optional(&mut *conn).await.map_err(fail())?;
    Err(taken.map_or_else(|| fail()(e).into(), |(id,)| AppendError::DuplicateCommand { id }))
}

async fn insert_persons(conn: &mut SqliteConnection, persons: &[(PersonId, String)]) -> Result<(), AppendError> {
    for (id, name) in persons {
        if let Err(e) = sqlx::query(INSERT_PERSON).bind(id.as_str()).bind(name).execute(&mut *conn).await {
            if e.as_database_error().is_some_and(|e| e.is_unique_violation()) {
                return Err(AppendError::DuplicatePerson { id: id.to_string() });
            }
            return Err(StoreError::new("append a person")(e).into());
        }
    }
    Ok(())
}
