//! Records of changes: rows of the hub's versioned tables.

use std::collections::BTreeMap;

use crate::koji::shape::{FromValue, ShapeError, record};
use crate::koji::xmlrpc::Value;
use crate::model::{Name, Timestamp};

/// The answer of `queryHistory`: rows by table. Tables are `tag_listing`, `tag_packages`,
/// `tag_inheritance`, `tag_config`, `tag_extra`, `tag_external_repos`, `group_config`,
/// `group_package_listing`, `group_req_listing`, and more. Tables without rows may be absent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History(pub BTreeMap<String, Vec<HistoryRow>>);

impl FromValue for History {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        FromValue::from_value(value).map(Self)
    }
}

impl History {
    /// Returns the rows of one table.
    pub fn table(&self, name: &str) -> &[HistoryRow] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

record! {
    /// One version of one entry. It holds from its creation until just before its revocation.
    HistoryRow {
        /// Koji event from which the version holds.
        create_event: i64 = "create_event";
        /// Koji event from which the version no longer holds.
        revoke_event: Option<i64> = "revoke_event";
        /// When the version was created.
        created: Option<Timestamp> = "create_ts";
        /// Only in `tag_listing`: the build's package.
        build_name: Option<Name> = "name";
        /// Only in `tag_packages`: the package.
        package_name: Option<Name> = "package.name";
    }
}
