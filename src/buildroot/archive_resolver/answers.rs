//! Answers for all source packages of a unit, with several threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use smol_str::{SmolStr, ToSmolStr as _};

use super::{Answering, Loaded, SourcePackage};
use crate::base::stage::stage;
use crate::buildroot::repo_resolver::CannotResolve;
use crate::buildroot::verdicts::{FORMAT, SolverCounts, SourceResult, SourceVerdict, UnitVerdicts, bounded};
use crate::model::{Name, Nvr};
use crate::resolve::{
    Answers, BuildRequires, GroupVerdict, Mode, PkgId, Prepared, Resolution, Resolver, solver_version,
};

/// Questions to libsolv per thread, at least. A thread first loads the repository into libsolv.
const TEXTS_PER_THREAD_MIN: usize = 100;

/// The first answers for a unit: without texts, unchecked.
pub(super) struct First<'p> {
    /// The place of each source package among the answers. `None` if it is not resolved.
    asked: Vec<Option<usize>>,
    pub(super) answers: Answers<'p>,
}

/// What libsolv says about the answers chosen for it.
#[derive(Default)]
pub(super) struct Checks {
    /// Number of answers that were checked.
    pub(super) answers: u32,
    /// libsolv's answer where ours was wrong, by the place of the source package.
    pub(super) right: BTreeMap<usize, Resolution>,
}

impl Answering {
    /// Resolves every source package of a unit, with problem texts. libsolv checks some answers.
    pub(super) fn whole(&self, loaded: &Loaded, prepared: &Prepared<'_>) -> Result<UnitVerdicts, CannotResolve> {
        let first = self.first(loaded, prepared);
        let checks = self.check(loaded, prepared, &first)?;
        let mut unit = self.verdicts(loaded, prepared, &first, &checks);
        let open: Vec<Name> = unit.unexplained().cloned().collect();
        for (package, problems) in self.problems(loaded, prepared, &open)? {
            if let Some(result) = unit.sources.get_mut(&package) {
                result.verdict = SourceVerdict::Unresolved { problems };
            }
        }
        Ok(unit)
    }

    /// Asks libsolv for the problems of these packages. Those that resolve are left out.
    pub(super) fn problems(
        &self,
        loaded: &Loaded,
        prepared: &Prepared<'_>,
        packages: &[Name],
    ) -> Result<Vec<(Name, Vec<String>)>, CannotResolve> {
        let mut told = spread(self.threads, TEXTS_PER_THREAD_MIN, packages, |share| {
            problems_of(&mut prepared.resolver(), loaded, share)
        })?;
        told.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(told)
    }

