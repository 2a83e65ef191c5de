//! Stores and reads announcements.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::{PostgresLog, page};
use crate::log::announcements::{AnnouncementRow, Announcements, of_row};
use crate::log::append::cut_reason;
use crate::log::error::{ReadError, StoreError};
use crate::log::rows::{signed, unsigned};
use crate::log::types::{Announcement, AnnouncementCounts};
use crate::model::Timestamp;

const NEXT: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body FROM announcements WHERE number IN \
     (SELECT min(number) FROM announcements WHERE state = 0 GROUP BY subject ORDER BY min(number) LIMIT $1) \
     ORDER BY number";
const ALL: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body FROM announcements \
     WHERE number > $1 ORDER BY number LIMIT $2";
const ANNOUNCED: &str = "UPDATE announcements SET state = 1 WHERE id = ANY($1) AND state = 0";
const UNSENDABLE: &str = "UPDATE announcements SET state = 2, reason = $1 WHERE id = $2 AND state = 0";
const COUNTS: &str = "SELECT (SELECT count(*) FROM announcements WHERE state = 0), (SELECT made_at FROM announcements \
     WHERE number = (SELECT min(number) FROM announcements WHERE state = 0)), \
     (SELECT count(*) FROM announcements WHERE state = 2)";
const SUBJECTS: &str = "SELECT DISTINCT subject FROM announcements";
const INSERT: &str = "INSERT INTO announcements (number, id, seq, subject, made_at, topic, headers, body) \
     SELECT (SELECT coalesce(max(number), 0) FROM announcements) + n, id, seq, subject, made_at, topic, headers, body \
     FROM UNNEST($1::text[], $2::int8[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::text[]) \
     WITH ORDINALITY AS t (id, seq, subject, made_at, topic, headers, body, n)";

impl Announcements for PostgresLog {
    async fn next_announcements(&self, limit: usize) -> Result<Vec<Announcement>, ReadError> {
        let read = async {
            let rows: Vec<AnnouncementRow> = sqlx::query_as(NEXT)
                .bind(page(limit))
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("read the next announcements"))?;
            rows.into_iter().map(|row| Ok(of_row(row)?.1)).collect()
        };
        self.answered(read).await
    }

    async fn mark_announced(&self, ids: &[String]) -> Result<u64, StoreError> {
        let mark = async {
            let done = sqlx::query(ANNOUNCED).bind(ids).execute(&self.inner.pool).await;
            done.map(|d| d.rows_affected()).map_err(StoreError::new("note announcements as confirmed"))
        };
        self.answered(mark).await
    }

    async fn mark_unsendable(&self, id: &str, reason: &str) -> Result<(), StoreError> {
        let mark = async {
            let done = sqlx::query(UNSENDABLE).bind(cut_reason(reason)).bind(id).execute(&self.inner.pool).await;
            done.map(drop).map_err(StoreError::new("set an announcement aside"))
        };
        self.answered(mark).await
    }

    async fn announcement_counts(&self) -> Result<AnnouncementCounts, ReadError> {
        let count = async {
            let (waiting, oldest, unsendable): (i64, Option<i64>, i64) = sqlx::query_as(COUNTS)
                .fetch_one(&self.inner.pool)
                .await
                .map_err(StoreError::new("count announcements"))?;
            let oldest = oldest.map(Timestamp);
            Ok(AnnouncementCounts { waiting: unsigned(waiting), oldest, unsendable: unsigned(unsendable) })
        };
        self.answered(count).await
    }

    async fn announcements(&self, after: u64, limit: usize) -> Result<Vec<(u64, Announcement)>, ReadError> {
        let read = async {
            let rows: Vec<AnnouncementRow> = sqlx::query_as(ALL)
                .bind(signed(after))
                .bind(page(limit))
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("read announcements"))?;
            rows.into_iter().map(of_row).collect()
        };
        self.answered(read).await
    }

    async fn announced_subjects(&self) -> Result<HashSet<String>, ReadError> {
        let read = async {
            let rows: Vec<(String,)> = sqlx::query_as(SUBJECTS)
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("read what was announced"))?;
            Ok(rows.into_iter().map(|(subject,)| subject).collect())
        };
        self.answered(read).await
    }
}

/// Adds announcements, in order. The caller holds the lock of appenders.
pub(super) async fn insert(conn: &mut PgConnection, announcements: &[Announcement]) -> Result<(), StoreError> {
    if announcements.is_empty() {
        return Ok(());
    }
    let texts = |of: fn(&Announcement) -> &str| announcements.iter().map(of).collect::<Vec<_>>();
    let done = sqlx::query(INSERT)
        .bind(texts(|a| &a.id))
        .bind(announcements.iter().map(|a| signed(a.seq.get())).collect::<Vec<_>>())
        .bind(texts(|a| &a.subject))
        .bind(announcements.iter().map(|a| a.made_at.micros()).collect::<Vec<_>>())
        .bind(texts(|a| &a.topic))
        .bind(texts(|a| &a.headers))
        .bind(texts(|a| &a.body))
        .execute(&mut *conn)
        .await;
    done.map(drop).map_err(StoreError::new("append announcements"))
}
