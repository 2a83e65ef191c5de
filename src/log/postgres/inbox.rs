//! Stores and reads messages of the inbox.

use std::collections::{HashMap, HashSet};

use super::{LOCK_INBOX, PostgresLog, page, read_only};
use crate::log::append::pack_messages;
use crate::log::codec;
use crate::log::error::{ReadError, ReceiveError, StoreError};
use crate::log::inbox::{FateRow, ParkedRow, PendingRow, in_order, looked_through, parked, pending};
use crate::log::rows::{signed, unsigned};
use crate::log::types::{BODY_BYTES_MAX, Counts, Fate, Incoming, Parked, PastMessage, Pending, Position, Received};
use crate::model::Timestamp;

const LAST_POSITION: &str = "SELECT coalesce(max(position), 0) FROM inbox";
const KNOWN_IDS: &str = "SELECT id, position FROM inbox WHERE id = ANY($1)";
const INSERT: &str = "INSERT INTO inbox (position, id, source, topic, received_at, digest) \
     SELECT * FROM UNNEST($1::int8[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::bytea[])";
const INSERT_BODIES: &str = "INSERT INTO raw_bodies (position, body) SELECT * FROM UNNEST($1::int8[], $2::bytea[])";
const PENDING: &str = "SELECT i.position, id, source, topic, received_at, digest, body FROM inbox i \
     LEFT JOIN raw_bodies b ON b.position = i.position \
     WHERE state = 0 AND i.position > $1 ORDER BY i.position LIMIT $2";
const PENDING_OF: &str = "SELECT i.position, id, source, topic, received_at, digest, body FROM inbox i \
     LEFT JOIN raw_bodies b ON b.position = i.position \
     WHERE state = 0 AND i.position > $1 AND i.position <= $2 AND source = $3 ORDER BY i.position LIMIT $4";
const FATES: &str = "SELECT id, state::int8, reason FROM inbox WHERE id = ANY($1)";
const LAST_RECEIVED: &str = "SELECT i.position, source, topic, received_at, digest, body FROM inbox i \
     LEFT JOIN raw_bodies b ON b.position = i.position WHERE source <> $1 ORDER BY i.position DESC LIMIT $2";
const PARKED: &str = "SELECT position, id, source, topic, received_at, coalesce(reason, '') FROM inbox \
     WHERE state = 3 AND position > $1 ORDER BY position LIMIT $2";
const PARKED_MESSAGES: &str = "SELECT i.position, id, source, topic, received_at, digest, body, coalesce(reason, '') \
     FROM inbox i LEFT JOIN raw_bodies b ON b.position = i.position \
     WHERE id = ANY($1) AND state = 3 ORDER BY i.position";
const UNPARK: &str = "UPDATE inbox SET state = 0, reason = NULL \
     WHERE id = ANY($1) AND state = 3";
const COUNTS: &str = "SELECT (SELECT coalesce(max(position), 0) FROM inbox), \
     (SELECT count(*) FROM inbox WHERE state = 0), (SELECT count(*) FROM inbox WHERE state = 3), \
     (SELECT count(*) FROM outbox WHERE sent = 0)";
/// Number of bodies deleted in one transaction.
const PRUNED_AT_ONCE: i64 = 5000;
const PRUNABLE: &str = "SELECT b.position FROM raw_bodies AS b JOIN inbox AS i ON i.position = b.position \
     WHERE b.position > $1 AND i.state IN (1, 2) AND i.received_at < $2 ORDER BY b.position LIMIT $3";
const PRUNE: &str = "DELETE FROM raw_bodies WHERE position = ANY($1)";

/// A row of [`LAST_RECEIVED`], with its columns in order.
type LastReceived = (i64, String, String, i64, Vec<u8>, Option<Vec<u8>>);

