//! Tells what broke, since when, why, which rebuilds it caused, and what recovered. It reads the
//! log, and an archive of its repositories for the causes.
//!
//! A spell is the time during which a package is broken: unresolved, failing, or one after the
//! other. It ends with another state.

use std::collections::{BTreeMap, BTreeSet};

use crate::buildroot::repo_resolver::{CannotResolve, OwnSources, Unit};
use crate::event::{Envelope, Event, hub_facts, observations, package_settings, words};
use crate::fold::State;
use crate::fold::sources::Candidate;
use crate::log::{EventLog, LogError, folding};
use crate::model::{Hub, Name, Outcome, PackageState, RebuildId, RepoId, Seq, TaskId, Timestamp};
use crate::resolve::{Culprit, FirstCause, ResolveOptions};

/// A point in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// Sequence number of the event.
    pub seq: Seq,
    /// Recorded time of the event.
    pub at: Timestamp,
}

/// A package stopped resolving on an architecture.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lost {
    /// Hub instance of the repositories.
    pub hub: Hub,
    /// Build tag of the repositories.
    pub tag: Name,
    /// The build group, which is installed in every buildroot.
    pub group: Name,
    /// The architecture.
    pub arch: Name,
    /// The last repository in which the package resolved. `None` if it never did.
    pub resolved: Option<RepoId>,
    /// The first repository in which it did not resolve.
    pub repo: RepoId,
    /// Resolve options of these two repositories, in that order.
    pub options: [ResolveOptions; 2],
}

/// A rebuild that ended during a spell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// The rebuild, if this log decided it.
    pub rebuild: Option<RebuildId>,
    /// Its task on the hub.
    pub task: TaskId,
    /// Its outcome.
    pub outcome: Outcome,
}

/// A time during which a package was broken.
#[derive(Clone, PartialEq, Debug)]
pub struct Spell {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The package's last broken state.
    pub state: PackageState,
    /// The last reason, in words.
    pub reason: String,
    /// The beginning.
    pub since: Point,
    /// The end, with the state after it and its reason. `None` while the package is still broken.
    pub until: Option<(Point, PackageState, String)>,
    /// Architectures on which the package stopped resolving.
    pub lost: Vec<Lost>,
    /// Index in [`Breakages::causes`] of the change that broke the package. Known only if the
    /// package stopped resolving and the cause was found.
    pub cause: Option<usize>,
    /// Rebuilds that ended during the spell.
    pub rebuilt: Vec<Rebuilt>,
}

/// A change that made packages unresolvable.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundCause {
    /// The collection.
    pub collection: Name,
    /// The change, as the first broken package saw it.
    pub cause: FirstCause,
    /// The repository that brought the change.
    pub repo: RepoId,
    /// The repository before it.
    pub before: RepoId,
    /// Architectures on which the change was seen.
    pub arches: BTreeSet<Name>,
    /// When the breakage was noticed.
    pub since: Point,
    /// Rebuilds decided while the change still broke a package, if the changed package moved in the
    /// rebuilt package's buildroot.
    pub rebuilt_for: Vec<(RebuildId, Name)>,
}

/// All spells and causes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Breakages {
    /// Spells in the order of their beginning.
    pub spells: Vec<Spell>,
    /// Causes in the order of their beginning.
    pub causes: Vec<FoundCause>,
    /// Why some causes could not be looked for. Each reason stands here once.
    pub unexplained: BTreeSet<String>,
}

/// Finds the first causes for packages that resolve in one repository but not in that of the unit.
/// Works like
/// [`ArchiveResolver::first_causes`](crate::buildroot::archive_resolver::ArchiveResolver::first_causes).
pub type Explain<'a> = dyn FnMut(&[Unit<'_>], &[Name]) -> Result<Vec<(Name, Vec<FirstCause>)>, CannotResolve> + 'a;

/// Reads the log up to `until` and tells what broke in it. Without `explain` it does not look for
/// causes.
///
/// # Errors
/// Fails like [`folding::fold`].
pub async fn breakages(
    log: &impl EventLog,
    until: Option<Seq>,
    explain: Option<&mut Explain<'_>>,
) -> Result<Breakages, LogError> {
    let mut teller = Teller {
        told: Breakages::default(),
        open: BTreeMap::new(),
        lost: BTreeMap::new(),
        own: BTreeMap::new(),
        options: BTreeMap::new(),
        new: vec![],
        explain,
    };
    folding::fold(log, until, &mut |_| {}, &mut |state, e| teller.see(state, e)).await?;
    teller.explain_new();
    Ok(teller.told)
}

type PackageKey = (Name, Name);

struct Teller<'a, 'e> {
    told: Breakages,
    /// Index of a package's spell that has not ended.
    open: BTreeMap<PackageKey, usize>,
    /// Architectures on which a package does not resolve now.
    lost: BTreeMap<PackageKey, Vec<Lost>>,
    /// The collection's own sources of a package that does not resolve: at the time of the
    /// repository before, and at that of the broken repository.
    own: BTreeMap<(PackageKey, Name), [Vec<Candidate>; 2]>,
    /// The last resolve options of a collection on an architecture.
    options: BTreeMap<(Name, Name), ResolveOptions>,
    /// Spells whose causes are still to be found. The spells of one repository are explained
    /// together.
    new: Vec<usize>,
    explain: Option<&'a mut Explain<'e>>,
}

