//! Stores and reads messages of the inbox.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use sqlx::QueryBuilder;

use super::{SqliteLog, page, read_only};
use crate::log::append::pack_messages;
use crate::log::codec;
use crate::log::error::{ReadError, ReceiveError, StoreError};
use crate::log::inbox::{FateRow, ParkedRow, PendingRow, in_order, looked_through, parked, pending};
use crate::log::rows::{signed, unsigned};
use crate::log::types::{BODY_BYTES_MAX, Counts, Fate, Incoming, Parked, PastMessage, Pending, Position, Received};
use crate::model::Timestamp;

/// Number of rows per statement.
const ROWS: usize = 100;
const LAST_POSITION: &str = "SELECT coalesce(max(position), 0) FROM inbox";
const KNOWN_IDS: &str = "SELECT id, position FROM inbox WHERE id IN (SELECT value FROM json_each(?))";
const INSERT: &str = "INSERT INTO inbox (position, id, source, topic, received_at, digest) ";
const INSERT_BODY: &str = "INSERT INTO raw_bodies (position, body) ";
const PENDING: &str = "SELECT i.position, id, source, topic, received_at, digest, body FROM inbox i \
     LEFT JOIN raw_bodies b ON b.position = i.position WHERE state = 0 AND i.position > ? ORDER BY i.position LIMIT ?";
const PENDING_OF: &str = "SELECT i.position, id, source, topic, received_at, digest, body FROM inbox i \
     LEFT JOIN raw_bodies b ON b.position = i.position \
     WHERE state = 0 AND i.position > ? AND i.position <= ? AND source = ? ORDER BY i.position LIMIT ?";
const FATES: &str = "SELECT id, state, reason FROM inbox WHERE id IN (SELECT value FROM json_each(?))";
const LAST_RECEIVED: &str = "SELECT i.position, source, topic, received_at, digest, body FROM inbox i \
     LEFT JOIN raw_bodies b ON b.position = i.position WHERE source <> ? ORDER BY i.position DESC LIMIT ?";
const PARKED: &str = "SELECT position, id, source, topic, received_at, coalesce(reason, '') FROM inbox \
     WHERE state = 3 AND position > ? ORDER BY position LIMIT ?";
const PARKED_MESSAGES: &str = "SELECT i.position, id, source, topic, received_at, digest, body, coalesce(reason, '') \
     FROM inbox i LEFT JOIN raw_bodies b ON b.position = i.position \
     WHERE id IN (SELECT value FROM json_each(?)) AND state = 3 ORDER BY i.position";
const UNPARK: &str = "UPDATE inbox SET state = 0, reason = NULL \
     WHERE id IN (SELECT value FROM json_each(?)) AND state = 3";
const COUNTS: &str = "SELECT (SELECT coalesce(max(position), 0) FROM inbox), \
     (SELECT count(*) FROM inbox WHERE state = 0), (SELECT count(*) FROM inbox WHERE state = 3), \
     (SELECT count(*) FROM outbox WHERE sent = 0)";
/// Number of bodies deleted in one transaction.
const PRUNED_AT_ONCE: i64 = 5000;
const PRUNABLE: &str = "SELECT b.position FROM raw_bodies AS b CROSS JOIN inbox AS i ON i.position = b.position \
     WHERE b.position > ? AND i.state IN (1, 2) AND i.received_at < ? ORDER BY b.position LIMIT ?";
const PRUNE: &str = "DELETE FROM raw_bodies WHERE position IN (SELECT value FROM json_each(?))";

/// A row of [`LAST_RECEIVED`], with its columns in order.
type LastReceived = (i64, String, String, i64, Vec<u8>, Option<Vec<u8>>);

impl SqliteLog {
    pub(super) async fn receive(&self, messages: &[Incoming]) -> Result<Vec<Received>, ReceiveError> {
        let fail = || StoreError::new("receive messages");
        if self.inner.payloads.is_none() {
            return Err(read_only("receive messages").into());
        }
        let packed = pack_messages(messages)?;
        let mut tx = self.begin("receive messages").await?;
        let ids = json!(packed.iter().map(|m| &m.id).collect::<Vec<_>>()).to_string();
        let known: Vec<(String, i64)> = sqlx::query_as(KNOWN_IDS).bind(ids).fetch_all(&mut *tx).await.map_err(fail())?;
        let mut known: HashMap<String, i64> = known.into_iter().collect();
        let (mut last,): (i64,) = sqlx::query_as(LAST_POSITION).fetch_one(&mut *tx).await.map_err(fail())?;
        let mut answers = Vec::with_capacity(packed.len());
        let mut new = Vec::with_capacity(packed.len());
        for message in packed {
            if known.contains_key(&message.id) {
                answers.push(Received::Duplicate);
                continue;
            }
            last += 1;
            known.insert(message.id.clone(), last);
            answers.push(Received::Stored { position: Position(unsigned(last)) });
            new.push((last, message));
        }
        let mut bodies: Vec<(i64, Vec<u8>)> = Vec::with_capacity(new.len());
        for (position, message) in &mut new {
            bodies.push((*position, std::mem::take(&mut message.body)));
        }
        for chunk in new.chunks(ROWS) {
            let mut query = QueryBuilder::new(INSERT);
            query.push_values(chunk, |mut row, (position, m)| {
                row.push_bind(position).push_bind(&m.id).push_bind(&m.source).push_bind(&m.topic);
                row.push_bind(m.received_at).push_bind(&m.digest[..]);
            });
            query.build().persistent(chunk.len() == ROWS).execute(&mut *tx).await.map_err(fail())?;
        }
        for chunk in bodies.chunks(ROWS) {
            let mut query = QueryBuilder::new(INSERT_BODY);
            query.push_values(chunk, |mut row, (position, body)| {
                row.push_bind(position).push_bind(body);
            });
            query.build().persistent(chunk.len() == ROWS).execute(&mut *tx).await.map_err(fail())?;
        }
        self.finish(tx, "receive messages").await?;
        Ok(answers)
    }

