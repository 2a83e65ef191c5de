//! Commands that leave.

use serde_json::json;

use super::{SqliteLog, page};
use crate::log::error::{ReadError, StoreError};
use crate::log::rows::unsigned;
use crate::log::types::OutboxCommand;
use crate::model::Seq;

const WAITING: &str = "SELECT id, seq, kind, payload FROM outbox WHERE sent = 0 ORDER BY number LIMIT ?";
const SENT: &str = "UPDATE outbox SET sent = 1 WHERE id IN (SELECT value FROM json_each(?)) AND sent = 0";

impl SqliteLog {
    pub(super) async fn read_commands(&self, limit: usize) -> Result<Vec<OutboxCommand>, ReadError> {
        let rows: Vec<(String, i64, String, String)> = sqlx::query_as(WAITING)
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read commands"))?;
        rows.into_iter()
            .map(|(id, seq, kind, payload)| {
                let seq = Seq::new(unsigned(seq))
                    .ok_or_else(|| ReadError::Content { what: format!("command `{id}`: its cause is no event") })?;
                Ok(OutboxCommand { id, seq, kind, payload })
            })
            .collect()
    }

    pub(super) async fn note_sent(&self, ids: &[String]) -> Result<u64, StoreError> {
        let done = sqlx::query(SENT).bind(json!(ids).to_string()).execute(&self.inner.writer).await;
        done.map(|d| d.rows_affected()).map_err(StoreError::new("note commands as sent"))
    }
}
