//! Tasks: looking at them, making them, cancelling them.

use std::collections::BTreeMap;

use super::{Page, Query, record};
use crate::koji::records::{METADATA, Task, TaskResult, TaskTree};
use crate::koji::xmlrpc::Value;
use crate::model::koji::TaskState;
use crate::model::{Name, RepoId, TaskId, Timestamp};

/// Seconds since 1970, as the hub takes times.
#[expect(clippy::cast_precision_loss, reason = "microseconds of our times fit into a double's 53 bits until 2255")]
pub(super) fn seconds(time: Timestamp) -> f64 {
    time.micros() as f64 / 1e6
}

/// A task, with its parameters.
pub fn get_task_info(id: TaskId) -> Query<Option<Task>> {
    Query::new("getTaskInfo", vec![id.into()]).with("request", true)
}

/// Several tasks with their parameters, in the order of the numbers; `None` for one that is not there. One request for all.
pub fn get_task_infos(ids: &[TaskId]) -> Query<Vec<Option<Task>>> {
    Query::new("getTaskInfo", vec![ids.to_vec().into()]).with("request", true)
}

/// The children of a task, with their parameters.
pub fn get_task_children(id: TaskId) -> Query<Vec<Task>> {
    Query::new("getTaskChildren", vec![id.into()]).with("request", true)
}

/// All tasks below a task, with their parameters.
pub fn get_task_descendents(id: TaskId) -> Query<TaskTree> {
    Query::new("getTaskDescendents", vec![id.into()]).with("request", true)
}

/// How a task ended. A fault (1000) while it has not, and when it was cancelled.
pub fn get_task_result(id: TaskId) -> Query<TaskResult> {
    Query::new("getTaskResult", vec![id.into()]).with("raise_fault", false)
}

/// Which tasks to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListTasks {
    /// Of this user, by number.
    pub owner: Option<i64>,
    /// That do this.
    pub method: Option<Name>,
    /// In one of these states; in any when empty.
    pub states: Vec<TaskState>,
    /// Made after this.
    pub created_after: Option<Timestamp>,
    /// Ended after this.
    pub completed_after: Option<Timestamp>,
    /// In this channel.
    pub channel_id: Option<i64>,
    /// With this parent; top-level tasks have none.
    pub parent: Option<TaskId>,
    /// Without parameters and results, which is cheaper.
    pub bare: bool,
    /// Order and range.
    pub page: Page,
}

/// Tasks, with their parameters.
pub fn list_tasks(which: &ListTasks) -> Query<Vec<Task>> {
    let opts = record([
        ("owner", which.owner.map(Value::from)),
        ("method", which.method.as_ref().map(Value::from)),
        ("state", (!which.states.is_empty()).then(|| which.states.clone().into())),
        ("createdAfter", which.created_after.map(|time| seconds(time).into())),
        ("completeAfter", which.completed_after.map(|time| seconds(time).into())),
        ("channel_id", which.channel_id.map(Value::from)),
        ("parent", which.parent.map(Value::from)),
        ("decode", (!which.bare).then_some(true.into())),
    ]);
    let arguments = vec![opts.unwrap_or_else(|| Value::Struct(BTreeMap::new())), which.page.to_value().into()];
    Query::new("listTasks", arguments)
}

/// What to build and how.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BuildOptions {
    /// Throw the result away.
    pub scratch: bool,
    /// Build in this repository; what may do so is the hub's policy `build_from_repo_id`, and is found out when the task runs.
    pub repo_id: Option<RepoId>,
    /// Build on these architectures instead of the tag's; only for scratch builds. None: no override.
    pub arch_override: Vec<Name>,
    /// Cancel the other architectures when one fails.
    pub fail_fast: bool,
    /// Kept with the task as it is; must be a struct.
    pub metadata: Option<Value>,
    /// Lower comes sooner, 0 is usual; only admins may ask for less.
    pub priority: Option<i64>,
    /// Channel instead of the policy's.
    pub channel: Option<Name>,
}

/// Has something built. Needs a login, and **makes a task each time it is executed**. Answers with the number of the task after
/// only trivial checks: a bad target, repository or source fails later.
///
/// `source`: an SCM URL, an uploaded file, or `../packages/NAME/VERSION/RELEASE/src/NVR.src.rpm`.
pub fn build(source: &str, target: Option<&str>, options: &BuildOptions) -> Query<TaskId> {
    let arches = options.arch_override.join(" ");
    let opts = record([
        ("scratch", options.scratch.then_some(true.into())),
        ("repo_id", options.repo_id.map(Value::from)),
        ("arch_override", (!arches.is_empty()).then(|| arches.into())),
        ("fail_fast", options.fail_fast.then_some(true.into())),
        (METADATA, options.metadata.clone()),
    ]);
    let opts = opts.unwrap_or_else(|| Value::Struct(BTreeMap::new()));
    Query::new("build", vec![source.into(), target.into(), opts])
        .maybe("priority", options.priority)
        .maybe("channel", options.channel.as_ref())
}

/// Cancels a task and its children. Needs the login of its owner, or an admin's. Nothing happens to one that has ended.
pub fn cancel_task(id: TaskId) -> Query<()> {
    Query::new("cancelTask", vec![id.into()])
}
