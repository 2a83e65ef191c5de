//! Erases a person.

use sqlx::PgConnection;

use super::{LOCK, LOCK_APPEND, LOCK_INBOX, PostgresLog};
use crate::log::erase::{self, BODIES_AT_ONCE, ERASED, Erasure, Left, REASONS_AT_ONCE};
use crate::log::error::{StoreError, StoreErrorKind};
use crate::log::rows::unsigned;
use crate::model::PersonId;

const FIND: &str = "SELECT id, name FROM persons WHERE id = $1 OR name = $1";
const BODIES: &str = "SELECT position, body FROM raw_bodies WHERE position > $1 ORDER BY position LIMIT $2";
const REASONS: &str =
    "SELECT position, reason FROM inbox WHERE position > $1 AND reason IS NOT NULL ORDER BY position LIMIT $2";
const FORGET: &str = "DELETE FROM persons WHERE id = $1";
const FORGET_CREDENTIALS: &str = "DELETE FROM credentials WHERE person = $1";
/// Tells users of cached names that a person was erased.
const COUNT_UP: &str = "INSERT INTO meta (key, value) VALUES ('erasures', '1') \
     ON CONFLICT (key) DO UPDATE SET value = (meta.value::int8 + 1)::text";
const ERASURES: &str = "SELECT value::int8 FROM meta WHERE key = 'erasures'";
const WAITING: &str = "SELECT count(*) FROM inbox WHERE state = 0 AND position = ANY($1)";
const DROP_BODIES: &str = "DELETE FROM raw_bodies USING inbox WHERE inbox.position = raw_bodies.position AND state <> \
    0 AND inbox.position = ANY($1)";
const DISMISS: &str = "UPDATE inbox SET state = 2, reason = $1 WHERE state = 3 AND position = ANY($2)";
const REWORD: &str = "UPDATE inbox SET reason = $1 WHERE position = ANY($2)";
/// The tables are in the order in which readers of both lock them.
const LOCK_TABLES: &str = "LOCK TABLE inbox, raw_bodies, persons, credentials IN ACCESS EXCLUSIVE MODE";
/// Rewrites the tables with only the rows that exist now. VACUUM leaves deleted content in place.
/// VACUUM FULL keeps rows that some old transaction in any database of the server might still need.
/// Changing a column by an expression does neither (PostgreSQL's manual, ALTER TABLE, notes).
/// Properties of the column that are not repeated here are reset.
const REWRITE: [&str; 4] = [
    "ALTER TABLE persons ALTER COLUMN name TYPE text COLLATE \"C\" USING name || ''",
    "ALTER TABLE raw_bodies ALTER COLUMN body TYPE bytea USING body || ''::bytea, ALTER COLUMN body SET STORAGE \
        EXTERNAL",
    "ALTER TABLE inbox ALTER COLUMN reason TYPE text COLLATE \"C\" USING reason || ''",
    "ALTER TABLE credentials ALTER COLUMN person TYPE text COLLATE \"C\" USING person || '', ALTER COLUMN label TYPE \
        text COLLATE \"C\" USING label || ''",
];

impl PostgresLog {
    pub(super) async fn forget_person(&self, asked: &str) -> Result<Erasure, StoreError> {
        let fail = || StoreError::new("forget a person");
        if self.inner.payloads.is_none() {
            return Err(super::read_only("forget a person"));
        }
        let known: Option<(String, String)> =
            sqlx::query_as(FIND).bind(asked).fetch_optional(&self.inner.pool).await.map_err(fail())?;
        let (mut bodies, mut reasons) = (Vec::new(), Vec::new());
        let name = erase::wanted(asked, known.as_ref());
        if let Some(name) = &name {
            let pool = &self.inner.pool;
            let page = |after| sqlx::query_as(BODIES).bind::<i64>(after).bind(BODIES_AT_ONCE).fetch_all(pool);
            bodies = erase::positions(page, |body: &Vec<u8>| erase::body_names(body, name)).await?;
            let page = |after| sqlx::query_as(REASONS).bind::<i64>(after).bind(REASONS_AT_ONCE).fetch_all(pool);
            reasons = erase::positions(page, |reason: &String| erase::names(reason, name)).await?;
        }
        let mut done = Erasure { id: known.map(|(id, _)| PersonId::new(id)), ..Erasure::default() };
        let mut tx = self.begin(LOCK_APPEND, "forget a person").await?;
        if let Some(id) = &done.id {
            sqlx::query(FORGET).bind(id.as_str()).execute(&mut *tx).await.map_err(fail())?;
            sqlx::query(COUNT_UP).execute(&mut *tx).await.map_err(fail())?;
        }
        if let Some(name) = &name {
            sqlx::query(FORGET_CREDENTIALS).bind(name).execute(&mut *tx).await.map_err(fail())?;
        }
        let (waiting,): (i64,) = sqlx::query_as(WAITING).bind(&bodies).fetch_one(&mut *tx).await.map_err(fail())?;
        let dropped = sqlx::query(DROP_BODIES).bind(&bodies).execute(&mut *tx).await.map_err(fail())?;
        let reworded = sqlx::query(REWORD).bind(ERASED).bind(reasons).execute(&mut *tx).await.map_err(fail())?;
        let parked = sqlx::query(DISMISS).bind(ERASED).bind(bodies).execute(&mut *tx).await.map_err(fail())?;
        tx.commit().await.map_err(fail())?;
        (done.bodies, done.parked, done.reasons) =
            (dropped.rows_affected(), parked.rows_affected(), reworded.rows_affected());
        if waiting > 0 {
            done.left.push(Left::Waiting(unsigned(waiting)));
        }
        match self.write_anew().await {
            Ok(()) => {}
            Err(e) if e.kind == StoreErrorKind::Busy => done.left.push(Left::Read),
            Err(e) => done.left.push(Left::Store(e)),
        }
        Ok(done)
    }

    /// Rewrites the tables that contain names. The old files are emptied when this is committed.
    async fn write_anew(&self) -> Result<(), StoreError> {
        let fail = || StoreError::new("write the tables anew");
        let mut tx = self.begin(LOCK_APPEND, "write the tables anew").await?;
        sqlx::query(LOCK).bind(LOCK_INBOX).execute(&mut *tx).await.map_err(fail())?;
        sqlx::query(LOCK_TABLES).execute(&mut *tx).await.map_err(fail())?;
        for statement in REWRITE {
            sqlx::query(statement).execute(&mut *tx).await.map_err(fail())?;
        }
        tx.commit().await.map_err(fail())
    }
}

/// Returns how often a person was erased.
pub(super) async fn erasures(conn: &mut PgConnection) -> Result<u64, StoreError> {
    let row: Option<(i64,)> =
        sqlx::query_as(ERASURES).fetch_optional(conn).await.map_err(StoreError::new("ask for erasures"))?;
    Ok(row.map_or(0, |(n,)| unsigned(n)))
}
