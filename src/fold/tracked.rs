//! Decides which packages of a collection are tracked and therefore resolved.
//!
//! A collection tracks all packages or none, with single packages as exceptions. A repository is
//! resolved for this set. For an untracked package, no requirements are read and no verdict is
//! made. The set depends only on the collection's settings and on operators' commands, so it
//! follows from the log at the moment of resolving. `repo_resolved` records the digest of the set.

use std::collections::BTreeSet;

use super::Collection;
use crate::model::Name;

/// The tracked packages of a collection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tracked {
    /// Whether packages that are not in `named` are tracked.
    others: bool,
    /// The exceptions: packages for which the opposite holds.
    named: BTreeSet<Name>,
}

impl Default for Tracked {
    /// Tracks all packages.
    fn default() -> Self {
        Self { others: true, named: BTreeSet::new() }
    }
}

impl Tracked {
    /// Computes the set for a collection. Cost: O(packages).
    pub fn of(collection: &Collection) -> Self {
        let others = collection.settings.track_all;
        let differing = collection.packages.iter().filter(|(_, p)| p.is_tracked(others) != others);
        Self { others, named: differing.map(|(name, _)| name.clone()).collect() }
    }

    /// Returns whether a package is tracked. The package need not be known.
    pub fn has(&self, package: &str) -> bool {
        self.others != self.named.contains(package)
    }

    /// Returns whether all packages are tracked, including those not known yet.
    pub fn is_all(&self) -> bool {
        self.others && self.named.is_empty()
    }

    /// Returns a digest of exactly this set, in hex. Returns `None` if all packages are tracked.
    pub fn digest(&self) -> Option<String> {
        if self.is_all() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(if self.others { b"all but\n" } else { b"only\n" });
        for name in &self.named {
            hasher.update(name.as_bytes());
            hasher.update(b"\n");
        }
        Some(hasher.finalize().to_hex().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CollectionSettings;
    use crate::fold::Package;

    /// Makes a collection with these packages. Each says whether an operator tracked or untracked
    /// it.
    fn collection(track_all: bool, packages: &[(&str, Option<bool>)]) -> Collection {
        let settings = CollectionSettings { track_all, ..CollectionSettings::f99() };
        let mut c = Collection::new(settings);
        for (name, tracked) in packages {
            c.packages.insert((*name).into(), Package { tracked: *tracked, ..Package::default() });
        }
        c
    }

    #[test]
    fn words_come_before_what_the_collection_has() {
        let said = [("kept", None), ("asked", Some(true)), ("refused", Some(false))];
        let all = Tracked::of(&collection(true, &said));
        assert_eq!(["kept", "asked", "refused", "new"].map(|p| all.has(p)), [true, true, false, true]);
        let some = Tracked::of(&collection(false, &said));
        assert_eq!(["kept", "asked", "refused", "new"].map(|p| some.has(p)), [false, true, false, false]);
        assert!(!all.is_all() && !some.is_all());
    }

    #[test]
    fn a_digest_stands_for_the_set_and_nothing_else() {
        let digest = |track_all, said: &[(&str, Option<bool>)]| Tracked::of(&collection(track_all, said)).digest();
        assert_eq!(digest(true, &[("a", None), ("b", Some(true))]), None, "all are");
        assert_eq!(Tracked::default().digest(), None);
        let some = digest(false, &[("a", Some(true)), ("b", Some(true)), ("c", None)]);
        assert_eq!(some, digest(false, &[("b", Some(true)), ("d", Some(false)), ("a", Some(true))]));
        let others = [
            digest(false, &[]),
            digest(false, &[("a", Some(true))]),
            digest(false, &[("ab", Some(true))]),
            digest(true, &[("a", Some(false)), ("b", Some(false))]),
            digest(true, &[("a", Some(false))]),
            some,
        ];
        let distinct: BTreeSet<_> = others.iter().flatten().collect();
        assert_eq!(distinct.len(), others.len(), "{others:?}");
    }
}
