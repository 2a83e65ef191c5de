//! Says which updates broke what: the suspects of failed builds, and causes with the packages they
//! broke. It reads the log, and nothing else.
//!
//! A cause of a broken resolution is a fact: an event names it. A cause of failed builds is found by
//! the evidence of all packages together ([`crate::decide::suspects`]), judged with everything that
//! the log holds at the moment asked for.

mod builds;
mod life;
mod spells;
mod told;

use serde::Serialize;

pub use self::told::{Told, read};
use crate::model::{Name, RepoId, TaskId};

/// The share, in thousandths, from which on an update is held to have broken a build.
pub const BROKE: u32 = 500;

/// An update of a source package.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Updated {
    /// The new source package as `name-version-release`. `None` if it is gone.
    pub source: Option<String>,
    /// The one before. `None` if there was none.
    pub was: Option<String>,
}

impl std::fmt::Display for Updated {
    /// Writes `libfoo-2-1 (was libfoo-1-1)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.source, &self.was) {
            (Some(source), Some(was)) => write!(f, "{source} (was {was})"),
            (Some(source), None) => f.write_str(source),
            (None, Some(was)) => write!(f, "{was}, which is gone"),
            (None, None) => f.write_str("no update"),
        }
    }
}

/// One suspect of a failed build.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Suspected {
    /// The update.
    pub update: Updated,
    /// Other updates that nothing tells apart from it.
    pub together: Vec<String>,
    /// The repository that brought it, if known.
    pub repo: Option<RepoId>,
    /// Its share in thousandths.
    pub share: u32,
    /// Why, in sentences.
    pub evidence: Vec<String>,
}

impl Suspected {
    /// Returns what tells it from other suspects of one collection.
    fn key(&self) -> (&Updated, Option<RepoId>) {
        (&self.update, self.repo)
    }

    /// Returns the new source package, or says that the old one is gone.
    fn known_by(&self) -> String {
        match (&self.update.source, &self.update.was) {
            (Some(source), _) => source.clone(),
            (None, Some(was)) => format!("{was} is gone"),
            (None, None) => String::new(),
        }
    }
}

/// The shares that no update has, in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct NoUpdate {
    /// The package itself: its source, time, the network.
    pub own: u32,
    /// Chance.
    pub chance: u32,
}

/// A failed build and its suspects. The shares of all suspects and of `none` sum to 1000.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FailedBuild {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The `build` task.
    pub task: TaskId,
    /// The source as `name-version-release`.
    pub source: String,
    /// The repository in which it failed.
    pub repo: RepoId,
    /// The repository of the last good build before it. `None` if none is known.
    pub good_repo: Option<RepoId>,
    /// The suspects, surest first.
    pub suspects: Vec<Suspected>,
    /// What no update has.
    pub none: NoUpdate,
    /// Whether no good build came after it.
    #[serde(skip)]
    pub since_good: bool,
}

/// The kind of a cause.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// Packages do not resolve.
    Resolution,
    /// Builds fail.
    Build,
    /// The build group cannot be installed.
    Group,
    /// The target or one of its tags is gone.
    Target,
}

impl CauseKind {
    /// Returns the kind in one word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolution => "resolution",
            Self::Build => "build",
            Self::Group => "group",
            Self::Target => "target",
        }
    }
}

/// A package that a cause broke, for one spell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BrokenPackage {
    /// The package. `*` stands for all.
    pub name: Name,
    /// Sequence number of the event with which it broke.
    pub since: u64,
    /// Sequence number of the event with which the spell ended. `None` while it lasts.
    pub until: Option<u64>,
    /// The share of the cause, in thousandths. 1000 for resolutions.
    pub share: u32,
}

/// A cause and the packages it broke.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cause {
    /// Names the cause: the same cause has the same name in every copy of the log.
    pub id: String,
    /// Its kind.
    pub kind: CauseKind,
    /// The collection.
    pub collection: Name,
    /// The update.
    pub update: Updated,
    /// Other updates of the same repository that are in the buildroots of exactly the same packages.
    pub together: Vec<String>,
    /// The repository that brought it, if there is one.
    pub repo: Option<RepoId>,
    /// What it is, in one sentence.
    pub what: String,
    /// Sequence number of the event with which it began.
    pub since: u64,
    /// When that was, RFC 3339, UTC.
    pub since_time: String,
    /// Sequence number of the event with which it ended. `None` while it is open.
    pub until: Option<u64>,
    /// `open` or `over`.
    pub state: &'static str,
    /// Every package it ever broke, one entry for each spell.
    pub packages: Vec<BrokenPackage>,
}

impl Cause {
    /// Returns the packages that are broken by it now.
    pub fn broken_now(&self) -> impl Iterator<Item = &BrokenPackage> {
        let certain = |p: &&BrokenPackage| p.share >= BROKE || self.kind != CauseKind::Build;
        self.packages.iter().filter(|p| p.until.is_none()).filter(certain)
    }
}
