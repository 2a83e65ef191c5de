//! Appends one commit in one transaction.

use rustc_hash::FxHashMap;
use sqlx::PgConnection;

use super::copy::{COPY_EVENTS, HEADER, Rows, TRAILER};
use super::{LOCK_APPEND, PostgresLog, read_only};
use crate::event::Record;
use crate::log::append::{PackedAttachment, prepare, state_of};
use crate::log::error::{AppendError, StoreError};
use crate::log::names::{Names, Table};
use crate::log::rows::{signed, unsigned};
use crate::log::types::{Commit, Head, OutboxCommand, Position, Settled};
use crate::model::{PersonId, Seq};

const FACT_CONSTRAINT: &str = "events_fact";
const FIND_FACT: &str = "SELECT f FROM UNNEST($1::bytea[]) WITH ORDINALITY AS t (f, n) \
     WHERE EXISTS (SELECT 1 FROM events WHERE fact = f) ORDER BY n LIMIT 1";
const INSERT_ATTACHMENT: &str =
    "INSERT INTO attachments (digest, content) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING";
const SETTLE: &str = "UPDATE inbox SET state = s.state, reason = s.reason \
     FROM UNNEST($1::int8[], $2::int2[], $3::text[]) AS s (position, state, reason) \
     WHERE inbox.position = s.position AND inbox.state = 0";
const RETRY: &str = "UPDATE inbox SET state = 0, reason = NULL WHERE position = ANY($1) AND state = 3";
const FIND_UNSETTLED: &str = "SELECT p FROM UNNEST($1::int8[]) AS t (p) WHERE NOT EXISTS \
     (SELECT 1 FROM inbox WHERE position = p AND state = 0) LIMIT 1";
const FIND_COMMAND: &str = "SELECT id FROM outbox WHERE id = ANY($1) ORDER BY number LIMIT 1";
const INSERT_COMMANDS: &str = "INSERT INTO outbox (number, id, seq, kind, payload) \
     SELECT (SELECT coalesce(max(number), 0) FROM outbox) + n, id, seq, kind, payload \
     FROM UNNEST($1::text[], $2::int8[], $3::text[], $4::text[]) WITH ORDINALITY AS t (id, seq, kind, payload, n)";
const INSERT_PERSON: &str = "INSERT INTO persons (id, name) VALUES ($1, $2)";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";

const fn select_names(table: Table) -> &'static str {
    match table {
        Table::Words => "SELECT id::int8, text FROM words WHERE text = ANY($1)",
        Table::Subjects => "SELECT id::int8, text FROM subjects WHERE text = ANY($1)",
    }
}

const fn max_name(table: Table) -> &'static str {
    match table {
        Table::Words => "SELECT coalesce(max(id), 0)::int8 FROM words",
        Table::Subjects => "SELECT coalesce(max(id), 0)::int8 FROM subjects",
    }
}

const fn insert_names(table: Table) -> &'static str {
    match table {
        Table::Words => "INSERT INTO words (id, text) SELECT * FROM UNNEST($1::int8[], $2::text[])",
        Table::Subjects => "INSERT INTO subjects (id, text) SELECT * FROM UNNEST($1::int8[], $2::text[])",
    }
}

impl PostgresLog {
    pub(super) async fn append(&self, expected: Option<Seq>, commit: &Commit) -> Result<Head, AppendError> {
        let fail = || StoreError::new("append");
        let Some(payloads) = &self.inner.payloads else { return Err(read_only("append").into()) };
        let attachments = prepare(commit)?;
        let mut tx = self.begin(LOCK_APPEND, "append").await?;
        let head = super::read::head_of(&mut tx).await?;
        if head.seq != expected {
            return Err(AppendError::Conflict { expected, found: head.seq });
        }
        if let Some(as_of) = commit.persons_as_of
            && super::erase::erasures(&mut tx).await? != as_of
        {
            return Err(AppendError::Erased);
        }

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
        if let Err(e) = copy(&mut tx, &mut rows).await? {
            let fact = e.as_database_error().is_some_and(|e| e.constraint() == Some(FACT_CONSTRAINT));
            // The transaction has failed, so use another connection for the query.
            tx.rollback().await.map_err(fail())?;
            let duplicate = if fact { self.duplicate_fact(&commit.records).await? } else { None };
            return Err(duplicate.unwrap_or_else(|| fail()(e).into()));
        }
        let new_head = rows.head;
        insert_attachments(&mut tx, &attachments).await?;
        retry(&mut tx, &commit.retried).await?;
        settle(&mut tx, &commit.settled).await?;
        insert_commands(&mut tx, &commit.commands).await?;
        super::announcements::insert(&mut tx, &commit.announcements).await?;
        super::announcements::hold(&mut tx, &commit.held).await?;
        insert_persons(&mut tx, &commit.persons).await?;
        if let Some(last) = commit.records.last() {
            let channel = super::tail::CHANNEL;
            sqlx::query(NOTIFY).bind(channel).bind(last.seq.to_string()).execute(&mut *tx).await.map_err(fail())?;
        }
        tx.commit().await.map_err(fail())?;
        self.inner.words.add(words.new);
        self.inner.subjects.add(subjects.new);
        Ok(new_head)
    }

    /// Returns the error for the first of the records whose fact is in the log already.
    async fn duplicate_fact(&self, records: &[Record]) -> Result<Option<AppendError>, StoreError> {
        let facts: Vec<&[u8]> = records.iter().filter_map(|r| r.fact.as_ref()).map(|f| &f.0[..]).collect();
        let found: Option<(Vec<u8>,)> = sqlx::query_as(FIND_FACT)
            .bind(facts)
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(StoreError::new("find the duplicate fact"))?;
        let record = found.and_then(|(fact,)| records.iter().find(|r| r.fact.is_some_and(|f| f.0[..] == fact[..])));
        Ok(record.map(|r| AppendError::DuplicateFact {
            seq: r.seq,
            fact: r.fact.map(|f| f.to_string()).unwrap_or_default(),
        }))
    }
}

