//! Configuration settings that a collection may override.

use std::collections::BTreeMap;

use crate::model::Name;

/// A common value, and the values of single collections that override it.
///
/// These values are not in the log, because no decision depends on them. A collection that the
/// configuration does not name has the common value.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PerCollection<T> {
    /// The value of all collections without their own.
    pub common: T,
    /// Values of single collections.
    pub own: BTreeMap<Name, T>,
}

impl<T> PerCollection<T> {
    /// Makes a value that is the same for all collections.
    pub fn all(common: T) -> Self {
        Self { common, own: BTreeMap::new() }
    }

    /// Returns a collection's value.
    pub fn of(&self, collection: &Name) -> &T {
        self.own.get(collection).unwrap_or(&self.common)
    }
}