impl Teller<'_, '_> {
    fn see(&mut self, state: &State, e: &Envelope) {
        if !self.new.is_empty() && !matches!(e.event, Event::PackageStateChanged(_) | Event::PackageReasonChanged(_)) {
            self.explain_new();
        }
        match &e.event {
            Event::RepoResolved(r) => {
                let Some(c) = state.collections.get(&r.collection) else { return };
                let before = c.arches.get(&r.arch).and_then(|a| a.repo_id);
                let options = ResolveOptions { weak_deps: r.weak_deps, module_hotfixes: r.module_hotfixes };
                let last = self.options.insert((r.collection.clone(), r.arch.clone()), options);
                let options = [last.unwrap_or_default(), options];
                for p in &r.packages {
                    let resolved = c
                        .packages
                        .get(&p.package)
                        .is_some_and(|known| known.verdicts.iter().any(|v| v.arch == r.arch && v.ok == Some(true)));
                    let key = (r.collection.clone(), p.package.clone());
                    if p.ok != Some(false) {
                        self.regained(&key, &r.arch);
                        continue;
                    }
                    let own = |repo: Option<RepoId>| {
                        let hub = state.hubs.get(&r.hub);
                        let made = hub.zip(repo).and_then(|(hub, repo)| Some((hub, hub.made(repo)?)));
                        made.map(|(hub, made)| hub.candidates(c, &p.package, made)).unwrap_or_default()
                    };
                    let own = [own(before), own(Some(r.repo_id))];
                    let lost = self.lost.entry(key.clone()).or_default();
                    if !lost.iter().any(|l| l.arch == r.arch) {
                        self.own.insert((key, r.arch.clone()), own);
                        lost.push(Lost {
                            hub: r.hub.clone(),
                            tag: c.settings.build_tag.clone(),
                            group: c.settings.build_group.clone(),
                            arch: r.arch.clone(),
                            resolved: before.filter(|_| resolved),
                            repo: r.repo_id,
                            options,
                        });
                    }
                }
                for package in &r.gone {
                    self.regained(&(r.collection.clone(), package.clone()), &r.arch);
                }
            }
            Event::PackageReasonChanged(p) => {
                if let Some(at) = self.open.get(&(p.collection.clone(), p.package.clone())) {
                    self.told.spells[*at].reason.clone_from(&p.reason);
                }
            }
            Event::PackageStateChanged(p) => {
                let key = (p.collection.clone(), p.package.clone());
                let point = Point { seq: e.seq, at: e.recorded_at };
                match (self.open.get(&key).copied(), is_broken(p.new)) {
                    (None, false) => {}
                    (None, true) => {
                        let lost = self.lost.get(&key).filter(|_| p.new == PackageState::Unresolved);
                        self.open.insert(key.clone(), self.told.spells.len());
                        self.new.push(self.told.spells.len());
                        self.told.spells.push(Spell {
                            collection: key.0,
                            package: key.1,
                            state: p.new,
                            reason: p.reason.clone(),
                            since: point,
                            until: None,
                            lost: lost.cloned().unwrap_or_default(),
                            cause: None,
                            rebuilt: Vec::new(),
                        });
                    }
                    (Some(at), true) => {
                        let spell = &mut self.told.spells[at];
                        (spell.state, spell.reason) = (p.new, p.reason.clone());
                        if let (PackageState::Unresolved, true, Some(lost)) =
                            (p.new, spell.cause.is_none(), self.lost.get(&key))
                        {
                            spell.lost.clone_from(lost);
                            self.new.push(at);
                        }
                    }
                    (Some(at), false) => {
                        self.open.remove(&key);
                        self.told.spells[at].until = Some((point, p.new, p.reason.clone()));
                    }
                }
            }
            Event::RebuildRequested(r) => self.requested(state, e.seq, &r.collection, &r.nvr.name),
            Event::RebuildFinished(r) => {
                if let Some(at) = self.open.get(&(r.collection.clone(), r.package.clone())) {
                    let done = Rebuilt { rebuild: r.rebuild, task: r.task_id, outcome: r.outcome };
                    self.told.spells[*at].rebuilt.push(done);
                }
            }
            Event::Reconciled(_)
            | Event::PolicyAdopted(_)
            | Event::Tick(_)
            | Event::RepoNotResolved(_)
            | Event::ResolutionExamined(_)
            | Event::RebuildDoubted(_)
            | Event::BuildrootResolved(_)
            | Event::BuildrootBroken(_)
            | Event::DependenciesMeasured(_)
            | Event::PredictionCompared(_)
            | Event::UpdatesArrived(_)
            | Event::BuildCompared(_)
            | Event::CausesFound(_)
            | Event::SuspectsRanked(_)
            | Event::EvaluationMade(_)
            | Event::RebuildSubmitted(_)
            | Event::RebuildRefused(_)
            | Event::RebuildNotSubmitted(_)
            | Event::PolicyRefused(_)
            | Event::PolicyAllowed(_)
            | Event::CollectionStateChanged(_)
            | Event::MessageRetried(_)
            | Event::MessageTimeReplaced(_)
            | hub_facts!()
            | observations!()
            | package_settings!()
            | words!() => {}
        }
    }

