//! Stores the log in a PostgreSQL database.
//!
//! Writers of events take turns by one advisory lock, and writers of the inbox by another. Numbers
//! are assigned under the lock, so nobody ever sees a later row before an earlier one. (A database
//! sequence would allow that, because it assigns numbers before the commit.) Events are written by
//! `COPY`, other batches by `UNNEST`. Payloads are bytes, never jsonb, which would reorder keys.

mod announcements;
mod append;
mod copy;
mod credentials;
mod erase;
mod inbox;
mod outbox;
mod read;
mod server;
mod store;
mod tail;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use self::server::About;
use self::tail::Tail;
use super::erase::Erasure;
use super::error::{AppendError, OpenError, ReadError, ReceiveError, StoreError, StoreErrorKind};
use super::migrations::{self, Applied, Migration};
use super::names::Names;
use super::payloads::{self, Dictionaries, PayloadWriter};
use super::rows::signed;
use super::types::*;
use super::{EventLog, IMPORTING, Options, may_open, pool, redacted};
use crate::event::{FactId, Record};
use crate::model::{PersonId, Seq, Timestamp};

/// Numbers of this program's advisory locks. They apply to one database.
const LOCK_MIGRATE: i64 = 0x6b6f_7363_6865_6900;
const LOCK_APPEND: i64 = 0x6b6f_7363_6865_6901;
const LOCK_INBOX: i64 = 0x6b6f_7363_6865_6902;
const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";

/// A log in a PostgreSQL database. It is cheap to clone, and clones share connections.
#[derive(Clone)]
pub struct PostgresLog {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    pool: PgPool,
    answer_timeout: Duration,
    poll_interval: Duration,
    schema_version: i64,
    payloads: Option<PayloadWriter>,
    dictionaries: Dictionaries,
    words: Names,
    subjects: Names,
    tail: Tail,
}

impl fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresLog").field(&self.inner.url).finish()
    }
}

