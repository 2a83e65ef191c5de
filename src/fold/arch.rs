//! Which architectures a collection looks at.

use crate::model::Name;
use crate::model::arch::canonical;

/// Whether a collection limited to `allowed` (empty: everything) looks at `arch`.
pub fn collection_allows(allowed: &[Name], arch: &str) -> bool {
    allowed.is_empty() || allowed.iter().any(|a| canonical(a) == canonical(arch))
}

/// The architectures a collection looks at: those of its settings, and of them those its builds can have. Both empty:
/// everything.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    /// Those of its settings.
    pub own: &'a [Name],
    /// Those of the tag that builds, where they are known.
    pub tag: &'a [Name],
}

impl Allowed<'_> {
    /// Whether it looks at `arch`.
    pub fn has(self, arch: &str) -> bool {
        collection_allows(self.own, arch) && collection_allows(self.tag, arch)
    }
}
