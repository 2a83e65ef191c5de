//! What the service itself observes, decides and does.

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

/// The rules that hold from here on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyAdopted {
    /// Digest of `policy`.
    pub digest: String,
    /// The whole policy (`decide::Policy`), so that decisions can be derived again from the log alone.
    pub policy: serde_json::Value,
    /// Program version that adopted it.
    pub program: String,
}

/// Time passed: a point at which decisions are taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tick {
    /// The time to decide by.
    pub now: Timestamp,
}

/// One package of a buildroot that differs between two repositories.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DependencyMove {
    /// Binary package name.
    pub name: Name,
    /// Its architecture.
    pub arch: Name,
    /// `[epoch:]version-release` before; absent: it was not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub old: Option<SmolStr>,
    /// `[epoch:]version-release` now; absent: it is not installed.
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
    /// `version-release` of the build the repository has of it, where that is of another source: the collection's own
    /// newest source is the one that is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub buildroot_has: Option<SmolStr>,
    /// It builds for `noarch`: one architecture is enough.
    #[serde(default, skip_serializing_if = "is_false")]
    pub noarch: bool,
    /// Whether its build dependencies can be installed; absent: not for this architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// Why not: the first problem, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Differences to the buildroot of its last build: index into the event's `moves` and distance (0: not reached).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<(u32, u8)>,
    /// The repository whose buildroot it was compared with; absent: nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<RepoId>,
    /// It was compared with what the hub says was installed, which differs from what we would have expected there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truth: bool,
}

/// All source packages of a collection were resolved in one repository and architecture.
///
/// `packages` lists only those whose verdict, source or changes differ from the resolution before; closures are in the
/// attachment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoResolved {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The generation.
    pub repo_id: RepoId,
    /// The architecture.
    pub arch: Name,
    /// How the packages in it spell the architecture, where that is another name (`i686` in the repository of `i386`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_packages: Option<Name>,
    /// Stands for the packages it was resolved for, where those are not all: the tracked ones; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked: Option<String>,
    /// `two` or `joint`.
    pub mode: Name,
    /// Solver and version.
    pub solver: String,
    /// Digest of everything the verdicts depend on: metadata, build group, build requirements, and what of the
    /// collection's own way is not usual.
    pub inputs: String,
    /// Weak dependencies were installed, too (`ignore_weak_deps = false`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weak_deps: bool,
    /// Packages counted whatever modules say (`module_hotfixes = true`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub module_hotfixes: bool,
    /// Digest of the attachment with every verdict and closure.
    pub attachment: String,
    /// Number of packages that resolve.
    pub resolved: u32,
    /// Number of packages that do not.
    pub unresolved: u32,
    /// Number of packages that are not for this architecture.
    pub excluded: u32,
    /// Number of packages whose build requirements are not known.
    #[serde(default)]
    pub unknown: u32,
    /// Differences named by `packages`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<DependencyMove>,
    /// What is new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageResolved>,
    /// Packages that had a verdict and are not in this repository any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Name>,
    /// Packages whose answer was checked and on which our own solver and libsolv disagree; libsolv's answer is the one
    /// recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub solver_mismatches: Vec<Name>,
}

/// A ready repository could not be resolved (no content at hand, unreadable, no group): verdicts stand, marked stale.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoNotResolved {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The generation.
    pub repo_id: RepoId,
    /// The architecture, where only one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Name>,
    /// Why, in words.
    pub reason: String,
}

/// The build group of a collection installs again, or for the first time, on an architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildrootResolved {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// In this generation.
    pub repo_id: RepoId,
    /// On this architecture.
    pub arch: Name,
    /// Number of packages in it.
    pub count: u32,
}

/// The build group of a collection cannot be installed on an architecture: nothing can be built there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildrootBroken {
    /// The collection.
    pub collection: Name,
    /// Hub instance.
    pub hub: Hub,
    /// In this generation.
    pub repo_id: RepoId,
    /// On this architecture.
    pub arch: Name,
    /// Why, in words.
    pub problems: Vec<String>,
}