impl PostgresLog {
    /// Connects to `postgres://USER:PASSWORD@HOST/DATABASE`, and creates and migrates the tables
    /// according to `options`. The database must exist, and the connection's schema must contain
    /// nothing else.
    ///
    /// # Errors
    /// Returns the errors of [`super::open`].
    pub async fn open(url: &str, options: &Options) -> Result<Self, OpenError> {
        let shown = redacted(url);
        server::check_parameters(&shown, url)?;
        let connect = PgConnectOptions::from_str(url)
            .map_err(|e| OpenError::BadUrl { url: shown.clone(), source: Some(e) })?
            // The log has no floats, and poolers do not accept this setting.
            .extra_float_digits(None)
            .application_name("koschei");
        let store =
            |source: sqlx::Error| OpenError::Store { url: shown.clone(), source: StoreError::new("connect")(source) };
        let about = tokio::time::timeout(options.answer_timeout, About::ask(&shown, &connect, options)).await;
        let about = about.unwrap_or_else(|_| Err(store(pool::silent(options.answer_timeout))))?;
        let patience = options.busy_timeout.saturating_mul(4).max(Duration::from_secs(30));
        let pool = pool::options::<Postgres>(options.readers.max(1) + 2, patience)
            .after_connect({
                let settings = about.settings();
                move |connection, _| {
                    let settings = settings.0.clone();
                    Box::pin(
                        async move { sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(connection).await.map(drop) },
                    )
                }
            })
            .connect_with(connect.clone())
            .await
            .map_err(store)?;
        let schema_version = match prepare(&shown, &pool, &about, options).await {
            Ok(version) => version,
            Err(e) => {
                pool.close().await;
                return Err(e);
            }
        };
        let mut payloads = None;
        if !options.read_only {
            let number =
                register_dictionary(&pool).await.map_err(|source| OpenError::Store { url: shown.clone(), source })?;
            payloads = Some(PayloadWriter::new(number, schema_version));
        }
        let inner = Inner {
            url: shown,
            pool,
            answer_timeout: options.answer_timeout,
            poll_interval: options.poll_interval,
            schema_version,
            payloads,
            dictionaries: Dictionaries::default(),
            words: Names::default(),
            subjects: Names::default(),
            tail: Tail::new(connect),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits for a result, but returns an error after the timeout. The pool then closes the
    /// connection, or finds that it still works.
    fn answered<T, E: From<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>> + Send,
    ) -> impl Future<Output = Result<T, E>> + Send {
        // Without the box, each caller's future would contain it twice.
        let (answer, patience) = (Box::pin(answer), self.inner.answer_timeout);
        async move {
            let given_up = |_| Err(StoreError::new("wait for the database")(pool::silent(patience)).into());
            tokio::time::timeout(patience, answer).await.unwrap_or_else(given_up)
        }
    }

    /// Begins a transaction that holds `lock` until it ends.
    async fn begin(&self, lock: i64, doing: &'static str) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut tx = self.inner.pool.begin().await.map_err(StoreError::new(doing))?;
        sqlx::query(LOCK).bind(lock).execute(&mut *tx).await.map_err(StoreError::new(doing))?;
        Ok(tx)
    }
}

/// Checks that the database is a log for this version, and migrates it. Returns the number of the
/// last migration.
async fn prepare(url: &str, pool: &PgPool, about: &About, options: &Options) -> Result<i64, OpenError> {
    let fail = |e| OpenError::Store { url: url.to_owned(), source: StoreError::new("migrate")(e) };
    let mut tx = pool.begin().await.map_err(fail)?;
    if !options.read_only {
        sqlx::query(LOCK).bind(LOCK_MIGRATE).execute(&mut *tx).await.map_err(fail)?;
    }
    let applied = applied(url, &mut tx).await?;
    check_reader(url, &mut tx, &applied, options).await?;
    let todo = migrations::outstanding(url, &applied, options.schema_max, |m| m.postgres)?;
    let mut last = applied.last().map_or(0, |m| m.0);
    if todo.is_empty() {
        return Ok(last);
    }
    if options.read_only && applied.is_empty() {
        // `doctor` asks whether a log can be kept here. It should report a missing right before the
        // service starts.
        about.may_create(url)?;
        return Err(OpenError::Empty { url: url.to_owned() });
    }
    if options.read_only {
        return Err(OpenError::NeedsMigration { url: url.to_owned() });
    }
    about.may_create(url)?;
    if applied.is_empty() {
        sqlx::query(CREATE_MIGRATIONS).execute(&mut *tx).await.map_err(fail)?;
    }
    for Migration { number, name, postgres, .. } in todo {
        sqlx::raw_sql(*postgres).execute(&mut *tx).await.map_err(fail)?;
        sqlx::query(RECORD_MIGRATION)
            .bind(number)
            .bind(name)
            .bind(migrations::checksum(postgres))
            .execute(&mut *tx)
            .await
            .map_err(fail)?;
        last = *number;
    }
    tx.commit().await.map_err(fail)?;
    Ok(last)
}

const COUNT_TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE relname = 'migrations') FROM pg_class \
     WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace";
const CREATE_MIGRATIONS: &str =
    "CREATE TABLE migrations (number int8 NOT NULL PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)";
const RECORD_MIGRATION: &str = "INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)";
const SELECT_MIGRATIONS: &str = "SELECT number, name, checksum FROM migrations ORDER BY number";
const SELECT_META: &str = "SELECT value FROM meta WHERE key = $1";

async fn applied(url: &str, conn: &mut PgConnection) -> Result<Vec<Applied>, OpenError> {
    let fail = |e| OpenError::Store { url: url.to_owned(), source: StoreError::new("read the schema")(e) };
    let (tables, ours): (i64, i64) = sqlx::query_as(COUNT_TABLES).fetch_one(&mut *conn).await.map_err(fail)?;
    match (tables, ours) {
        (0, _) => Ok(Vec::new()),
        (_, 0) => Err(OpenError::NotALog { url: url.to_owned() }),
        _ => sqlx::query_as(SELECT_MIGRATIONS).fetch_all(&mut *conn).await.map_err(fail),
    }
}

