//! What the ranking reads: updates and finished builds of one collection.

use std::collections::BTreeMap;

/// The number of distance classes: 1, 2, 3, 4, and farther or none.
pub(super) const DISTANCES: usize = 5;

/// A new version of a source package that came with a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The number by which builds name the update.
    pub id: u32,
    /// The number of the source package's name. Packages are numbered the same way.
    pub source: u32,
    /// The ordinal of the repository that the update came with.
    pub repo: u32,
    /// The version changed; otherwise only the release did.
    pub version_changed: bool,
    /// A number that updates of the same repository share if exactly the same packages have them in their buildroots.
    /// `None`: not known.
    pub buildroots: Option<u64>,
}

/// A source package whose version in a buildroot differs from that in the package's last good build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The newest update of the source in the buildroot.
    pub update: u32,
    /// The distance in the dependency graph: 1 is a direct build requirement. 0, and 5 and more: farther or none.
    pub distance: u8,
}

/// A finished build that no infrastructure fault ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The number of the package, which is that of its source.
    pub package: u32,
    /// The repository whose buildroot the build used.
    pub repo: u32,
    /// The build passed.
    pub passed: bool,
    /// The package's own source is not that of its last good build.
    pub own_changed: bool,
    /// The hash of the telling line of the log, where one is known.
    pub text: Option<u64>,
    /// What differs from the buildroot of the package's last good build before this one.
    pub changes: Vec<Change>,
}

/// What was seen of an update in other collections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeenElsewhere {
    /// The packages that it is held to have broken there.
    pub broken: u32,
    /// The packages without a failed build that passed with it there, by distance class: of an unchanged source, and
    /// with a new source of their own.
    pub passed: [[u32; DISTANCES]; 2],
}

impl SeenElsewhere {
    /// Adds what another collection says.
    pub fn add(&mut self, other: &Self) {
        self.broken += other.broken;
        for (sums, more) in self.passed.iter_mut().zip(&other.passed) {
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum += more;
            }
        }
    }
}

/// Everything that is known of one collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The updates, sorted by number.
    pub updates: Vec<Update>,
    /// The finished builds in the order in which they were started.
    pub builds: Vec<Build>,
    /// What was seen of updates in other collections, by their numbers.
    pub elsewhere: BTreeMap<u32, SeenElsewhere>,
}

impl Change {
    /// The distance class of the change: 0 to 4.
    pub fn class(self) -> usize {
        match self.distance {
            1..=4 => usize::from(self.distance) - 1,
            _ => DISTANCES - 1,
        }
    }
}

impl Evidence {
    /// The place of an update in `updates`. Constant time where numbers are places, logarithmic otherwise.
    pub fn place(&self, id: u32) -> Option<usize> {
        let near = id as usize;
        if self.updates.get(near).is_some_and(|u| u.id == id) {
            return Some(near);
        }
        self.updates.binary_search_by_key(&id, |u| u.id).ok()
    }
}
