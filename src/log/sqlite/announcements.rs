//! Stores and reads announcements.

use std::collections::{BTreeMap, HashMap};

use serde_json::json;
use sqlx::SqliteConnection;

use super::{SqliteLog, page};
use crate::log::announcements::{
    AnnouncementRow, Announcements, AsideRow, HELD, SAID, SaidRow, aside_of_row, held_of_row, of_row, said_of_row,
};
use crate::log::append::cut_reason;
use crate::log::error::{ReadError, StoreError};
use crate::log::rows::{signed, unsigned};
use crate::log::types::{Announcement, AnnouncementCounts, HeldChange, SaidBefore};
use crate::model::{PersonId, Seq, Timestamp};

const NEXT: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body, people FROM announcements \
     WHERE number IN (SELECT min(number) FROM announcements WHERE state = 0 GROUP BY subject \
     ORDER BY min(number) LIMIT ?) ORDER BY number";
const ALL: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body, people FROM announcements \
     WHERE (seq, number) > (?, ?) ORDER BY seq, number LIMIT ?";
const ANNOUNCED: &str = "UPDATE announcements SET state = 1 WHERE id IN (SELECT value FROM json_each(?)) AND state = 0";
const UNSENDABLE: &str = "UPDATE announcements SET state = 2, reason = ? WHERE id = ? AND state = 0";
const ASIDE: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body, people, coalesce(reason, '') \
     FROM announcements WHERE state = 2 ORDER BY number LIMIT ?";
const COUNTS: &str = "SELECT (SELECT count(*) FROM announcements WHERE state = 0), (SELECT made_at FROM announcements \
     WHERE number = (SELECT min(number) FROM announcements WHERE state = 0)), \
     (SELECT count(*) FROM announcements WHERE state = 2)";
const NAMES: &str = "SELECT id, name FROM persons WHERE id IN (SELECT value FROM json_each(?))";
const PRUNE: &str = "DELETE FROM announcements WHERE number IN (SELECT number FROM announcements AS a \
     WHERE made_at < ? AND state <> 0 AND CASE \
     WHEN topic LIKE 'koschei.rebuild.%' THEN true \
     WHEN topic LIKE 'koschei.cause.%' THEN EXISTS (SELECT 1 FROM announcements AS b WHERE b.subject = a.subject \
     AND b.number >= a.number AND b.topic = 'koschei.cause.closed.v1') \
     ELSE EXISTS (SELECT 1 FROM announcements AS b WHERE b.subject = a.subject AND b.topic = a.topic \
     AND b.number > a.number) END ORDER BY number LIMIT ?)";
const RELEASE: &str = "DELETE FROM announcements_held WHERE subject IN (SELECT value ->> 0 FROM json_each(?))";
const HOLD: &str = "INSERT INTO announcements_held (subject, seq, old) SELECT value ->> 0, value ->> 1, value ->> 2 \
     FROM json_each(?)";
const INSERT: &str = "INSERT INTO announcements (id, seq, subject, made_at, topic, headers, body, people) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7 \
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

    async fn set_aside(&self, limit: usize) -> Result<Vec<(Announcement, String)>, ReadError> {
        let rows: Vec<AsideRow> = sqlx::query_as(ASIDE)
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read which announcements were set aside"))?;
        rows.into_iter().map(aside_of_row).collect()
    }

    async fn announcement_counts(&self) -> Result<AnnouncementCounts, ReadError> {
        let (waiting, oldest, unsendable): (i64, Option<i64>, i64) = sqlx::query_as(COUNTS)
            .fetch_one(&self.inner.readers)
            .await
            .map_err(StoreError::new("count announcements"))?;
        let oldest = oldest.map(Timestamp);
        Ok(AnnouncementCounts { waiting: unsigned(waiting), oldest, unsendable: unsigned(unsendable) })
    }

    async fn announcements(
        &self,
        after: Option<(Seq, u64)>,
        limit: usize,
    ) -> Result<Vec<(u64, Announcement)>, ReadError> {
        let (seq, number) = after.map_or((i64::MIN, 0), |(seq, number)| (signed(seq.get()), signed(number)));
        let rows: Vec<AnnouncementRow> = sqlx::query_as(ALL)
            .bind(seq)
            .bind(number)
            .bind(page(limit))
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read announcements"))?;
        rows.into_iter().map(of_row).collect()
    }

    async fn said_before(&self) -> Result<Vec<SaidBefore>, ReadError> {
        let rows: Vec<SaidRow> = sqlx::query_as(SAID)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read what was announced"))?;
        Ok(rows.into_iter().map(said_of_row).collect())
    }

    async fn names_of(&self, people: &[PersonId]) -> Result<HashMap<PersonId, String>, ReadError> {
        let rows: Vec<(String, String)> = sqlx::query_as(NAMES)
            .bind(json!(people).to_string())
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read the names of owners"))?;
        Ok(rows.into_iter().map(|(id, name)| (PersonId::new(id), name)).collect())
    }

    async fn held_changes(&self) -> Result<Vec<(String, HeldChange)>, ReadError> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(HELD)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(StoreError::new("read which changes wait to be announced"))?;
        rows.into_iter().map(held_of_row).collect()
    }

    async fn prune_announcements(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let done = sqlx::query(PRUNE).bind(before.micros()).bind(page(limit)).execute(&self.inner.writer).await;
        done.map(|d| d.rows_affected()).map_err(StoreError::new("delete old announcements"))
    }
}

/// Adds announcements, in order.
pub(super) async fn insert(conn: &mut SqliteConnection, announcements: &[Announcement]) -> Result<(), StoreError> {
    if announcements.is_empty() {
        return Ok(());
    }
    let row = |a: &Announcement| {
        let people = json!(a.people).to_string();
        json!([a.id, a.seq, a.subject, a.made_at.micros(), a.topic, a.headers, a.body, people])
    };
    let rows: Vec<_> = announcements.iter().map(row).collect();
    let done = sqlx::query(INSERT).bind(json!(rows).to_string()).execute(&mut *conn).await;
    done.map(drop).map_err(StoreError::new("append announcements"))
}

/// Notes which changes wait to be announced from now on, and which do not any more. Of one subject,
/// the last entry counts.
pub(super) async fn hold(conn: &mut SqliteConnection, held: &[(String, Option<HeldChange>)]) -> Result<(), StoreError> {
    if held.is_empty() {
        return Ok(());
    }
    let last: BTreeMap<&str, &Option<HeldChange>> =
        held.iter().map(|(subject, held)| (subject.as_str(), held)).collect();
    let all: Vec<_> = last.keys().map(|subject| json!([subject])).collect();
    let waiting = last.iter().filter_map(|(subject, held)| held.as_ref().map(|h| json!([subject, h.seq, h.old])));
    let waiting: Vec<_> = waiting.collect();
    for (sql, rows) in [(RELEASE, all), (HOLD, waiting)] {
        let done = sqlx::query(sql).bind(json!(rows).to_string()).execute(&mut *conn).await;
        done.map(drop).map_err(StoreError::new("note which changes wait to be announced"))?;
    }
    Ok(())
}