async fn check_reader(
    url: &str,
    conn: &mut PgConnection,
    applied: &[Applied],
    options: &Options,
) -> Result<(), OpenError> {
    if applied.is_empty() {
        return Ok(());
    }
    let fail = |e| OpenError::Store { url: url.to_owned(), source: StoreError::new("read the format")(e) };
    let (mut min_reader, mut importing) = (None, None);
    for (key, value) in [("min_reader", &mut min_reader), (IMPORTING, &mut importing)] {
        let found: Option<(String,)> =
            sqlx::query_as(SELECT_META).bind(key).fetch_optional(&mut *conn).await.map_err(fail)?;
        *value = found.map(|(value,)| value);
    }
    may_open(url, min_reader, importing, options)
}

const FIND_DICTIONARY: &str = "SELECT id::int8 FROM dictionaries WHERE digest = $1";
const ADD_DICTIONARY: &str = "INSERT INTO dictionaries (id, digest, content) \
     SELECT coalesce(max(id), $1) + 1, $2, $3 FROM dictionaries ON CONFLICT (digest) DO NOTHING";

/// Returns the number of this program's dictionary in this database, and adds it if it is new.
async fn register_dictionary(pool: &PgPool) -> Result<i64, StoreError> {
    let fail = StoreError::new("register the payload dictionary");
    let (digest, content) = payloads::built_in();
    let mut tx = pool.begin().await.map_err(&fail)?;
    let find = sqlx::query_as::<_, (i64,)>(FIND_DICTIONARY).bind(&digest[..]);
    if let Some((number,)) = find.fetch_optional(&mut *tx).await.map_err(&fail)? {
        return Ok(number);
    }
    sqlx::query(LOCK).bind(LOCK_MIGRATE).execute(&mut *tx).await.map_err(&fail)?;
    sqlx::query(ADD_DICTIONARY)
        .bind(payloads::DICTIONARY_FIRST - 1)
        .bind(&digest[..])
        .bind(content)
        .execute(&mut *tx)
        .await
        .map_err(&fail)?;
    let find = sqlx::query_as::<_, (i64,)>(FIND_DICTIONARY).bind(&digest[..]);
    let (number,) = find.fetch_one(&mut *tx).await.map_err(&fail)?;
    tx.commit().await.map_err(&fail)?;
    Ok(number)
}

/// Returns the limit of a page in the form the database takes.
fn page(limit: usize) -> i64 {
    signed(limit.min(PAGE_MAX) as u64)
}

impl EventLog for PostgresLog {
    async fn info(&self) -> Result<LogInfo, ReadError> {
        self.answered(self.info()).await
    }

    async fn head(&self) -> Result<Head, ReadError> {
        self.answered(self.head()).await
    }

    async fn append(&self, expected: Option<Seq>, commit: &Commit) -> Result<Head, AppendError> {
        self.answered(self.append(expected, commit)).await
    }

    async fn read(&self, after: Option<Seq>, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.answered(self.read(after, limit)).await
    }

    async fn last_of_subject(
        &self,
        subject: &str,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.answered(self.last_of_subject(subject, before, limit)).await
    }

    async fn read_subject(
        &self,
        subjects: Subjects<'_>,
        after: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.answered(self.read_subject(subjects, after, limit)).await
    }

    async fn seq_at(&self, time: Timestamp) -> Result<Option<Seq>, ReadError> {
        self.answered(self.seq_at(time)).await
    }

    async fn changed(&self, after: Option<Seq>) -> Result<Head, ReadError> {
        self.changed(after).await
    }

    async fn receive(&self, messages: &[Incoming]) -> Result<Vec<Received>, ReceiveError> {
        self.answered(self.receive(messages)).await
    }

    async fn received(&self, ids: &[&str]) -> Result<HashSet<String>, ReadError> {
        self.answered(self.received(ids)).await
    }

    async fn last_received(&self, besides: &str, limit: usize) -> Result<Vec<PastMessage>, ReadError> {
        self.answered(self.last_received(besides, limit)).await
    }

    async fn pending(&self, after: Option<Position>, limit: usize) -> Result<Vec<Pending>, ReadError> {
        self.answered(self.pending(after, limit)).await
    }

