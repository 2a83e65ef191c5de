//! Resolves ready repositories and appends the verdicts.

use super::Writer;
use super::examining::present_problem;
use crate::base::clock::Stopwatch;
use crate::base::stage::stage;
use crate::buildroot::generations::Bases;
use crate::buildroot::repo_resolver::{CannotResolve, Examiner, OwnSources, Resolved, Unit};
use crate::buildroot::stored::Kept;
use crate::buildroot::unchanged::Unchanged;
use crate::buildroot::verdicts::{SourceResult, SourceVerdict, UnitVerdicts};
use crate::event::{
    BuildrootBroken, BuildrootResolved, CollectionStateChanged, DependencyMove, Event, PackageResolved,
    RepoNotResolved, RepoReady, RepoResolved, Source,
};
use crate::fold::sources::InRepo;
use crate::fold::{ArchVerdict, Package};
use crate::log::{Attachment, LogError};
use crate::model::{BuildrootState, Name, RepoId, Seq};
use crate::resolve::ResolveOptions;

/// Answers to units, in their order.
type Answers = Vec<Result<Resolved, CannotResolve>>;

/// What is to be resolved of a repository for a collection: a unit for each architecture.
#[derive(Clone)]
struct Due {
    index: usize,
    collection: Name,
    group: Name,
    own: OwnSources,
    options: ResolveOptions,
    arches: Vec<Name>,
    /// No newer repository of the collection is known.
    newest: bool,
}

impl Due {
    fn unit<'a>(&'a self, r: &'a RepoReady, arch: &'a str) -> Unit<'a> {
        let Self { collection, group, own, options, .. } = self;
        Unit { collection, hub: &r.hub, tag: &r.tag, repo: r.repo_id, arch, group, own, options: *options }
    }

    fn units<'a>(&'a self, r: &'a RepoReady) -> impl Iterator<Item = Unit<'a>> {
        self.arches.iter().map(|arch| self.unit(r, arch))
    }
}

impl Writer {
    /// Resolves a repository for every collection that has not resolved a newer one. Returns `true`
    /// if a verdict may have changed.
    ///
    /// A repository may become ready after a newer one whose content was not available. It is still
    /// better than the one before it, so it is resolved. The verdicts thus do not depend on the
    /// order of messages.
    ///
    /// The units of all these collections are resolved at once. What follows from them is appended
    /// collection by collection.
    pub(crate) async fn resolve(&mut self, r: &RepoReady, cause: Seq) -> Result<bool, LogError> {
        let due: Vec<Due> = (0..self.state.collections.len()).filter_map(|index| self.due(index, r)).collect();
        for due in due.iter().filter(|due| due.newest) {
            self.drop_examiners(&due.collection, r.repo_id);
        }
        let watch = Stopwatch::start();
        let units: Vec<Unit<'_>> = due.iter().flat_map(|due| due.units(r)).collect();
        let mut answers = self.resolve_units(&units).into_iter();
        let mut resolved = false;
        for (place, due) in due.iter().enumerate() {
            let mut told: Answers = answers.by_ref().take(due.arches.len()).collect();
            // A promotion that was found for a collection may change the sources of the next one.
            let now = (place > 0).then(|| self.own_sources(due.index, r.repo_id)).filter(|now| *now != due.own);
            let changed = now.map(|own| Due { own, ..due.clone() });
            let due = changed.as_ref().unwrap_or(due);
            if changed.is_some() {
                told = self.resolve_units(&due.units(r).collect::<Vec<_>>());
            }
            resolved |= self.resolved(due, told, (r, &watch), cause).await?;
        }
        Ok(resolved)
    }

