//! Facts about Koji. An absent optional field means "not known", never "none". An empty list means
//! "none".

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::koji::{BuildState, TaskState};
use crate::model::{BuildId, Hub, Name, Nvr, PersonId, RepoId, TagId, TaskId, Timestamp};

/// Most bytes of a fault's text that are stored. Of a longer text, the first and the last half of
/// that many bytes are kept, because the important lines are there.
pub const FAULT_TEXT_BYTES_MAX: usize = 16 * 1024;

fn is_false(value: &bool) -> bool {
    !*value
}

/// The state of a real build changed. Source: `build.state.change` messages, `getBuild`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildChanged {
    /// Hub instance of all ids in this payload.
    pub hub: Hub,
    /// The build. The same id is used again when a failed NVR is built again.
    pub build_id: BuildId,
    /// Source package name.
    pub name: Name,
    /// Epoch, if known and not zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Version.
    pub version: Name,
    /// Release.
    pub release: Name,
    /// The previous state. Absent for a new build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<BuildState>,
    /// The new state.
    pub state: BuildState,
    /// The task that builds it. Absent for imported builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Time at which Koji created the build record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Time at which the build ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Owner of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A build was put into a tag. It is now the latest of its package there, even if it was in the tag
/// already. Source: `tag` messages, `queryHistory(tag_listing)`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildTagged {
    /// Hub instance.
    pub hub: Hub,
    /// Tag name at that time.
    pub tag: Name,
    /// Tag number, which stays the same when the tag is renamed.
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
    /// The person who tagged it.
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
    /// The person who untagged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

impl BuildTagged {
    /// Returns the build's name.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.version.clone(), release: self.release.clone() }
    }
}

impl BuildUntagged {
    /// Returns the build's name.
    pub fn nvr(&self) -> Nvr {
        Nvr { name: self.name.clone(), version: self.version.clone(), release: self.release.clone() }
    }
}

/// The packages that were installed in one buildroot of a build, according to the hub. Source:
/// `listBuildroots`, `listRPMs(componentBuildrootID)`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildrootRecorded {
    /// Hub instance.
    pub hub: Hub,
    /// The `build` task (not its `buildArch` child).
    pub task_id: TaskId,
    /// Name, version and release of the build.
    pub nvr: Nvr,
    /// Architecture of the buildroot.
    pub arch: Name,
    /// Repository from which it was made, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Digest of the attachment with the package list.
    pub attachment: String,
    /// Number of packages.
    pub count: u32,
    /// Whether the build requirements were installed, so that the list is the whole buildroot.
    pub complete: bool,
}

/// The kind of change in a tag's package list. Source: `package.list.change` messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageListAction {
    /// The package was added to the list.
    Add,
    /// Its owner or extra architectures changed.
    Update,
    /// The package was blocked. Its builds no longer count in this tag and in tags that inherit
    /// from it.
    Block,
    /// The package is no longer blocked.
    Unblock,
    /// The package is no longer in this list.
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
    /// The kind of change.
    pub action: PackageListAction,
    /// Whether the entry is blocked now, if the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
    /// Owner of the package.
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
    /// How many levels inheritance may go up through this link. Absent if there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<i32>,
    /// Whether the link counts only for its own tag, not for tags that inherit from it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub intransitive: bool,
    /// Whether architectures and other settings are not inherited through this link.
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
    /// Name of the repository in Koji.
    pub name: Name,
    /// Address, possibly with `$arch`.
    pub url: String,
    /// Order of merging, lowest first.
    pub priority: i32,
    /// `koji`, `simple` or `bare`.
    pub merge_mode: Name,
    /// Architectures it is limited to. Absent if it has all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<Vec<Name>>,
}

/// The configuration of a tag as looked up. An absent part was not looked up and keeps its previous
/// value. Version 2; version 1 had no `gone`. Source: `getTag`, `getBuildConfig`,
/// `getInheritanceData`, `getTagGroups`, `getExternalRepoList`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TagObserved {
    /// Hub instance.
    pub hub: Hub,
    /// Tag name.
    pub tag: Name,
    /// Tag number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_id: Option<TagId>,
    /// Architectures, with inheritance applied.
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
    /// Whether no tag of this name exists (or no longer exists): it was deleted or renamed. Its
    /// builds and its package list are gone with it, although Koji sends no message about that. The
    /// other fields then mean nothing.
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
    /// Tag from which its buildroots come. Absent if the target does not exist (or no longer exists).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_tag: Option<Name>,
    /// Tag into which its builds go. Absent if the target does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest_tag: Option<Name>,
}

/// A repository was begun: its package list is complete, but its metadata are not. Source:
/// `repo.init` messages.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoInitialised {
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The build tag.
    pub tag: Name,
    /// Number of the build tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_id: Option<TagId>,
}

