//! Measures dependency changes, and compares predicted buildroots with recorded ones.
//!
//! Changes are measured from the buildroot of a package's last build. If the hub's recorded
//! buildroot is known and says more, that one is the base. Otherwise the base is our own closure of
//! the repository the package was built in.

use std::sync::Arc;

use super::Writer;
use crate::buildroot::generations::{Base, BaselineKey, Bases};
use crate::buildroot::installed::{Buildroot, moves_since};
use crate::buildroot::verdicts::{Closures, SourceVerdict};
use crate::event::{DependenciesMeasured, DependencyMove, Prediction, PredictionCompared, Source};
use crate::fold::{Evidence, HubState, Package};
use crate::log::LogError;
use crate::model::arch::canonical;
use crate::model::{Hub, Name, RepoId, Seq, TaskId};

/// Most differences between a prediction and a buildroot that an event lists.
const EXAMPLES_MAX: usize = 20;

/// A recorded buildroot that is to be compared with our prediction.
struct Comparison {
    task: TaskId,
    arch: Name,
    recorded: Box<str>,
    repo: RepoId,
    /// Digest of our resolution of that repository.
    unit: String,
    sources: Vec<smol_str::SmolStr>,
}

impl Writer {
    /// Returns the resolutions that changes on an architecture can be measured from.
    pub(crate) fn bases(&self, index: usize, arch: &str) -> Bases {
        let (name, c) = self.state.collections.get_index(index).expect("index is in range");
        let Some(hub) = self.state.hubs.get(&c.settings.hub) else { return Bases::default() };
        let of_tag = hub.repos.iter().filter(|(_, r)| r.tag == c.settings.build_tag);
        Bases::new(of_tag.filter_map(|(id, r)| Some((r.age(*id), *id, r.attachment(name, arch)?.to_owned()))).collect())
    }

    /// Returns the inputs that decide from which buildroot a package's changes are measured. `None`
    /// if there is no buildroot to measure from.
    pub(crate) fn base_key(&self, index: usize, package: &str, arch: &str, bases: &Bases) -> Option<BaselineKey> {
        let (name, c) = self.state.collections.get_index(index).expect("index is in range");
        let evidence = c.packages.get(package).and_then(Package::base)?;
        let hub = self.state.hubs.get(&c.settings.hub)?;
        let (kind, source, former) = (evidence.kind, evidence.source.clone(), evidence.former.clone());
        if let Some((repo, recorded)) = recorded(hub, evidence, arch) {
            let ours = hub.repos.get(&repo).and_then(|r| r.attachment(name, arch)).unwrap_or_default();
            // Most side tags' repositories are not known here. The recorded buildroot counts all
            // the same. The place is only for sorting.
            let place = hub.repos.get(&repo).map_or(usize::MAX, |r| bases.first(r.age(repo)));
            let searched = blake3::hash(ours.as_bytes());
            return Some(BaselineKey { kind, source, former, repo, recorded: Some(recorded.into()), searched, place });
        }
        let repo = evidence.repo?;
        // The newest comes first: repositories made after the build stand before this place.
        let place = bases.first(hub.repos.get(&repo)?.age(repo));
        Some(BaselineKey { kind, source, former, repo, recorded: None, searched: bases.digest(place), place })
    }

    /// Returns the buildroot of a package's last build on an architecture.
    ///
    /// That is the recorded buildroot if it says more than ours. Otherwise it is a closure of the
    /// built version: from the repository it was built in, or from the newest resolved repository
    /// before that.
    pub(crate) async fn base(
        &mut self,
        index: usize,
        package: &str,
        arch: &str,
        bases: &Bases,
    ) -> Result<Option<Base>, LogError> {
        let Some(key) = self.base_key(index, package, arch, bases) else { return Ok(None) };
        let collection = self.collection_name(index);
        if let Some(found) = self.remembered.table(&collection, arch).recall(package, &key) {
            return Ok(found.clone());
        }
        let base = self.search(index, package, arch, bases, &key).await?;
        self.remembered.table(&collection, arch).remember(package, key, base.clone());
        Ok(base)
    }

