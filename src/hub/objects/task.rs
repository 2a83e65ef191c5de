//! A scratch build of ours. Reading it takes up to five rounds: the task, its steps, why they
//! failed, the end of the log that says more, and the whole log if it is short.

use std::collections::BTreeMap;

use super::{Read, Reading};
use crate::event::{ChildTask, TaskChanged, TaskFault, TaskVanished};
use crate::fold::State;
use crate::hub::convert;
use crate::hub::diff::Compare;
use crate::hub::objects::Scope;
use crate::hub::snapshot::Seen;
use crate::koji::calls::{download_task_output, get_task_descendents, get_task_info, get_task_result};
use crate::koji::log_line::telling_line;
use crate::koji::records::{BuildRequest, FileBytes, Task, TaskResult, TaskTree};
use crate::koji::{Answers, Asked, Batch, facts};
use crate::model::koji::TaskState;
use crate::model::{Name, Nvr, RepoId, TaskId, Timestamp};

/// Maximum number of steps kept per task.
const STEPS_MAX: usize = 64;
/// How much of the end of a log is read, in bytes.
const LOG_BYTES: i64 = 64 << 10;

/// A scratch build of ours (`getTaskInfo`, `getTaskDescendents`, `getTaskResult`).
#[derive(Clone, PartialEq, Debug)]
pub struct TaskSeen {
    /// The `build` task.
    pub task_id: TaskId,
    /// State of the task.
    pub state: TaskState,
    /// Name, version and release of the package that is rebuilt.
    pub nvr: Nvr,
    /// Build target.
    pub target: Option<Name>,
    /// Repository, from the task's own options or from its steps.
    pub repo_id: Option<RepoId>,
    /// Architecture override.
    pub arches: Vec<Name>,
    /// Id of our decision.
    pub decision: Option<String>,
    /// When the task was made.
    pub created_at: Option<Timestamp>,
    /// When a builder took the task.
    pub started_at: Option<Timestamp>,
    /// When the task ended.
    pub finished_at: Option<Timestamp>,
    /// Steps of the task.
    pub children: Vec<ChildTask>,
    /// Why the task failed, in the builder's words.
    pub fault: Option<TaskFault>,
}

pub(super) fn ask(id: TaskId, batch: &mut Batch) -> Reading {
    let task = batch.add(get_task_info(id));
    Box::new(move |answers| {
        Ok(match answers.take(task)? {
            Some(task) => Read::Task(Box::new(task)),
            None => Seen::NoTask(id).into(),
        })
    })
}

/// A task, its steps, and why they failed.
pub(in crate::hub) struct Steps {
    task: Task,
    below: Vec<Task>,
    faults: BTreeMap<TaskId, TaskFault>,
}

/// The log of a failed step.
pub(in crate::hub) struct AskedLog {
    step: TaskId,
    file: &'static str,
    asked: Asked<FileBytes>,
}

impl Steps {
    /// Asks for the steps of a task.
    pub(in crate::hub) fn ask(task: &Task, batch: &mut Batch) -> Asked<TaskTree> {
        batch.add(get_task_descendents(task.id))
    }

    pub(in crate::hub) fn new(task: Task, tree: &TaskTree) -> Self {
        let below = tree.tasks().into_iter().filter(|t| t.id != task.id).take(STEPS_MAX).cloned().collect();
        Self { task, below, faults: BTreeMap::new() }
    }

    fn failed(&self) -> impl Iterator<Item = &Task> {
        std::iter::once(&self.task).chain(&self.below).filter(|t| t.state == TaskState::Failed)
    }

    /// Asks why the task and its steps failed.
    pub(in crate::hub) fn ask_why(&self, batch: &mut Batch) -> Vec<Asked<TaskResult>> {
        self.failed().map(|t| batch.add(get_task_result(t.id))).collect()
    }

    /// Takes up the answers.
    pub(in crate::hub) fn note_why(&mut self, why: Vec<Asked<TaskResult>>, answers: &mut Answers) {
        let mut faults = BTreeMap::new();
        for (task, why) in self.failed().zip(why) {
            let fault = match answers.take(why) {
                Ok(TaskResult::Fault(fault)) => Some(fault),
                Ok(TaskResult::Value(_)) => None,
                Err(error) => error.fault().cloned(),
            };
            if let Some(fault) = fault {
                faults.insert(task.id, facts::fault(task, &fault));
            }
        }
        self.faults = faults;
    }

    /// Asks for the end of the log that the fault of the first failed step names. `whole` asks for
    /// the beginning, which is all of a log shorter than [`LOG_BYTES`].
    pub(in crate::hub) fn ask_log(&self, scope: &Scope, whole: bool, batch: &mut Batch) -> Option<AskedLog> {
        request_of_ours(&self.task, scope)?;
        let named = |step: &Task| Some((step.id, log_named_by(&self.faults.get(&step.id)?.text)?));
        let (step, file) = self.below.iter().filter(|t| t.state == TaskState::Failed).find_map(named)?;
        let offset = if whole { 0 } else { -LOG_BYTES };
        Some(AskedLog { step, file, asked: batch.add(download_task_output(step, file, offset, LOG_BYTES)) })
    }

