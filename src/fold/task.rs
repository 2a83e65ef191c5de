//! Folds scratch builds of this service's user, as Koji shows them.

use serde::{Deserialize, Serialize};

use super::build::RecordedBuildroot;
use crate::event::{ChildTask, TaskFault};
use crate::model::koji::TaskState;
use crate::model::{Name, Nvr, Outcome, RebuildId, RepoId, Seq, TaskId, Timestamp};

/// A step of an ended task, with what is needed to find its logs and to judge it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// The step's own task. Its logs are in `work/tasks/<id % 10000>/<id>/`.
    pub task_id: TaskId,
    /// Architecture, `noarch` or `srpm`.
    pub label: Name,
    /// Present if the step failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Box<FailedStep>>,
}

/// Details of a failed step.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FailedStep {
    /// Koji's method: `buildArch`, `rebuildSRPM`, …
    pub method: Name,
    /// The step's fault, if the hub was asked. Kept until the task is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<TaskFault>,
}

impl Step {
    pub(super) fn of(child: &ChildTask, with_fault: bool) -> Self {
        let failed = (child.state == TaskState::Failed).then(|| {
            let fault = child.fault.clone().filter(|_| with_fault);
            Box::new(FailedStep { method: child.method.clone(), fault })
        });
        Self { task_id: child.task_id, label: child.label.clone(), failed }
    }
}

/// A scratch build task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Name of the source package.
    pub package: Name,
    /// Name, version and release of what is rebuilt.
    pub nvr: Option<Nvr>,
    /// Build target.
    pub target: Option<Name>,
    /// Repository to which the task is bound.
    pub repo_id: Option<RepoId>,
    /// State of the task. It may go back to `Free`.
    pub state: TaskState,
    /// First event that mentioned the task. It gives the task's position among a package's builds.
    pub first_seen: Seq,
    /// Time at which the task was created.
    pub created_at: Timestamp,
    /// Whether the hub itself gave `created_at`. Otherwise it is the time of a message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed: bool,
    /// Time at which the task ended.
    pub finished_at: Option<Timestamp>,
    /// The collection that the task counts for, once known.
    pub collection: Option<Name>,
    /// The requested rebuild that became this task.
    pub rebuild: Option<RebuildId>,
    /// Whether any step of the task began.
    #[serde(default)]
    pub any_step: bool,
    /// The task's steps, once it has ended.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub steps: Box<[Step]>,
    /// The task's own fault, if the hub was asked. Kept until the task is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Box<TaskFault>>,
    /// The line of the log of the first failed step that says most about the failure, if the hub was
    /// asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<Box<str>>,
    /// The buildroots that the hub recorded, one per architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buildroots: Vec<RecordedBuildroot>,
    /// How the task ended, once judged.
    pub outcome: Option<Outcome>,
    /// Reason for that judgement.
    pub reason: Option<String>,
    /// Whether its cancellation was decided.
    #[serde(default)]
    pub cancel_requested: bool,
    /// Whether the hub no longer knows the task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vanished: bool,
    /// Whether the task was judged before it ended, because it took too long or vanished. If it
    /// ends after all, that result counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

impl Task {
    /// Returns whether nothing more can come of the task: it ended, or the hub no longer knows it.
    pub fn is_over(&self) -> bool {
        self.state.is_final() || self.vanished
    }

    /// Returns whether the task is still to be judged.
    pub fn awaits_judgement(&self) -> bool {
        self.outcome.is_none() || self.given_up
    }

    /// Forgets the texts of the faults after the judgement. The log has all of them, and the
    /// judgement has the decisive one.
    pub(super) fn forget_faults(&mut self) {
        self.fault = None;
        for step in &mut self.steps {
            if let Some(failed) = &mut step.failed {
                failed.fault = None;
            }
        }
    }
}
