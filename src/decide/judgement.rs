//! Decides how a task of this program ended.

use super::faults::{Canceller, Ended, FailedStep, Fault, Verdict, classify, confirm};
use super::{Policy, retry};
use crate::event::TaskFault;
use crate::fold::{Package, Task};

/// Classifies the end of a task by the rules. Returns `None` while the task has not ended.
/// `package` is the state of the package that the task rebuilt.
pub fn judgement(task: &Task, package: Option<&Package>, policy: &Policy) -> Option<Verdict> {
    if !task.state.is_final() && task.vanished {
        return Some(Verdict::vanished());
    }
    fn fault(f: &TaskFault) -> Fault<'_> {
        Fault { code: f.code, text: &f.text, host: f.host }
    }
    let failed_steps: Vec<FailedStep<'_>> = task
        .steps
        .iter()
        .filter_map(|step| {
            let failed = step.failed.as_deref()?;
            Some(FailedStep { method: &failed.method, label: &step.label, fault: failed.fault.as_ref().map(fault) })
        })
        .collect();
    let ended_at = task.finished_at.unwrap_or(task.created_at);
    let verdict = classify(
        &Ended {
            state: task.state,
            fault: task.fault.as_deref().map(fault),
            failed_steps: &failed_steps,
            any_step: task.any_step,
            cancelled_by: Some(if task.cancel_requested { Canceller::Us } else { Canceller::Koji }),
            timed_out: task.cancel_requested && retry::is_timed_out(task.created_at, ended_at, policy),
        },
        policy,
    )?;
    let source = task.nvr.as_ref().map(|n| format!("{}-{}", n.version, n.release)).unwrap_or_default();
    let earlier = package.map_or(&[][..], |p| &p.unclear);
    Some(confirm(verdict, earlier, &source, ended_at, policy))
}