    pub(super) async fn received(&self, ids: &[&str]) -> Result<HashSet<String>, ReadError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(KNOWN_IDS)
            .bind(json!(ids).to_string())
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("look up messages"))?;
        Ok(rows.into_iter().map(|(id, _)| id).collect())
    }

    pub(super) async fn last_received(&self, besides: &str, limit: usize) -> Result<Vec<PastMessage>, ReadError> {
        let rows: Vec<LastReceived> = sqlx::query_as(LAST_RECEIVED)
            .bind(besides)
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read the last messages"))?;
        rows.into_iter()
            .rev()
            .map(|(position, source, topic, received_at, digest, body)| {
                let body = body.map(|body| codec::unpack_body(Some(body), &digest, BODY_BYTES_MAX)).transpose();
                let body =
                    body.map_err(|e| ReadError::Content { what: format!("message {position} of the inbox: {e}") })?;
                Ok(PastMessage { source, topic, received_at: Timestamp(received_at), body })
            })
            .collect()
    }

    pub(super) async fn pending(&self, after: Option<Position>, limit: usize) -> Result<Vec<Pending>, ReadError> {
        let rows: Vec<PendingRow> = sqlx::query_as(PENDING)
            .bind(signed(after.map_or(0, |p| p.0)))
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read pending messages"))?;
        rows.into_iter().map(pending).collect()
    }

    pub(super) async fn pending_of(
        &self,
        source: &str,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<Pending>, Option<Position>), ReadError> {
        let fail = || StoreError::new("read pending messages");
        // A message received after this has a higher position and is found by the next call.
        let (last,): (i64,) = sqlx::query_as(LAST_POSITION).fetch_one(&self.inner.readers).await.map_err(fail())?;
        let rows: Vec<PendingRow> = sqlx::query_as(PENDING_OF)
            .bind(signed(after.map_or(0, |p| p.0)))
            .bind(last)
            .bind(source)
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(fail())?;
        looked_through(rows, last, limit)
    }

    pub(super) async fn fates(&self, ids: &[&str]) -> Result<Vec<Option<Fate>>, ReadError> {
        let rows: Vec<FateRow> = sqlx::query_as(FATES)
            .bind(json!(ids).to_string())
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("look up messages"))?;
        Ok(in_order(ids, rows))
    }

    pub(super) async fn parked(&self, after: Option<Position>, limit: usize) -> Result<Vec<Parked>, ReadError> {
        let rows: Vec<(i64, String, String, String, i64, String)> = sqlx::query_as(PARKED)
            .bind(signed(after.map_or(0, |p| p.0)))
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read parked messages"))?;
        Ok(rows
            .into_iter()
            .map(|(position, id, source, topic, received_at, reason)| Parked {
                position: Position(unsigned(position)),
                id,
                source,
                topic,
                received_at: Timestamp(received_at),
                reason,
            })
            .collect())
    }

    pub(super) async fn parked_messages(&self, ids: &[&str]) -> Result<Vec<(Pending, String)>, ReadError> {
        let rows: Vec<ParkedRow> = sqlx::query_as(PARKED_MESSAGES)
            .bind(json!(ids).to_string())
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read parked messages"))?;
        rows.into_iter().map(parked).collect()
    }

    pub(super) async fn unpark(&self, ids: &[String]) -> Result<u64, StoreError> {
        let done = sqlx::query(UNPARK).bind(json!(ids).to_string()).execute(&self.inner.writer).await;
        done.map(|d| d.rows_affected()).map_err(StoreError::new("unpark messages"))
    }

    pub(super) async fn counts(&self) -> Result<Counts, ReadError> {
        let (total, pending, parked, outbox): (i64, i64, i64, i64) =
            sqlx::query_as(COUNTS).fetch_one(&self.inner.readers).await.map_err(StoreError::new("count"))?;
        Ok(Counts {
            inbox_total: unsigned(total),
            inbox_pending: unsigned(pending),
            inbox_parked: unsigned(parked),
            outbox_pending: unsigned(outbox),
        })
    }

    pub(super) async fn prune_raw(&self, before: Timestamp) -> Result<u64, StoreError> {
        let fail = || StoreError::new("prune message bodies");
        if self.inner.payloads.is_none() {
            return Err(read_only("prune message bodies"));
        }
        let (mut deleted, mut after) = (0, 0);
        loop {
            // Search without the write lock, which all writers need. What is settled stays settled.
            let found: Vec<(i64,)> = sqlx::query_as(PRUNABLE)
                .bind(after)
                .bind(before.micros())
                .bind(PRUNED_AT_ONCE)
                .fetch_all(&self.inner.readers)
                .await
                .map_err(fail())?;
            let Some((last,)) = found.last() else { return Ok(deleted) };
            after = *last;
            let positions = json!(found.iter().map(|(position,)| position).collect::<Vec<_>>()).to_string();
            let done = sqlx::query(PRUNE).bind(positions).execute(&self.inner.writer).await.map_err(fail())?;
            deleted += done.rows_affected();
        }
    }
}
