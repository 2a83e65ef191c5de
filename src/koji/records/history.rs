//! What changed: rows of the hub's versioned tables.

use std::collections::BTreeMap;

use crate::koji::shape::{Fields, FromValue, ShapeError};
use crate::koji::xmlrpc::Value;
use crate::model::{BuildId, Name, Nvr, Timestamp};

/// What `queryHistory` answers: rows by table. Tables are `tag_listing`, `tag_packages`, `tag_package_owners`,
/// `tag_inheritance`, `tag_config`, `tag_extra`, `tag_external_repos`, `build_target_config`, `group_config`,
/// `group_package_listing`, `group_req_listing`, and more; those without rows may be absent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History(pub BTreeMap<String, Vec<HistoryRow>>);

impl FromValue for History {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        FromValue::from_value(value).map(Self)
    }
}

impl History {
    /// The rows of one table.
    pub fn table(&self, name: &str) -> &[HistoryRow] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// One version of one entry: from its creation up to, and without, its revocation.
#[derive(Clone, PartialEq, Debug)]
pub struct HistoryRow {
    /// Koji event from which it holds.
    pub create_event: i64,
    /// Koji event from which it no longer holds.
    pub revoke_event: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Who made it.
    pub creator_name: Option<Name>,
    /// Who revoked it.
    pub revoker_name: Option<Name>,
    /// Whether it holds now.
    pub active: bool,
    /// With `afterEvent`: whether it was made after that.
    pub created_after: bool,
    /// With `afterEvent`: whether it was revoked after that.
    pub revoked_after: bool,
    /// All members, those of the table included: plain (`build_id`) and joined ones (`tag.name`).
    pub members: BTreeMap<String, Value>,
}

impl FromValue for HistoryRow {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let fields = Fields::of(value)?;
        Ok(Self {
            create_event: fields.take("create_event")?,
            revoke_event: fields.take("revoke_event")?,
            created: fields.take("create_ts")?,
            revoked: fields.take("revoke_ts")?,
            creator_name: fields.take("creator_name")?,
            revoker_name: fields.take("revoker_name")?,
            active: fields.take("active")?,
            created_after: fields.take("_created_after_event")?,
            revoked_after: fields.take("_revoked_after_event")?,
            members: FromValue::from_value(value)?,
        })
    }
}

impl HistoryRow {
    /// A member, as what it should be; absent is nil.
    ///
    /// # Errors
    /// [`ShapeError`] (rejected) when it has another type.
    pub fn take<T: FromValue>(&self, member: &str) -> Result<T, ShapeError> {
        T::from_value(self.members.get(member).unwrap_or(&Value::Nil)).map_err(|error| error.in_member(member))
    }

    /// Name of the tag the row belongs to; its name now, not then.
    ///
    /// # Errors
    /// [`ShapeError`] (rejected).
    pub fn tag_name(&self) -> Result<Name, ShapeError> {
        self.take("tag.name")
    }

    /// Of `tag_listing`: the build.
    ///
    /// # Errors
    /// [`ShapeError`] (rejected).
    pub fn build(&self) -> Result<(BuildId, Nvr), ShapeError> {
        let nvr = Nvr { name: self.take("name")?, version: self.take("version")?, release: self.take("release")? };
        Ok((self.take("build_id")?, nvr))
    }

    /// Of `tag_packages` and `tag_package_owners`: the package.
    ///
    /// # Errors
    /// [`ShapeError`] (rejected).
    pub fn package_name(&self) -> Result<Name, ShapeError> {
        self.take("package.name")
    }
}
