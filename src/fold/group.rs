//! A group of source packages.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::GroupChanged;
use crate::model::{Name, PersonId, Timestamp};

/// A group of source packages, over all collections.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Group {
    /// Its packages. The collections need not know them.
    pub packages: BTreeSet<Name>,
    /// The persons who look after it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub maintainers: BTreeSet<PersonId>,
    /// Whether the last word about it was that of the configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured: bool,
    /// Time of the last word about it.
    pub changed_at: Timestamp,
}

impl Group {
    /// Returns the change that makes a group of these packages and maintainers out of this one. Its
    /// reason is empty.
    pub fn change_to(&self, group: &Name, packages: &BTreeSet<Name>, maintainers: &BTreeSet<PersonId>) -> GroupChanged {
        GroupChanged {
            group: group.clone(),
            added: packages.difference(&self.packages).cloned().collect(),
            removed: self.packages.difference(packages).cloned().collect(),
            maintainers_added: maintainers.difference(&self.maintainers).cloned().collect(),
            maintainers_removed: self.maintainers.difference(maintainers).cloned().collect(),
            configured: false,
            reason: String::new(),
            by: None,
        }
    }
}