/// The dependency changes of one package were measured against another base, because its last build changed.
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
    /// Repository of its last build; absent: nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<RepoId>,
    /// They were measured from what the hub says was installed, which differs from what we would have expected there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truth: bool,
    /// Repository of the newest resolution.
    pub repo_id: RepoId,
    /// Differences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<DependencyMove>,
    /// Distance of each difference (0: not reached).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distances: Vec<u8>,
}

/// How a prediction of ours compares with what a builder did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The very same packages.
    Exact,
    /// Other ones.
    Differs,
    /// We said it could not be installed, and it was.
    Impossible,
    /// There is none: the source package was not in that repository in that version.
    None,
}

/// What a builder installed was compared with what we would have expected in the repository it was built in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PredictionCompared {
    /// The collection whose resolution was compared with.
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
    /// What came out.
    pub prediction: Prediction,
    /// Packages that were installed.
    pub installed: u32,
    /// Packages expected and not installed, by name and architecture.
    #[serde(default)]
    pub missing: u32,
    /// Packages installed and not expected.
    #[serde(default)]
    pub extra: u32,
    /// Packages installed in another version.
    #[serde(default)]
    pub differing: u32,
    /// The first of them: `old` was expected, `new` was installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<DependencyMove>,
}

/// What made an evaluation happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A tick.
    Tick,
    /// A repository was resolved.
    RepoResolved,
}

/// A priority and what it is made of, in thousandths of a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PriorityParts {
    /// Set for good by an operator.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub r#static: i64,
    /// Set for the next rebuild by a person.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub manual: i64,
    /// Started to fail, or never built here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub build: i64,
    /// Changed dependencies.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dependency: i64,
    /// Time since the last build.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub time: i64,
    /// All of it, the collection's coefficient applied.
    pub current: i64,
}

/// A package an evaluation chose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Chosen {
    /// Its collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Its priority at that time.
    pub priority: PriorityParts,
}

/// The rules were applied to the state. Everything needed to do so again is here or in the log before it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EvaluationMade {
    /// The last event the state contained; 0: none.
    pub saw: u64,
    /// The time decided by.
    pub now: Timestamp,
    /// Why now.
    pub trigger: Trigger,
    /// Digest of the policy in force.
    pub policy: String,
    /// Program version.
    pub program: String,
    /// Load per canonical architecture in thousandths, as the hub told; where collections are built on several hubs, of
    /// each as `HUB/ARCH`. Absent: not known, not limiting. A name without hub counts for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<BTreeMap<String, u32>>,
    /// Rebuilds running at that time, over all collections.
    pub running: u32,
    /// Packages looked at.
    pub considered: u32,
    /// How many were held back, by deciding reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, u32>,
    /// Chosen packages, most urgent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<Chosen>,
}

/// What a decision to rebuild depends on besides time: while it stays the same, a rebuild that was turned down is not
/// asked for again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildInputs {
    /// `version-release` of the source package.
    #[schemars(with = "String")]
    pub source: SmolStr,
    /// Place of the build that changes are measured from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Stands for the dependency changes: 16 hex digits, zeros for none.
    pub changes: String,
    /// Whole points set by people and by the state of the last builds: static, manual, build.
    pub points: (i64, i64, i64),
    /// Architecture override in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch_override: Option<String>,
}

/// A rebuild was decided; its id is this event's sequence.
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
    /// The repository it was resolved in, to be bound to where allowed; absent where another hub builds than the one it
    /// is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Architectures to limit it to, as the tag that builds spells them; empty: leave it to Koji.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// Priority at that time.
    pub priority: PriorityParts,
    /// What the decision depended on, time excepted.
    pub inputs: RebuildInputs,
    /// Koji task priority to ask for.
    pub task_priority: i64,
}

/// The hub took the rebuild.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildSubmitted {
    /// The rebuild.
    pub rebuild: RebuildId,
    /// Its collection.
    pub collection: Name,
    /// Its package.
    pub package: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The task it became.
    pub task_id: TaskId,
}

/// The hub refused the rebuild.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildRefused {
    /// The rebuild.
    pub rebuild: RebuildId,
    /// Its collection.
    pub collection: Name,
    /// Its package.
    pub package: Name,
    /// The hub's words.
    pub reason: String,
}

