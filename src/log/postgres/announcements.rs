//! Stores and reads announcements.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;

use super::{PostgresLog, page};
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
     ORDER BY min(number) LIMIT $1) ORDER BY number";
const ALL: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body, people FROM announcements \
     WHERE (seq, number) > ($1, $2) ORDER BY seq, number LIMIT $3";
const ANNOUNCED: &str = "UPDATE announcements SET state = 1 WHERE id = ANY($1) AND state = 0";
const UNSENDABLE: &str = "UPDATE announcements SET state = 2, reason = $1 WHERE id = $2 AND state = 0";
const ASIDE: &str = "SELECT number, id, seq, subject, made_at, topic, headers, body, people, coalesce(reason, '') \
     FROM announcements WHERE state = 2 ORDER BY number LIMIT $1";
const COUNTS: &str = "SELECT (SELECT count(*) FROM announcements WHERE state = 0), (SELECT made_at FROM announcements \
     WHERE number = (SELECT min(number) FROM announcements WHERE state = 0)), \
     (SELECT count(*) FROM announcements WHERE state = 2)";
const NAMES: &str = "SELECT id, name FROM persons WHERE id = ANY($1)";
const PRUNE: &str = "DELETE FROM announcements WHERE number IN (SELECT number FROM announcements AS a \
     WHERE made_at < $1 AND state <> 0 AND CASE \
     WHEN topic LIKE 'koschei.rebuild.%' THEN true \
     WHEN topic LIKE 'koschei.cause.%' THEN EXISTS (SELECT 1 FROM announcements AS b WHERE b.subject = a.subject \
     AND b.number >= a.number AND b.topic = 'koschei.cause.closed.v1') \
     ELSE EXISTS (SELECT 1 FROM announcements AS b WHERE b.subject = a.subject AND b.topic = a.topic \
     AND b.number > a.number) END ORDER BY number LIMIT $2)";
const RELEASE: &str = "DELETE FROM announcements_held WHERE subject = ANY($1)";
const HOLD: &str = "INSERT INTO announcements_held (subject, seq, old) \
     SELECT * FROM UNNEST($1::text[], $2::int8[], $3::text[])";
const INSERT: &str = "INSERT INTO announcements (number, id, seq, subject, made_at, topic, headers, body, people) \
     SELECT (SELECT coalesce(max(number), 0) FROM announcements) + n, id, seq, subject, made_at, topic, headers, body, \
     people FROM UNNEST($1::text[], $2::int8[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::text[], \
     $8::text[]) \
     WITH ORDINALITY AS t (id, seq, subject, made_at, topic, headers, body, people, n)";

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

    async fn set_aside(&self, limit: usize) -> Result<Vec<(Announcement, String)>, ReadError> {
        let read = async {
            let rows: Vec<AsideRow> = sqlx::query_as(ASIDE)
                .bind(page(limit))
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("read which announcements were set aside"))?;
            rows.into_iter().map(aside_of_row).collect()
        };
        self.answered(read).await
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

    async fn announcements(
        &self,
        after: Option<(Seq, u64)>,
        limit: usize,
    ) -> Result<Vec<(u64, Announcement)>, ReadError> {
        let (seq, number) = after.map_or((i64::MIN, 0), |(seq, number)| (signed(seq.get()), signed(number)));
        let read = async {
            let rows: Vec<AnnouncementRow> = sqlx::query_as(ALL)
                .bind(seq)
                .bind(number)
                .bind(page(limit))
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("read announcements"))?;
            rows.into_iter().map(of_row).collect()
        };
        self.answered(read).await
    }

    async fn said_before(&self) -> Result<Vec<SaidBefore>, ReadError> {
        let read = async {
            let rows: Vec<SaidRow> = sqlx::query_as(SAID)
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("read what was announced"))?;
            Ok(rows.into_iter().map(said_of_row).collect())
        };
        self.answered(read).await
    }

    async fn names_of(&self, people: &[PersonId]) -> Result<HashMap<PersonId, String>, ReadError> {
        let ids: Vec<&str> = people.iter().map(PersonId::as_str).collect();
        let read = async {
            let rows: Vec<(String, String)> = sqlx::query_as(NAMES)
                .bind(ids)
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("read the names of owners"))?;
            Ok(rows.into_iter().map(|(id, name)| (PersonId::new(id), name)).collect())
        };
        self.answered(read).await
    }

    async fn held_changes(&self) -> Result<Vec<(String, HeldChange)>, ReadError> {
        let read = async {
            let rows: Vec<(String, i64, String)> = sqlx::query_as(HELD)
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("read which changes wait to be announced"))?;
            rows.into_iter().map(held_of_row).collect()
        };
        self.answered(read).await
    }

    async fn prune_announcements(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let prune = async {
            let done = sqlx::query(PRUNE).bind(before.micros()).bind(page(limit)).execute(&self.inner.pool).await;
            done.map(|d| d.rows_affected()).map_err(StoreError::new("delete old announcements"))
        };
        self.answered(prune).await
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
        .bind(announcements.iter().map(|a| serde_json::json!(a.people).to_string()).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await;
    done.map(drop).map_err(StoreError::new("append announcements"))
}

/// Notes which changes wait to be announced from now on, and which do not any more. Of one subject,
/// the last entry counts.
pub(super) async fn hold(conn: &mut PgConnection, held: &[(String, Option<HeldChange>)]) -> Result<(), StoreError> {
    if held.is_empty() {
        return Ok(());
    }
    let last: BTreeMap<&str, &Option<HeldChange>> =
        held.iter().map(|(subject, held)| (subject.as_str(), held)).collect();
    let fail = || StoreError::new("note which changes wait to be announced");
    let all: Vec<&str> = last.keys().copied().collect();
    sqlx::query(RELEASE).bind(all).execute(&mut *conn).await.map_err(fail())?;
    let waiting: Vec<_> = last.iter().filter_map(|(subject, held)| Some((*subject, held.as_ref()?))).collect();
    let done = sqlx::query(HOLD)
        .bind(waiting.iter().map(|(subject, _)| *subject).collect::<Vec<_>>())
        .bind(waiting.iter().map(|(_, held)| signed(held.seq.get())).collect::<Vec<_>>())
        .bind(waiting.iter().map(|(_, held)| held.old.as_str()).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await;
    done.map(drop).map_err(fail())
}
