//! Targets: how to ask for one, and what is news about it.

use super::Reading;
use crate::event::TargetObserved;
use crate::fold::State;
use crate::hub::diff::Compare;
use crate::hub::snapshot::Seen;
use crate::koji::Batch;
use crate::koji::calls::get_build_target;
use crate::model::Name;

pub(super) fn ask(target: Name, batch: &mut Batch) -> Reading {
    let found = batch.add(get_build_target(&target));
    Box::new(move |answers| {
        let found = answers.take(found)?;
        Ok(Seen::Target(target, found.map(|t| (t.build_tag_name, t.dest_tag_name))).into())
    })
}

impl Compare<'_> {
    pub(in crate::hub) fn target(&mut self, state: &State, target: &Name, there: Option<&(Name, Name)>) {
        let known = self.hub.targets.get(target);
        let (build_tag, dest_tag) = there.cloned().unzip();
        let fact = TargetObserved { hub: self.hub(), target: target.clone(), build_tag, dest_tag };
        if there.is_some() {
            if known != there {
                self.fact(fact, None, Some(self.look.event), None);
            }
            return;
        }
        let theirs = |c: &crate::fold::Collection| c.settings.building() == (&self.look.hub, target);
        let unaware = state.collections.values().any(|c| theirs(c) && !c.target_gone);
        if known.is_some() || unaware {
            self.fact(fact, None, Some(self.look.event), None);
            self.takes_back();
        }
    }
}
