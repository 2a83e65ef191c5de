//! Settings of the configuration that collections may have their own value of.

use std::collections::BTreeMap;

use crate::model::Name;

/// A value for all collections, and those of single ones that stand in its place.
///
/// They are not in the log: no decision depends on them. A collection the configuration does not name has the common
/// value.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PerCollection<T> {
    /// For all that have none of their own.
    pub common: T,
    /// Their own.
    pub own: BTreeMap<Name, T>,
}

impl<T> PerCollection<T> {
    /// The same for all.
    pub fn all(common: T) -> Self {
        Self { common, own: BTreeMap::new() }
    }

    /// A collection's value.
    pub fn of(&self, collection: &Name) -> &T {
        self.own.get(collection).unwrap_or(&self.common)
    }
}
