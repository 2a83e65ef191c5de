//! Stores sessions and API tokens.

use serde_json::json;

use super::PostgresLog;
use crate::log::credentials::{
    Credential, CredentialKind, CredentialRow, Credentials, LISTED_MAX, OF_PERSON_MAX, of_row,
};
use crate::log::error::{ReadError, StoreError};
use crate::model::Timestamp;

const PUT: &str = "INSERT INTO credentials (id, kind, secret, person, label, teams, scopes, made_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const TRIM: &str = "DELETE FROM credentials WHERE id IN (SELECT id FROM credentials WHERE person = $1 AND kind = $2 \
     ORDER BY made_at DESC, id LIMIT ALL OFFSET $3)";
const FIND: &str = "SELECT id, kind, person, label, teams, scopes, made_at, expires_at FROM credentials \
     WHERE kind = $1 AND secret = $2 AND expires_at > $3";
const LIST: &str = "SELECT id, kind, person, label, teams, scopes, made_at, expires_at FROM credentials \
     WHERE $1::text IS NULL OR person = $1 ORDER BY made_at, id LIMIT $2";
const REVOKE: &str = "DELETE FROM credentials WHERE id = $1 AND ($2::text IS NULL OR person = $2)";
const REVOKE_ALL: &str = "DELETE FROM credentials WHERE person = $1";
const DROP_ENDED: &str = "DELETE FROM credentials WHERE expires_at <= $1";

impl Credentials for PostgresLog {
    async fn put_credential(&self, new: &Credential, hash: &str) -> Result<(), StoreError> {
        let done = async {
            let fail = || StoreError::new("store a credential");
            let mut tx = self.inner.pool.begin().await.map_err(fail())?;
            sqlx::query(PUT)
                .bind(&new.id)
                .bind(new.kind.number())
                .bind(hash)
                .bind(&new.person)
                .bind(&new.label)
                .bind(json!(new.teams).to_string())
                .bind(json!(new.scopes).to_string())
                .bind(new.made_at.micros())
                .bind(new.expires_at.micros())
                .execute(&mut *tx)
                .await
                .map_err(fail())?;
            let kept = i64::try_from(OF_PERSON_MAX).unwrap_or(i64::MAX);
            let trim = sqlx::query(TRIM).bind(&new.person).bind(new.kind.number()).bind(kept);
            trim.execute(&mut *tx).await.map_err(fail())?;
            tx.commit().await.map_err(fail())
        };
        self.answered(done).await
    }

    async fn credential(
        &self,
        kind: CredentialKind,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<Credential>, ReadError> {
        let done = async {
            let query = sqlx::query_as(FIND).bind(kind.number()).bind(hash).bind(now.micros());
            let row: Option<CredentialRow> =
                query.fetch_optional(&self.inner.pool).await.map_err(StoreError::new("look for a credential"))?;
            row.map(of_row).transpose()
        };
        self.answered(done).await
    }

    async fn credentials(&self, person: Option<&str>) -> Result<Vec<Credential>, ReadError> {
        let done = async {
            let most = i64::try_from(LISTED_MAX).unwrap_or(i64::MAX);
            let rows: Vec<CredentialRow> = sqlx::query_as(LIST)
                .bind(person)
                .bind(most)
                .fetch_all(&self.inner.pool)
                .await
                .map_err(StoreError::new("list credentials"))?;
            rows.into_iter().map(of_row).collect()
        };
        self.answered(done).await
    }

    async fn revoke(&self, id: &str, person: Option<&str>) -> Result<bool, StoreError> {
        let done = async {
            let done = sqlx::query(REVOKE).bind(id).bind(person).execute(&self.inner.pool).await;
            done.map(|d| d.rows_affected() > 0).map_err(StoreError::new("revoke a credential"))
        };
        self.answered(done).await
    }

    async fn revoke_all(&self, person: &str) -> Result<u64, StoreError> {
        let done = async {
            let done = sqlx::query(REVOKE_ALL).bind(person).execute(&self.inner.pool).await;
            done.map(|d| d.rows_affected()).map_err(StoreError::new("revoke credentials"))
        };
        self.answered(done).await
    }

    async fn drop_ended(&self, now: Timestamp) -> Result<u64, StoreError> {
        let done = async {
            let done = sqlx::query(DROP_ENDED).bind(now.micros()).execute(&self.inner.pool).await;
            done.map(|d| d.rows_affected()).map_err(StoreError::new("delete credentials that have ended"))
        };
        self.answered(done).await
    }
}
