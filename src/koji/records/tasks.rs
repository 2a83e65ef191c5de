//! Records of tasks and their results.

use std::collections::BTreeMap;

use base64::Engine as _;

use super::requests::{BuildRequest, repo_of_step};
use crate::koji::shape::{Fields, FromValue, ShapeError};
use crate::koji::xmlrpc::{Fault, Value, decode_request, fault};
use crate::model::koji::TaskState;
use crate::model::{Name, RepoId, TaskId, Timestamp};

/// A task. Source: `getTaskInfo`, `listTasks`, `getTaskChildren`, `getTaskDescendents`.
#[derive(Clone, PartialEq, Debug)]
pub struct Task {
    /// Task number.
    pub id: TaskId,
    /// State of the task.
    pub state: TaskState,
    /// Method of the task: `build`, `buildArch`, `rebuildSRPM`, `newRepo`, …
    pub method: Name,
    /// Architecture, or `noarch` if it does not matter.
    pub arch: Option<Name>,
    /// Label among its siblings: an architecture, or `srpm`.
    pub label: Option<Name>,
    /// Number of the owner.
    pub owner: Option<i64>,
    /// Number of the builder.
    pub host_id: Option<i64>,
    /// When the task was made.
    pub created: Option<Timestamp>,
    /// When the task began. If it was restarted, the last time.
    pub started: Option<Timestamp>,
    /// When the task ended.
    pub completed: Option<Timestamp>,
    /// The task's parameters, if they were asked for.
    pub request: Option<Vec<Value>>,
}

impl FromValue for Task {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let fields = Fields::of(value)?;
        let request = match fields.take::<Value>("request")? {
            Value::Nil => None,
            Value::Array(parameters) => Some(parameters),
            // The hub did not decode the parameters. This is the call as the builder gets it.
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
    /// Returns what a `build` task was asked to build. Returns `None` for other tasks, or if the
    /// request was not asked for or cannot be understood.
    pub fn build_request(&self) -> Option<BuildRequest> {
        (self.method == "build").then(|| BuildRequest::of(self.request.as_deref()?)).flatten()
    }

    /// Returns the repository that a `buildArch` or `rebuildSRPM` task was asked to build in.
    pub fn repo_of_step(&self) -> Option<RepoId> {
        repo_of_step(&self.method, self.request.as_deref()?)
    }
}

/// A task's descendants: the children of every task of the tree, including tasks without children.
/// Source: `getTaskDescendents`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TaskTree(pub BTreeMap<TaskId, Vec<Task>>);

impl FromValue for TaskTree {
    /// Reads the tree. Task numbers are text here, because names of members must be text.
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
    /// Returns all tasks below the first, ordered by number.
    pub fn tasks(&self) -> Vec<&Task> {
        let mut tasks: Vec<&Task> = self.0.values().flatten().collect();
        tasks.sort_by_key(|task| task.id);
        tasks
    }
}

/// Bytes of a file, as `downloadTaskOutput` returns them: a text in base64, or the bytes themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileBytes(pub Vec<u8>);

impl FromValue for FileBytes {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        match value {
            Value::Bytes(bytes) => Ok(Self(bytes.clone())),
            Value::Text(text) => {
                let text: String = text.split_ascii_whitespace().collect();
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                bytes.map(Self).map_err(|_| ShapeError::new("bytes in base64", value))
            }
            other => Err(ShapeError::new("bytes in base64", other)),
        }
    }
}

/// The result of a task, as `getTaskResult(raise_fault=False)` returns it. If a task is not
/// finished or was cancelled, the call itself fails with fault 1000.
#[derive(Clone, PartialEq, Debug)]
pub enum TaskResult {
    /// The task succeeded. A scratch `build` returns nil.
    Value(Value),
    /// The task failed, with the builder's message.
    Fault(Fault),
}

impl FromValue for TaskResult {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        Ok(fault(value).map_or_else(|| Self::Value(value.clone()), Self::Fault))
    }
}
