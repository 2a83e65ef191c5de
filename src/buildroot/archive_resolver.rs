//! Resolves repositories in a directory: an archive beside a recording, or a mirror of a hub.

mod answers;
mod examiner;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustc_hash::FxHasher;

use self::examiner::side_by_side;
use super::repo_resolver::{CannotResolve, RepoLayout, RepoResolver, Resolved, Unit};
use super::repo_store::{RepoStore, StoredRepo};
use super::verdicts::UnitVerdicts;
use crate::base::stage::stage;
use crate::decide::arches::not_built_on;
use crate::event::Event;
use crate::fold::sources::{Chosen, InRepo};
use crate::model::arch::{canonical, of_packages};
use crate::model::causes::with_causes;
use crate::model::{Evr, Hub, Name, Nvr, RepoId};
use crate::repodata::{KnownPackages, Member, RepoContent, RepoDir, load_build_names, load_groups};
use crate::resolve::{BuildRequires, Earlier, FirstCause, IsaProvides, Mode, Prepared, ResolveOptions, Universe};

/// Path of a tag's groups, which Koji writes beside the architectures.
const GROUPS: &str = "groups/comps.xml";

/// Resolves the repositories of a store. A copy is cheap and uses the same store.
#[derive(Clone, Debug)]
pub struct ArchiveResolver {
    store: Arc<dyn RepoStore>,
    pub(super) answering: Answering,
    build_conflicts: bool,
    pub(super) known: KnownPackages,
    /// What the lists of the repository that was resolved last name.
    listed: Arc<Mutex<Option<Listed>>>,
}

/// How questions are answered once a repository is read. It does not hold the store, so a thread that
/// still asks libsolv does not keep the store's files in use.
#[derive(Clone, Debug)]
pub(super) struct Answering {
    pub(super) mode: Mode,
    pub(super) threads: usize,
    check_percent: u8,
    series: Arc<Mutex<HashMap<Series, Earlier>>>,
}

/// A repository and the newest build of each package in it.
type Listed = (StoredRepo, Arc<BTreeMap<Name, Nvr>>);

/// Resolutions that follow one another: collection, architecture.
type Series = (Name, Name);

impl ArchiveResolver {
    /// Makes a resolver in `mode` that uses up to `threads` threads.
    pub fn new(store: impl RepoStore, mode: Mode, threads: usize) -> Self {
        Self {
            known: store.known_packages(),
            store: Arc::new(store),
            answering: Answering { mode, threads: threads.max(1), check_percent: 0, series: Arc::default() },
            build_conflicts: true,
            listed: Arc::default(),
        }
    }

    /// Makes libsolv check this percentage of the answers of our own solver. The selection differs
    /// between repositories. It is the same whenever one repository is resolved again.
    #[must_use]
    pub fn checking(mut self, percent: u8) -> Self {
        self.answering.check_percent = percent.min(100);
        self
    }

    /// Sets whether BuildConflicts count. The default is yes. Mode `joint` always ignores them.
    #[must_use]
    pub fn with_build_conflicts(mut self, heeded: bool) -> Self {
        self.build_conflicts = heeded;
        self
    }

    /// Returns how build groups and BuildRequires are combined.
    pub(crate) fn mode(&self) -> Mode {
        self.answering.mode
    }

    pub(crate) fn find(&self, hub: &Hub, tag: &str, repo: RepoId) -> Result<StoredRepo, CannotResolve> {
        match self.store.repo(hub, tag, repo) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(CannotResolve(format!("the archive does not hold repository {repo} of {tag}"))),
            Err(why) => {
                let place = format!("{}/", self.store.dir().display());
                let why = why.replace(&place, "");
                Err(CannotResolve(format!("the archive's repository {repo} of {tag} cannot be read: {why}")))
            }
        }
    }
}

impl Answering {
    fn is_checked(&self, repo: RepoId, nvr: &Nvr) -> bool {
        let mut hasher = FxHasher::default();
        (repo, nvr).hash(&mut hasher);
        hasher.finish() % 100 < u64::from(self.check_percent)
    }
}

