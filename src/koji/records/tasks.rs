//! Tasks and their results.

use std::collections::BTreeMap;

use super::requests::{BuildArchRequest, BuildRequest};
use crate::koji::shape::{Fields, FromValue, ShapeError, record};
use crate::koji::xmlrpc::{Fault, Value, decode_request, fault};
use crate::model::koji::TaskState;
use crate::model::{Name, TaskId, Timestamp};

/// A task. Source: `getTaskInfo`, `listTasks`, `getTaskChildren`, `getTaskDescendents`.
#[derive(Clone, PartialEq, Debug)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// Its state.
    pub state: TaskState,
    /// What it does: `build`, `buildArch`, `rebuildSRPM`, `newRepo`, …
    pub method: Name,
    /// Architecture, `noarch` where it does not matter.
    pub arch: Option<Name>,
    /// Among its siblings: an architecture, `srpm`.
    pub label: Option<Name>,
    /// The task it belongs to.
    pub parent: Option<TaskId>,
    /// Number of its owner.
    pub owner: Option<i64>,
    /// Name of its owner; only from `listTasks`.
    pub owner_name: Option<Name>,
    /// Number of the channel.
    pub channel_id: Option<i64>,
    /// Number of the builder.
    pub host_id: Option<i64>,
    /// Lower comes sooner, 20 is usual.
    pub priority: Option<i64>,
    /// How much of a builder it takes.
    pub weight: Option<f64>,
    /// Whether it waits for its children.
    pub waiting: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it began; the last time, if several.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Its parameters, where they were asked for.
    pub request: Option<Vec<Value>>,
    /// Its result, where it was asked for: a list with one element, or a fault.
    pub result: Option<Value>,
}

impl FromValue for Task {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let fields = Fields::of(value)?;
        let request = match fields.take::<Value>("request")? {
            Value::Nil => None,
            Value::Array(parameters) => Some(parameters),
            // Not decoded by the hub: the call as the builder gets it.
            Value::Text(document) => decode_request(document.as_bytes()).ok().and_then(|call| call.params().ok()),
            other => return Err(ShapeError::new("a list of parameters", &other).in_member("request")),
        };
        Ok(Self {
            id: fields.take("id")?,
            state: fields.take("state")?,
            method: fields.take("method")?,
            arch: fields.take("arch")?,
            label: fields.take("label")?,
            parent: fields.take("parent")?,
            owner: fields.take("owner")?,
            owner_name: fields.take("owner_name")?,
            channel_id: fields.take("channel_id")?,
            host_id: fields.take("host_id")?,
            priority: fields.take("priority")?,
            weight: fields.take("weight")?,
            waiting: fields.take("waiting")?,
            created: fields.any(&["create_ts", "create_time"])?,
            started: fields.any(&["start_ts", "start_time"])?,
            completed: fields.any(&["completion_ts", "completion_time"])?,
            request,
            result: fields.take("result")?,
        })
    }
}

impl Task {
    /// What a `build` task was asked to build; `None` when this is another kind of task, or its request was not asked for or
    /// is strange.
    pub fn build_request(&self) -> Option<BuildRequest> {
        (self.method == "build").then(|| BuildRequest::of(self.request.as_deref()?)).flatten()
    }

    /// What a `buildArch` or `rebuildSRPM` task was asked to do.
    pub fn build_arch_request(&self) -> Option<BuildArchRequest> {
        BuildArchRequest::of(&self.method, self.request.as_deref()?)
    }
}

/// A task's descendants: for every task of the tree its children, those without any included. Source: `getTaskDescendents`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TaskTree(pub BTreeMap<TaskId, Vec<Task>>);

impl FromValue for TaskTree {
    /// The numbers of the tasks are text there, as names of members must be.
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let by_text = BTreeMap::<String, Vec<Task>>::from_value(value)?;
        let number = |(text, children): (String, _)| match text.parse() {
            Ok(id) => Ok((TaskId(id), children)),
            Err(_) => Err(ShapeError::new("a number", &Value::Text(text.clone())).in_member(&text)),
        };
        by_text.into_iter().map(number).collect::<Result<_, _>>().map(Self)
    }
}

impl TaskTree {
    /// All tasks below the first, in the order of their numbers.
    pub fn tasks(&self) -> Vec<&Task> {
        let mut tasks: Vec<&Task> = self.0.values().flatten().collect();
        tasks.sort_by_key(|task| task.id);
        tasks
    }
}

/// How a task ended, as `getTaskResult(raise_fault=False)` has it. A task that is not finished or was cancelled is a fault of the
/// call itself (1000).
#[derive(Clone, PartialEq, Debug)]
pub enum TaskResult {
    /// Well; a scratch `build` has nil.
    Value(Value),
    /// Badly: what the builder said.
    Fault(Fault),
}

impl FromValue for TaskResult {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        Ok(fault(value).map_or_else(|| Self::Value(value.clone()), Self::Fault))
    }
}

record! {
    /// What a `buildArch` task made. Paths are relative to `work/` of the hub's files. Source: `getTaskResult`.
    BuildArchResult {
        /// Packages.
        rpms: Option<Vec<String>> = "rpms";
        /// Source packages.
        srpms: Option<Vec<String>> = "srpms";
        /// Logs.
        logs: Option<Vec<String>> = "logs";
        /// The buildroot.
        buildroot: Option<i64> = "brootid";
    }
}