    /// Resolves every source package of a unit, without texts and unchecked. Takes over the answers
    /// of the repository before where they hold.
    pub(super) fn first<'p>(&self, loaded: &'p Loaded, prepared: &'p Prepared<'_>) -> First<'p> {
        let built = |s: &&SourcePackage| s.build.is_some() && s.excluded.is_none();
        let asked: Vec<Option<usize>> = loaded
            .sources
            .iter()
            .scan(0, |next, s| {
                let at = built(&s).then_some(*next);
                *next += usize::from(at.is_some());
                Some(at)
            })
            .collect();
        let requires: Vec<&BuildRequires> =
            loaded.sources.iter().filter(built).filter_map(|s| s.build.as_ref()).collect();
        let lock = || self.series.lock().expect("no thread panics while it holds the lock");
        let earlier = lock().remove(&loaded.series).unwrap_or_default();
        let (answers, kept) = prepared.resolve_all(&requires, earlier, self.threads);
        lock().insert(loaded.series.clone(), kept);
        let work = answers.work();
        tracing::debug!(repo = %loaded.repo, arch = %loaded.arch, questions = work.questions, reused = work.reused,
            "answers of the repository before were taken over");
        First { asked, answers }
    }

    /// Returns the verdicts of first answers. Where libsolv said otherwise, its answer counts.
    pub(super) fn verdicts(
        &self,
        loaded: &Loaded,
        prepared: &Prepared<'_>,
        first: &First<'_>,
        checks: &Checks,
    ) -> UnitVerdicts {
        let mut counts = SolverCounts { checked: checks.answers, ..SolverCounts::default() };
        let mut answers = Vec::new();
        if prepared.group().ok {
            for (place, (source, asked)) in loaded.sources.iter().zip(&first.asked).enumerate() {
                let right = checks.right.get(&place);
                if let Some(at) = *asked {
                    counts.add(&source.nvr.name, first.answers.handover(at), right.is_some());
                }
                answers.push(right.cloned().or_else(|| asked.map(|at| first.answers.resolution(at))));
            }
        }
        stage!("solved", repo = loaded.repo, arch = loaded.arch);
        let mut verdicts = assemble(loaded, self.mode, prepared.group(), answers);
        verdicts.solvers = SolverCounts { passed_over: loaded.passed_over.clone(), ..counts };
        verdicts.of_packages.clone_from(&loaded.spelled);
        verdicts
    }

    /// Checks with libsolv the answers chosen for it: those of our own solver, and those of libsolv
    /// that were taken over from an earlier repository.
    pub(super) fn check(
        &self,
        loaded: &Loaded,
        prepared: &Prepared<'_>,
        first: &First<'_>,
    ) -> Result<Checks, CannotResolve> {
        let chosen = self.chosen(loaded, prepared.group(), first);
        let right = spread(self.threads, TEXTS_PER_THREAD_MIN, &chosen, |share| {
            let mut resolver = prepared.resolver().with_distances().without_texts();
            share.filter_map(|chosen| check_one(&mut resolver, loaded, first, *chosen)).collect()
        })?;
        Ok(self.checks(loaded, chosen.len(), right))
    }

    /// Like [`Answering::check`], with one libsolv. Stops when it need not go on.
    pub(super) fn check_with(
        &self,
        libsolv: &mut Resolver<'_>,
        loaded: &Loaded,
        first: &First<'_>,
        goes_on: &dyn Fn() -> bool,
    ) -> Checks {
        libsolv.give_texts(false);
        let chosen = self.chosen(loaded, libsolv.group(), first);
        let asked = chosen.iter().take_while(|_| goes_on());
        let right = asked.filter_map(|chosen| check_one(libsolv, loaded, first, *chosen)).collect();
        self.checks(loaded, chosen.len(), right)
    }

    /// Returns the place of each source package whose answer is to be checked, and of the answer.
    fn chosen(&self, loaded: &Loaded, group: &GroupVerdict, first: &First<'_>) -> Vec<(usize, usize)> {
        if !group.ok {
            return Vec::new();
        }
        let by_us = |at: usize| first.answers.handover(at).is_none() || first.answers.is_reused(at);
        let asked = loaded.sources.iter().zip(&first.asked).enumerate();
        let asked = asked.filter_map(|(place, (source, asked))| Some((place, source, (*asked)?)));
        let chosen = asked.filter(|(_, source, at)| by_us(*at) && self.is_checked(loaded.repo, &source.nvr));
        chosen.map(|(place, _, at)| (place, at)).collect()
    }

    fn checks(&self, loaded: &Loaded, asked: usize, right: Vec<(usize, Resolution)>) -> Checks {
        if !right.is_empty() {
            // What is kept led to a wrong answer.
            self.series.lock().expect("no thread panics while it holds the lock").remove(&loaded.series);
        }
        let answers = u32::try_from(asked).unwrap_or(u32::MAX);
        Checks { answers, right: right.into_iter().collect() }
    }
}

/// Asks libsolv for the problems of these packages, with one libsolv. Stops when it need not go on.
pub(super) fn problems_with(
    libsolv: &mut Resolver<'_>,
    loaded: &Loaded,
    packages: &[Name],
    goes_on: &dyn Fn() -> bool,
) -> Vec<(Name, Vec<String>)> {
    libsolv.give_texts(true);
    let mut told = problems_of(libsolv, loaded, &mut packages.iter().take_while(|_| goes_on()));
    told.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    told
}

fn problems_of(
    libsolv: &mut Resolver<'_>,
    loaded: &Loaded,
    packages: &mut dyn Iterator<Item = &Name>,
) -> Vec<(Name, Vec<String>)> {
    let told = packages.filter_map(|name| {
        let place = loaded.sources.binary_search_by(|s| s.nvr.name.cmp(name)).ok()?;
        let source = &loaded.sources[place];
        let build = source.build.as_ref()?;
        let answer = libsolv.resolve_source(build);
        (!answer.ok).then(|| (source.nvr.name.clone(), bounded(&build.explain(&answer.problems))))
    });
    told.collect()
}

/// Checks the answer at `at`, of the source package at `place`. Returns the right one if it is wrong.
fn check_one(
    libsolv: &mut Resolver<'_>,
    loaded: &Loaded,
    first: &First<'_>,
    (place, at): (usize, usize),
) -> Option<(usize, Resolution)> {
    let source = &loaded.sources[place];
    let build = source.build.as_ref()?;
    let answer = first.answers.resolution(at);
    let right = if answer.handover.is_none() {
        libsolv.check(&build.requires, &answer)?
    } else {
        let again = libsolv.resolve_source(build);
        (again.ok != answer.ok || again.closure != answer.closure).then_some(again)?
    };
    tracing::error!(repo = %loaded.repo, arch = %loaded.arch, source = %source.nvr, "an answer of ours and libsolv \
        disagree; libsolv's answer counts, please report it");
    Some((place, right))
}

