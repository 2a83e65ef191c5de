//! Appends which updates came with a repository, and which are between a package's builds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smol_str::{SmolStr, format_smolstr};

use super::Writer;
use crate::buildroot::generations::Bases;
use crate::buildroot::verdicts::{Closures, SourceVerdict, UnitVerdicts};
use crate::event::{
    ArchDifference, BuildCompared, DifferingSource, GoodBuild, RepoReady, Source, SourceUpdate, UpdatesArrived,
};
use crate::fold::{Evidence, EvidenceKind};
use crate::log::LogError;
use crate::model::{BuildId, Name, Nvr, Outcome, RepoId, Seq, TaskId};

/// Versions and distances (0: not reached) of source packages in a buildroot, by name.
type Sources = BTreeMap<Name, (SmolStr, u8)>;

/// A build to compare, and the last good build before it.
struct Pair {
    build: Evidence,
    good: Option<Evidence>,
}

/// The source packages of a build's buildroot on one architecture.
struct Buildroots {
    predicted: Option<Sources>,
    recorded: Option<Sources>,
}

/// What differs on one architecture: recorded or not, and the differing source packages with their
/// distances.
type Differing = (bool, Vec<(DifferingSource, u8)>);

impl Writer {
    /// Appends the updates that a resolution brought. `before` is the resolution before it.
    pub(super) fn updates(
        &mut self,
        index: usize,
        r: &RepoReady,
        (before, now): (Option<&UnitVerdicts>, &UnitVerdicts),
        cause: Seq,
    ) {
        let Some(before) = before.filter(|unit| !unit.built_from.is_empty()) else { return };
        let (old, new) = (versions(now, before), versions(before, now));
        let arrived = &self.state.collections[index].arrived;
        let mut updates: Vec<SourceUpdate> = new
            .into_iter()
            // Another architecture of this repository may have brought it.
            .filter(|(name, version)| arrived.get(name).is_none_or(|a| a.version != *version || a.repo == r.repo_id))
            .map(|(source, new)| {
                let known = arrived.get(&source).map(|a| a.version.clone()).filter(|known| *known != new);
                let old = old.get(&source).cloned().or(known);
                SourceUpdate { source, old, new, buildroots: 0 }
            })
            .collect();
        if updates.is_empty() {
            return;
        }
        note_buildroots(&mut updates, now);
        let (collection, hub, arch) = (self.collection_name(index), r.hub.clone(), now.arch.clone());
        let event = UpdatesArrived { collection, hub, repo_id: r.repo_id, arch, updates };
        self.push(event.into(), Source::Engine, Some(cause), Some(cause));
    }

    /// Compares the buildroots of a package's ended builds with those of the last good build before
    /// each. Each build is compared once. Cost: that of reading up to two old resolutions of each
    /// architecture, if they are not in memory.
    pub(crate) async fn compare_builds(&mut self, index: usize, package: &Name, cause: Seq) -> Result<(), LogError> {
        for pair in self.uncompared(index, package) {
            let Some(event) = self.compared_build(index, package, &pair).await? else { continue };
            self.push(event.into(), Source::Engine, Some(cause), Some(cause));
        }
        Ok(())
    }

    fn uncompared(&self, index: usize, package: &Name) -> Vec<Pair> {
        let Some(p) = self.state.collections[index].packages.get(package) else { return Vec::new() };
        let ended = |e: &Evidence| !e.compared && e.repo.is_some() && e.is_complete();
        let open = p.evidence.iter().enumerate().filter(|(_, e)| ended(e));
        open.map(|(at, build)| {
            let before = || p.evidence[..at].iter().rev().filter(|e| e.is_good() && e.repo.is_some());
            let good = before().find(|e| !e.withdrawn).or_else(|| before().next());
            Pair { build: build.clone(), good: good.cloned() }
        })
        .collect()
    }