/// The rebuild was not even offered to a hub.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildNotSubmitted {
    /// The rebuild.
    pub rebuild: RebuildId,
    /// Its collection.
    pub collection: Name,
    /// Its package.
    pub package: Name,
    /// Why, such as `no hub`.
    pub reason: String,
}

impl RebuildNotSubmitted {
    /// The reason while the policy is `passive`: then no command was let out either.
    pub const PASSIVE: &str = "passive";
    /// The reason where the log was imported: an export carries no commands, so that nobody would ever submit it.
    pub const NOT_EXPORTED: &str = "its command was not exported";
}

/// A rebuild ended. Version 2; version 1 knew no `unclear` end, and only infrastructure faults made a package wait.
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
    /// The rebuild we had requested; absent: a task of our user that this log did not request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<RebuildId>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it is called that, in words.
    pub reason: String,
    /// The builder's own words, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Stands for those words and all that say the same, where nothing is known about them: 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Number of the host those words come from, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<i64>,
    /// The package waits before it is tried again, longer with each such end in a row.
    #[serde(default, skip_serializing_if = "is_false")]
    pub waits: bool,
    /// Number of the rules it was judged by; absent: those before they had numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u16>,
}

impl RebuildFinished {
    /// A rebuild of ours that came to an end which its own task did not tell: given up, or not known to the hub any
    /// more.
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

/// A rebuild shall be cancelled: a task, or a request that is no task yet. Version 2; version 1 always had a task and
/// never named the rebuild.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildCancelRequested {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Hub instance.
    pub hub: Hub,
    /// The task; absent: the rebuild was decided and is not known to be a task yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The rebuild we had requested, where it is one of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<RebuildId>,
    /// Why: timed out, or asked for.
    pub reason: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A policy of the hub did not allow a rebuild: its task failed for that.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRefused {
    /// Hub instance.
    pub hub: Hub,
    /// The policy, such as `build_from_repo_id`.
    pub policy: Name,
    /// The rebuild.
    pub rebuild: RebuildId,
    /// Its collection.
    pub collection: Name,
    /// Its package.
    pub package: Name,
    /// Its task.
    pub task_id: TaskId,
    /// From here on rebuilds on the hub are made without what was refused; absent: nothing else can be done, and the
    /// collection stops.
    #[serde(default, skip_serializing_if = "is_false")]
    pub falls_back: bool,
    /// The hub's words.
    pub words: String,
}

/// A policy that had refused us allows it now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyAllowed {
    /// Hub instance.
    pub hub: Hub,
    /// The policy.
    pub policy: Name,
    /// The collection that had stopped; absent: what all rebuilds on the hub were made without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Name>,
    /// The task that showed it.
    pub task_id: TaskId,
}

/// The state of a package changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageStateChanged {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Before; absent: first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<PackageState>,
    /// Now.
    pub new: PackageState,
    /// Why, in words.
    pub reason: String,
}

/// A package's state is what it was, and its cause is another one: something else is missing now.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageReasonChanged {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The state it was in and still is.
    pub state: PackageState,
    /// Why, in words.
    pub reason: String,
}

/// The state of a collection's buildroot changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionStateChanged {
    /// The collection.
    pub collection: Name,
    /// Before.
    pub old: BuildrootState,
    /// Now.
    pub new: BuildrootState,
    /// In this generation.
    pub repo_id: RepoId,
}

/// A message said a time that cannot be, and another one was taken: its publisher's clock is wrong, or Koji's where the
/// time stood in the body.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageTimeReplaced {
    /// The message's id.
    pub message: String,
    /// What it said.
    pub said: Timestamp,
    /// When it was sent as far as can be known: as the recorder or the messages around it say.
    pub taken: Timestamp,
}

/// A message that had been set aside is not to be understood any more: somebody looked at it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageDismissed {
    /// The message's id.
    pub message: String,
    /// Why, for those who wonder.
    pub reason: String,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A message that had been set aside was given another try.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageRetried {
    /// The message's id.
    pub message: String,
    /// Whether it was understood this time.
    pub understood: bool,
    /// Why it had been set aside.
    pub reason: String,
}