    async fn pending_of(
        &self,
        source: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Pending>, Option<Position>), ReadError> {
        self.answered(self.pending_of(source, after, limit)).await
    }

    async fn fates(&self, ids: &[&str]) -> Result<Vec<Option<Fate>>, ReadError> {
        self.answered(self.fates(ids)).await
    }

    async fn parked(&self, after: Option<Position>, limit: usize) -> Result<Vec<Parked>, ReadError> {
        self.answered(self.parked(after, limit)).await
    }

    async fn parked_messages(&self, ids: &[&str]) -> Result<Vec<(Pending, String)>, ReadError> {
        self.answered(self.parked_messages(ids)).await
    }

    async fn unpark(&self, ids: &[String]) -> Result<u64, StoreError> {
        self.answered(self.unpark(ids)).await
    }

    async fn counts(&self) -> Result<Counts, ReadError> {
        self.answered(self.counts()).await
    }

    async fn prune_raw(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.prune_raw(before).await
    }

    async fn pending_commands(&self, limit: usize) -> Result<Vec<OutboxCommand>, ReadError> {
        self.answered(self.pending_commands(limit)).await
    }

    async fn commands_of(&self, events: &[Seq]) -> Result<HashSet<Seq>, ReadError> {
        self.answered(self.commands_of(events)).await
    }

    async fn outbox(&self, after: u64, limit: usize) -> Result<Vec<(u64, OutboxCommand)>, ReadError> {
        self.answered(self.outbox(after, limit)).await
    }

    async fn mark_sent(&self, ids: &[String]) -> Result<u64, StoreError> {
        self.answered(self.mark_sent(ids)).await
    }

    async fn attachment(&self, digest: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.answered(self.attachment(digest)).await
    }

    async fn put_snapshot(&self, snapshot: &Snapshot, without: &[(Seq, u32)]) -> Result<(), StoreError> {
        self.answered(self.put_snapshot(snapshot, without)).await
    }

    async fn snapshots(&self) -> Result<Snapshots, ReadError> {
        self.answered(self.snapshots()).await
    }

    async fn latest_snapshot(&self, at_most: Option<Seq>, state_version: u32) -> Result<Option<Snapshot>, ReadError> {
        self.answered(self.latest_snapshot(at_most, state_version)).await
    }

    async fn drop_snapshots(&self) -> Result<u64, StoreError> {
        self.answered(self.drop_snapshots()).await
    }

    async fn person(&self, name: &str) -> Result<Option<PersonId>, ReadError> {
        self.answered(self.person(name)).await
    }

    async fn name_of(&self, id: &PersonId) -> Result<Option<String>, ReadError> {
        self.answered(self.name_of(id)).await
    }

    async fn has_fact(&self, fact: &FactId) -> Result<bool, ReadError> {
        self.answered(self.has_fact(fact)).await
    }

    async fn all_persons(&self) -> Result<Vec<(PersonId, String)>, ReadError> {
        self.answered(self.all_persons()).await
    }

    async fn forget_person(&self, name_or_id: &str) -> Result<Erasure, StoreError> {
        self.forget_person(name_or_id).await
    }

    async fn note_import(&self, whole: Option<Seq>) -> Result<(), StoreError> {
        self.answered(self.note_import(whole)).await
    }

    async fn erasures(&self) -> Result<u64, ReadError> {
        let asked = async {
            let mut conn = self.inner.pool.acquire().await.map_err(StoreError::new("ask for erasures"))?;
            Ok(erase::erasures(&mut conn).await?)
        };
        self.answered(asked).await
    }

    async fn close(&self) {
        self.inner.tail.stop();
        // Use a timeout, because a connection whose packets are lost may never confirm that it is
        // closed.
        let _given_up = tokio::time::timeout(self.inner.answer_timeout, self.inner.pool.close()).await;
    }
}

/// Makes the error for every write on a handle that was opened for reading.
fn read_only(doing: &'static str) -> StoreError {
    StoreError { doing, kind: StoreErrorKind::ReadOnly, source: sqlx::Error::PoolClosed }
}
