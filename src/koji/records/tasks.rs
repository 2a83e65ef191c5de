//! Tasks and their results.

use std::collections::BTreeMap;

use super::requests::{BuildRequest, repo_of_step};
use crate::koji::shape::{Fields, FromValue, ShapeError};
use crate::koji::xmlrpc::{Fault, Value, decode_request, fault};
use crate::model::koji::TaskState;
use crate::model::{Name, RepoId, TaskId, Timestamp};

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
    /// Number of its owner.
    pub owner: Option<i64>,
    /// Number of the builder.
    pub host_id: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it began; the last time, if several.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Its parameters, where they were asked for.
    pub request: Option<Vec<Value>>,
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
            owner: fields.take("owner")?,
            host_id: fields.take("host_id")?,
            created: fields.any(&["create_ts", "create_time"])?,
            started: fields.any(&["start_ts", "start_time"])?,
            completed: fields.any(&["completion_ts", "completion_time"])?,
            request,
        })
    }
}

impl Task {
    /// What a `build` task was asked to build; `None` when this is another kind of task, or its request was not asked
    /// for or is strange.
    pub fn build_request(&self) -> Option<BuildRequest> {
        (self.method == "build").then(|| BuildRequest::of(self.request.as_deref()?)).flatten()
    }

    /// The repository a `buildArch` or `rebuildSRPM` task was asked to build in.
    pub fn repo_of_step(&self) -> Option<RepoId> {
        repo_of_step(&self.method, self.request.as_deref()?)
    }
}

/// A task's descendants: for every task of the tree its children, those without any included. Source:
/// `getTaskDescendents`.
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

/// How a task ended, as `getTaskResult(raise_fault=False)` has it. A task that is not finished or was cancelled is a
/// fault of the call itself (1000).
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
