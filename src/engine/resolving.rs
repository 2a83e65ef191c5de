//! From a ready repository to verdicts in the log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::brain::Brain;
use super::error::EngineError;
use super::eyes::{Eyes, Unit};
use super::verdicts::{Closures, SourceVerdict, UnitVerdicts, moves};
use crate::event::{
    BuildrootBroken, BuildrootResolved, CollectionStateChanged, DependenciesMeasured, DependencyMove, Event,
    PackageResolved, RepoNotResolved, RepoReady, RepoResolved, Source,
};
use crate::fold::{ArchVerdict, Package};
use crate::log::{Attachment, EventLog};
use crate::model::{BuildrootState, Name, RepoId, Seq};

/// How many units are kept parsed: two architectures of a few generations, for comparing.
const CACHED_UNITS: usize = 12;
/// How many older resolutions are searched for one that has a package in the version that was built.
const BASES_TRIED: usize = 8;

/// The most recently used closures.
#[derive(Default)]
pub(super) struct ClosureCache(VecDeque<(String, Arc<Closures>)>);

impl ClosureCache {
    pub(super) fn get(&mut self, digest: &str) -> Option<Arc<Closures>> {
        let at = self.0.iter().position(|(d, _)| d == digest)?;
        let entry = self.0.remove(at)?;
        let found = Arc::clone(&entry.1);
        self.0.push_front(entry);
        Some(found)
    }

    pub(super) fn put(&mut self, digest: &str, closures: Arc<Closures>) {
        if self.get(digest).is_none() {
            self.0.push_front((digest.to_owned(), closures));
            self.0.truncate(CACHED_UNITS);
        }
    }
}

/// Resolutions of one collection and architecture that closures can be taken from, newest first.
type Bases = Vec<((i64, i64), RepoId, String)>;

impl<E: Eyes> Brain<E> {
    /// Resolves a repository for every collection that has not resolved a newer one. `true` when a verdict may have changed.
    ///
    /// A generation that becomes ready late, behind a newer one that could not be looked at, is still better than the one
    /// before it; so the verdicts do not depend on which message came first.
    pub(super) async fn resolve(
        &mut self,
        log: &impl EventLog,
        r: &RepoReady,
        cause: Seq,
    ) -> Result<bool, EngineError> {
        let mut resolved = false;
        for index in 0..self.state.collections.len() {
            let c = &self.state.collections[index];
            let ours = c.settings.hub == r.hub && c.settings.build_tag == r.tag;
            if ours {
                resolved |= self.resolve_collection(log, index, r, cause).await?;
            }
        }
        Ok(resolved)
    }

    async fn resolve_collection(
        &mut self,
        log: &impl EventLog,
        index: usize,
        r: &RepoReady,
        cause: Seq,
    ) -> Result<bool, EngineError> {
        let (name, c) = self.state.collections.get_index(index).expect("index is in range");
        let (name, settings) = (name.clone(), c.settings.clone());
        let mut arches: Vec<Name> = self.state.hubs[&r.hub].repos[&r.repo_id].arches.clone().unwrap_or_default();
        arches.retain(|a| crate::fold::arch::collection_allows(&settings.arches, a));
        arches.sort();
        let newest = c.newest_repo == Some(r.repo_id);
        if !newest {
            arches.retain(|a| self.is_news(index, a, r.repo_id));
        }
        if arches.is_empty() && !newest {
            return Ok(false);
        }
        if arches.is_empty() {
            let reason = match self.eyes.resolve(&Unit {
                hub: &r.hub,
                tag: &r.tag,
                repo: r.repo_id,
                arch: "",
                group: &settings.build_group,
            }) {
                Err(not_seen) => not_seen.to_string(),
                Ok(_) => "the repository has no architecture this collection builds for".to_owned(),
            };
            self.not_resolved(&name, r, None, reason, cause);
            return Ok(false);
        }
        let mut resolved = false;
        for arch in arches {
            let unit = Unit { hub: &r.hub, tag: &r.tag, repo: r.repo_id, arch: &arch, group: &settings.build_group };
            let watch = super::clock::Stopwatch::start();
            match self.eyes.resolve(&unit) {
                Err(_) if !newest => {}
                Err(not_seen) => self.not_resolved(&name, r, Some(arch.clone()), not_seen.to_string(), cause),
                Ok(verdicts) => {
                    self.metrics.resolved(&name, &arch, verdicts.counts(), watch.seconds());
                    let solvers = &verdicts.solvers;
                    self.metrics.solved(
                        solvers.native,
                        &solvers.handed_over,
                        solvers.checked,
                        solvers.mismatches.len(),
                    );
                    resolved = true;
                    if self.group(&name, r, &verdicts, cause) {
                        self.verdicts(log, index, r, verdicts, cause).await?;
                    }
                }
            }
        }
        self.collection_state(index, r.repo_id, cause);
        Ok(resolved)
    }