    async fn search(
        &mut self,
        index: usize,
        package: &str,
        arch: &str,
        bases: &Bases,
        key: &BaselineKey,
    ) -> Result<Option<Base>, LogError> {
        let (name, c) = self.state.collections.get_index(index).expect("index is in range");
        let (name, hub) = (name.clone(), self.state.hubs.get(&c.settings.hub));
        if let Some(recorded) = &key.recorded {
            let ours = hub.and_then(|h| h.repos.get(&key.repo)?.attachment(&name, arch)).map(str::to_owned);
            let mut expected = None;
            if let Some(digest) = ours
                && let Some(closures) = self.closures_with(&digest, package, key.names()).await?
            {
                expected = self.remembered.table(&name, arch).members(&digest, &closures, package);
            }
            return Ok(Some(Base { repo: key.repo, recorded: Some(recorded.clone()), expected }));
        }
        for (repo, digest) in bases.tried(key.place) {
            let fits = match key.source.is_empty() {
                true => Some(self.closures(digest).await?),
                false => self.closures_with(digest, package, key.names()).await?,
            };
            let table = self.remembered.table(&name, arch);
            if let Some(closures) = fits
                && let Some(members) = table.members(digest, &closures, package)
            {
                return Ok(Some(Base { repo, recorded: None, expected: Some(members) }));
            }
        }
        Ok(None)
    }

    /// Returns what changed in a package's buildroot between its last build and the resolution with
    /// this attachment.
    pub(crate) async fn changes_since(
        &mut self,
        index: usize,
        base: &Base,
        (digest, now): (&str, &Closures),
        package: &str,
    ) -> Result<Vec<(DependencyMove, u8)>, LogError> {
        let collection = self.collection_name(index);
        let table = self.remembered.table(&collection, &now.unit.arch);
        let numbers = table.numbers(digest, now);
        let expected = base.expected.as_ref().map(|then| table.moves(then, now, &numbers, package));
        let Some(recorded) = &base.recorded else { return Ok(expected.unwrap_or_default()) };
        // If both predictions are the same, nothing changed, and the recorded buildroot need not be
        // read.
        if expected.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let was = self.buildroot(recorded).await?;
        Ok(moves_since(&was, expected.as_deref(), now, package))
    }

    /// Returns a recorded buildroot: from memory, from the pending commit, or from the log.
    pub(super) async fn buildroot(&mut self, digest: &str) -> Result<Arc<Buildroot>, LogError> {
        if let Some(found) = self.cache.buildroot(digest) {
            return Ok(found);
        }
        let bytes = self.attachment(digest).await?;
        let buildroot = Arc::new(Buildroot::from_bytes(&bytes).map_err(|e| LogError::Broken(e.to_string()))?);
        self.cache.put_buildroot(digest, Arc::clone(&buildroot));
        Ok(buildroot)
    }

    /// Measures a package's dependency changes again if its last build changed, and with it the
    /// base.
    pub(crate) async fn measure(&mut self, index: usize, package: &Name, cause: Seq) -> Result<(), LogError> {
        let c = &self.state.collections[index];
        let Some(p) = c.packages.get(package) else { return Ok(()) };
        let hub = self.state.hubs.get(&c.settings.hub);
        let last = p.base();
        let wanted = |arch: &str| match last.zip(hub).and_then(|(e, hub)| recorded(hub, e, arch)) {
            Some((repo, _)) => (Some(repo), true),
            None => (last.and_then(|e| e.repo), false),
        };
        let open: Vec<(Name, Option<RepoId>, bool)> = p
            .verdicts
            .iter()
            .filter(|v| v.ok == Some(true) && (v.base, v.truth) != wanted(&v.arch))
            .map(|v| (v.arch.clone(), v.base, v.truth))
            .collect();
        for (arch, base_before, truth_before) in open {
            let bases = self.bases(index, &arch);
            let found = self.base(index, package, &arch, &bases).await?;
            let (base, truth) = (found.as_ref().map(|b| b.repo), found.as_ref().is_some_and(|b| b.recorded.is_some()));
            if (base, truth) == (base_before, truth_before) {
                continue;
            }
            let c = &self.state.collections[index];
            let newest = c.arches.get(&arch).and_then(|a| Some((a.repo_id?, a.attachment.clone()?)));
            let Some((repo_id, digest)) = newest else { continue };
            let hub = c.settings.hub.clone();
            let new = self.closures(&digest).await?;
            let changed = match &found {
                Some(base) => self.changes_since(index, base, (&digest, &new), package).await?,
                None => Vec::new(),
            };
            let (moves, distances) = changed.into_iter().unzip();
            let event = DependenciesMeasured {
                collection: self.collection_name(index),
                package: package.clone(),
                hub,
                arch,
                base,
                truth,
                repo_id,
                moves,
                distances,
            };
            self.push(event.into(), Source::Engine, Some(cause), Some(cause));
        }
        Ok(())
    }