impl PostgresLog {
    pub(super) async fn receive(&self, messages: &[Incoming]) -> Result<Vec<Received>, ReceiveError> {
        let fail = || StoreError::new("receive messages");
        if self.inner.payloads.is_none() {
            return Err(read_only("receive messages").into());
        }
        let packed = pack_messages(messages)?;
        let mut tx = self.begin(LOCK_INBOX, "receive messages").await?;
        let ids: Vec<&str> = packed.iter().map(|m| m.id.as_str()).collect();
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
        let positions: Vec<i64> = new.iter().map(|n| n.0).collect();
        sqlx::query(INSERT)
            .bind(&positions)
            .bind(new.iter().map(|(_, m)| m.id.as_str()).collect::<Vec<_>>())
            .bind(new.iter().map(|(_, m)| m.source.as_str()).collect::<Vec<_>>())
            .bind(new.iter().map(|(_, m)| m.topic.as_str()).collect::<Vec<_>>())
            .bind(new.iter().map(|(_, m)| m.received_at).collect::<Vec<_>>())
            .bind(new.iter().map(|(_, m)| &m.digest[..]).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await
            .map_err(fail())?;
        sqlx::query(INSERT_BODIES)
            .bind(positions)
            .bind(new.iter().map(|(_, m)| m.body.as_slice()).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await
            .map_err(fail())?;
        tx.commit().await.map_err(fail())?;
        Ok(answers)
    }

    pub(super) async fn received(&self, ids: &[&str]) -> Result<HashSet<String>, ReadError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(KNOWN_IDS)
            .bind(ids)
            .fetch_all(&self.inner.pool)
            .await
            .map_err(StoreError::new("look up messages"))?;
        Ok(rows.into_iter().map(|(id, _)| id).collect())
    }

    pub(super) async fn last_received(&self, besides: &str, limit: usize) -> Result<Vec<PastMessage>, ReadError> {
        let rows: Vec<LastReceived> = sqlx::query_as(LAST_RECEIVED)
            .bind(besides)
            .bind(page(limit))
            .fetch_all(&self.inner.pool)
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
            .fetch_all(&self.inner.pool)
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
        let (last,): (i64,) = sqlx::query_as(LAST_POSITION).fetch_one(&self.inner.pool).await.map_err(fail())?;
        let rows: Vec<PendingRow> = sqlx::query_as(PENDING_OF)
            .bind(signed(after.map_or(0, |p| p.0)))
            .bind(last)
            .bind(source)
            .bind(page(limit))
            .fetch_all(&self.inner.pool)
            .await
            .map_err(fail())?;
        looked_through(rows, last, limit)
    }

    pub(super) async fn fates(&self, ids: &[&str]) -> Result<Vec<Option<Fate>>, ReadError> {
        let rows: Vec<FateRow> = sqlx::query_as(FATES)
            .bind(ids)
            .fetch_all(&self.inner.pool)
            .await
            .map_err(StoreError::new("look up messages"))?;
        Ok(in_order(ids, rows))
    }

    pub(super) async fn parked(&self, after: Option<Position>, limit: usize) -> Result<Vec<Parked>, ReadError> {
        let rows: Vec<(i64, String, String, String, i64, String)> = sqlx::query_as(PARKED)
            .bind(signed(after.map_or(0, |p| p.0)))
            .bind(page(limit))
            .fetch_all(&self.inner.pool)
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
            .bind(ids)
            .fetch_all(&self.inner.pool)
            .await
            .map_err(StoreError::new("read parked messages"))?;
        rows.into_iter().map(parked).collect()
    }

    pub(super) async fn unpark(&self, ids: &[String]) -> Result<u64, StoreError> {
        let done = sqlx::query(UNPARK).bind(ids).execute(&self.inner.pool).await;
        done.map(|d| d.rows_affected()).map_err(StoreError::new("unpark messages"))
    }

    pub(super) async fn counts(&self) -> Result<Counts, ReadError> {
        let (total, pending, parked, outbox): (i64, i64, i64, i64) =
            sqlx::query_as(COUNTS).fetch_one(&self.inner.pool).await.map_err(StoreError::new("count"))?;
        Ok(Counts {
            inbox_total: unsigned(total),
            inbox_pending: unsigned(pending),
            inbox_parked: unsigned(parked),
            outbox_pending: unsigned(outbox),
        })
    }

    pub(super) async fn prune_raw(&self, before: Timestamp) -> Result<u64, StoreError> {
        let fail = || StoreError::new("prune message bodies");
        let (mut deleted, mut after) = (0, 0);
        loop {
            let some = sqlx::query_as(PRUNABLE).bind(after).bind(before.micros()).bind(PRUNED_AT_ONCE);
            let some = async { some.fetch_all(&self.inner.pool).await.map_err(fail()) };
            let found: Vec<(i64,)> = self.answered(some).await?;
            let Some((last,)) = found.last() else { return Ok(deleted) };
            after = *last;
            // What is settled stays settled.
            let positions: Vec<i64> = found.into_iter().map(|(position,)| position).collect();
            let prune = async { sqlx::query(PRUNE).bind(positions).execute(&self.inner.pool).await.map_err(fail()) };
            let done = self.answered(prune).await?;
            deleted += done.rows_affected();
        }
    }
}