impl RepoResolver for ArchiveResolver {
    fn observations(&self) -> Vec<Event> {
        self.store.observations()
    }

    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> RepoLayout {
        match self.find(hub, tag, repo) {
            Ok(found) => RepoLayout { create_event: found.create_event, arches: Some(found.arches) },
            Err(_) => RepoLayout::default(),
        }
    }

    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve> {
        let found = self.find(unit.hub, unit.tag, unit.repo)?;
        let whole = || {
            let loaded = self.read(&found, unit)?;
            let prepared = loaded.prepare(self.mode())?;
            self.answering.whole(&loaded, &prepared)
        };
        whole().map_err(|why| without_place(why, &found))
    }

    fn resolve_first(&self, units: &[Unit<'_>]) -> Vec<Result<Resolved, CannotResolve>> {
        side_by_side(self, units)
    }

    fn causes(&self, units: &[Unit<'_>], packages: &[Name]) -> Result<Vec<(Name, Vec<FirstCause>)>, CannotResolve> {
        self.first_causes(units, packages)
    }
}

/// Leaves out where the archive lies on this machine. The same archive elsewhere then gives the
/// same log.
pub(super) fn without_place(CannotResolve(why): CannotResolve, found: &StoredRepo) -> CannotResolve {
    CannotResolve(why.replace(&format!("{}/", found.dir.display()), ""))
}

/// A unit with its repository in memory.
pub(super) struct Loaded {
    repo: RepoId,
    arch: Name,
    series: Series,
    universe: Universe,
    group: Vec<Member>,
    sources: Vec<SourcePackage>,
    inputs: String,
    spelled: Option<Name>,
    passed_over: BTreeMap<&'static str, u64>,
}

impl Loaded {
    /// Makes rules of the repository.
    pub(super) fn prepare(&self, mode: Mode) -> Result<Prepared<'_>, CannotResolve> {
        let prepared = self.universe.prepare(&self.group, mode).map_err(unreadable)?;
        stage!("prepared", repo = self.repo, arch = self.arch);
        Ok(prepared)
    }
}

impl ArchiveResolver {
    /// Reads a repository.
    pub(super) fn read(&self, found: &StoredRepo, unit: &Unit<'_>) -> Result<Loaded, CannotResolve> {
        if unit.arch.is_empty() {
            return Err(CannotResolve("the repository has no architecture with metadata".to_owned()));
        }
        let mut sources = self.sources(found, unit)?;
        let wanted = sources.iter().flat_map(SourcePackage::requires);
        let dir = RepoDir::open(found.dir.join(unit.arch)).map_err(unreadable)?;
        let mut dir = dir.with_module_hotfixes(unit.options.module_hotfixes);
        if found.dir.join(GROUPS).exists() {
            dir = dir.without_groups();
        }
        let primary = dir.primary_checksum();
        let packages = dir.packages_with(&self.known);
        let content = packages.and_then(|packages| dir.complete(packages, wanted)).map_err(unreadable)?;
        stage!("parsed", repo = unit.repo, arch = unit.arch);
        for problem in &content.module_problems {
            tracing::warn!(repo = %unit.repo, arch = unit.arch, problem, "the repository's module metadata has an \
                error; it is ignored");
        }
        translate(&mut sources, &content, of_packages(unit.arch));
        let group = group(&found.dir, &content, unit.group)?;
        let spelled = spelled(&content, unit.arch);
        let mut metadata = primary.unwrap_or_default();
        if let Some(modules) = dir.modules_checksum() {
            metadata.push_str(&format!(" modules {modules}"));
        }
        let inputs = inputs(&metadata, &group, &sources, self.mode(), unit.options);
        let passed_over = content.oddities.counts().map(|(oddity, n)| (oddity.as_str(), n)).collect();
        if let Some(example) = content.oddities.examples().first() {
            tracing::debug!(repo = %unit.repo, arch = %unit.arch, example, "single packages of the repository have \
                errors, which are ignored");
        }
        let universe = Universe::load(Arc::new(content), of_packages(unit.arch)).map_err(unreadable)?;
        let universe = universe.with_weak_deps(unit.options.weak_deps);
        let series = (unit.collection.into(), unit.arch.into());
        Ok(Loaded {
            repo: unit.repo,
            arch: unit.arch.into(),
            series,
            universe,
            group,
            sources,
            inputs,
            spelled,
            passed_over,
        })
    }
}

/// A source package of the repository.
pub(crate) struct SourcePackage {
    pub(crate) nvr: Nvr,
    in_repo: InRepo,
    /// Its build requirements, if known.
    pub(crate) build: Option<BuildRequires>,
    /// The architecture it was made on, if known.
    made_on: Option<Name>,
    noarch: bool,
    /// Why it is not built on the unit's architecture, if it is not.
    pub(crate) excluded: Option<String>,
}

impl SourcePackage {
    pub(crate) fn requires(&self) -> impl Iterator<Item = &str> {
        self.build.iter().flat_map(|b| b.requires.iter().map(String::as_str))
    }
}

impl ArchiveResolver {
    /// Returns the source packages to resolve, by name. These are the collection's own sources if
    /// known, or else the sources whose builds are in the repository.
    ///
    /// Koji's own lists say which builds the repository has, on any architecture. Without those
    /// lists, the source names in the metadata say so; packages of external repositories do not
    /// count then.
    pub(crate) fn sources(&self, found: &StoredRepo, unit: &Unit<'_>) -> Result<Vec<SourcePackage>, CannotResolve> {
        let arch = unit.arch;
        let newest = match self.listed(found)? {
            Some(listed) => listed,
            None => {
                let dir = RepoDir::open(found.dir.join(arch)).map_err(unreadable)?;
                let dir = dir.without_groups().with_module_hotfixes(unit.options.module_hotfixes);
                let content = dir.packages_with(&self.known).and_then(|packages| dir.complete(packages, []));
                let content = content.map_err(unreadable)?;
                let own = content.packages().iter().filter(|p| !p.is_external());
                Arc::new(newest(own.filter_map(|p| Nvr::parse_srpm(p.sourcerpm.as_deref()?))))
            }
        };
        let names: BTreeSet<&Name> = newest.keys().chain(unit.own.packages()).collect();
        let chosen = names.into_iter().filter_map(|name| unit.own.choose(name, newest.get(name)));
        Ok(chosen.map(|chosen| self.wanted(chosen, of_packages(arch))).collect())
    }