/// Writes all of `rows`. The inner error is that of the database, which names the violated
/// constraint.
async fn copy(conn: &mut PgConnection, rows: &mut Rows<'_>) -> Result<Result<(), sqlx::Error>, AppendError> {
    if rows.records.is_empty() {
        return Ok(Ok(()));
    }
    let fail = || StoreError::new("append");
    let mut copy = conn.copy_in_raw(COPY_EVENTS).await.map_err(fail())?;
    copy.send(HEADER).await.map_err(fail())?;
    let mut buffer = Vec::new();
    loop {
        match rows.next(&mut buffer) {
            Ok(true) => copy.send(buffer.as_slice()).await.map_err(fail())?,
            Ok(false) => break,
            Err(e) => {
                copy.abort("the commit does not hold together").await.map_err(fail())?;
                return Err(e);
            }
        };
    }
    copy.send(TRAILER).await.map_err(fail())?;
    Ok(copy.finish().await.map(drop))
}

/// The numbers of all texts, and the rows that may be cached once the transaction is committed.
struct Interned<'a> {
    numbers: FxHashMap<&'a str, i64>,
    new: Vec<(i64, String)>,
}

async fn intern<'a>(
    conn: &mut PgConnection,
    table: Table,
    cache: &Names,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Interned<'a>, StoreError> {
    let fail = || StoreError::new("number texts");
    let (mut numbers, missing) = cache.numbers(texts);
    if missing.is_empty() {
        return Ok(Interned { numbers, new: Vec::new() });
    }
    let mut new: Vec<(i64, String)> =
        sqlx::query_as(select_names(table)).bind(&missing).fetch_all(&mut *conn).await.map_err(fail())?;
    let mut known: FxHashMap<String, i64> = new.iter().map(|(id, text)| (text.clone(), *id)).collect();
    let (mut last,): (i64,) = sqlx::query_as(max_name(table)).fetch_one(&mut *conn).await.map_err(fail())?;
    let (mut ids, mut texts) = (Vec::new(), Vec::new());
    for text in missing {
        let id = known.remove(text).unwrap_or_else(|| {
            last += 1;
            ids.push(last);
            texts.push(text);
            new.push((last, text.to_owned()));
            last
        });
        numbers.insert(text, id);
    }
    if !ids.is_empty() {
        sqlx::query(insert_names(table)).bind(ids).bind(texts).execute(&mut *conn).await.map_err(fail())?;
    }
    Ok(Interned { numbers, new })
}

async fn insert_attachments(conn: &mut PgConnection, attachments: &[PackedAttachment]) -> Result<(), StoreError> {
    for attachment in attachments {
        sqlx::query(INSERT_ATTACHMENT)
            .bind(&attachment.digest[..])
            .bind(attachment.content.as_slice())
            .execute(&mut *conn)
            .await
            .map_err(StoreError::new("append an attachment"))?;
    }
    Ok(())
}

async fn retry(conn: &mut PgConnection, retried: &[Position]) -> Result<(), AppendError> {
    if retried.is_empty() {
        return Ok(());
    }
    let positions: Vec<i64> = retried.iter().map(|p| signed(p.0)).collect();
    let done = sqlx::query(RETRY).bind(positions).execute(&mut *conn).await;
    done.map_err(StoreError::new("retry inbox messages"))?;
    Ok(())
}

async fn settle(conn: &mut PgConnection, settled: &[Settled]) -> Result<(), AppendError> {
    if settled.is_empty() {
        return Ok(());
    }
    let fail = || StoreError::new("settle inbox messages");
    let positions: Vec<i64> = settled.iter().map(|s| signed(s.position.0)).collect();
    let odd: Option<(i64,)> =
        sqlx::query_as(FIND_UNSETTLED).bind(&positions).fetch_optional(&mut *conn).await.map_err(fail())?;
    if let Some((position,)) = odd {
        return Err(AppendError::NotPending { position: unsigned(position) });
    }
    let (states, reasons): (Vec<i64>, Vec<Option<String>>) = settled.iter().map(|s| state_of(&s.disposition)).unzip();
    sqlx::query(SETTLE).bind(positions).bind(states).bind(reasons).execute(&mut *conn).await.map_err(fail())?;
    Ok(())
}

async fn insert_commands(conn: &mut PgConnection, commands: &[OutboxCommand]) -> Result<(), AppendError> {
    if commands.is_empty() {
        return Ok(());
    }
    let fail = || StoreError::new("append commands");
    let ids: Vec<&str> = commands.iter().map(|c| c.id.as_str()).collect();
    // Check for duplicates first, because after an error this transaction accepts no more queries.
    // Only holders of the lock insert.
    let taken: Option<(String,)> =
        sqlx::query_as(FIND_COMMAND).bind(&ids).fetch_optional(&mut *conn).await.map_err(fail())?;
    if let Some((id,)) = taken {
        return Err(AppendError::DuplicateCommand { id });
    }
    sqlx::query(INSERT_COMMANDS)
        .bind(ids)
        .bind(commands.iter().map(|c| signed(c.seq.get())).collect::<Vec<_>>())
        .bind(commands.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>())
        .bind(commands.iter().map(|c| c.payload.as_str()).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await
        .map_err(fail())?;
    Ok(())
}

async fn insert_persons(conn: &mut PgConnection, persons: &[(PersonId, String)]) -> Result<(), AppendError> {
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