    /// Whether `repo` is newer than the generation a collection's verdicts on an architecture are from.
    fn is_news(&self, index: usize, arch: &str, repo: RepoId) -> bool {
        let c = &self.state.collections[index];
        let hub = self.state.hubs.get(&c.settings.hub);
        let old = c.arches.get(arch).and_then(|a| a.repo_id);
        old.zip(hub).is_none_or(|(old, hub)| hub.is_newer(repo, old))
    }

    fn not_resolved(&mut self, collection: &Name, r: &RepoReady, arch: Option<Name>, reason: String, cause: Seq) {
        let event = RepoNotResolved {
            collection: collection.clone(),
            hub: r.hub.clone(),
            repo_id: r.repo_id,
            arch,
            reason: reason.chars().take(500).collect(),
        };
        self.push(event.into(), Source::Engine, Some(cause), Some(cause));
    }

    /// Notes whether the build group installs, where that is news; that it does not, in every repository, so that a late older
    /// one does not pass for the newest word. `true`: it does.
    fn group(&mut self, collection: &Name, r: &RepoReady, unit: &UnitVerdicts, cause: Seq) -> bool {
        let ok = unit.group_problems.is_empty();
        let known = self.state.collections[collection].arches.get(&unit.arch);
        let before = known.and_then(|a| a.group_ok);
        let late = known.and_then(|a| a.group_repo).is_some_and(|g| self.state.hubs[&r.hub].is_newer(g, r.repo_id));
        if late {
            return ok;
        }
        if before != Some(ok) || !ok {
            let (collection, hub, arch) = (collection.clone(), r.hub.clone(), unit.arch.clone());
            let event: Event = if ok {
                let count = u32::try_from(unit.group.len()).unwrap_or(u32::MAX);
                BuildrootResolved { collection, hub, repo_id: r.repo_id, arch, count }.into()
            } else {
                let problems = unit.group_problems.clone();
                BuildrootBroken { collection, hub, repo_id: r.repo_id, arch, problems }.into()
            };
            self.push(event, Source::Engine, Some(cause), Some(cause));
        }
        ok
    }

    fn collection_state(&mut self, index: usize, repo_id: RepoId, cause: Seq) {
        let (name, c) = self.state.collections.get_index(index).expect("index is in range");
        let (old, new) = (c.announced, c.buildroot());
        if old != new && new != BuildrootState::Unknown {
            let event = CollectionStateChanged { collection: name.clone(), old, new, repo_id };
            self.push(event.into(), Source::Engine, Some(cause), Some(cause));
        }
    }

    async fn verdicts(
        &mut self,
        log: &impl EventLog,
        index: usize,
        r: &RepoReady,
        unit: UnitVerdicts,
        cause: Seq,
    ) -> Result<(), EngineError> {
        let attachment = Attachment::new(unit.to_bytes());
        let digest = attachment.digest.clone();
        let closures = Arc::new(Closures::new(unit).map_err(|e| EngineError::Broken(e.to_string()))?);
        self.cache.put(&digest, Arc::clone(&closures));
        if !self.commit.attachments.iter().any(|a| a.digest == digest) {
            self.commit.attachments.push(attachment);
        }
        let unit = &closures.unit;
        let bases = self.bases(index, &unit.arch);
        let mut table: indexmap::IndexSet<DependencyMove> = indexmap::IndexSet::new();
        let mut packages = Vec::new();
        for (package, result) in &unit.sources {
            let mut news = PackageResolved {
                package: package.clone(),
                source: result.source.clone(),
                noarch: result.noarch,
                ok: None,
                problem: None,
                changes: Vec::new(),
                base: None,
            };
            let mut changed = Vec::new();
            match &result.verdict {
                SourceVerdict::Unknown => continue,
                SourceVerdict::Excluded { .. } => {}
                SourceVerdict::Unresolved { problems } => {
                    news.ok = Some(false);
                    news.problem = Some(problems.first().map_or("no reason given", |p| p.as_str()).to_owned());
                }
                SourceVerdict::Ok { .. } => {
                    news.ok = Some(true);
                    if let Some((base, old)) = self.base(log, index, package, &bases).await? {
                        news.base = Some(base);
                        changed = moves(&old, &closures, package);
                    }
                }
            }
            let c = &self.state.collections[index];
            if c.packages.get(package).is_some_and(|p| same(p, &unit.arch, &news, &changed, &c.moves)) {
                continue;
            }
            for (m, distance) in changed {
                let at = table.insert_full(m).0;
                news.changes.push((u32::try_from(at).unwrap_or(u32::MAX), distance));
            }
            packages.push(news);
        }
        let c = &self.state.collections[index];
        let has_verdict = |p: &Package| p.verdicts.iter().any(|v| v.arch == unit.arch);
        let known = |name: &Name| unit.sources.get(name).is_some_and(|s| !matches!(s.verdict, SourceVerdict::Unknown));
        let gone = c.packages.iter().filter(|(n, p)| has_verdict(p) && !known(n)).map(|(n, _)| n.clone()).collect();
        let [resolved, unresolved, excluded, unknown] = unit.counts();
        let event = RepoResolved {
            collection: self.collection_name(index),
            hub: r.hub.clone(),
            repo_id: r.repo_id,
            arch: unit.arch.clone(),
            mode: unit.mode.clone(),
            solver: unit.solver.clone(),
            inputs: unit.inputs.clone(),
            attachment: digest,
            resolved,
            unresolved,
            excluded,
            unknown,
            moves: table.into_iter().collect(),
            packages,
            gone,
            solver_mismatches: unit.solvers.mismatches.clone(),
        };
        self.push(event.into(), Source::Engine, Some(cause), Some(cause));
        Ok(())
    }

