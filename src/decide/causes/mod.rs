//! Which updates broke the packages of a collection, by name: the suspects of failed builds, and what
//! a cause is known by.
//!
//! [`suspects`](super::suspects) ranks numbers. [`runs`] makes these numbers of a collection's
//! history, and names what it returns. [`changed_mind`] compares the result with what the log said
//! last.

mod builds;
mod elsewhere;
mod mind;
mod open;
mod said;

use schemars::JsonSchema;
use serde::Serialize;

pub use self::builds::{Failed, Run, runs, together};
pub use self::elsewhere::{Elsewhere, SaidByCollection};
pub use self::mind::{RULES, changed_mind};
pub use self::open::{BrokenNow, OpenCause, cause_of, open_causes, what_is_gone};
pub use self::said::{kind_of, said};
use crate::event::{SuspectedUpdate, SuspectsRanked};
use crate::model::{Name, RepoId, TaskId};

/// The share, in thousandths, from which on an update is held to have broken a build.
pub const BROKE: u32 = SuspectsRanked::BROKE;

/// An update of a source package.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
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
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
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
    pub fn key(&self) -> (&Updated, Option<RepoId>) {
        (&self.update, self.repo)
    }

    /// Returns the update as events name it.
    pub fn as_event(&self) -> SuspectedUpdate {
        let (source, was) = (self.update.source.clone(), self.update.was.clone());
        SuspectedUpdate { source, was, repo_id: self.repo, together: self.together.clone() }
    }

    /// Returns the new source package, or says that the old one is gone.
    pub fn known_by(&self) -> String {
        self.as_event().known_by().0
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
    /// The line of its log that says most about the failure, if it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The suspects, surest first.
    pub suspects: Vec<Suspected>,
    /// What no update has.
    pub none: NoUpdate,
}

/// The kind of a cause.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
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
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Resolution, Self::Build, Self::Group, Self::Target];

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

/// Names a cause: the same cause has the same name in every copy of the log. `what` is the new source
/// package, or what vanished.
pub fn cause_id(collection: &str, kind: CauseKind, what: &str, repo: Option<RepoId>) -> String {
    let repo = repo.map_or(-1, |repo| repo.0);
    let name = format!("{collection}\n{}\n{what}\n{repo}", kind.as_str());
    blake3::hash(name.as_bytes()).to_hex().chars().take(10).collect()
}