    /// Notes that a package resolves on an architecture, or is not resolved there any more.
    fn regained(&mut self, key: &PackageKey, arch: &Name) {
        if let Some(lost) = self.lost.get_mut(key) {
            lost.retain(|l| l.arch != *arch);
            self.own.remove(&(key.clone(), arch.clone()));
            if lost.is_empty() {
                self.lost.remove(key);
            }
        }
    }

    /// Adds a rebuild to the active causes whose changed package moved in its buildroot.
    fn requested(&mut self, state: &State, seq: Seq, collection: &Name, package: &Name) {
        let active: BTreeSet<usize> = self.open.values().filter_map(|at| self.told.spells[*at].cause).collect();
        let Some(c) = state.collections.get(collection) else { return };
        let Some(p) = c.packages.get(package) else { return };
        for at in active {
            let found = &mut self.told.causes[at];
            let Culprit::Package(change) = &found.cause.culprit else { continue };
            let moved = p.verdicts.iter().flat_map(|v| v.changes.iter()).any(|(index, _)| {
                c.moves.get_index(*index as usize).is_some_and(|m| m.name.as_str() == change.name.as_str())
            });
            if found.collection == *collection && moved {
                found.rebuilt_for.push((RebuildId(seq.get()), package.clone()));
            }
        }
    }

    /// Finds the causes of the newest spells, repository by repository.
    fn explain_new(&mut self) {
        let new = std::mem::take(&mut self.new);
        let Some(explain) = self.explain.as_mut() else { return };
        let mut units: BTreeMap<(Name, Lost), Vec<usize>> = BTreeMap::new();
        for at in new {
            let spell = &self.told.spells[at];
            for lost in spell.lost.iter().filter(|l| l.resolved.is_some()) {
                units.entry((spell.collection.clone(), lost.clone())).or_default().push(at);
            }
        }
        for ((collection, lost), spells) in units {
            let Some(before) = lost.resolved else { continue };
            let packages: Vec<Name> = spells.iter().map(|at| self.told.spells[*at].package.clone()).collect();
            let own = [0, 1].map(|at| {
                let of = |p: &Name| {
                    let known = self.own.get(&((collection.clone(), p.clone()), lost.arch.clone()))?;
                    Some((p.clone(), known[at].clone()))
                };
                OwnSources::these(packages.iter().filter_map(of))
            });
            let (hub, tag, arch, group) = (&lost.hub, &lost.tag, &lost.arch, &lost.group);
            let (own_then, own) = (&own[0], &own[1]);
            let options = lost.options[1];
            let unit = Unit { collection: &collection, hub, tag, repo: lost.repo, arch, group, own, options };
            let resolved = Unit { repo: before, own: own_then, options: lost.options[0], ..unit.clone() };
            match explain(&[resolved, unit], &packages) {
                Ok(found) => found.into_iter().for_each(|(package, causes)| {
                    if let Some(first) = causes.into_iter().next() {
                        let at = spells.iter().copied().find(|at| self.told.spells[*at].package == package);
                        self.told.note(&collection, &lost, before, first, at);
                    }
                }),
                Err(CannotResolve(why)) => {
                    self.told.unexplained.insert(why);
                }
            }
        }
    }
}

impl Breakages {
    /// Records a cause. The same change seen again, by another package or on another architecture,
    /// is the same cause.
    fn note(&mut self, collection: &Name, lost: &Lost, before: RepoId, cause: FirstCause, spell: Option<usize>) {
        let Some(spell) = spell.and_then(|at| self.spells.get_mut(at)) else { return };
        let place = self.causes.iter().position(|c| {
            c.collection == *collection && c.repo == lost.repo && c.before == before && same_change(&c.cause, &cause)
        });
        let place = place.unwrap_or(self.causes.len());
        if place == self.causes.len() {
            self.causes.push(FoundCause {
                collection: collection.clone(),
                cause,
                repo: lost.repo,
                before,
                arches: BTreeSet::new(),
                since: spell.since,
                rebuilt_for: Vec::new(),
            });
        }
        self.causes[place].arches.insert(lost.arch.clone());
        spell.cause.get_or_insert(place);
    }
}

/// Checks whether two causes are the same update, seen on two architectures.
fn same_change(a: &FirstCause, b: &FirstCause) -> bool {
    match (&a.culprit, &b.culprit) {
        (Culprit::Package(a), Culprit::Package(b)) => {
            (&a.name, &a.old, &a.new, &a.source) == (&b.name, &b.old, &b.new, &b.source)
        }
        (a, b) => a == b,
    }
}

const fn is_broken(state: PackageState) -> bool {
    matches!(state, PackageState::Failing | PackageState::Unresolved)
}
