//! Folds refused and allowed policies of a hub.

use super::State;
use crate::event::{PolicyAllowed, PolicyRefused, RebuildRequested};
use crate::fold::refusal::Refusal;
use crate::model::{Name, RebuildId, Timestamp};

impl State {
    pub(in crate::fold) fn policy_refused(&mut self, e: &PolicyRefused, at: Timestamp) {
        if e.falls_back {
            return Refusal::note(&mut self.hub_mut(&e.hub).unbound, e, at);
        }
        match self.collections.get_mut(&e.collection) {
            Some(c) => Refusal::note(&mut c.refused, e, at),
            None => self.anomaly("policy refusing an unknown collection"),
        }
    }

    pub(in crate::fold) fn policy_allowed(&mut self, e: &PolicyAllowed) {
        match &e.collection {
            None => self.hub_mut(&e.hub).unbound = None,
            Some(name) => match self.collections.get_mut(name) {
                Some(c) => c.refused = None,
                None => self.anomaly("policy allowing an unknown collection"),
            },
        }
    }

    /// Notes which rebuild tests whether a policy still refuses.
    pub(in crate::fold) fn tries_policies(&mut self, e: &RebuildRequested, id: RebuildId) {
        if let Some(unbound) = self.hub_mut(&e.hub).unbound.as_mut().filter(|_| e.repo_id.is_some()) {
            unbound.trial = Some(id);
        }
        if let Some(refused) = self.collections.get_mut(&e.collection).and_then(|c| c.refused.as_mut()) {
            refused.trial = Some(id);
        }
    }

    /// Lets refused actions be tried again at once, for one collection or for all.
    pub(in crate::fold) fn try_policies_again(&mut self, collection: Option<&Name>) {
        let theirs = self.collections.iter_mut().filter(|(name, _)| collection.is_none_or(|c| c == *name));
        let of_collections = theirs.filter_map(|(_, c)| c.refused.as_mut());
        let of_hubs = self.hubs.values_mut().filter(|_| collection.is_none()).filter_map(|h| h.unbound.as_mut());
        of_collections.chain(of_hubs).for_each(|r| r.tried_at = Timestamp::EPOCH);
    }
}
