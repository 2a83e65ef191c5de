//! Scratch builds of our service user, as Koji sees them.

use serde::{Deserialize, Serialize};

use super::build::RecordedBuildroot;
use crate::event::{ChildTask, TaskFault};
use crate::model::koji::TaskState;
use crate::model::{Name, Nvr, Outcome, RebuildId, RepoId, Seq, TaskId, Timestamp};

/// A step of an ended task: enough to find its logs and to judge it by.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Its own task; its logs lie under `work/tasks/<id % 10000>/<id>/`.
    pub task_id: TaskId,
    /// Architecture, `noarch` or `srpm`.
    pub label: Name,
    /// Present: it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Box<FailedStep>>,
}

/// What a failed step tells.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FailedStep {
    /// `buildArch`, `rebuildSRPM`, …
    pub method: Name,
    /// Its fault, where the hub was asked, until the task was judged.
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
    /// Source package name.
    pub package: Name,
    /// What is rebuilt.
    pub nvr: Option<Nvr>,
    /// Build target.
    pub target: Option<Name>,
    /// Repository it is bound to.
    pub repo_id: Option<RepoId>,
    /// State; may go back to `Free`.
    pub state: TaskState,
    /// First event that spoke of it: its place among a package's builds.
    pub first_seen: Seq,
    /// When it was made.
    pub created_at: Timestamp,
    /// That is the hub's own word, not the time of a message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed: bool,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The collection it counts for, once that is known.
    pub collection: Option<Name>,
    /// The rebuild we had requested.
    pub rebuild: Option<RebuildId>,
    /// Whether any step of it began.
    #[serde(default)]
    pub any_step: bool,
    /// Its steps, once it has ended.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub steps: Box<[Step]>,
    /// Its own fault, where the hub was asked, until it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Box<TaskFault>>,
    /// What the hub recorded as its buildroots, one per architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buildroots: Vec<RecordedBuildroot>,
    /// How it ended, once judged.
    pub outcome: Option<Outcome>,
    /// Why it is called that.
    pub reason: Option<String>,
    /// Cancelling it was decided.
    #[serde(default)]
    pub cancel_requested: bool,
    /// The hub does not know it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vanished: bool,
    /// It was judged before it ended (it took too long, or vanished): what it comes to after all counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

impl Task {
    /// Whether nothing more can come of it: it ended, or the hub does not know it any more.
    pub fn is_over(&self) -> bool {
        self.state.is_final() || self.vanished
    }

    /// Whether it is still to be said how it ended.
    pub fn awaits_judgement(&self) -> bool {
        self.outcome.is_none() || self.given_up
    }

    /// Forgets the texts it was judged by; they stand in the log, and the telling one with the judgement.
    pub(super) fn forget_faults(&mut self) {
        self.fault = None;
        for step in &mut self.steps {
            if let Some(failed) = &mut step.failed {
                failed.fault = None;
            }
        }
    }
}
