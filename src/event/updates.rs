//! Events about updates: which came with a repository, and which are between a package's builds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::koschei::is_false;
use crate::model::{BuildId, Hub, Name, RepoId, TaskId};

/// Another version of a source package than before, in the buildroots of a collection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SourceUpdate {
    /// Name of the source package.
    pub source: Name,
    /// Its `version-release` before. Absent if no buildroot had packages of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub old: Option<SmolStr>,
    /// Its `version-release` now.
    #[schemars(with = "String")]
    pub new: SmolStr,
    /// Stands for the set of packages that have it in their buildroots, without the package of the
    /// same name: two updates with the same value are in the buildroots of the same packages.
    pub buildroots: u64,
}

/// A repository brought other versions of source packages into the buildroots of a collection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpdatesArrived {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The repository. Updates of repositories that were not resolved arrive with the next one that
    /// is.
    pub repo_id: RepoId,
    /// The architecture.
    pub arch: Name,
    /// The updates, by name.
    pub updates: Vec<SourceUpdate>,
}

/// A source package that differs between the buildroots of two builds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DifferingSource {
    /// Name of the source package.
    pub source: Name,
    /// `version-release` in the last good build. Absent if that had no packages of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub old: Option<SmolStr>,
    /// `version-release` in this build. Absent if this has no packages of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub new: Option<SmolStr>,
    /// The repository that brought `new`, or the first one without the source package. Absent if it
    /// is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
}

/// The build that another one is compared with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GoodBuild {
    /// Its repository.
    pub repo_id: RepoId,
    /// `version-release` of its source. Empty if not known.
    #[schemars(with = "String")]
    pub source: SmolStr,
    /// The `build` task, if it is a rebuild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The build, if it is a packager's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
    /// Whether no good build is known: `repo_id` is then the first repository in which the source
    /// resolved.
    #[serde(default, skip_serializing_if = "is_false")]
    pub assumed: bool,
}

/// What differs on one or more architectures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ArchDifference {
    /// The architectures with the same differences.
    pub arches: Vec<Name>,
    /// Whether both buildroots are what builders installed. If not, both are predicted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recorded: bool,
    /// Index into the event's `updates`, and distance (0 if not reached).
    pub changes: Vec<(u32, u8)>,
}

/// A build of a package ended, and its buildroots were compared with those of the package's last
/// good build before it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildCompared {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Hub on which it was built.
    pub hub: Hub,
    /// The `build` task, if it is a rebuild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The build, if it is a packager's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
    /// `version-release` of its source. Empty if not known.
    #[schemars(with = "String")]
    pub source: SmolStr,
    /// Its repository.
    pub repo_id: RepoId,
    /// Whether it is a good build.
    pub passed: bool,
    /// The line of the log of the first failed step that says most about the failure, if it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The last good build before it. Absent if there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<GoodBuild>,
    /// The source packages that differ on any architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<DifferingSource>,
    /// What differs, by architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<ArchDifference>,
}

/// A change that made packages unresolvable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ResolutionCause {
    /// The update: the source package whose package changed. Absent if the package's own
    /// requirements or the members of the build group changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// Its `version-release` before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub old: Option<SmolStr>,
    /// Its `version-release` now. Absent if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub new: Option<SmolStr>,
    /// The repository that brought the change.
    pub repo_id: RepoId,
    /// What changed and what that means, in words.
    pub what: String,
    /// Whether the build group leads to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub in_group: bool,
}

impl ResolutionCause {
    /// Returns what it is known by: the new source package, or what is gone or changed. `package` is
    /// the package it broke.
    pub fn known_by(&self, package: &str) -> String {
        match (&self.source, &self.new) {
            (Some(source), Some(new)) => format!("{source}-{new}"),
            (Some(source), None) => format!("{source} is gone"),
            (None, _) if self.in_group => "the build group".to_owned(),
            (None, _) => format!("the requirements of {package}"),
        }
    }
}

/// The first causes of one package.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageCauses {
    /// The package. `*` means the build group.
    pub package: Name,
    /// Indexes into the event's `causes`, the first cause first. Empty if it was not narrowed down.
    pub causes: Vec<u32>,
}

/// It was found out which changes made packages unresolvable, or why that could not be found out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CausesFound {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The repository in which the packages do not resolve.
    pub repo_id: RepoId,
    /// The architecture.
    pub arch: Name,
    /// The last repository in which the packages resolved. Absent if they never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_repo: Option<RepoId>,
    /// Why the causes are not known, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// The causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<ResolutionCause>,
    /// The packages.
    pub packages: Vec<PackageCauses>,
}

impl CausesFound {
    /// Stands for the build group among packages.
    pub const GROUP: &str = "*";
}

/// An update that may have made builds fail.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SuspectedUpdate {
    /// The new source package as `name-version-release`. Absent if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The one before. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The repository that brought it. Absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// New source packages of the same repository that nothing tells apart from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<String>,
}

impl SuspectedUpdate {
    /// Returns what it is known by: the new source package, or that the old one is gone; and the
    /// repository.
    pub fn known_by(&self) -> (String, Option<RepoId>) {
        let what = match (&self.source, &self.was) {
            (Some(source), _) => source.clone(),
            (None, Some(was)) => format!("{was} is gone"),
            (None, None) => String::new(),
        };
        (what, self.repo_id)
    }
}

/// The suspects of a package's newest failed build. Shares are thousandths.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageSuspects {
    /// The package.
    pub package: Name,
    /// The `build` task that failed.
    pub task_id: TaskId,
    /// Indexes into the event's `updates`, and shares; surest first. Slight ones are left out.
    pub suspects: Vec<(u32, u32)>,
    /// The share of the package itself.
    pub own: u32,
    /// The share of chance.
    pub chance: u32,
}

/// The judgement changed on which updates made builds fail.
///
/// It follows from the compared builds and arrived updates before it. Only packages are named whose
/// suspects are others than before, or have other shares by [`Self::MATTERS`] or more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SuspectsRanked {
    /// The collection.
    pub collection: Name,
    /// Version of the rules of the ranking. Other rules may give other shares.
    pub rules: u32,
    /// The updates.
    pub updates: Vec<SuspectedUpdate>,
    /// The packages, by name.
    pub packages: Vec<PackageSuspects>,
}

impl SuspectsRanked {
    /// A share, in thousandths, whose change is worth an event.
    pub const MATTERS: u32 = 50;
    /// The share, in thousandths, from which on an update is held to have broken a build.
    pub const BROKE: u32 = 500;
}
