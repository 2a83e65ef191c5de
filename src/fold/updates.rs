//! Folds which updates came with which repository, and which builds were compared.

use smol_str::{SmolStr, format_smolstr};

use super::collection::Arrived;
use super::evidence::EvidenceKind;
use super::package::{FoundCause, Suspects, stands_for};
use super::state::State;
use crate::event::{BuildCompared, CausesFound, PackageCauses, SuspectedUpdate, SuspectsRanked, UpdatesArrived};
use crate::model::{Seq, Timestamp};

impl State {
    pub(super) fn updates_arrived(&mut self, e: &UpdatesArrived) {
        let Some(collection) = self.collections.get_mut(&e.collection) else {
            return self.anomaly("updates of an unknown collection");
        };
        collection.history.arrived(e);
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

    pub(super) fn causes_found(&mut self, e: &CausesFound, at: (Seq, Timestamp)) {
        let Some(collection) = self.collections.get_mut(&e.collection) else {
            return self.anomaly("causes in an unknown collection");
        };
        for of in &e.packages {
            if of.package.as_str() == CausesFound::GROUP {
                let arch = collection.arch_mut(&e.arch);
                arch.explained = Some(stands_for(&arch.problems.join("\n")));
                arch.causes = found(&arch.causes, e, of, at);
                continue;
            }
            let package = collection.packages.get_mut(&of.package);
            if let Some(v) = package.and_then(|p| p.verdicts.iter_mut().find(|v| v.arch == e.arch)) {
                v.explained = Some(stands_for(v.problem.as_deref().unwrap_or_default()));
                v.causes = found(&v.causes, e, of, at);
            }
        }
    }

    /// Returns when a build began, as a position in the log. `compared` is the event that compared
    /// it, which counts if its task is not known.
    pub fn began(&self, e: &BuildCompared, compared: Seq) -> Seq {
        let task = e.task_id.and_then(|task| self.hubs.get(&e.hub)?.tasks.get(&task));
        task.map_or(compared, |task| task.first_seen)
    }

    pub(super) fn build_compared(&mut self, e: &BuildCompared, (seq, at): (Seq, Timestamp)) {
        let began = self.began(e, seq);
        let Some(collection) = self.collections.get_mut(&e.collection) else {
            return self.anomaly("build in an unknown collection");
        };
        collection.history.compared(e, began, (seq, at));
        let own = collection.settings.hub.clone();
        let Some(package) = collection.packages.get_mut(&e.package) else {
            return self.anomaly("build of an unknown package");
        };
        if e.passed {
            package.suspects = None;
        }
        let is = |kind: EvidenceKind| match kind {
            EvidenceKind::Scratch(task) => e.task_id == Some(task),
            EvidenceKind::Real(build) => e.build_id == Some(build),
        };
        if let Some(found) = package.evidence.iter_mut().find(|x| is(x.kind) && *x.hub(&own) == e.hub) {
            found.compared = true;
        }
    }

    pub(super) fn suspects_ranked(&mut self, e: &SuspectsRanked, (seq, at): (Seq, Timestamp)) {
        let Some(collection) = self.collections.get_mut(&e.collection) else {
            return self.anomaly("suspects in an unknown collection");
        };
        for of in &e.packages {
            let Some(package) = collection.packages.get_mut(&of.package) else { continue };
            let named =
                of.suspects.iter().filter_map(|(at, share)| Some((e.updates.get(*at as usize)?.clone(), *share)));
            let named: Vec<(SuspectedUpdate, u32)> = named.collect();
            let broke = |named: &[(SuspectedUpdate, u32)]| {
                named.first().filter(|(_, share)| *share >= SuspectsRanked::BROKE).map(|(update, _)| update.known_by())
            };
            let same = package.suspects.as_ref().filter(|before| broke(&before.named) == broke(&named));
            let (since, since_at) = same.map_or((seq, at), |before| (before.since, before.since_at));
            let suspects = Suspects { task: of.task_id, named, own: of.own, chance: of.chance, since, since_at };
            package.suspects = Some(Box::new(suspects));
        }
    }
}

/// Returns the causes of one package. One that was known before keeps its beginning. If none was
/// found, those before stay.
fn found(
    before: &[FoundCause],
    e: &CausesFound,
    of: &PackageCauses,
    (since, since_at): (Seq, Timestamp),
) -> Vec<FoundCause> {
    let named = of.causes.iter().filter_map(|at| e.causes.get(*at as usize));
    let now: Vec<FoundCause> = named
        .map(|cause| {
            let nvr =
                |version: &Option<SmolStr>| Some(format_smolstr!("{}-{}", cause.source.as_ref()?, version.as_ref()?));
            let known_by: SmolStr = cause.known_by(&of.package).into();
            let same = before.iter().find(|b| (&b.known_by, b.repo) == (&known_by, cause.repo_id));
            let (since, since_at) = same.map_or((since, since_at), |b| (b.since, b.since_at));
            FoundCause {
                known_by,
                source: nvr(&cause.new),
                was: nvr(&cause.old),
                repo: cause.repo_id,
                in_group: cause.in_group,
                what: cause.what.as_str().into(),
                since,
                since_at,
            }
        })
        .collect();
    if now.is_empty() { before.to_vec() } else { now }
}
