//! Events about what the service itself observes, decides and does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{BuildrootState, Hub, Name, PackageState, PersonId, RepoId, TaskId, Timestamp};

pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

pub(super) fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// A policy was adopted. It is in force from here on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyAdopted {
    /// Digest of `policy`.
    pub digest: String,
    /// The whole policy (`decide::Policy`), so that decisions can be derived again from the log
    /// alone.
    pub policy: serde_json::Value,
    /// Version of the program that adopted it.
    pub program: String,
}

/// Time passed. Decisions are taken at this point.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tick {
    /// The time used for decisions.
    pub now: Timestamp,
}

/// One package of a buildroot that differs between two repositories.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DependencyMove {
    /// Binary package name.
    pub name: Name,
    /// Architecture of the binary package.
    pub arch: Name,
    /// Previous `[epoch:]version-release`. Absent if it was not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub old: Option<SmolStr>,
    /// New `[epoch:]version-release`. Absent if it is no longer installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub new: Option<SmolStr>,
}

/// The verdict on one source package in one repository and architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageResolved {
    /// Source package name.
    pub package: Name,
    /// `version-release` of the source package that was resolved.
    #[schemars(with = "String")]
    pub source: SmolStr,
    /// `version-release` of the package's build in the repository, if it is of another source. The
    /// collection's own newest source is the one that is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub buildroot_has: Option<SmolStr>,
    /// Whether the package builds for `noarch`. One architecture is then enough.
    #[serde(default, skip_serializing_if = "is_false")]
    pub noarch: bool,
    /// Whether its build dependencies can be installed. Absent if the package is not built on this
    /// architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// The first problem, in words, if they cannot be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Differences to the buildroot of its last build: index into the event's `moves`, and distance
    /// (0 if not reached).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<(u32, u8)>,
    /// The repository whose buildroot it was compared with. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<RepoId>,
    /// Whether it was compared with what the hub says was installed. That differs from the
    /// prediction for that repository.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truth: bool,
}

/// All source packages of a collection were resolved in one repository and architecture.
///
/// `packages` lists only those whose verdict, source or changes differ from the previous
/// resolution. The closures are in the attachment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoResolved {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The architecture.
    pub arch: Name,
    /// Spelling of the architecture in the repository's packages, if it differs (`i686` in the
    /// repository of `i386`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_packages: Option<Name>,
    /// Digest of the tracked packages, for which it was resolved. Absent if all packages are
    /// tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked: Option<String>,
    /// `two` or `joint`.
    pub mode: Name,
    /// Name and version of the solver.
    pub solver: String,
    /// Digest of everything the verdicts depend on: metadata, build group, build requirements, and
    /// the collection's resolve options that differ from the defaults.
    pub inputs: String,
    /// Whether weak dependencies were installed, too (`ignore_weak_deps = false`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weak_deps: bool,
    /// Whether packages counted regardless of modules (`module_hotfixes = true`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub module_hotfixes: bool,
    /// Digest of the attachment with every verdict and closure. The attachment may only say what
    /// differs from that of an earlier resolution.
    pub attachment: String,
    /// Digest of every verdict and closure, however the attachment says them. Absent in old events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Number of packages that resolve.
    pub resolved: u32,
    /// Number of packages that do not resolve.
    pub unresolved: u32,
    /// Number of packages that are not built on this architecture.
    pub excluded: u32,
    /// Number of packages whose build requirements are not known.
    #[serde(default)]
    pub unknown: u32,
    /// Differences to which `packages` refer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<DependencyMove>,
    /// Packages with a new verdict, source or changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageResolved>,
    /// Packages that had a verdict and are no longer in this repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Name>,
    /// Packages that were checked and on which this program's solver and libsolv disagree. The
    /// recorded verdict is that of libsolv.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub solver_mismatches: Vec<Name>,
}

/// A ready repository could not be resolved (no content available, unreadable, no group). The
/// earlier verdicts remain and are marked stale.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoNotResolved {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The architecture, if only one is affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Name>,
    /// Reason in words.
    pub reason: String,
}

