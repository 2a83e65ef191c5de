//! Events about what the service itself observes, decides and does.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{
    BuildrootState, Hub, Name, Nvr, Outcome, PackageState, PersonId, RebuildId, RepoId, TaskId, Timestamp,
};

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &i64) -> bool {
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
    /// Digest of the attachment with every verdict and closure.
    pub attachment: String,
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

/// What caused an evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A tick.
    Tick,
    /// A repository was resolved.
    RepoResolved,
}

/// A priority and its parts, in thousandths of a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PriorityParts {
    /// Static part, set by an operator. It stays.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub r#static: i64,
    /// Manual part, set by a person for the next rebuild.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub manual: i64,
    /// Build part: the package started to fail, or was never built here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub build: i64,
    /// Dependency part, from changed dependencies.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dependency: i64,
    /// Time part, from the time since the last build.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub time: i64,
    /// The sum, with the collection's coefficient applied.
    pub current: i64,
}

/// A package that an evaluation chose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Chosen {
    /// The package's collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The package's priority at that time.
    pub priority: PriorityParts,
}

/// The rules were applied to the state. Everything needed to repeat that is here or earlier in the
/// log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvaluationMade {
    /// The last event that the state contained. 0 if there was none.
    pub saw: u64,
    /// The time used for the decision.
    pub now: Timestamp,
    /// What caused the evaluation.
    pub trigger: Trigger,
    /// Digest of the policy in force.
    pub policy: String,
    /// Program version.
    pub program: String,
    /// Load per canonical architecture in thousandths, as the hub reported it. If collections are
    /// built on several hubs, the names are `HUB/ARCH`. A name without a hub applies to all hubs.
    /// Absent if the load was not known; it then did not limit anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<BTreeMap<String, u32>>,
    /// Number of rebuilds running at that time, over all collections.
    pub running: u32,
    /// Number of packages examined.
    pub considered: u32,
    /// Number of packages held back, by deciding reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, u32>,
    /// Chosen packages, in the order of their turns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<Chosen>,
}

/// The values, besides time, that a decision to rebuild depends on. While they stay the same, a
/// rebuild that was turned down is not requested again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildInputs {
    /// `version-release` of the source package.
    #[schemars(with = "String")]
    pub source: SmolStr,
    /// Position in the log of the build from which changes are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Digest of the dependency changes: 16 hex digits, zeros if there are none.
    pub changes: String,
    /// Whole points: static and manual (set by people), and build (from the last builds).
    pub points: (i64, i64, i64),
    /// Architecture override in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch_override: Option<String>,
}

/// A rebuild was decided. Its id is the sequence of this event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildRequested {
    /// The collection.
    pub collection: Name,
    /// Hub instance to build on.
    pub hub: Hub,
    /// The source package to rebuild: the newest tagged one.
    pub nvr: Nvr,
    /// Build target.
    pub target: Name,
    /// The repository in which it was resolved. The build is bound to it if allowed. Absent if
    /// another hub builds than the one that has the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Architectures to build on, spelled as in the build tag. Empty to let Koji choose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// Priority at that time.
    pub priority: PriorityParts,
    /// The values, besides time, that the decision depended on.
    pub inputs: RebuildInputs,
    /// Koji task priority to request.
    pub task_priority: i64,
}

/// The hub accepted the rebuild.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildSubmitted {
    /// The rebuild.
    pub rebuild: RebuildId,
    /// The rebuild's collection.
    pub collection: Name,
    /// The rebuild's package.
    pub package: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The task that the rebuild became.
    pub task_id: TaskId,
}

/// The hub refused the rebuild.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildRefused {
    /// The rebuild.
    pub rebuild: RebuildId,
    /// The rebuild's collection.
    pub collection: Name,
    /// The rebuild's package.
    pub package: Name,
    /// The hub's message.
    pub reason: String,
}

/// The rebuild was not submitted to a hub.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildNotSubmitted {
    /// The rebuild.
    pub rebuild: RebuildId,
    /// The rebuild's collection.
    pub collection: Name,
    /// The rebuild's package.
    pub package: Name,
    /// Reason, such as `no hub`.
    pub reason: String,
}

impl RebuildNotSubmitted {
    /// The reason while the policy is `passive`. No command was exported either.
    pub const PASSIVE: &str = "passive";
    /// The reason after a log was imported. An export has no commands, so the rebuild would never
    /// be submitted.
    pub const NOT_EXPORTED: &str = "its command was not exported";
}

/// A rebuild ended. Version 2; version 1 had no outcome `unclear`, and only infrastructure faults
/// made a package wait.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildFinished {
    /// The collection it counts for.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The task.
    pub task_id: TaskId,
    /// The requested rebuild. Absent if the task belongs to this service's user but this log did
    /// not request it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<RebuildId>,
    /// How it ended.
    pub outcome: Outcome,
    /// Reason for that outcome, in words.
    pub reason: String,
    /// The builder's text, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Digest of that text and all texts alike: 16 hex digits. Present only if nothing is known
    /// about the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Number of the host that the text comes from, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<i64>,
    /// Whether the package waits before the next try. The wait is longer with each such outcome in
    /// a row.
    #[serde(default, skip_serializing_if = "is_false")]
    pub waits: bool,
    /// Version of the rules used for the judgement. Absent if it was made before rules had
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u16>,
}

impl RebuildFinished {
    /// Makes the end of a rebuild that its own task did not report: the rebuild was given up, or
    /// the hub no longer knows the task.
    pub fn untold(
        (hub, task_id): (Hub, TaskId),
        (collection, package): (Name, Name),
        rebuild: Option<RebuildId>,
        outcome: Outcome,
        reason: String,
    ) -> Self {
        let waits = outcome.waits();
        Self {
            collection,
            package,
            hub,
            task_id,
            rebuild,
            outcome,
            reason,
            fault: None,
            mark: None,
            host: None,
            waits,
            rules: None,
        }
    }
}

/// A rebuild is to be cancelled: a task, or a request that is not a task yet. Version 2; version 1
/// always had a task and never named the rebuild.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildCancelRequested {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The task. Absent if the rebuild was decided and is not known to be a task yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The requested rebuild, if the task belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<RebuildId>,
    /// Reason: it timed out, or somebody asked for it.
    pub reason: String,
    /// The person who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A policy of the hub did not allow a rebuild, so its task failed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRefused {
    /// Hub instance.
    pub hub: Hub,
    /// Name of the hub's policy, such as `build_from_repo_id`.
    pub policy: Name,
    /// The rebuild.
    pub rebuild: RebuildId,
    /// The rebuild's collection.
    pub collection: Name,
    /// The rebuild's package.
    pub package: Name,
    /// The rebuild's task.
    pub task_id: TaskId,
    /// Whether rebuilds on the hub are made without the refused option from here on. If absent,
    /// there is no such way, and the collection stops.
    #[serde(default, skip_serializing_if = "is_false")]
    pub falls_back: bool,
    /// The hub's message.
    pub words: String,
}

/// A policy of the hub that had refused rebuilds allows them now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyAllowed {
    /// Hub instance.
    pub hub: Hub,
    /// Name of the hub's policy.
    pub policy: Name,
    /// The collection that had stopped. Absent if the refused option was left out on the whole hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Name>,
    /// The task that the hub allowed.
    pub task_id: TaskId,
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
