//! Decides which architectures a collection looks at.

use crate::model::Name;
use crate::model::arch::canonical;

/// Returns whether a collection limited to `allowed` (empty: no limit) looks at `arch`.
pub fn collection_allows(allowed: &[Name], arch: &str) -> bool {
    allowed.is_empty() || allowed.iter().any(|a| canonical(a) == canonical(arch))
}

/// The architectures that a collection looks at: those that both its settings and its build tag
/// have. An empty list does not limit.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    /// Architectures of the collection's settings.
    pub own: &'a [Name],
    /// Architectures of the tag that builds, if known.
    pub tag: &'a [Name],
}

impl Allowed<'_> {
    /// Returns whether the collection looks at `arch`.
    pub fn has(self, arch: &str) -> bool {
        collection_allows(self.own, arch) && collection_allows(self.tag, arch)
    }
}
