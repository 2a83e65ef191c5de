//! Stores and reads attachments, snapshots and names of persons.

use std::sync::Arc;

use super::PostgresLog;
use crate::event::{ChainHash, FactId};
use crate::log::codec;
use crate::log::error::{ReadError, StoreError};
use crate::log::rows::{SnapshotRow, StoredSnapshotRow, signed, stored_snapshots, unsigned};
use crate::log::types::{ATTACHMENT_BYTES_MAX, SNAPSHOT_BYTES_MAX, Snapshot, Snapshots};
use crate::model::{PersonId, Seq};

const ATTACHMENT: &str = "SELECT content FROM attachments WHERE digest = $1";
const PUT_SNAPSHOT: &str = "INSERT INTO snapshots (seq, state_version, program, digest, state, hash) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (seq, state_version) DO UPDATE SET program = excluded.program, \
     digest = excluded.digest, state = excluded.state, hash = excluded.hash";
const DROP_SNAPSHOT: &str = "DELETE FROM snapshots WHERE seq = $1 AND state_version = $2";
const SNAPSHOTS: &str =
    "SELECT seq, state_version, program, hash, octet_length(state)::int8 FROM snapshots ORDER BY seq";
/// Size of all our tables, except what snapshots take.
const TABLES_BYTES: &str = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::int8 FROM pg_class \
     WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND oid <> 'snapshots'::regclass";
const SNAPSHOT: &str = "SELECT seq, program, digest, state, hash FROM snapshots \
     WHERE seq <= $1 AND state_version = $2 ORDER BY seq DESC LIMIT 1";
const DROP_SNAPSHOTS: &str = "DELETE FROM snapshots";
const NOTE_IMPORT: &str =
    "INSERT INTO meta (key, value) VALUES ('importing', $1::int8::text) ON CONFLICT (key) DO NOTHING";
const IMPORT_IS_OVER: &str = "DELETE FROM meta WHERE key = 'importing'";
const PERSON: &str = "SELECT id FROM persons WHERE name = $1";
const NAME: &str = "SELECT name FROM persons WHERE id = $1";
const FACT: &str = "SELECT seq FROM events WHERE fact = $1";
const PERSONS: &str = "SELECT id, name FROM persons ORDER BY id";

impl PostgresLog {
    pub(super) async fn attachment(&self, digest: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let Ok(key) = hex::decode(digest) else { return Ok(None) };
        let row: Option<(Vec<u8>,)> = sqlx::query_as(ATTACHMENT)
            .bind(key)
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(StoreError::new("read an attachment"))?;
        row.map(|(packed,)| codec::unpack_attachment(digest, &packed, ATTACHMENT_BYTES_MAX)).transpose()
    }

    pub(super) async fn put_snapshot(&self, snapshot: &Snapshot, without: &[(Seq, u32)]) -> Result<(), StoreError> {
        let fail = || StoreError::new("store a snapshot");
        let packed = codec::pack_snapshot(Arc::clone(&snapshot.bytes)).await;
        let packed = packed.map_err(|e| fail()(sqlx::Error::Io(e)))?;
        let mut tx = self.inner.pool.begin().await.map_err(fail())?;
        sqlx::query(PUT_SNAPSHOT)
            .bind(signed(snapshot.seq.get()))
            .bind(i64::from(snapshot.state_version))
            .bind(&snapshot.program)
            .bind(&snapshot.digest)
            .bind(packed)
            .bind(snapshot.hash.0.to_vec())
            .execute(&mut *tx)
            .await
            .map_err(fail())?;
        for (seq, version) in without {
            let (seq, version) = (signed(seq.get()), i64::from(*version));
            sqlx::query(DROP_SNAPSHOT).bind(seq).bind(version).execute(&mut *tx).await.map_err(fail())?;
        }
        tx.commit().await.map_err(fail())
    }

    pub(super) async fn latest_snapshot(
        &self,
        at_most: Option<Seq>,
        state_version: u32,
    ) -> Result<Option<Snapshot>, ReadError> {
        let row: Option<SnapshotRow> = sqlx::query_as(SNAPSHOT)
            .bind(at_most.map_or(i64::MAX, |s| signed(s.get())))
            .bind(i64::from(state_version))
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(StoreError::new("read a snapshot"))?;
        let Some((seq, program, digest, packed, hash)) = row else { return Ok(None) };
        let bad = |e: String| ReadError::Content { what: format!("the snapshot of event {seq}: {e}") };
        let unpacking = tokio::task::spawn_blocking(move || codec::unpack(&packed, SNAPSHOT_BYTES_MAX)).await;
        let bytes = unpacking.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())).map_err(bad)?.into();
        let seq = Seq::new(unsigned(seq)).ok_or_else(|| bad("its event is none".to_owned()))?;
        let hash = hash.try_into().map(ChainHash).map_err(|_| bad("its hash is none".to_owned()))?;
        Ok(Some(Snapshot { seq, hash, program, state_version, digest, bytes }))
    }

    pub(super) async fn snapshots(&self) -> Result<Snapshots, ReadError> {
        let fail = || StoreError::new("list the snapshots");
        let rows: Vec<StoredSnapshotRow> =
            sqlx::query_as(SNAPSHOTS).fetch_all(&self.inner.pool).await.map_err(fail())?;
        let others: i64 = sqlx::query_scalar(TABLES_BYTES).fetch_one(&self.inner.pool).await.map_err(fail())?;
        Ok(Snapshots { kept: stored_snapshots(rows), others_bytes: unsigned(others) })
    }

    pub(super) async fn drop_snapshots(&self) -> Result<u64, StoreError> {
        let done = sqlx::query(DROP_SNAPSHOTS).execute(&self.inner.pool).await;
        done.map(|d| d.rows_affected()).map_err(StoreError::new("drop snapshots"))
    }

    pub(super) async fn note_import(&self, whole: Option<Seq>) -> Result<(), StoreError> {
        let note = match whole {
            Some(seq) => sqlx::query(NOTE_IMPORT).bind(signed(seq.get())),
            None => sqlx::query(IMPORT_IS_OVER),
        };
        note.execute(&self.inner.pool).await.map(drop).map_err(StoreError::new("note an import"))
    }

    pub(super) async fn person(&self, name: &str) -> Result<Option<PersonId>, ReadError> {
        let row: Option<(String,)> = sqlx::query_as(PERSON)
            .bind(name)
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(StoreError::new("find a person"))?;
        Ok(row.map(|(id,)| PersonId::new(id)))
    }

    pub(super) async fn name_of(&self, id: &PersonId) -> Result<Option<String>, ReadError> {
        let row: Option<(String,)> = sqlx::query_as(NAME)
            .bind(id.as_str())
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(StoreError::new("find a name"))?;
        Ok(row.map(|(name,)| name))
    }

    pub(super) async fn has_fact(&self, fact: &FactId) -> Result<bool, ReadError> {
        let row: Option<(i64,)> = sqlx::query_as(FACT)
            .bind(fact.0.to_vec())
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(StoreError::new("look for a fact"))?;
        Ok(row.is_some())
    }

    pub(super) async fn all_persons(&self) -> Result<Vec<(PersonId, String)>, ReadError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as(PERSONS).fetch_all(&self.inner.pool).await.map_err(StoreError::new("read persons"))?;
        Ok(rows.into_iter().map(|(id, name)| (PersonId::new(id), name)).collect())
    }
}
