//! Sessions and API tokens of people, beside the log. Nothing of this is ever in an event, an export
//! or a message, and only hashes of secrets are stored.

use std::future::Future;

use super::error::{ReadError, StoreError};
use crate::model::Timestamp;

/// Most sessions and tokens of one person. The oldest go first.
pub const OF_PERSON_MAX: usize = 50;
/// Most sessions and tokens that a list has.
pub const LISTED_MAX: usize = 10_000;

/// Kind of a credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CredentialKind {
    /// A login in a browser.
    Session,
    /// A secret for programs.
    Token,
}

impl CredentialKind {
    pub(super) const fn number(self) -> i16 {
        match self {
            Self::Session => 0,
            Self::Token => 1,
        }
    }
}

/// What a token may be used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    /// Reading.
    Read,
    /// Changing packages and groups, as far as the person may.
    Write,
    /// Everything else the person may.
    Admin,
}

impl Scope {
    /// All scopes, the smallest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// A session or an API token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// Its public name, which says nothing about the secret.
    pub id: String,
    /// Its kind.
    pub kind: CredentialKind,
    /// The name of the person.
    pub person: String,
    /// What the person calls it.
    pub label: String,
    /// The teams that the provider of the login said the person is in.
    pub teams: Vec<String>,
    /// What it may be used for. Empty for a session: everything the person may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The sessions and tokens beside a log. Every method is all or nothing.
pub trait Credentials {
    /// Stores a credential under the hash of its secret. If its person has more than
    /// [`OF_PERSON_MAX`] of the kind then, the oldest are deleted.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed, or has this id or hash already.
    fn put_credential(&self, new: &Credential, hash: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the credential of a kind whose secret has this hash, if it has not ended at `now`.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn credential(
        &self,
        kind: CredentialKind,
        hash: &str,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Credential>, ReadError>> + Send;

    /// Returns the credentials of a person, or of all, oldest first, at most [`LISTED_MAX`].
    ///
    /// # Errors
    /// Returns [`ReadError`] if the database cannot be read.
    fn credentials(&self, person: Option<&str>) -> impl Future<Output = Result<Vec<Credential>, ReadError>> + Send;

    /// Deletes a credential by its id; with `person`, only if it is this person's. Returns whether it
    /// was there.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn revoke(&self, id: &str, person: Option<&str>) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes all credentials of a person, and returns how many there were.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn revoke_all(&self, person: &str) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes the credentials that have ended at `now`, and returns how many there were.
    ///
    /// # Errors
    /// Returns [`StoreError`] if the database cannot be changed.
    fn drop_ended(&self, now: Timestamp) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Id, kind, person, label, teams, scopes, and both times.
pub(super) type CredentialRow = (String, i16, String, String, String, String, i64, i64);

/// Converts a row.
pub(super) fn of_row(row: CredentialRow) -> Result<Credential, ReadError> {
    let (id, kind, person, label, teams, scopes, made_at, expires_at) = row;
    let list = |text: &str| serde_json::from_str::<Vec<String>>(text).ok();
    let kind = match kind {
        0 => Some(CredentialKind::Session),
        1 => Some(CredentialKind::Token),
        _ => None,
    };
    let (Some(kind), Some(teams), Some(scopes)) = (kind, list(&teams), list(&scopes)) else {
        return Err(ReadError::Content { what: format!("credential `{id}` has a kind or a list that is none") });
    };
    let (made_at, expires_at) = (Timestamp(made_at), Timestamp(expires_at));
    Ok(Credential { id, kind, person, label, teams, scopes, made_at, expires_at })
}
