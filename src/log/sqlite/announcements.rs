//! Stores and reads announcements.

use std::collections::HashSet;

use serde_json::json;
use sqlx::SqliteConnection;

use super::{SqliteLog, page};
use crate::log::announcements::{AnnouncementRow, Announcements, of_row};
use crate::log::append::cut_reason;
use crate::log::error::{ReadError, StoreError};
use crate::log::rows::{signed, unsigned};
use crate::log::types::{Announcement, AnnouncementCounts};
use crate::model::Timestamp;

const NEXT: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body FROM announcements WHERE number IN \
     (SELECT min(number) FROM announcements WHERE state = 0 GROUP BY subject ORDER BY min(number) LIMIT ?) \
     ORDER BY number";
const ALL: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body FROM announcements \
     WHERE number > ? ORDER BY number LIMIT ?";
const ANNOUNCED: &str = "UPDATE announcements SET state = 1 WHERE id IN (SELECT value FROM json_each(?)) AND state = 0";
const UNSENDABLE: &str = "UPDATE announcements SET state = 2, reason = ? WHERE id = ? AND state = 0";
const COUNTS: &str = "SELECT (SELECT count(*) FROM announcements WHERE state = 0), (SELECT made_at FROM announcements \
     WHERE number = (SELECT min(number) FROM announcements WHERE state = 0)), \
     (SELECT count(*) FROM announcements WHERE state = 2)";
const SUBJECTS: &str = "SELECT DISTINCT subject FROM announcements";
const INSERT: &str = "INSERT INTO announcements (id, seq, subject, made_at, topic, headers, body) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 \
     FROM json_each(?) ORDER BY key";

impl Announcements for SqliteLog {
    async fn next_announcements(&self, limit: usize) -> Result<Vec<Announcement>, ReadError> {
        let rows: Vec<AnnouncementRow> = sqlx::query_as(NEXT)
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read the next announcements"))?;
        rows.into_iter().map(|row| Ok(of_row(row)?.1)).collect()
    }

    async fn mark_announced(&self, ids: &[String]) -> Result<u64, StoreError> {
        let done = sqlx::query(ANNOUNCED).bind(json!(ids).to_string()).execute(&self.inner.writer).await;
        done.map(|d| d.rows_affected()).map_err(StoreError::new("note announcements as confirmed"))
    }

    async fn mark_unsendable(&self, id: &str, reason: &str) -> Result<(), StoreError> {
        let done = sqlx::query(UNSENDABLE).bind(cut_reason(reason)).bind(id).execute(&self.inner.writer).await;
        done.map(drop).map_err(StoreError::new("set an announcement aside"))
    }

    async fn announcement_counts(&self) -> Result<AnnouncementCounts, ReadError> {
        let (waiting, oldest, unsendable): (i64, Option<i64>, i64) = sqlx::query_as(COUNTS)
            .fetch_one(&self.inner.readers)
            .await
            .map_err(StoreError::new("count announcements"))?;
        let oldest = oldest.map(Timestamp);
        Ok(AnnouncementCounts { waiting: unsigned(waiting), oldest, unsendable: unsigned(unsendable) })
    }

    async fn announcements(&self, after: u64, limit: usize) -> Result<Vec<(u64, Announcement)>, ReadError> {
        let rows: Vec<AnnouncementRow> = sqlx::query_as(ALL)
            .bind(signed(after))
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read announcements"))?;
        rows.into_iter().map(of_row).collect()
    }

    async fn announced_subjects(&self) -> Result<HashSet<String>, ReadError> {
        let rows: Vec<(String,)> = sqlx::query_as(SUBJECTS)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read what was announced"))?;
        Ok(rows.into_iter().map(|(subject,)| subject).collect())
    }
}

/// Adds announcements, in order.
pub(super) async fn insert(conn: &mut SqliteConnection, announcements: &[Announcement]) -> Result<(), StoreError> {
    if announcements.is_empty() {
        return Ok(());
    }
    let row = |a: &Announcement| json!([a.id, a.seq, a.subject, a.made_at.micros(), a.topic, a.headers, a.body]);
    let rows: Vec<_> = announcements.iter().map(row).collect();
    let done = sqlx::query(INSERT).bind(json!(rows).to_string()).execute(&mut *conn).await;
    done.map(drop).map_err(StoreError::new("append announcements"))
}