    async fn compared_build(
        &mut self,
        index: usize,
        package: &Name,
        pair: &Pair,
    ) -> Result<Option<BuildCompared>, LogError> {
        let build = &pair.build;
        let c = &self.state.collections[index];
        let own = c.settings.hub.clone();
        let Some(repo_id) = build.built_in.or(build.repo) else { return Ok(None) };
        let hub = build.hub(&own).clone();
        let passed = build.outcome == Some(Outcome::Ok);
        let line = match build.kind {
            EvidenceKind::Scratch(task) if !passed => {
                let task = self.state.hubs.get(&hub).and_then(|h| h.tasks.get(&task));
                task.and_then(|t| t.line.as_deref()).map(str::to_owned)
            }
            _ => None,
        };
        let (task_id, build_id) = ids(build.kind);
        let arches: Vec<Name> = c.arches.keys().cloned().collect();
        let mut by_arch: Vec<(Name, Differing)> = Vec::new();
        let (mut good, mut untold) = (None, false);
        if let Some(before) = &pair.good {
            for arch in &arches {
                let bases = self.bases(index, arch);
                let Some((now, _)) = self.buildroots(index, (package, arch), &bases, build).await? else { continue };
                let then = self.buildroots(index, (package, arch), &bases, before).await?;
                let Some((then, at)) = then else { continue };
                if then.predicted.is_none() || now.predicted.is_none() {
                    // An attachment of an earlier version does not say what packages were built from.
                    untold = true;
                    continue;
                }
                let (task_id, build_id) = ids(before.kind);
                let assumed = before.assumed && before.outcome.is_none();
                good.get_or_insert(GoodBuild {
                    repo_id: at,
                    source: before.source.clone(),
                    task_id,
                    build_id,
                    assumed,
                });
                by_arch.push((arch.clone(), self.differing(index, &then, &now)));
            }
            // Nothing of it was ever resolved: there may be something to compare with later.
            if good.is_none() && !untold && !arches.is_empty() {
                return Ok(None);
            }
        }
        let (updates, arches) = joined(by_arch);
        let (collection, package, source) = (self.collection_name(index), package.clone(), build.source.clone());
        Ok(Some(BuildCompared {
            collection,
            package,
            hub,
            task_id,
            build_id,
            source,
            repo_id,
            passed,
            line,
            good,
            updates,
            arches,
        }))
    }

    /// Returns the source packages in the buildroot of a build on one architecture, and the
    /// repository they are from.
    ///
    /// The prediction is that for the repository of the build, or for the newest resolved one before
    /// it, in the version that was built. If no resolution has this version, because a packager's
    /// build is not yet in the repository that it was built in, the version before it stands for it.
    /// If there is none, the first repository counts in which the built version resolves.
    async fn buildroots(
        &mut self,
        index: usize,
        (package, arch): (&Name, &Name),
        bases: &Bases,
        build: &Evidence,
    ) -> Result<Option<(Buildroots, RepoId)>, LogError> {
        let hub = &self.state.collections[index].settings.hub;
        let Some(state) = self.state.hubs.get(hub) else { return Ok(None) };
        let Some(repo) = build.built_in.or(build.repo) else { return Ok(None) };
        let place = state.repos.get(&repo).map_or(0, |r| bases.first(r.age(repo)));
        let recorded = match build.hub {
            None => state.truth(build.kind, arch).map(|b| b.attachment.clone()),
            Some(_) => None,
        };
        let real = matches!(build.kind, EvidenceKind::Real(_));
        let exact = bases.tried(place).take(if real { 1 } else { usize::MAX });
        let mut found: Option<(RepoId, Arc<Closures>)> = None;
        for (at, digest) in exact {
            if let Some(closures) = self.closures_with(digest, package, build.names()).await? {
                found = Some((at, closures));
                break;
            }
        }
        if found.is_none()
            && let Some((at, digest)) = bases.tried(place).next()
        {
            let closures = self.closures(digest).await?;
            found = closures.closure(package).is_some().then_some((at, closures));
        }
        if found.is_none() {
            for (at, digest) in bases.after(place) {
                if let Some(closures) = self.closures_with(digest, package, build.names()).await? {
                    found = Some((at, closures));
                    break;
                }
            }
        }
        let Some((at, closures)) = found else { return Ok(None) };
        let predicted = predicted(&closures, package);
        let recorded = match (recorded, &predicted) {
            (Some(digest), Some(predicted)) => {
                let installed = self.buildroot(&digest).await?.installed();
                let names = installed.iter().map(|p| p.nevra.to_string());
                Some(of_names(&closures, names, predicted))
            }
            _ => None,
        };
        // A build in a repository that was not resolved still names it.
        let at = if bases.tried(place).next().is_some_and(|(first, _)| first == at) { repo } else { at };
        Ok(Some((Buildroots { predicted, recorded }, at)))
    }

    /// Returns what differs between two buildroots.
    fn differing(&self, index: usize, then: &Buildroots, now: &Buildroots) -> Differing {
        let arrived = &self.state.collections[index].arrived;
        let both = |a: &Option<Sources>, b: &Option<Sources>| a.is_some() && b.is_some();
        let recorded = both(&then.recorded, &now.recorded);
        let nothing = Sources::new();
        let (old, new) = match recorded {
            true => (&then.recorded, &now.recorded),
            false => (&then.predicted, &now.predicted),
        };
        let (old, new) = (old.as_ref().unwrap_or(&nothing), new.as_ref().unwrap_or(&nothing));
        let mut list = Vec::new();
        let names: BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
        for source in names {
            let (was, is) = (old.get(source), new.get(source));
            let version = |of: Option<&(SmolStr, u8)>| of.map(|(version, _)| version.clone());
            if version(was) == version(is) {
                continue;
            }
            let known = arrived.get(source).filter(|a| is.is_none_or(|(version, _)| a.version == *version));
            let repo_id = known.map(|a| a.repo);
            let distance = is.or(was).map_or(0, |(_, distance)| *distance);
            let source = source.clone();
            list.push((DifferingSource { source, old: version(was), new: version(is), repo_id }, distance));
        }
        (recorded, list)
    }
}

