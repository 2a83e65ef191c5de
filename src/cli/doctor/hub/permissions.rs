//! What a hub lets us do.

use super::{Verdict, unanswered};
use crate::decide::command::BindRepo;
use crate::decide::refusal;
use crate::koji::HubError;
use crate::koji::calls::{self, ListTasks};
use crate::koji::faults::FaultKind;
use crate::koji::records::{Task, TaskResult};
use crate::koji::session::Session;
use crate::model::koji::TaskState;

/// How many of our ended tasks are looked at, to see what the hub allowed.
const TASKS: u32 = 20;
/// How many of those that failed.
const FAILED_TASKS: u32 = 200;
/// Of how many failed ones of a kind the reason is asked for.
const REASONS: usize = 5;

/// What our ended tasks show of the hub's policies, which it tells nobody: the newest of each kind.
#[derive(Default)]
struct Shown {
    /// Built a source package.
    built: Option<i64>,
    /// Built one bound to a repository.
    bound: Option<i64>,
    /// Was not allowed to be bound.
    not_bound: Option<(i64, String)>,
    /// Was not allowed for another reason.
    refused: Option<(i64, String)>,
}

async fn shown(session: &mut Session, user: i64) -> Result<Shown, HubError> {
    let mut tasks = ended(session, user, vec![TaskState::Closed, TaskState::Failed], TASKS).await?;
    // Where binding is refused it is seldom tried.
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
        // What was allowed later says more.
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
        return Verdict::warning(found, "it works, but Koschei needs no administrator: policies for its user will do");
    }
    let shown = match shown(session, user).await {
        Ok(shown) => shown,
        Err(e) => return unanswered(&e),
    };
    if let Some((task, why)) = shown.refused {
        let policy = refusal::policy_of(&why).unwrap_or("build_rpm").to_owned();
        let found = format!("the hub did not allow task {task}: {why}; the collections it is refused for stop");
        return Verdict::failed(found, refusal::remedy(&policy));
    }
    let advice = refusal::remedy(refusal::BUILD_FROM_REPO_ID);
    if let Some((task, why)) = shown.not_bound {
        match bind {
            BindRepo::Never => {}
            BindRepo::Auto => {
                let found = format!(
                    "the hub does not let us bind builds to repositories (task {task}: {why}), so they are made \
                     without: what is built may differ from what was resolved"
                );
                return Verdict::warning(found, advice);
            }
            BindRepo::Always => {
                let found = format!(
                    "the hub does not let us bind builds to repositories (task {task}: {why}), and `bind_repo = \
                        \"always\"` stops what it refuses"
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
        "a hub tells nobody its policies, and by default only administrators bind builds to repositories: {advice}. \
            The first builds will show it"
    );
    Verdict::warning(found, advice)
}
