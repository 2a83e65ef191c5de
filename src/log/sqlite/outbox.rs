//! Stores and reads the commands of the outbox.

use std::collections::HashSet;

use serde_json::json;

use super::{SqliteLog, page};
use crate::log::error::{ReadError, StoreError};
use crate::log::rows::{self, signed, unsigned};
use crate::log::types::OutboxCommand;
use crate::model::Seq;

const WAITING: &str = "SELECT id, seq, kind, payload FROM outbox WHERE sent = 0 ORDER BY number LIMIT ?";
const ALL: &str = "SELECT number, id, seq, kind, payload FROM outbox WHERE number > ? ORDER BY number LIMIT ?";
const OF_EVENTS: &str = "SELECT DISTINCT seq FROM outbox WHERE seq IN (SELECT value FROM json_each(?))";
const SENT: &str = "UPDATE outbox SET sent = 1 WHERE id IN (SELECT value FROM json_each(?)) AND sent = 0";

impl SqliteLog {
    pub(super) async fn pending_commands(&self, limit: usize) -> Result<Vec<OutboxCommand>, ReadError> {
        let rows: Vec<(String, i64, String, String)> = sqlx::query_as(WAITING)
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read commands"))?;
        rows.into_iter().map(|(id, seq, kind, payload)| rows::command(id, seq, kind, payload)).collect()
    }

    pub(super) async fn outbox(&self, after: u64, limit: usize) -> Result<Vec<(u64, OutboxCommand)>, ReadError> {
        let rows: Vec<(i64, String, i64, String, String)> = sqlx::query_as(ALL)
            .bind(signed(after))
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read the outbox"))?;
        rows.into_iter()
            .map(|(number, id, seq, kind, payload)| Ok((unsigned(number), rows::command(id, seq, kind, payload)?)))
            .collect()
    }

    pub(super) async fn commands_of(&self, events: &[Seq]) -> Result<HashSet<Seq>, ReadError> {
        let events: Vec<i64> = events.iter().map(|seq| signed(seq.get())).collect();
        let rows: Vec<(i64,)> = sqlx::query_as(OF_EVENTS)
            .bind(json!(events).to_string())
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("look for commands"))?;
        Ok(rows.into_iter().filter_map(|(seq,)| Seq::new(unsigned(seq))).collect())
    }

    pub(super) async fn mark_sent(&self, ids: &[String]) -> Result<u64, StoreError> {
        let done = sqlx::query(SENT).bind(json!(ids).to_string()).execute(&self.inner.writer).await;
        done.map(|d| d.rows_affected()).map_err(StoreError::new("note commands as sent"))
    }
}
