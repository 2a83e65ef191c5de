//! Folds what a hub's own policies refuse.
//!
//! Koji does not publish its policies. It accepts a submission, and then the task fails. So the
//! policies are known only from the last tasks that they made fail.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::state::State;
use crate::event::{PolicyAllowed, PolicyRefused, RebuildRequested};
use crate::model::{Name, RebuildId, TaskId, Timestamp};

/// A policy of a hub that does not allow what was asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Name of the hub's policy, such as `build_from_repo_id`.
    pub policy: Name,
    /// Time at which it was first seen to refuse.
    pub since: Timestamp,
    /// Time of the last try. It is the epoch if somebody asked for another try.
    pub tried_at: Timestamp,
    /// The last task that the policy made fail.
    pub task_id: TaskId,
    /// The hub's message, at most [`Refusal::WORDS_CHARS_MAX`] characters.
    pub words: SmolStr,
    /// The rebuild that tests whether the policy still refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<RebuildId>,
}

impl Refusal {
    /// Most characters of a hub's message kept in state. The log has the whole message.
    pub const WORDS_CHARS_MAX: usize = 200;

    /// Notes that `e` was refused at `at`. Only the rebuild made as a test moves the time of the
    /// next try. Rebuilds that were already under way at the first refusal do not.
    fn note(known: &mut Option<Self>, e: &PolicyRefused, at: Timestamp) {
        let known = match known {
            Some(known) if known.policy == e.policy => known,
            _ => known.insert(Self {
                policy: e.policy.clone(),
                since: at,
                tried_at: at,
                task_id: e.task_id,
                words: SmolStr::default(),
                trial: None,
            }),
        };
        if known.trial == Some(e.rebuild) {
            (known.trial, known.tried_at) = (None, at);
        }
        known.task_id = e.task_id;
        known.words = e.words.chars().take(Self::WORDS_CHARS_MAX).collect();
    }
}

impl State {
    pub(super) fn policy_refused(&mut self, e: &PolicyRefused, at: Timestamp) {
        if e.falls_back {
            return Refusal::note(&mut self.hub_mut(&e.hub).unbound, e, at);
        }
        match self.collections.get_mut(&e.collection) {
            Some(c) => Refusal::note(&mut c.refused, e, at),
            None => self.anomaly("policy refusing an unknown collection"),
        }
    }

    pub(super) fn policy_allowed(&mut self, e: &PolicyAllowed) {
        match &e.collection {
            None => self.hub_mut(&e.hub).unbound = None,
            Some(name) => match self.collections.get_mut(name) {
                Some(c) => c.refused = None,
                None => self.anomaly("policy allowing an unknown collection"),
            },
        }
    }

    /// Notes which rebuild tests whether a policy still refuses.
    pub(super) fn tries_policies(&mut self, e: &RebuildRequested, id: RebuildId) {
        if let Some(unbound) = self.hub_mut(&e.hub).unbound.as_mut().filter(|_| e.repo_id.is_some()) {
            unbound.trial = Some(id);
        }
        if let Some(refused) = self.collections.get_mut(&e.collection).and_then(|c| c.refused.as_mut()) {
            refused.trial = Some(id);
        }
    }

    /// Lets refused actions be tried again at once, for one collection or for all.
    pub(super) fn try_policies_again(&mut self, collection: Option<&Name>) {
        let theirs = self.collections.iter_mut().filter(|(name, _)| collection.is_none_or(|c| c == *name));
        let of_collections = theirs.filter_map(|(_, c)| c.refused.as_mut());
        let of_hubs = self.hubs.values_mut().filter(|_| collection.is_none()).filter_map(|h| h.unbound.as_mut());
        of_collections.chain(of_hubs).for_each(|r| r.tried_at = Timestamp::EPOCH);
    }
}