/// Works on a list with several threads. Each takes one item after the other.
fn spread<T: Sync, R: Send>(
    threads: usize,
    per_thread_min: usize,
    list: &[T],
    work: impl Fn(&mut dyn Iterator<Item = &T>) -> Vec<R> + Sync,
) -> Result<Vec<R>, CannotResolve> {
    let threads = threads.min(list.len() / per_thread_min + 1);
    let next = AtomicUsize::new(0);
    let one = || work(&mut std::iter::from_fn(|| list.get(next.fetch_add(1, Ordering::Relaxed))));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let mut all = one();
        for other in others {
            all.extend(other.join().map_err(|_| CannotResolve("a resolver thread failed".to_owned()))?);
        }
        Ok(all)
    })
}

fn assemble(loaded: &Loaded, mode: Mode, group: &GroupVerdict, answers: Vec<Option<Resolution>>) -> UnitVerdicts {
    let mut places: Vec<Option<u32>> = vec![None; loaded.universe.len()];
    for id in group.closure.iter().chain(answers.iter().flatten().flat_map(|a| &a.closure)) {
        places[id.index()] = Some(0);
    }
    // Two packages with the same name, version and architecture are one entry in the table.
    let used = loaded.universe.ids().filter(|id| places[id.index()].is_some());
    let mut named: Vec<(String, PkgId)> = used.map(|id| (loaded.universe.nevra(id).to_string(), id)).collect();
    named.sort_unstable();
    let mut packages: Vec<String> = Vec::new();
    let mut built_from: Vec<SmolStr> = Vec::new();
    for (name, id) in named {
        if packages.last() != Some(&name) {
            packages.push(name);
            let file = loaded.universe.package(id).sourcerpm.as_deref();
            built_from.push(file.and_then(Nvr::parse_srpm).map_or_else(SmolStr::default, |nvr| nvr.to_smolstr()));
        }
        places[id.index()] = u32::try_from(packages.len() - 1).ok();
    }
    let place = |id: &PkgId| places[id.index()].unwrap_or(u32::MAX);
    let mut group_closure: Vec<u32> = group.closure.iter().map(&place).collect();
    group_closure.sort_unstable();
    let answers = answers.into_iter().chain(std::iter::repeat(None));
    let results = loaded.sources.iter().zip(answers).map(|(source, answer)| {
        let verdict = match (answer, &source.excluded, &source.build) {
            (_, Some(reason), _) => SourceVerdict::Excluded { reason: reason.clone() },
            (_, None, None) | (None, ..) => SourceVerdict::Unknown,
            (Some(a), None, Some(build)) if !a.ok => {
                SourceVerdict::Unresolved { problems: bounded(&build.explain(&a.problems)) }
            }
            (Some(a), ..) => {
                let distance = |i: usize| a.distances.get(i).copied().flatten().unwrap_or(0);
                let mut pairs: Vec<(u32, u8)> =
                    a.closure.iter().enumerate().map(|(i, id)| (place(id), distance(i))).collect();
                // Files are nearly in the order of names, which makes a stable sort the faster one.
                pairs.sort();
                let (closure, distances): (Vec<u32>, Vec<u8>) = pairs.into_iter().unzip();
                let mut erased: Vec<u32> = a.erased.iter().map(&place).collect();
                erased.sort_unstable();
                SourceVerdict::Ok { closure: closure.into(), distances: distances.into(), erased }
            }
        };
        let version = smol_str::format_smolstr!("{}-{}", source.nvr.version, source.nvr.release);
        let (noarch, in_repo) = (source.noarch, source.in_repo.clone());
        (source.nvr.name.clone(), SourceResult { source: version, noarch, in_repo, verdict })
    });
    UnitVerdicts {
        of_packages: None,
        solvers: SolverCounts::default(),
        format: FORMAT,
        repo: loaded.repo,
        arch: loaded.arch.clone(),
        mode: mode.as_str().into(),
        solver: solver_version(),
        inputs: loaded.inputs.clone(),
        group_problems: bounded(&group.problems),
        group: group_closure,
        packages,
        built_from,
        sources: if group.ok { results.collect() } else { BTreeMap::new() },
    }
}
