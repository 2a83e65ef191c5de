//! Events about rebuilds: who is chosen, what is requested, and what becomes of a request.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::koschei::{is_false, is_zero};
use crate::model::{Hub, Name, Nvr, Outcome, PersonId, RebuildId, RepoId, TaskId, Timestamp};

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
    #[serde(with = "sixteen_digits")]
    #[schemars(with = "String")]
    pub changes: u64,
    /// Whole points: static and manual (set by people), and build (from the last builds).
    pub points: (i64, i64, i64),
    /// Architecture override in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch_override: Option<String>,
}

/// libsolv corrected the answer on which a rebuild was decided, and the rebuild cannot be cancelled
/// any more: its task is at work.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RebuildDoubted {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The rebuild.
    pub rebuild: RebuildId,
    /// The repository whose resolution was corrected.
    pub repo_id: RepoId,
    /// The architecture.
    pub arch: Name,
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

/// Stores a number as 16 hex digits, as it stands in the log since its first version.
mod sixteen_digits {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        number.ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &"16 hex digits"))
    }
}