    /// Takes up the log. Returns whether it has to be asked for as a whole: the hub cannot read the
    /// last bytes of a file that is shorter. A log that cannot be had is no trouble, because it only
    /// says more exactly what failed.
    pub(in crate::hub) fn note_log(&mut self, log: AskedLog, answers: &mut Answers) -> bool {
        match answers.take(log.asked) {
            Ok(FileBytes(bytes)) => {
                if let Some(fault) = self.faults.get_mut(&log.step) {
                    fault.line = telling_line(&bytes);
                }
                false
            }
            Err(error) => {
                let why = crate::model::causes::with_causes(&error);
                tracing::debug!(task = %log.step, file = log.file, error = %why, "a failed build's log is not known");
                error.fault().is_some()
            }
        }
    }

    /// Returns the task. `None` if it is not a scratch build or not ours.
    pub(in crate::hub) fn seen(self, scope: &Scope) -> Option<Seen> {
        seen(&self.task, &self.below, &self.faults, scope).map(|task| Seen::Task(Box::new(task)))
    }
}

/// Returns the log that a fault names, as the builder writes it: `…; see build.log for more
/// information`.
fn log_named_by(fault: &str) -> Option<&'static str> {
    let (_, named) = fault.rsplit_once("see ")?;
    ["build.log", "root.log"].into_iter().find(|log| named.contains(log))
}

/// Returns the request of a task, if it is a scratch build of ours.
fn request_of_ours(task: &Task, scope: &Scope) -> Option<BuildRequest> {
    let request = task.build_request()?;
    (request.scratch && scope.user.is_some_and(|user| task.owner == Some(user))).then_some(request)
}

fn seen(task: &Task, below: &[Task], faults: &BTreeMap<TaskId, TaskFault>, scope: &Scope) -> Option<TaskSeen> {
    let request = request_of_ours(task, scope)?;
    let nvr = Nvr::parse_srpm(request.source.rsplit('/').next()?)?;
    // The repository that the builder took, if the request left the choice to Koji.
    let taken = below.iter().find_map(Task::repo_of_step);
    Some(TaskSeen {
        task_id: task.id,
        state: task.state,
        nvr,
        target: request.target,
        repo_id: request.repo_id.or(taken),
        arches: request.arch_override.unwrap_or_default(),
        decision: request.metadata.as_ref().and_then(|m| Some(convert::decision(m, &scope.log_id)?.0.to_owned())),
        created_at: task.created,
        started_at: task.started,
        finished_at: task.completed,
        children: facts::steps(below, faults),
        fault: faults.get(&task.id).cloned(),
    })
}

impl Compare<'_> {
    pub(in crate::hub) fn task(&mut self, seen: &TaskSeen) {
        if let Some(known) = self.hub.tasks.get(&seen.task_id)
            && known.state == seen.state
            && (known.repo_id == seen.repo_id || seen.repo_id.is_none())
            && (!seen.state.is_final() || known.finished_at == seen.finished_at.or(known.finished_at))
        {
            return;
        }
        let at = if seen.state.is_final() { seen.finished_at } else { seen.started_at.or(seen.created_at) };
        let fact = TaskChanged {
            hub: self.hub(),
            task_id: seen.task_id,
            state: seen.state,
            package: seen.nvr.name.clone(),
            nvr: Some(seen.nvr.clone()),
            target: seen.target.clone(),
            repo_id: seen.repo_id,
            arches: seen.arches.clone(),
            decision: seen.decision.clone(),
            created_at: seen.created_at,
            started_at: seen.started_at,
            finished_at: seen.finished_at,
            children: if seen.state.is_final() { seen.children.clone() } else { Vec::new() },
            fault: seen.fault.clone(),
        };
        // No message says that a task was made.
        self.quietly(seen.state == TaskState::Free, |c| c.fact(fact, None, None, at));
    }

    /// Notes that a task has vanished. Nobody will ever say how it ended. We may know nothing about
    /// it except that it was submitted.
    pub(in crate::hub) fn no_task(&mut self, state: &State, task_id: TaskId) {
        let package = match self.hub.tasks.get(&task_id) {
            Some(known) if known.state.is_final() => return,
            Some(known) => known.package.clone(),
            None => {
                let Some((_, open)) = state.submitted_as(&self.look.hub, task_id) else { return };
                open.package.clone()
            }
        };
        let fact = TaskVanished { hub: self.hub(), task_id, package };
        self.fact(fact, Some(format!("task/{task_id}/vanished")), None, None);
        self.takes_back();
    }
}