    /// Returns the newest build of each package that Koji's own lists name, on any architecture. `None`
    /// if the repository has no such list. The units of a repository read the lists once together.
    fn listed(&self, found: &StoredRepo) -> Result<Option<Arc<BTreeMap<Name, Nvr>>>, CannotResolve> {
        let mut kept = self.listed.lock().expect("no thread panics while it holds the lock");
        if let Some((_, listed)) = kept.as_ref().filter(|(of, _)| of == found) {
            return Ok(Some(Arc::clone(listed)));
        }
        let dirs = found.arches.iter().map(|arch| found.dir.join(arch.as_str()));
        let dirs: Vec<PathBuf> = dirs.filter(|dir| dir.join("pkglist").exists()).collect();
        if dirs.is_empty() {
            return Ok(None);
        }
        let mut all = Vec::new();
        for dir in dirs {
            all.extend(load_build_names(&dir).map_err(unreadable)?);
        }
        let listed = Arc::new(newest(all));
        *kept = Some((found.clone(), Arc::clone(&listed)));
        Ok(Some(listed))
    }

    fn wanted(&self, chosen: Chosen<'_>, arch: &str) -> SourcePackage {
        let (nvr, in_repo) = (chosen.nvr.clone(), chosen.in_repo);
        // We may have learned the requirements of a source package while its build had another
        // name.
        let former = chosen.own.into_iter().flat_map(|own| std::iter::once(own.nvr.clone()).chain(own.former_names()));
        let known = std::iter::once(nvr.clone()).chain(former).find_map(|name| self.store.source(&name));
        let Some(known) = known else {
            return SourcePackage { nvr, in_repo, build: None, made_on: None, noarch: false, excluded: None };
        };
        let heeded = self.build_conflicts && self.mode() == Mode::Two;
        let conflicts = if heeded { known.conflicts.clone().unwrap_or_default() } else { Vec::new() };
        let reason = not_built_on(arch, &known.buildarchs, &known.exclusivearch, &known.excludearch);
        SourcePackage {
            nvr,
            in_repo,
            build: Some(BuildRequires::literal(known.requires.clone()).conflicting(conflicts)),
            made_on: known.made_on.clone(),
            noarch: known.buildarchs.iter().any(|a| a == "noarch"),
            excluded: reason.map(|r| r.as_str().to_owned()),
        }
    }
}

/// Returns the newest build of each package. Of equal ones the first counts.
fn newest(builds: impl IntoIterator<Item = Nvr>) -> BTreeMap<Name, Nvr> {
    let evr = |n: &Nvr| Evr { epoch: None, version: n.version.clone(), release: n.release.clone() };
    let mut newest: BTreeMap<Name, Nvr> = BTreeMap::new();
    for nvr in builds {
        match newest.get_mut(&nvr.name) {
            Some(old) if evr(old) < evr(&nvr) => *old = nvr,
            Some(_) => {}
            None => drop(newest.insert(nvr.name.clone(), nvr)),
        }
    }
    newest
}

/// Returns how most of Koji's own packages in a repository spell its architecture, if that differs
/// from the repository's name for it. If Koji has no packages of its own there, the packages of
/// external repositories decide.
fn spelled(content: &RepoContent, family: &str) -> Option<Name> {
    let mut counts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for p in content.packages().iter().filter(|p| canonical(&p.arch) == family) {
        *counts.entry((!p.is_external(), p.arch.as_str())).or_default() += 1;
    }
    let usual = of_packages(family);
    let most = counts.into_iter().max_by_key(|((own, name), n)| (*own, *n, *name == usual))?;
    Some(most.0.1).filter(|name| *name != family).map(Name::from)
}

pub(crate) fn unreadable(error: impl std::error::Error) -> CannotResolve {
    CannotResolve(format!("failed to {}", with_causes(&error)))
}

/// Translates the requirements of all sources for `arch`.
pub(crate) fn translate(sources: &mut [SourcePackage], content: &RepoContent, arch: &str) {
    let provided = LazyCell::new(|| IsaProvides::of(content, arch));
    for source in sources {
        if let Some(build) = source.build.take() {
            let made_on = source.made_on.as_deref();
            source.build = Some(build.for_arch(arch, made_on, |name| provided.contains(name)));
        }
    }
}

/// Returns the members of the build group. Koji's file beside the repository wins over the groups
/// in the metadata.
pub(crate) fn group(dir: &Path, content: &RepoContent, id: &str) -> Result<Vec<Member>, CannotResolve> {
    let beside = dir.join(GROUPS);
    let read;
    let groups = if beside.exists() {
        read = load_groups(&beside).map_err(unreadable)?;
        Some(&read)
    } else {
        content.groups.as_ref()
    };
    groups.and_then(|g| g.installed(id)).ok_or_else(|| {
        let why: String = content.group_problems.iter().map(|problem| format!(" (failed to {problem})")).collect();
        CannotResolve(format!(
            "there is no group `{id}` in the repository's comps{why}; nothing can be built without one"
        ))
    })
}

/// Returns a digest of everything that the verdicts depend on. `metadata` are the checksums of
/// primary and, if modules count, of the modules.
fn inputs(metadata: &str, group: &[Member], sources: &[SourcePackage], mode: Mode, options: ResolveOptions) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    // An option that is not the default changes the digest. A default adds nothing, so that earlier
    // digests stay valid.
    add(&format!("{}{}", mode.as_str(), if options.weak_deps { " weak dependencies" } else { "" }));
    add(metadata);
    for member in group {
        add(&member.name);
        // A member with a condition differs from one without. A member without conditions adds
        // nothing, so that earlier digests stay valid.
        if mode == Mode::Two && (member.requires.is_some() || member.base_arch_only) {
            add(&format!("{:?} {}", member.requires, member.base_arch_only));
        }
    }
    for s in sources {
        add(&s.nvr.to_string());
        add(s.excluded.as_deref().unwrap_or(""));
        s.requires().for_each(&mut add);
        // The list is empty if BuildConflicts do not count. A requirement cannot look like this.
        s.build.iter().flat_map(|b| &b.conflicts).for_each(|text| add(&format!("conflicts\n{text}")));
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
#[path = "archive_resolver/series_tests.rs"]
mod series_tests;
