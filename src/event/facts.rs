//! Facts about Koji. Absent optional fields mean "not known", never "none"; empty lists mean "none".

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::koji::{BuildState, TaskState};
use crate::model::{BuildId, Hub, Name, Nvr, PersonId, RepoId, TagId, TaskId, Timestamp};

/// Bytes of a fault's text that are stored; of a longer one the first and the last half of it, where the telling lines
/// are.
pub const FAULT_TEXT_BYTES_MAX: usize = 16 * 1024;

fn is_false(value: &bool) -> bool {
    !*value
}

/// A real build has a new state. Source: `build.state.change` messages, `getBuild`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildChanged {
    /// Hub instance of all ids here.
    pub hub: Hub,
    /// The build; the same id comes back when a failed NVR is tried again.
    pub build_id: BuildId,
    /// Source package name.
    pub name: Name,
    /// Epoch, where known and not zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Version.
    pub version: Name,
    /// Release.
    pub release: Name,
    /// State before, absent for a new build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<BuildState>,
    /// State now.
    pub state: BuildState,
    /// The task that builds it; absent for imported builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// When Koji made the build record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Whose build it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A build was put into a tag; it is now the latest of its package there, even if it was in the tag already.
/// Source: `tag` messages, `queryHistory(tag_listing)`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildTagged {
    /// Hub instance.
    pub hub: Hub,
    /// Tag name at that time.
    pub tag: Name,
    /// Tag number, which survives renaming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_id: Option<TagId>,
    /// The build.
    pub build_id: BuildId,
    /// Source package name.
    pub name: Name,
    /// Version.
    pub version: Name,
    /// Release.
    pub release: Name,
    /// Who tagged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A build was taken out of a tag. Source: `untag` messages, `queryHistory(tag_listing)`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildUntagged {
    /// Hub instance.
    pub hub: Hub,
    /// Tag name at that time.
    pub tag: Name,
    /// Tag number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_id: Option<TagId>,
    /// The build.
    pub build_id: BuildId,
    /// Source package name.
    pub name: Name,
    /// Version.
    pub version: Name,
    /// Release.
    pub release: Name,
    /// Who untagged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

impl BuildTagged {
    /// The build's name.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.version.clone(), release: self.release.clone() }
    }
}

impl BuildUntagged {
    /// The build's name.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.version.clone(), release: self.release.clone() }
    }
}

/// What the hub says was installed for one buildroot of a build. Source: `listBuildroots`,
/// `listRPMs(componentBuildrootID)`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildrootRecorded {
    /// Hub instance.
    pub hub: Hub,
    /// The `build` task (not its `buildArch` child).
    pub task_id: TaskId,
    /// What was built.
    pub nvr: Nvr,
    /// Architecture of the buildroot.
    pub arch: Name,
    /// Repository generation it was made from, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Digest of the attachment with the package list.
    pub attachment: String,
    /// Number of packages.
    pub count: u32,
    /// Whether the build requirements were installed, so that the list is the whole buildroot.
    pub complete: bool,
}

/// What changed in a tag's package list. Source: `package.list.change` messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageListAction {
    /// Listed anew.
    Add,
    /// Owner or extra arches changed.
    Update,
    /// Blocked: its builds no longer count in this tag and below.
    Block,
    /// No longer blocked.
    Unblock,
    /// No longer listed here.
    Remove,
}

/// A tag's package list changed. Source: `package.list.change` messages, `listPackages`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageListChanged {
    /// Hub instance.
    pub hub: Hub,
    /// Tag name.
    pub tag: Name,
    /// Source package name.
    pub package: Name,
    /// What happened.
    pub action: PackageListAction,
    /// Whether the entry is blocked now, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
    /// Owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// One parent of a tag.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Inheritance {
    /// The parent's name.
    pub tag: Name,
    /// Order among parents, lowest first.
    pub priority: i32,
    /// How far up inheritance goes through this link; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<i32>,
    /// The link counts only for its own tag, not for tags that inherit from it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub intransitive: bool,
    /// Architectures and other settings are not inherited through this link.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_config: bool,
}

/// A group of a tag.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GroupDefinition {
    /// Group name, such as `build`.
    pub name: Name,
    /// Members that are installed (mandatory or default, not blocked).
    pub packages: Vec<Name>,
}

/// A repository outside Koji that is merged into a tag's repositories.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExternalRepo {
    /// Its name in Koji.
    pub name: Name,
    /// Address, possibly with `$arch`.
    pub url: String,
    /// Order of merging, lowest first.
    pub priority: i32,
    /// `koji`, `simple` or `bare`.
    pub merge_mode: Name,
    /// Architectures it is limited to; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<Vec<Name>>,
}

/// The configuration of a tag as looked up. A part that was not looked at is absent and keeps its former value. Version
/// 2; version 1 had no `gone`. Source: `getTag`, `getBuildConfig`, `getInheritanceData`, `getTagGroups`,
/// `getExternalRepoList`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TagObserved {
    /// Hub instance.
    pub hub: Hub,
    /// Tag name.
    pub tag: Name,
    /// Tag number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_id: Option<TagId>,
    /// Architectures, inheritance applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<Vec<Name>>,
    /// Direct parents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inheritance: Option<Vec<Inheritance>>,
    /// Groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<GroupDefinition>>,
    /// External repositories in merge order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_repos: Option<Vec<ExternalRepo>>,
    /// There is no tag of this name (any more): it was deleted or renamed. Its builds and its package list went with
    /// it, without any message (Koji emits none), and the other parts here say nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gone: bool,
}

