//! Erases a person.

use serde_json::json;
use sqlx::SqliteConnection;

use super::SqliteLog;
use crate::log::erase::{self, BODIES_AT_ONCE, ERASED, Erasure, Left, REASONS_AT_ONCE};
use crate::log::error::{StoreError, StoreErrorKind};
use crate::log::rows::unsigned;
use crate::model::PersonId;

const FIND: &str = "SELECT id, name FROM persons WHERE id = ?1 OR name = ?1";
const BODIES: &str = "SELECT position, body FROM raw_bodies WHERE position > ? ORDER BY position LIMIT ?";
const REASONS: &str =
    "SELECT position, reason FROM inbox WHERE position > ? AND reason IS NOT NULL ORDER BY position LIMIT ?";
const FORGET: &str = "DELETE FROM persons WHERE id = ?";
const FORGET_CREDENTIALS: &str = "DELETE FROM credentials WHERE person = ?";
/// Tells users of cached names that a person was erased.
const COUNT_UP: &str = "INSERT INTO meta (key, value) VALUES ('erasures', '1') \
     ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)";
const ERASURES: &str = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'erasures'";
const WAITING: &str = "SELECT count(*) FROM inbox WHERE state = 0 AND position IN (SELECT value FROM json_each(?))";
const DROP_BODIES: &str = "DELETE FROM raw_bodies WHERE position IN (SELECT i.position FROM json_each(?) AS j \
     JOIN inbox AS i ON i.position = j.value WHERE i.state <> 0)";
const DISMISS: &str = "UPDATE inbox SET state = 2, reason = ? \
     WHERE state = 3 AND position IN (SELECT value FROM json_each(?))";
const REWORD: &str = "UPDATE inbox SET reason = ? WHERE position IN (SELECT value FROM json_each(?))";
/// Rewrites the whole file. Overwriting deleted rows (`secure_delete`) is not enough: if a page was
/// split or joined, copies of its rows remain in the free space.
const REWRITE: &str = "VACUUM";
/// VACUUM makes a temporary copy that may be larger than the memory. Everything else is sorted in
/// memory.
const TEMPORARY_FILE: &str = "PRAGMA temp_store = FILE";
const TEMPORARY_MEMORY: &str = "PRAGMA temp_store = MEMORY";
/// Moves everything into the file and empties the write-ahead log, which would still contain the
/// name.
const EMPTY_WAL: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

impl SqliteLog {
    pub(super) async fn forget_person(&self, asked: &str) -> Result<Erasure, StoreError> {
        let fail = || StoreError::new("forget a person");
        if self.inner.payloads.is_none() {
            return Err(super::read_only("forget a person"));
        }
        let known: Option<(String, String)> =
            sqlx::query_as(FIND).bind(asked).fetch_optional(&self.inner.writer).await.map_err(fail())?;
        let (mut bodies, mut reasons) = (Vec::new(), Vec::new());
        let name = erase::wanted(asked, known.as_ref());
        if let Some(name) = &name {
            let pool = &self.inner.readers;
            let page = |after| sqlx::query_as(BODIES).bind::<i64>(after).bind(BODIES_AT_ONCE).fetch_all(pool);
            bodies = erase::positions(page, |body: &Vec<u8>| erase::body_names(body, name)).await?;
            let page = |after| sqlx::query_as(REASONS).bind::<i64>(after).bind(REASONS_AT_ONCE).fetch_all(pool);
            reasons = erase::positions(page, |reason: &String| erase::names(reason, name)).await?;
        }
        let mut done = Erasure { id: known.map(|(id, _)| PersonId::new(id)), ..Erasure::default() };
        let (bodies, reasons) = (json!(bodies).to_string(), json!(reasons).to_string());
        let mut tx = self.begin("forget a person").await?;
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
            Ok(true) => {}
            Ok(false) => done.left.push(Left::Read),
            Err(e) if e.kind == StoreErrorKind::Busy => done.left.push(Left::Read),
            Err(e) => done.left.push(Left::Store(e)),
        }
        Ok(done)
    }

    /// Rewrites the file and empties the write-ahead log. Returns `false` if it could not be
    /// emptied because somebody reads.
    async fn write_anew(&self) -> Result<bool, StoreError> {
        let fail = || StoreError::new("write the database anew");
        let mut conn = self.inner.writer.acquire().await.map_err(fail())?;
        sqlx::query(TEMPORARY_FILE).execute(&mut *conn).await.map_err(fail())?;
        let rewritten = sqlx::query(REWRITE).execute(&mut *conn).await;
        sqlx::query(TEMPORARY_MEMORY).execute(&mut *conn).await.map_err(fail())?;
        rewritten.map_err(fail())?;
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as(EMPTY_WAL).fetch_one(&mut *conn).await.map_err(fail())?;
        Ok(busy == 0)
    }
}

/// Returns how often a person was erased.
pub(super) async fn erasures(conn: &mut SqliteConnection) -> Result<u64, StoreError> {
    let row: Option<(i64,)> =
        sqlx::query_as(ERASURES).fetch_optional(conn).await.map_err(StoreError::new("ask for erasures"))?;
    Ok(row.map_or(0, |(n,)| unsigned(n)))
}