    /// Compares the recorded buildroots of a package's builds with our predictions for their
    /// repositories. Each is compared once.
    pub(crate) async fn compare(&mut self, index: usize, package: &Name, cause: Seq) -> Result<(), LogError> {
        let hub = self.state.collections[index].settings.hub.clone();
        for open in self.comparisons(index, package) {
            let unit = self.closures(&open.unit).await?;
            let was = self.buildroot(&open.recorded).await?;
            let event = compared(&open, &unit, &was, (self.collection_name(index), package.clone(), hub.clone()));
            self.metrics.prediction_differs((event.missing + event.extra + event.differing) as usize);
            self.push(event.into(), Source::Engine, Some(cause), Some(cause));
        }
        Ok(())
    }

    fn comparisons(&self, index: usize, package: &Name) -> Vec<Comparison> {
        let (name, c) = self.state.collections.get_index(index).expect("index is in range");
        let Some((p, hub)) = c.packages.get(package).zip(self.state.hubs.get(&c.settings.hub)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        // A builder of another hub installed from that hub's repository, which we have not
        // resolved.
        for e in p.evidence.iter().filter(|e| e.hub.is_none()) {
            let Some(((task, buildroots), repo)) = hub.buildroots(e.kind).zip(hub.built_in(e.kind)) else { continue };
            for b in buildroots.iter().filter(|b| b.awaits_comparison()) {
                let Some(unit) = hub.repos.get(&repo).and_then(|r| r.attachment(name, canonical(&b.arch))) else {
                    continue;
                };
                found.push(Comparison {
                    task,
                    arch: b.arch.clone(),
                    recorded: b.attachment.clone(),
                    repo,
                    unit: unit.to_owned(),
                    sources: e.names().cloned().collect(),
                });
            }
        }
        found
    }
}

/// Returns the repository of a build and the buildroot the hub recorded for it, if changes are
/// measured from that one.
///
/// Rebuilds on another hub are excluded. The two hubs' buildroots may differ permanently, and those
/// differences would count as changes after every rebuild.
fn recorded<'a>(hub: &'a HubState, evidence: &Evidence, arch: &str) -> Option<(RepoId, &'a str)> {
    if evidence.hub.is_some() {
        return None;
    }
    let recorded = hub.truth(evidence.kind, arch)?;
    Some((hub.built_in(evidence.kind)?, &recorded.attachment))
}

fn compared(
    open: &Comparison,
    unit: &Closures,
    was: &Buildroot,
    (collection, package, hub): (Name, Name, Hub),
) -> PredictionCompared {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let of_source = unit.unit.sources.get(&package).filter(|s| open.sources.contains(&s.source));
    let mut event = PredictionCompared {
        collection,
        hub,
        task_id: open.task,
        arch: open.arch.clone(),
        repo_id: open.repo,
        prediction: match of_source.map(|s| &s.verdict) {
            Some(SourceVerdict::Unresolved { .. }) => Prediction::Impossible,
            _ => Prediction::None,
        },
        installed: count(was.installed().len()),
        missing: 0,
        extra: 0,
        differing: 0,
        examples: Vec::new(),
        package,
    };
    if let Some(expected) = unit.installed(&event.package).filter(|_| of_source.is_some()) {
        let d = was.differs_from(&expected);
        event.prediction = if d.moves.is_empty() { Prediction::Exact } else { Prediction::Differs };
        (event.missing, event.extra, event.differing) = (d.missing, d.extra, d.differing);
        event.examples = d.moves.into_iter().take(EXAMPLES_MAX).collect();
    }
    event
}