fn ids(kind: EvidenceKind) -> (Option<TaskId>, Option<BuildId>) {
    match kind {
        EvidenceKind::Scratch(task) => (Some(task), None),
        EvidenceKind::Real(build) => (None, Some(build)),
    }
}

/// Notes which packages have each update in their buildroots. Cost: O(size of all closures).
fn note_buildroots(updates: &mut [SourceUpdate], unit: &UnitVerdicts) {
    let named = |(at, u): (usize, &SourceUpdate)| (format_smolstr!("{}-{}", u.source, u.new), at);
    let by_name: FxHashMap<SmolStr, usize> = updates.iter().enumerate().map(named).collect();
    let places: Vec<Option<usize>> = unit.built_from.iter().map(|nvr| by_name.get(nvr).copied()).collect();
    let mut hashers: Vec<blake3::Hasher> = updates.iter().map(|_| blake3::Hasher::new()).collect();
    for (name, result) in &unit.sources {
        let SourceVerdict::Ok { closure, .. } = &result.verdict else { continue };
        let found: BTreeSet<usize> = closure.iter().filter_map(|i| *places.get(*i as usize)?).collect();
        for at in found.into_iter().filter(|at| updates[*at].source != *name) {
            hashers[at].update(name.as_bytes()).update(b"\n");
        }
    }
    for (update, hasher) in updates.iter_mut().zip(hashers) {
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        update.buildroots = u64::from_le_bytes(first);
    }
}

/// Returns the versions of the source packages in buildroots of `of` that are not in those of
/// `other`.
fn versions(other: &UnitVerdicts, of: &UnitVerdicts) -> BTreeMap<Name, SmolStr> {
    let others: FxHashSet<&SmolStr> = other.built_from.iter().collect();
    let differing = of.built_from.iter().filter(|nvr| !others.contains(nvr));
    differing.filter_map(|nvr| source_version(nvr)).collect()
}

fn source_version(nvr: &str) -> Option<(Name, SmolStr)> {
    let nvr = Nvr::parse(nvr)?;
    let version = format_smolstr!("{}-{}", nvr.version, nvr.release);
    Some((nvr.name, version))
}

fn predicted(closures: &Closures, package: &str) -> Option<Sources> {
    let (closure, distances) = closures.closure(package).filter(|_| !closures.unit.built_from.is_empty())?;
    let mut sources = Sources::new();
    for (index, distance) in closure.iter().zip(distances) {
        if let Some((name, version)) = closures.built_from(*index).and_then(|nvr| source_version(nvr)) {
            let of = sources.entry(name).or_insert_with(|| (version.clone(), *distance));
            of.1 = nearer(of.1, *distance);
        }
    }
    Some(sources)
}

/// Returns the source packages of installed packages. A package that no buildroot of the resolution
/// has, or whose source package is not known, is left out.
fn of_names(closures: &Closures, names: impl Iterator<Item = String>, predicted: &Sources) -> Sources {
    let known = names.filter_map(|name| closures.built_from(closures.index_of(&name)?).cloned());
    let sources = known.filter_map(|nvr| source_version(&nvr));
    let far = |name: &Name| predicted.get(name).map_or(0, |(_, distance)| *distance);
    sources.map(|(name, version)| (name.clone(), (version, far(&name)))).collect()
}

/// Returns the smaller of two distances. 0 means not reached.
fn nearer(a: u8, b: u8) -> u8 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

/// Joins what differs on several architectures.
fn joined(by_arch: Vec<(Name, Differing)>) -> (Vec<DifferingSource>, Vec<ArchDifference>) {
    let all: BTreeSet<DifferingSource> =
        by_arch.iter().flat_map(|(_, (_, list))| list.iter().map(|(source, _)| source.clone())).collect();
    let all: Vec<DifferingSource> = all.into_iter().collect();
    let mut arches: Vec<ArchDifference> = Vec::new();
    for (arch, (recorded, list)) in by_arch {
        let place = |source| all.binary_search(source).ok().and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX);
        let changes: Vec<(u32, u8)> = list.iter().map(|(source, distance)| (place(source), *distance)).collect();
        match arches.iter_mut().find(|a| a.recorded == recorded && a.changes == changes) {
            Some(same) => same.arches.push(arch),
            None => arches.push(ArchDifference { arches: vec![arch], recorded, changes }),
        }
    }
    (all, arches)
}