/// A repository can be used. Version 2; version 1 had neither `create_event` nor `arches`. Source:
/// `repo.done` messages, `repoInfo`, `repo.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoReady {
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The build tag.
    pub tag: Name,
    /// Number of the build tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_id: Option<TagId>,
    /// The Koji event whose content the repository has. It decides which of two repositories is
    /// newer; the id does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_event: Option<i64>,
    /// Architectures that have metadata. Absent if they were not looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<Vec<Name>>,
}

/// A repository is no longer current, but a build bound to it can still use it. Source:
/// `repo.query`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoExpired {
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The build tag.
    pub tag: Name,
}

/// A repository can no longer be used (`DELETED` or `PROBLEM`). Source: `repo.query`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RepoDeleted {
    /// Hub instance.
    pub hub: Hub,
    /// The repository.
    pub repo_id: RepoId,
    /// The build tag.
    pub tag: Name,
}

/// The reason why a task failed: the fault from a builder, as `getTaskResult` returns it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskFault {
    /// The `faultCode`. Codes of 1000 and more are Koji's own errors, and 1 is any unexpected
    /// exception.
    pub code: i64,
    /// The `faultString`, at most [`FAULT_TEXT_BYTES_MAX`] bytes and a line break.
    pub text: String,
    /// Number of the host on which the task ran, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<i64>,
    /// The line of the log named by `text` that says most about the failure, if the log was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

impl TaskFault {
    /// Makes a fault, and shortens its text to what is stored.
    pub fn new(code: i64, text: &str) -> Self {
        Self { code, text: bounded_fault(text).into_owned(), host: None, line: None }
    }
}

/// Returns the text. If it is too long, returns its first and last part, joined by a line break.
pub fn bounded_fault(text: &str) -> Cow<'_, str> {
    if text.len() <= FAULT_TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let head = text.floor_char_boundary(FAULT_TEXT_BYTES_MAX / 2);
    let tail = text.ceil_char_boundary(text.len() - FAULT_TEXT_BYTES_MAX / 2);
    let part = |range: Option<&str>| range.expect("both ends are on a character boundary").to_owned();
    Cow::Owned(part(text.get(..head)) + "\n" + &part(text.get(tail..)))
}

/// One step of a build (a subtask).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChildTask {
    /// The step's own task. Its logs are in `work/tasks/<id % 10000>/<id>/`.
    pub task_id: TaskId,
    /// Koji's method: `buildArch`, `rebuildSRPM`, …
    pub method: Name,
    /// The architecture, or `srpm`.
    pub label: Name,
    /// State of the step.
    pub state: TaskState,
    /// Architecture on which the step ran, also if the label is `srpm` or `noarch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Name>,
    /// The fault, if the step failed and the hub was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<TaskFault>,
}

/// The state of a scratch build of this service's user changed. Version 3; version 2 had no lines of
/// logs, and version 1 no faults and no architectures of steps. Source: `task.state.change`
/// messages, `getTaskInfo`, `getTaskDescendents`, `getTaskResult`, `downloadTaskOutput`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskChanged {
    /// Hub instance.
    pub hub: Hub,
    /// The `build` task.
    pub task_id: TaskId,
    /// The new state.
    pub state: TaskState,
    /// Source package name.
    pub package: Name,
    /// Name, version and release of what is rebuilt, if the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvr: Option<Nvr>,
    /// Build target. Absent if the build is bound to a repository only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Name>,
    /// The repository to which the build is bound, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// Architectures it is limited to. Empty if it uses those of the tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// Id of this service's decision, from `custom_user_metadata`, if the task has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Time at which the task was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Time at which a builder took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Time at which it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The task's steps, listed once the task has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildTask>,
    /// The fault, if the task failed and the hub was asked. A task repeats the fault of its first
    /// failed step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<TaskFault>,
}

/// The hub does not know, or no longer knows, the task of a rebuild by this service. Source:
/// `getTaskInfo` returned nil for its id.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskVanished {
    /// Hub instance.
    pub hub: Hub,
    /// The task.
    pub task_id: TaskId,
    /// Source package name.
    pub package: Name,
}

/// Bodhi put a build into the buildroots of a release before its update, or took it out again.
/// Source: messages `buildroot_override.tag` and `buildroot_override.untag`; no hub can be asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildrootOverrideChanged {
    /// Hub instance of the build.
    pub hub: Hub,
    /// The build.
    pub nvr: Nvr,
    /// Whether the override is in force now.
    pub in_force: bool,
    /// Time at which Bodhi will end it, if the message said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Reconciliation compared the log with the hub up to a Koji event. Before this event, it appended
/// the facts that differed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reconciled {
    /// Hub instance.
    pub hub: Hub,
    /// Koji event up to which everything is known.
    pub through: i64,
    /// Number of facts appended that no message had reported.
    pub missed: u32,
    /// Number of facts appended that correct what a message had reported.
    pub invented: u32,
}
