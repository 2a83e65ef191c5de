//! Folds which updates came with which repository, and which builds were compared.

use super::evidence::EvidenceKind;
use super::package::stands_for;
use super::state::State;
use crate::event::{BuildCompared, CausesFound, UpdatesArrived};

use super::collection::Arrived;

impl State {
    pub(super) fn updates_arrived(&mut self, e: &UpdatesArrived) {
        let Some(collection) = self.collections.get_mut(&e.collection) else {
            return self.anomaly("updates of an unknown collection");
        };
        for update in &e.updates {
            let arrived = Arrived { version: update.new.clone(), repo: e.repo_id };
            match collection.arrived.get_mut(&update.source) {
                // Another architecture of the same repository, or of a later one, had it already.
                Some(known) if known.version == arrived.version => {}
                Some(known) => *known = arrived,
                None => {
                    collection.arrived.insert(update.source.clone(), arrived);
                }
            }
        }
    }

    pub(super) fn causes_found(&mut self, e: &CausesFound) {
        let Some(collection) = self.collections.get_mut(&e.collection) else {
            return self.anomaly("causes in an unknown collection");
        };
        for of in &e.packages {
            if of.package.as_str() == CausesFound::GROUP {
                let arch = collection.arch_mut(&e.arch);
                arch.explained = Some(stands_for(&arch.problems.join("\n")));
                continue;
            }
            let package = collection.packages.get_mut(&of.package);
            if let Some(v) = package.and_then(|p| p.verdicts.iter_mut().find(|v| v.arch == e.arch)) {
                v.explained = Some(stands_for(v.problem.as_deref().unwrap_or_default()));
                let named = of.causes.iter().filter_map(|at| e.causes.get(*at as usize));
                v.causes = named.map(|cause| (cause.known_by(&of.package).into(), cause.repo_id)).collect();
            }
        }
    }

    pub(super) fn build_compared(&mut self, e: &BuildCompared) {
        let Some(collection) = self.collections.get_mut(&e.collection) else {
            return self.anomaly("build in an unknown collection");
        };
        let own = collection.settings.hub.clone();
        let Some(package) = collection.packages.get_mut(&e.package) else {
            return self.anomaly("build of an unknown package");
        };
        let is = |kind: EvidenceKind| match kind {
            EvidenceKind::Scratch(task) => e.task_id == Some(task),
            EvidenceKind::Real(build) => e.build_id == Some(build),
        };
        if let Some(found) = package.evidence.iter_mut().find(|x| is(x.kind) && *x.hub(&own) == e.hub) {
            found.compared = true;
        }
    }
}