    fn collection_name(&self, index: usize) -> Name {
        self.state.collections.get_index(index).expect("index is in range").0.clone()
    }

    /// Resolutions to compare with, newest first.
    fn bases(&self, index: usize, arch: &str) -> Bases {
        let (name, c) = self.state.collections.get_index(index).expect("index is in range");
        let Some(hub) = self.state.hubs.get(&c.settings.hub) else { return Vec::new() };
        let of_tag = hub.repos.iter().filter(|(_, r)| r.tag == c.settings.build_tag);
        let mut bases: Bases =
            of_tag.filter_map(|(id, r)| Some((r.age(*id), *id, r.attachment(name, arch)?.to_owned()))).collect();
        bases.sort_unstable_by(|a, b| b.cmp(a));
        bases
    }

    /// The closure of a package's last build: that of the repository it was built in, or of the newest one before it that was
    /// resolved, in the version that was built.
    async fn base(
        &mut self,
        log: &impl EventLog,
        index: usize,
        package: &str,
        bases: &Bases,
    ) -> Result<Option<(RepoId, Arc<Closures>)>, EngineError> {
        let c = &self.state.collections[index];
        let Some(evidence) = c.packages.get(package).and_then(Package::base) else { return Ok(None) };
        let (Some(repo), source) = (evidence.repo, evidence.source.clone()) else { return Ok(None) };
        let Some(built_in) = self.state.hubs.get(&c.settings.hub).and_then(|h| h.repos.get(&repo)) else {
            return Ok(None);
        };
        let age = built_in.age(repo);
        // Newest first: those made after the build stand before this point.
        let first = bases.partition_point(|(a, ..)| *a > age);
        for (_, id, digest) in bases.iter().skip(first).take(BASES_TRIED) {
            let closures = self.closures(log, digest).await?;
            let fits =
                if source.is_empty() { closures.installed(package).is_some() } else { closures.has(package, &source) };
            if fits {
                return Ok(Some((*id, closures)));
            }
        }
        Ok(None)
    }

    /// Measures a package's dependency changes again where its last build, and with it the base, is another one now.
    pub(super) async fn measure(
        &mut self,
        log: &impl EventLog,
        index: usize,
        package: &Name,
        cause: Seq,
    ) -> Result<(), EngineError> {
        let c = &self.state.collections[index];
        let Some(p) = c.packages.get(package) else { return Ok(()) };
        let built_in = p.base().and_then(|e| e.repo);
        let open: Vec<(Name, Option<RepoId>)> = p
            .verdicts
            .iter()
            .filter(|v| v.ok == Some(true) && v.base != built_in)
            .map(|v| (v.arch.clone(), v.base))
            .collect();
        for (arch, before) in open {
            let bases = self.bases(index, &arch);
            let found = self.base(log, index, package, &bases).await?;
            if found.as_ref().map(|(repo, _)| *repo) == before {
                continue;
            }
            let c = &self.state.collections[index];
            let newest = c.arches.get(&arch).and_then(|a| Some((a.repo_id?, a.attachment.clone()?)));
            let Some((repo_id, digest)) = newest else { continue };
            let hub = c.settings.hub.clone();
            let new = self.closures(log, &digest).await?;
            let (base, changed) = match &found {
                Some((repo, old)) => (Some(*repo), moves(old, &new, package)),
                None => (None, Vec::new()),
            };
            let (moves, distances) = changed.into_iter().unzip();
            let event = DependenciesMeasured {
                collection: self.collection_name(index),
                package: package.clone(),
                hub,
                arch,
                base,
                repo_id,
                moves,
                distances,
            };
            self.push(event.into(), Source::Engine, Some(cause), Some(cause));
        }
        Ok(())
    }
}

/// Whether a verdict says nothing new. Texts of problems do not count: another solver version words them differently (D30).
fn same(
    package: &Package,
    arch: &str,
    news: &PackageResolved,
    changed: &[(DependencyMove, u8)],
    moves: &indexmap::IndexSet<DependencyMove, rustc_hash::FxBuildHasher>,
) -> bool {
    let Some(v): Option<&ArchVerdict> = package.verdicts.iter().find(|v| v.arch == arch) else { return false };
    (v.ok, &v.source, v.noarch, v.base) == (news.ok, &news.source, news.noarch, news.base)
        && v.changes.len() == changed.len()
        && v.changes
            .iter()
            .zip(changed)
            .all(|((i, d), (m, distance))| d == distance && moves.get_index(*i as usize).is_some_and(|old| old == m))
}
