//! Which architectures count for a package: those of the collection, less what an override takes away.

use crate::model::Name;
use crate::model::arch::canonical;

/// Whether an override (`x86_64 aarch64` or `^s390x`) leaves `arch` in. A `^` counts on every word; a list of only
/// `^` words takes away, any other word replaces the list.
pub fn override_allows(list: &str, arch: &str) -> bool {
    let arch = canonical(arch);
    let words = || list.split([' ', ',', '\t']).filter(|w| !w.is_empty());
    let taken = words().filter_map(|w| w.strip_prefix('^')).any(|w| canonical(w) == arch);
    let mut named = words().filter(|w| !w.starts_with('^')).peekable();
    !taken && (named.peek().is_none() || named.any(|w| canonical(w) == arch || w == "noarch"))
}

/// Whether a collection limited to `allowed` (empty: everything) looks at `arch`.
pub fn collection_allows(allowed: &[Name], arch: &str) -> bool {
    allowed.is_empty() || allowed.iter().any(|a| canonical(a) == canonical(arch))
}

/// The architectures a collection looks at: those of its settings, and of them those its builds can have. Both empty: everything.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'a> {
    /// Those of its settings.
    pub own: &'a [Name],
    /// Those of the tag that builds, where that is another hub's.
    pub building: &'a [Name],
}

impl Allowed<'_> {
    /// Whether it looks at `arch`.
    pub fn has(self, arch: &str) -> bool {
        collection_allows(self.own, arch) && collection_allows(self.building, arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides() {
        assert!(override_allows("x86_64 aarch64", "aarch64"));
        assert!(!override_allows("x86_64", "aarch64"));
        assert!(override_allows("^aarch64", "x86_64"));
        assert!(!override_allows("^aarch64", "aarch64"));
        assert!(!override_allows("x86_64, ^x86_64", "x86_64"), "taking away wins");
        assert!(override_allows("armv7hl", "armhfp"));
        assert!(override_allows("", "x86_64"));
    }
}
