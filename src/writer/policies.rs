//! Learns a hub's policies from ended rebuilds. A hub does not publish its policies.

use super::Writer;
use crate::decide::faults::Verdict;
use crate::decide::refusal;
use crate::event::{Event, PolicyAllowed, PolicyRefused};
use crate::fold::{Refusal, State};
use crate::model::{Hub, Outcome, TaskId};

impl Writer {
    /// Logs a change in what a hub's policies allow us.
    pub(crate) fn say_policy(&self, told: &Event) {
        let hours = self.settings.policy.refused_retry_secs / 3_600;
        match told {
            Event::PolicyRefused(e) => {
                let known = match e.falls_back {
                    true => self.state.hubs.get(&e.hub).and_then(|h| h.unbound.as_ref()),
                    false => self.state.collections.get(&e.collection).and_then(|c| c.refused.as_ref()),
                };
                if known.is_some_and(|r| r.policy == e.policy) {
                    return;
                }
                let remedy = refusal::remedy(&e.policy);
                if e.falls_back {
                    tracing::warn!(hub = %e.hub, task = %e.task_id, error = %e.words, "the hub does not allow \
                        rebuilds bound to repositories; from now on they are not bound, and binding is tried again \
                        every {hours} hours; {remedy}");
                } else {
                    tracing::error!(
                        hub = %e.hub,
                        collection = %e.collection,
                        task = %e.task_id,
                        error = %e.words,
                        "the hub does not allow rebuilds of the collection; they stop, and one is tried every \
                            {hours} hours; {remedy}"
                    );
                }
            }
            Event::PolicyAllowed(e) => match &e.collection {
                None => tracing::info!(hub = %e.hub, "the hub allows rebuilds bound to repositories again"),
                Some(c) => {
                    tracing::info!(hub = %e.hub, collection = %c, "the hub allows rebuilds of the collection again")
                }
            },
            _ => {}
        }
    }
}

/// Returns what one of our ended rebuilds shows about its hub's policies.
///
/// Either a policy refused the rebuild, or a policy that refused before let this trial through. If
/// builds are `always_bound`, there is nothing to fall back to.
pub(crate) fn policy_told(
    state: &State,
    collection: usize,
    (hub, task_id): (&Hub, TaskId),
    verdict: &Verdict,
    always_bound: bool,
) -> Option<Event> {
    let (name, c) = state.collections.get_index(collection)?;
    let of_hub = state.hubs.get(hub)?;
    let task = of_hub.tasks.get(&task_id)?;
    let rebuild = task.rebuild?;
    let said = verdict.words.as_deref().filter(|_| verdict.outcome == Outcome::InfrastructureFault);
    if let Some((words, policy)) = said.and_then(|words| Some((words, refusal::policy_of(words)?))) {
        // The task has a repository before any step. Only a rebuild bound to a repository has that.
        let bound = task.repo_id.is_some() && !task.any_step;
        let refused = PolicyRefused {
            hub: hub.clone(),
            policy: policy.into(),
            rebuild,
            collection: name.clone(),
            package: task.package.clone(),
            task_id,
            falls_back: policy == refusal::BUILD_FROM_REPO_ID && bound && !always_bound,
            words: words.to_owned(),
        };
        return Some(refused.into());
    }
    if !(verdict.outcome.is_complete() || task.any_step) {
        return None;
    }
    let tried = |r: &&Refusal| r.trial == Some(rebuild);
    let allowed = |r: &Refusal, collection| {
        PolicyAllowed { hub: hub.clone(), policy: r.policy.clone(), collection, task_id }.into()
    };
    match (of_hub.unbound.as_ref().filter(tried), c.refused.as_ref().filter(tried)) {
        (_, Some(r)) => Some(allowed(r, Some(name.clone()))),
        (Some(r), None) => Some(allowed(r, None)),
        (None, None) => None,
    }
}