    /// Returns what is to be resolved of a repository for a collection, if it counts for it.
    fn due(&mut self, index: usize, r: &RepoReady) -> Option<Due> {
        let (name, c) = self.state.collections.get_index(index).expect("index is in range");
        if (&c.settings.hub, &c.settings.build_tag) != (&r.hub, &r.tag) {
            return None;
        }
        let (collection, group) = (name.clone(), c.settings.build_group.clone());
        let mut arches: Vec<Name> = self.state.hubs[&r.hub].repos[&r.repo_id].arches.clone().unwrap_or_default();
        arches.retain(|a| crate::fold::arch::collection_allows(&c.settings.arches, a));
        arches.sort();
        let newest = c.newest_repo == Some(r.repo_id);
        if !newest {
            arches.retain(|a| self.is_news(index, a, r.repo_id));
        }
        if arches.is_empty() && !newest {
            return None;
        }
        let own = self.own_sources(index, r.repo_id);
        let options = *self.settings.resolve_options.of(&collection);
        Some(Due { index, collection, group, own, options, arches, newest })
    }

    /// Appends what was found out about a collection's units. Returns `true` if a verdict may have
    /// changed.
    async fn resolved(
        &mut self,
        due: &Due,
        answers: Answers,
        (r, watch): (&RepoReady, &Stopwatch),
        cause: Seq,
    ) -> Result<bool, LogError> {
        let (index, name) = (due.index, &due.collection);
        if due.arches.is_empty() {
            let reason = match self.resolver.resolve(&due.unit(r, "")) {
                Err(not_seen) => not_seen.to_string(),
                Ok(_) => "the repository has no architecture this collection builds for".to_owned(),
            };
            self.not_resolved(name, r, None, reason, cause);
            return Ok(false);
        }
        let mut resolved = false;
        for (arch, answer) in due.arches.iter().zip(answers) {
            match answer {
                Err(_) if !due.newest => {}
                Err(not_seen) => self.not_resolved(name, r, Some(arch.clone()), not_seen.to_string(), cause),
                Ok(Resolved { verdicts, examiner }) => {
                    self.not_resolved.remove(&(name.clone(), Some(arch.clone())));
                    self.metrics.resolved(name, arch, verdicts.counts(), watch.seconds());
                    let solvers = &verdicts.solvers;
                    self.metrics.passed_over(name, arch, &solvers.passed_over);
                    self.metrics.solved(solvers.native, &solvers.handed_over);
                    self.metrics.checked(solvers.checked, solvers.mismatches.len());
                    resolved = true;
                    stage!("resolved", repo = r.repo_id, arch = arch);
                    if self.group(name, r, &verdicts, cause) {
                        self.verdicts_first(index, (r, arch), (verdicts, examiner), cause).await?;
                        self.promotions(index, arch, &due.own, cause);
                        stage!("compared", repo = r.repo_id, arch = arch);
                    } else {
                        // Without a build group there are no commands that would have to wait.
                        self.explain(index, r, arch, cause);
                    }
                }
            }
        }
        self.collection_state(index, r.repo_id, cause);
        Ok(resolved)
    }

