//! Calls about tasks: reading, creating and cancelling them.

use std::collections::BTreeMap;

use super::{Query, record, seconds};
use crate::koji::records::{FileBytes, METADATA, Task, TaskResult, TaskTree};
use crate::koji::xmlrpc::Value;
use crate::model::koji::TaskState;
use crate::model::{Name, RepoId, TaskId, Timestamp};

/// Asks for a task with its parameters.
pub fn get_task_info(id: TaskId) -> Query<Option<Task>> {
    Query::new("getTaskInfo", vec![id.into()]).with("request", true)
}

/// Asks for all tasks below a task, with their parameters.
pub fn get_task_descendents(id: TaskId) -> Query<TaskTree> {
    Query::new("getTaskDescendents", vec![id.into()]).with("request", true)
}

/// Asks for the result of a task. The answer is a fault (1000) if the task has not ended or was
/// cancelled.
pub fn get_task_result(id: TaskId) -> Query<TaskResult> {
    Query::new("getTaskResult", vec![id.into()]).with("raise_fault", false)
}

/// Asks for `bytes` of a file that a task wrote. A negative offset counts from the end of the file.
/// The answer is a fault if there is no such file, or if the offset is before its beginning.
pub fn download_task_output(id: TaskId, file: &str, offset: i64, bytes: i64) -> Query<FileBytes> {
    Query::new("downloadTaskOutput", vec![id.into(), file.into(), offset.into(), bytes.into()])
}

/// Which `build` tasks of a user to list, and in which order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListTasks {
    /// Number of the user.
    pub owner: i64,
    /// Only tasks in one of these states. Empty: in any state.
    pub states: Vec<TaskState>,
    /// Only tasks made after this time.
    pub created_after: Option<Timestamp>,
    /// Whether to include parameters and results. This is expensive.
    pub decoded: bool,
    /// Whether the newest task comes first.
    pub newest_first: bool,
    /// Maximum number of tasks.
    pub limit: u32,
    /// Number of tasks to skip at the beginning.
    pub offset: Option<u32>,
}

/// Asks for `build` tasks of a user, in the order of their numbers.
pub fn list_tasks(which: &ListTasks) -> Query<Vec<Task>> {
    let opts = record([
        ("owner", Some(which.owner.into())),
        ("method", Some("build".into())),
        ("state", (!which.states.is_empty()).then(|| which.states.clone().into())),
        ("createdAfter", which.created_after.map(|time| seconds(time).into())),
        ("decode", which.decoded.then_some(true.into())),
    ]);
    let order = record([
        ("order", Some(if which.newest_first { "-id" } else { "id" }.into())),
        ("limit", Some(i64::from(which.limit).into())),
        ("offset", which.offset.map(|n| i64::from(n).into())),
    ]);
    Query::new("listTasks", vec![opts, order])
}

/// A scratch build to submit.
#[derive(Clone, PartialEq, Debug)]
pub struct ScratchBuild<'a> {
    /// An SCM URL, an uploaded file, or `../packages/NAME/VERSION/RELEASE/src/NVR.src.rpm`.
    pub source: &'a str,
    /// Name of the build target.
    pub target: &'a str,
    /// The repository to build in. The hub's policy `build_from_repo_id` decides who may choose
    /// one. The hub checks it only when the task runs.
    pub repo_id: Option<RepoId>,
    /// Architectures to build on instead of the tag's. Empty: no override.
    pub arches: &'a [Name],
    /// Data stored unchanged with the task. Must be a struct.
    pub metadata: Value,
    /// Further options. The fields above override them.
    pub further: BTreeMap<String, Value>,
    /// Priority: lower comes sooner, 0 is usual. Only admins may use values below 0.
    pub priority: i64,
}

/// Submits a build. Needs a login, and **makes a task each time it is executed**. The hub answers
/// with the number of the task after only trivial checks. A wrong target, repository or source
/// fails later.
pub fn build(what: ScratchBuild<'_>) -> Query<TaskId> {
    let mut opts = what.further;
    opts.insert("scratch".to_owned(), true.into());
    opts.insert(METADATA.to_owned(), what.metadata);
    if !what.arches.is_empty() {
        opts.insert("arch_override".to_owned(), what.arches.join(" ").into());
    }
    if let Some(repo) = what.repo_id {
        opts.insert("repo_id".to_owned(), repo.into());
    }
    let args = vec![what.source.into(), what.target.into(), Value::Struct(opts)];
    Query::new("build", args).with("priority", what.priority)
}

/// Cancels a task and its children. Needs the login of its owner or of an admin. Does nothing if
/// the task has ended.
pub fn cancel_task(id: TaskId) -> Query<()> {
    Query::new("cancelTask", vec![id.into()])
}
