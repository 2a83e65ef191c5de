//! Checks of what a hub allows Koschei to do.

use super::{Verdict, unanswered};
use crate::decide::command::BindRepo;
use crate::decide::refusal;
use crate::koji::HubError;
use crate::koji::calls::{self, ListTasks};
use crate::koji::faults::FaultKind;
use crate::koji::records::{Task, TaskResult};
use crate::koji::session::Session;
use crate::model::koji::TaskState;

/// Number of our ended tasks that are read to see what the hub allowed.
const TASKS: u32 = 20;
/// Number of our failed tasks that are read.
const FAILED_TASKS: u32 = 200;
/// Number of failed tasks of a kind whose reason is asked for.
const REASONS: usize = 5;

/// The hub's policies as far as our ended tasks show them, by the newest task of each kind. A hub
/// does not reveal its policies.
#[derive(Default)]
struct Shown {
    /// A task that built a source package.
    built: Option<i64>,
    /// A task that was bound to a repository and succeeded.
    bound: Option<i64>,
    /// A task that the hub did not allow to be bound, with its message.
    not_bound: Option<(i64, String)>,
    /// A task that the hub did not allow for another reason, with its message.
    refused: Option<(i64, String)>,
}

async fn shown(session: &mut Session, user: i64) -> Result<Shown, HubError> {
    let mut tasks = ended(session, user, vec![TaskState::Closed, TaskState::Failed], TASKS).await?;
    // A hub that refuses binding sees few attempts, so more failed tasks are read.
    tasks.extend(ended(session, user, vec![TaskState::Failed], FAILED_TASKS).await?);
    tasks.sort_by_key(|t| std::cmp::Reverse(t.id));
    tasks.dedup_by_key(|t| t.id);
    let mut shown = Shown::default();
    let mut reasons = [REASONS; 2];
    for task in tasks {
        let Some(request) = task.build_request().filter(|r| r.scratch && r.source.contains("/packages/")) else {
            continue;
        };
        let bound = request.repo_id.is_some();
        if task.state == TaskState::Closed {
            shown.built.get_or_insert(task.id.0);
            if bound {
                shown.bound.get_or_insert(task.id.0);
            }
            continue;
        }
        // A newer task that was allowed outweighs an older refusal.
        let settled = if bound {
            shown.bound.is_some() || shown.not_bound.is_some()
        } else {
            shown.built.is_some() || shown.refused.is_some()
        };
        let left = &mut reasons[usize::from(bound)];
        if settled || *left == 0 {
            continue;
        }
        *left -= 1;
        let TaskResult::Fault(fault) = session.hub().ask(calls::get_task_result(task.id)).await? else { continue };
        if fault.kind() != FaultKind::NotAllowed {
            continue;
        }
        let words: String = fault.message.chars().take(200).collect();
        match refusal::policy_of(&words) {
            Some(refusal::BUILD_FROM_REPO_ID) if bound => shown.not_bound = Some((task.id.0, words)),
            _ if shown.built.is_none() => {
                shown.refused.get_or_insert((task.id.0, words));
            }
            _ => {}
        }
    }
    Ok(shown)
}

async fn ended(session: &Session, user: i64, states: Vec<TaskState>, limit: u32) -> Result<Vec<Task>, HubError> {
    let which = ListTasks { owner: user, states, decoded: true, newest_first: true, limit, ..ListTasks::default() };
    session.hub().ask(calls::list_tasks(&which)).await
}

pub(super) async fn permissions(session: &mut Session, user: i64, bind: BindRepo) -> Verdict {
    let perms = match session.ask(calls::get_perms()).await {
        Ok(perms) => perms,
        Err(e) => return unanswered(&e),
    };
    if perms.iter().any(|p| p == "admin") {
        let found = "`admin`: scratch builds of source packages, bound to repositories, are allowed";
        return Verdict::warning(
            found,
            "it works, but Koschei does not need administrator rights; policies for its user are enough",
        );
    }
    let shown = match shown(session, user).await {
        Ok(shown) => shown,
        Err(e) => return unanswered(&e),
    };
    if let Some((task, why)) = shown.refused {
        let policy = refusal::policy_of(&why).unwrap_or("build_rpm").to_owned();
        let found = format!("the hub did not allow task {task}: {why}; collections whose builds it refuses stop");
        return Verdict::failed(found, refusal::remedy(&policy));
    }
    let advice = refusal::remedy(refusal::BUILD_FROM_REPO_ID);
    if let Some((task, why)) = shown.not_bound {
        match bind {
            BindRepo::Never => {}
            BindRepo::Auto => {
                let found = format!(
                    "the hub does not allow builds bound to a repository (task {task}: {why}), so builds are not \
                        bound: what is built may differ from what was resolved"
                );
                return Verdict::warning(found, advice);
            }
            BindRepo::Always => {
                let found = format!(
                    "the hub does not allow builds bound to a repository (task {task}: {why}), and with `bind_repo = \
                        \"always\"` refused collections stop"
                );
                return Verdict::failed(found, format!("set `bind_repo = \"auto\"`, or {advice}"));
            }
        }
    }
    let source = match shown.built {
        Some(task) => format!("source packages of the hub may be built (task {task})"),
        None => "source packages of the hub will be built (policy `build_rpm`, by default open to all)".to_owned(),
    };
    let repository = match (bind, shown.bound) {
        (BindRepo::Never, _) => "not bound to repositories (`bind_repo = \"never\"`)".to_owned(),
        (_, Some(task)) => format!("bound to repositories (task {task})"),
        (BindRepo::Auto, None) => {
            "bound to repositories unless the hub refuses it (policy `build_from_repo_id`)".to_owned()
        }
        (BindRepo::Always, None) => "always bound to repositories (policy `build_from_repo_id`)".to_owned(),
    };
    let found = format!("scratch builds are open to every user; {source}, {repository}");
    let known = shown.built.is_some() && (bind == BindRepo::Never || shown.bound.is_some());
    if known {
        return Verdict::ok(found);
    }
    let advice = format!(
        "a hub does not reveal its policies, and by default only administrators may bind builds to repositories: \
            {advice}. The first builds will show whether it works"
    );
    Verdict::warning(found, advice)
}