    /// Resolves units of one hub. With a hub, problem texts and the check follow.
    pub(crate) fn resolve_units(&self, units: &[Unit<'_>]) -> Answers {
        if self.examines_later() {
            return self.resolver.resolve_first(units);
        }
        let whole = |unit| self.resolver.resolve(unit).map(|verdicts| Resolved { verdicts, examiner: None });
        units.iter().map(whole).collect()
    }

    /// Appends verdicts, and notes that they are to be examined.
    pub(crate) async fn verdicts_first(
        &mut self,
        index: usize,
        (r, arch): (&RepoReady, &Name),
        (verdicts, examiner): (UnitVerdicts, Option<Box<dyn Examiner>>),
        cause: Seq,
    ) -> Result<(), LogError> {
        let open = verdicts.unexplained().cloned().collect();
        self.verdicts(index, r, verdicts, cause).await?;
        if let Some(examiner) = examiner {
            self.examine_later(index, (r, arch), examiner, open);
        }
        Ok(())
    }

    /// Checks whether `repo` is newer than the repository a collection's verdicts on an
    /// architecture come from.
    fn is_news(&self, index: usize, arch: &str, repo: RepoId) -> bool {
        let c = &self.state.collections[index];
        let hub = self.state.hubs.get(&c.settings.hub);
        let old = c.arches.get(arch).and_then(|a| a.repo_id);
        old.zip(hub).is_none_or(|(old, hub)| hub.is_newer(repo, old))
    }

    fn not_resolved(&mut self, collection: &Name, r: &RepoReady, arch: Option<Name>, reason: String, cause: Seq) {
        let reason: String = reason.chars().take(500).collect();
        // Attempts repeat, but the reason is recorded once. The state keeps only the last recorded
        // reason, of any architecture. That is enough after a restart.
        let known = self.state.collections.get(collection).and_then(|c| c.stale.as_ref());
        let known = known.filter(|(repo, _)| *repo == r.repo_id);
        let said = Some((r.repo_id, reason.clone()));
        let before = self.not_resolved.insert((collection.clone(), arch.clone()), (r.repo_id, reason.clone()));
        if known.is_some_and(|(_, why)| *why == reason || before == said) {
            return;
        }
        let event =
            RepoNotResolved { collection: collection.clone(), hub: r.hub.clone(), repo_id: r.repo_id, arch, reason };
        self.push(event.into(), Source::Engine, Some(cause), Some(cause));
    }

    /// Records whether the build group installs, if that is news. A failure is recorded for every
    /// repository, so that a late older repository does not pass for the newest result. Returns
    /// `true` if the group installs.
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

    pub(crate) async fn verdicts(
        &mut self,
        index: usize,
        r: &RepoReady,
        unit: UnitVerdicts,
        cause: Seq,
    ) -> Result<(), LogError> {
        let before = self.present(index, &unit.arch).await?;
        let Kept { stored, content, closures } = self.attachment_of(index, unit, before.as_deref())?;
        let attachment = Attachment::new(stored);
        let digest = attachment.digest.clone();
        self.keep(&digest, &closures);
        if !self.commit.attachments.iter().any(|a| a.digest == digest) {
            self.commit.attachments.push(attachment);
        }
        stage!("attached", repo = r.repo_id, arch = closures.unit.arch);
        let unit = &closures.unit;
        let bases = self.bases(index, &unit.arch);
        self.find_bases(index, unit, &bases).await?;
        let collection = self.collection_name(index);
        let present = self.state.collections[index].arches.get(&unit.arch).and_then(|a| a.attachment.as_deref());
        let measuring = self.remembered.table(&collection, &unit.arch).begin(present);
        let unchanged = before.as_deref().map(|before| Unchanged::new(&before.unit, unit));
        let mut table: indexmap::IndexSet<DependencyMove> = indexmap::IndexSet::new();
        let mut packages = Vec::new();
        for (package, result, earlier) in Unchanged::pairs(unchanged.as_ref(), unit) {
            let mut news = PackageResolved {
                package: package.clone(),
                source: result.source.clone(),
                buildroot_has: match &result.in_repo {
                    InRepo::Other(source) => Some(source.clone()),
                    InRepo::This | InRepo::None => None,
                },
                noarch: result.noarch,
                ok: None,
                problem: None,
                changes: Vec::new(),
                base: None,
                truth: false,
            };
            let mut changed = Vec::new();
            match &result.verdict {
                SourceVerdict::Unknown => continue,
                SourceVerdict::Excluded { .. } => {}
                SourceVerdict::Unresolved { problems } => {
                    news.ok = Some(false);
                    let shown = self.state.collections[index].packages.get(package).and_then(|p| p.problem(&unit.arch));
                    // A known problem stands until libsolv has said the present one.
                    news.problem = match problems.is_empty() {
                        true => shown.map(str::to_owned),
                        false => Some(present_problem(problems, shown).to_owned()),
                    };
                }
                SourceVerdict::Ok { .. } => {
                    news.ok = Some(true);
                    if let Some(base) = self.base(index, package, &unit.arch, &bases).await? {
                        (news.base, news.truth) = (Some(base.repo), base.recorded.is_some());
                        let is_known = |p: &Package| p.verdict(&unit.arch).is_some_and(|v| says_same(v, &news));
                        let is_known = self.state.collections[index].packages.get(package).is_some_and(is_known);
                        let is_unchanged =
                            |then: &SourceResult| unchanged.as_ref().is_some_and(|u| u.has(then, result));
                        let table = self.remembered.table(&collection, &unit.arch);
                        let was_measured = table.was_measured(package, measuring);
                        table.note_measured(package, measuring);
                        // The changes since the same base are those that the state has.
                        if was_measured && is_known && earlier.is_some_and(is_unchanged) {
                            continue;
                        }
                        changed = self.changes_since(index, &base, (&digest, &closures), package).await?;
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
        self.remembered.table(&collection, &unit.arch).end(&digest, measuring);
        let tracked = self.tracked_digest(index);
        let c = &self.state.collections[index];
        let has_verdict = |p: &Package| p.verdicts.iter().any(|v| v.arch == unit.arch);
        let known = |name: &Name| unit.sources.get(name).is_some_and(|s| !matches!(s.verdict, SourceVerdict::Unknown));
        let gone = c.packages.iter().filter(|(n, p)| has_verdict(p) && !known(n)).map(|(n, _)| n.clone()).collect();
        let [resolved, unresolved, excluded, unknown] = unit.counts();
        let options = self.settings.resolve_options.of(&self.collection_name(index));
        let event = RepoResolved {
            collection: self.collection_name(index),
            hub: r.hub.clone(),
            repo_id: r.repo_id,
            arch: unit.arch.clone(),
            of_packages: unit.of_packages.clone(),
            tracked,
            mode: unit.mode.clone(),
            solver: unit.solver.clone(),
            inputs: unit.inputs.clone(),
            weak_deps: options.weak_deps,
            module_hotfixes: options.module_hotfixes,
            attachment: digest,
            content: Some(content),
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
        self.updates(index, r, (before.as_deref().map(|c| &c.unit), &closures.unit), cause);
        if !self.examines_later() {
            self.explain(index, r, &closures.unit.arch, cause);
        }
        Ok(())
    }

    /// Finds the bases that the changes of all packages are measured from.
    ///
    /// Some bases are not remembered. Their packages are sorted by the resolutions to search, so
    /// that each resolution is read once.
    async fn find_bases(&mut self, index: usize, unit: &UnitVerdicts, bases: &Bases) -> Result<(), LogError> {
        let name = self.collection_name(index);
        self.remembered.table(&name, &unit.arch).tidy(|package| unit.sources.contains_key(package));
        let mut unknown: Vec<(usize, &Name)> = Vec::new();
        for (package, result) in &unit.sources {
            if matches!(result.verdict, SourceVerdict::Ok { .. })
                && let Some(key) = self.base_key(index, package, &unit.arch, bases)
                && self.remembered.table(&name, &unit.arch).recall(package, &key).is_none()
            {
                unknown.push((key.place, package));
            }
        }
        unknown.sort_unstable();
        for (_, package) in unknown {
            self.base(index, package, &unit.arch, bases).await?;
        }
        Ok(())
    }

    pub(crate) fn collection_name(&self, index: usize) -> Name {
        self.state.collections.get_index(index).expect("index is in range").0.clone()
    }
}

/// Checks whether a verdict says nothing new. A different missing dependency is news, although no
/// decision depends on it (D30).
fn same(
    package: &Package,
    arch: &str,
    news: &PackageResolved,
    changed: &[(DependencyMove, u8)],
    moves: &indexmap::IndexSet<DependencyMove, rustc_hash::FxBuildHasher>,
) -> bool {
    let Some(v) = package.verdict(arch) else { return false };
    says_same(v, news)
        && v.changes.len() == changed.len()
        && v.changes
            .iter()
            .zip(changed)
            .all(|((i, d), (m, distance))| d == distance && moves.get_index(*i as usize).is_some_and(|old| old == m))
}

/// Checks whether a verdict says nothing new, apart from what changed.
fn says_same(v: &ArchVerdict, news: &PackageResolved) -> bool {
    (v.ok, &v.source, v.noarch, v.base, v.truth) == (news.ok, &news.source, news.noarch, news.base, news.truth)
        && v.buildroot_has == news.buildroot_has
        && v.problem.as_deref() == news.problem.as_deref()
}