/// A build target as looked up. Source: `getBuildTarget(s)`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TargetObserved {
    /// Hub instance.
    pub hub: Hub,
    /// Target name.
    pub target: Name,
    /// Where its buildroots come from; absent when the target does not exist (any more).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_tag: Option<Name>,
    /// Where its builds go; absent when the target does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest_tag: Option<Name>,
}

/// A repository generation was begun: its package list stands, its metadata do not. Source: `repo.init` messages.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoInitialised {
    /// Hub instance.
    pub hub: Hub,
    /// The generation.
    pub repo_id: RepoId,
    /// The build tag.
    pub tag: Name,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_id: Option<TagId>,
}

/// A repository generation can be used. Version 2; version 1 had neither `create_event` nor `arches`.
/// Source: `repo.done` messages, `repoInfo`, `repo.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoReady {
    /// Hub instance.
    pub hub: Hub,
    /// The generation.
    pub repo_id: RepoId,
    /// The build tag.
    pub tag: Name,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_id: Option<TagId>,
    /// The Koji event whose content the generation has: this, not the id, says which of two is newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_event: Option<i64>,
    /// Architectures that have metadata; absent: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<Vec<Name>>,
}

/// A repository generation is no longer current but can still be used by a build bound to it. Source: `repo.query`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoExpired {
    /// Hub instance.
    pub hub: Hub,
    /// The generation.
    pub repo_id: RepoId,
    /// The build tag.
    pub tag: Name,
}

/// A repository generation cannot be used any more (`DELETED` or `PROBLEM`). Source: `repo.query`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoDeleted {
    /// Hub instance.
    pub hub: Hub,
    /// The generation.
    pub repo_id: RepoId,
    /// The build tag.
    pub tag: Name,
}

/// Why a task failed: the fault a builder left, as `getTaskResult` gives it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskFault {
    /// `faultCode`; 1000 and up are Koji's own errors, 1 is any unexpected exception.
    pub code: i64,
    /// `faultString`, at most [`FAULT_TEXT_BYTES_MAX`] bytes and a line break.
    pub text: String,
    /// Number of the host the task ran on, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<i64>,
}

impl TaskFault {
    /// A fault with as much of its text as is kept.
    pub fn new(code: i64, text: &str) -> Self {
        Self { code, text: bounded_fault(text).into_owned(), host: None }
    }
}

/// The text, or the first and last half of what may be kept of it, a line break between them.
pub fn bounded_fault(text: &str) -> Cow<'_, str> {
    if text.len() <= FAULT_TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let head = text.floor_char_boundary(FAULT_TEXT_BYTES_MAX / 2);
    let tail = text.ceil_char_boundary(text.len() - FAULT_TEXT_BYTES_MAX / 2);
    let part = |range: Option<&str>| range.expect("both ends are on a character boundary").to_owned();
    Cow::Owned(part(text.get(..head)) + "\n" + &part(text.get(tail..)))
}

/// One step of a build.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChildTask {
    /// The step's own task; its logs lie under `work/tasks/<id % 10000>/<id>/`.
    pub task_id: TaskId,
    /// `buildArch`, `rebuildSRPM`, …
    pub method: Name,
    /// Architecture, or `srpm`.
    pub label: Name,
    /// Its state.
    pub state: TaskState,
    /// What it ran on: an architecture also where the label says `srpm` or `noarch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Name>,
    /// Why it failed, where it did and the hub was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<TaskFault>,
}

/// A scratch build of our service user has a new state. Version 2; version 1 knew no faults and no architectures of
/// steps. Source: `task.state.change` messages; `getTaskInfo`, `getTaskDescendents`, `getTaskResult`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskChanged {
    /// Hub instance.
    pub hub: Hub,
    /// The `build` task.
    pub task_id: TaskId,
    /// State now.
    pub state: TaskState,
    /// Source package name.
    pub package: Name,
    /// What is rebuilt, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvr: Option<Nvr>,
    /// Build target; absent when the build is bound to a repository only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Name>,
    /// The repository generation it is bound to, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Architectures it is limited to; empty: those of the tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// Id of our decision from `custom_user_metadata`, where the task carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// When the task was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When a builder took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Its steps, listed when the task has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildTask>,
    /// Why it failed, where it did and the hub was asked. A task repeats the fault of its first failed step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<TaskFault>,
}

/// The hub does not know a task (any more) that became of one of our rebuilds. Source: `getTaskInfo` giving nil for its
/// id.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskVanished {
    /// Hub instance.
    pub hub: Hub,
    /// The task.
    pub task_id: TaskId,
    /// Source package name.
    pub package: Name,
}

/// Reconciliation compared us with the hub up to a Koji event and appended what differed before this mark.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reconciled {
    /// Hub instance.
    pub hub: Hub,
    /// Everything up to this Koji event is known.
    pub through: i64,
    /// Number of facts appended that no message had told.
    pub missed: u32,
    /// Number of facts appended that take back what a message had told.
    pub invented: u32,
}