/// libsolv was asked about a resolution after the decisions were taken: why packages do not resolve,
/// and whether it gives the same answers as our own solver.
///
/// A large resolution has several of these events; the last one is `complete`. Answers that differ
/// are corrected by another `repo_resolved` of the same repository before it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ResolutionExamined {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The architecture.
    pub arch: Name,
    /// Number of answers of our own solver that were checked.
    pub checked: u32,
    /// Packages that do not resolve and whose shown problem is a new one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<PackageProblem>,
    /// Whether all is examined.
    pub complete: bool,
}

/// Why a package does not resolve.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageProblem {
    /// The package.
    pub package: Name,
    /// The problem to show, in words.
    pub problem: String,
}

/// The build group of a collection can be installed on an architecture again, or for the first
/// time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildrootResolved {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The architecture.
    pub arch: Name,
    /// Number of packages installed.
    pub count: u32,
}

/// The build group of a collection cannot be installed on an architecture, so nothing can be built
/// there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildrootBroken {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The architecture.
    pub arch: Name,
    /// Reasons in words.
    pub problems: Vec<String>,
}

/// The dependency changes of one package were measured from another base, because its last build
/// changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DependenciesMeasured {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Hub instance.
    pub hub: Hub,
    /// Architecture.
    pub arch: Name,
    /// Repository of its last build. Absent if there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<RepoId>,
    /// Whether they were measured from what the hub says was installed. That differs from the
    /// prediction for that repository.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truth: bool,
    /// Repository of the newest resolution.
    pub repo_id: RepoId,
    /// Differences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<DependencyMove>,
    /// Distance of each difference (0 if not reached).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distances: Vec<u8>,
}

/// How a prediction compares with what a builder installed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The predicted packages were installed.
    Exact,
    /// Other packages were installed.
    Differs,
    /// The prediction said that it could not be installed, but it was.
    Impossible,
    /// There is no prediction: the repository did not have the source package in that version.
    None,
}

/// The packages that a builder installed were compared with the prediction for the repository in
/// which it built.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PredictionCompared {
    /// The collection whose resolution gave the prediction.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The `build` task, of a scratch rebuild or a real build.
    pub task_id: TaskId,
    /// The architecture.
    pub arch: Name,
    /// The repository.
    pub repo_id: RepoId,
    /// Result of the comparison.
    pub prediction: Prediction,
    /// Number of packages that were installed.
    pub installed: u32,
    /// Number of packages predicted but not installed, by name and architecture.
    #[serde(default)]
    pub missing: u32,
    /// Number of packages installed but not predicted.
    #[serde(default)]
    pub extra: u32,
    /// Number of packages installed in another version.
    #[serde(default)]
    pub differing: u32,
    /// The first of these packages: `old` was predicted, `new` was installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<DependencyMove>,
}

/// The state of a package changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageStateChanged {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The previous state. Absent if the package is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<PackageState>,
    /// The new state.
    pub new: PackageState,
    /// Reason in words.
    pub reason: String,
}

/// The cause of a package's state changed, but the state did not: something else is missing now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageReasonChanged {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The state, which stays the same.
    pub state: PackageState,
    /// The new reason in words.
    pub reason: String,
}

/// The state of a collection's buildroot changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionStateChanged {
    /// The collection.
    pub collection: Name,
    /// The previous state.
    pub old: BuildrootState,
    /// The new state.
    pub new: BuildrootState,
    /// The repository.
    pub repo_id: RepoId,
}

/// A message had an impossible time, and another time was used instead. The publisher's clock is
/// wrong, or Koji's clock if the time was in the body.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageTimeReplaced {
    /// The message's id.
    pub message: String,
    /// The time in the message.
    pub said: Timestamp,
    /// The time used instead: the best estimate of when it was sent, from the recorder or the
    /// messages around it.
    pub taken: Timestamp,
}

/// A parked message was dismissed: somebody looked at it, and it is not tried again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageDismissed {
    /// The message's id.
    pub message: String,
    /// Reason in words.
    pub reason: String,
    /// The person who dismissed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A parked message was tried again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageRetried {
    /// The message's id.
    pub message: String,
    /// Whether it was understood this time.
    pub understood: bool,
    /// The reason why it had been parked.
    pub reason: String,
}
