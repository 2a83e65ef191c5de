//! Tasks: looking at them, making them, cancelling them.

use std::collections::BTreeMap;

use super::{Query, record, seconds};
use crate::koji::records::{METADATA, Task, TaskResult, TaskTree};
use crate::koji::xmlrpc::Value;
use crate::model::koji::TaskState;
use crate::model::{Name, RepoId, TaskId, Timestamp};

/// A task, with its parameters.
pub fn get_task_info(id: TaskId) -> Query<Option<Task>> {
    Query::new("getTaskInfo", vec![id.into()]).with("request", true)
}

/// All tasks below a task, with their parameters.
pub fn get_task_descendents(id: TaskId) -> Query<TaskTree> {
    Query::new("getTaskDescendents", vec![id.into()]).with("request", true)
}

/// How a task ended. A fault (1000) while it has not, and when it was cancelled.
pub fn get_task_result(id: TaskId) -> Query<TaskResult> {
    Query::new("getTaskResult", vec![id.into()]).with("raise_fault", false)
}

/// Which `build` tasks of a user to list, and in what order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListTasks {
    /// The user, by number.
    pub owner: i64,
    /// In one of these states; in any when empty.
    pub states: Vec<TaskState>,
    /// Made after this.
    pub created_after: Option<Timestamp>,
    /// With parameters and results, which costs.
    pub decoded: bool,
    /// Newest first.
    pub newest_first: bool,
    /// How many at most.
    pub limit: u32,
    /// How many to leave out at the beginning.
    pub offset: Option<u32>,
}

/// `build` tasks of a user, in the order of their numbers.
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

/// A scratch build to be made.
#[derive(Clone, PartialEq, Debug)]
pub struct ScratchBuild<'a> {
    /// An SCM URL, an uploaded file, or `../packages/NAME/VERSION/RELEASE/src/NVR.src.rpm`.
    pub source: &'a str,
    /// The target.
    pub target: &'a str,
    /// Build in this repository; who may do so is the hub's policy `build_from_repo_id`, and is found out when the task
    /// runs.
    pub repo_id: Option<RepoId>,
    /// Build on these architectures instead of the tag's. None: no override.
    pub arches: &'a [Name],
    /// Kept with the task as it is; must be a struct.
    pub metadata: Value,
    /// Further options; those above go before them.
    pub further: BTreeMap<String, Value>,
    /// Lower comes sooner, 0 is usual; only admins may ask for less.
    pub priority: i64,
}

/// Has something built. Needs a login, and **makes a task each time it is executed**. Answers with the number of the
/// task after only trivial checks: a bad target, repository or source fails later.
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

/// Cancels a task and its children. Needs the login of its owner, or an admin's. Nothing happens to one that has ended.
pub fn cancel_task(id: TaskId) -> Query<()> {
    Query::new("cancelTask", vec![id.into()])
}
