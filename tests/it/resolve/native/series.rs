//! Answers taken over from the repository before, compared with answers solved anew, on random series
//! of repositories.
//!
//! `make test` tries 1,000 series, `make test-long` 20,000, each of four repositories in both modes: 6,000
//! and 120,000 pairs. A difference is shrunk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use koschei::model::Nevra;
use koschei::repodata::{Limits, RepoContent};
use koschei::resolve::{Again, AnswerId, Answers, BuildRequires, Earlier, Mode, Priority, Resolution, Universe, Work};
use rand::RngExt;
use rand::seq::SliceRandom;
use rstest::rstest;

use super::random_repositories::{Any, Maker, World};
use crate::feed::scale;
use crate::tiny::{Pkg, content, pkg};

/// One repository of a series.
#[derive(Clone, Debug)]
struct Generation {
    world: World,
    /// How many of the packages are in the first repository, and the priority of the second.
    first: usize,
    priority: i32,
    conflicts: Vec<String>,
}

impl Generation {
    fn universe(&self) -> Result<Universe, String> {
        let packages: Vec<Pkg> = self.world.packages.iter().map(Any::package).collect();
        let (first, second) = packages.split_at(self.first.min(packages.len()));
        let parts = [first, second].map(content).into_iter().enumerate();
        let merged = RepoContent::merge(parts.map(|(i, part)| (format!("{i}"), part)), &Limits::default());
        let universe = Universe::load(Arc::new(merged.map_err(|e| e.to_string())?), "x86_64");
        Ok(universe.map_err(|e| e.to_string())?.with_priorities(&[Priority(99), Priority(self.priority)]))
    }

    fn sources(&self) -> Vec<BuildRequires> {
        let literal = |question: &Vec<String>| BuildRequires::literal(question.clone());
        let mut sources: Vec<BuildRequires> = self.world.questions.iter().map(literal).collect();
        if let Some(question) = self.world.questions.first() {
            sources.push(literal(question).conflicting(self.conflicts.clone()));
        }
        sources
    }

    /// Changes a few things, as from one repository to the next.
    fn edited(&self, maker: &mut Maker) -> Self {
        let mut next = self.clone();
        for _ in 0..maker.rng.random_range(1..=3) {
            next.edit(maker);
        }
        next
    }

    fn edit(&mut self, maker: &mut Maker) {
        let packages = &mut self.world.packages;
        let some = maker.rng.random_range(0..packages.len().max(1));
        match maker.rng.random_range(0..100) {
            // A dependency is added, removed or replaced.
            0..60 => {
                let Some(package) = packages.get_mut(some) else { return };
                let list = maker.one(&[0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 4, 5, 6, 7]);
                let made = match list {
                    0 => maker.provide(),
                    3 => maker.plain(),
                    _ => maker.dep(),
                };
                let list = &mut package.lists[list];
                if list.is_empty() || maker.rng.random_bool(0.4) {
                    list.push(made);
                } else {
                    let at = maker.rng.random_range(0..list.len());
                    match maker.rng.random_bool(0.5) {
                        true => drop(list.remove(at)),
                        false => list[at] = made,
                    }
                }
            }
            // A rebuild.
            60..70 => {
                let evr = maker.one(&["1-1", "1-2", "2-1", "3-1", "1:1-1"]);
                if let Some(package) = packages.get_mut(some) {
                    let (name, arch) =
                        (package.nevra.split('-').next().unwrap(), package.nevra.rsplit('.').next().unwrap());
                    package.nevra = format!("{name}-{evr}.{arch}");
                }
            }
            70..76 => {
                let made = maker.package();
                packages.insert(some.min(packages.len()), made);
            }
            76..82 if !packages.is_empty() => drop(packages.remove(some)),
            82..88 if !packages.is_empty() => {
                let other = maker.rng.random_range(0..packages.len());
                packages.swap(some, other);
            }
            88 => packages.shuffle(&mut maker.rng),
            89..91 => self.first = maker.rng.random_range(0..=packages.len()),
            91..93 => self.priority = maker.one(&[1, 99, 200]),
            93..95 => self.conflicts = maker.list(2, Maker::name),
            95..97 => {
                let question = maker.rng.random_range(0..self.world.questions.len());
                let dep = maker.dep();
                self.world.questions[question].push(dep);
            }
            97 => {
                let member = maker.member();
                self.world.group.push(member);
            }
            98 if !self.world.group.is_empty() => drop(self.world.group.pop()),
            _ => {}
        }
    }
}

fn series(seed: u64) -> Vec<Generation> {
    let (mut world, mut maker) = Maker::world_and_maker(seed);
    if maker.rng.random_bool(0.6) {
        // As in most repositories: one version of each package.
        let mut names: Vec<String> = Vec::new();
        world.packages.retain(|package| {
            let name = package.nevra.split('-').next().unwrap().to_owned();
            let new = !names.contains(&name);
            names.push(name);
            new
        });
    }
    let (all, none) = (world.packages.len(), Vec::new());
    let mut generations = vec![Generation { world, first: all, priority: 99, conflicts: none }];
    for _ in 0..3 {
        let next = generations.last().unwrap().edited(&mut maker);
        generations.push(next);
    }
    generations
}

/// The packages of an answer by name and architecture, with their distances.
type Shown = (bool, Vec<(String, Option<u8>)>);

fn shown(answer: &Resolution, universe: &Universe) -> Shown {
    let name = |nevra: Nevra| format!("{}.{}", nevra.name, nevra.arch);
    let distances = answer.distances.iter().copied();
    let mut all: Vec<_> = answer.closure.iter().map(|&id| name(universe.nevra(id))).zip(distances).collect();
    all.sort();
    (answer.ok, all)
}

/// The answers of one repository by the text of the question.
type Before = BTreeMap<String, (AnswerId, Shown, Vec<String>)>;

/// Compares the answers for one repository with new ones, and their names with those of the
/// repository before.
fn compare(
    universe: &Universe,
    sources: &[BuildRequires],
    answers: &Answers<'_>,
    fresh: &mut dyn FnMut(&BuildRequires) -> Resolution,
    before: &mut Before,
) -> Result<(), String> {
    let mut now = Before::new();
    for (at, source) in sources.iter().enumerate() {
        let (got, expected) = (answers.resolution(at), fresh(source));
        let facts = |r: &Resolution| {
            let problems: Vec<_> = r.problems.iter().filter(|p| p.starts_with("no package found")).cloned().collect();
            (r.ok, r.closure.clone(), r.erased.clone(), r.distances.clone(), r.skipped.clone(), problems)
        };
        if facts(&got) != facts(&expected) {
            return Err(format!(
                "{source:?}: reused: {}, {} {:?} {:?}; solved: {} {:?} {:?} {:?}",
                answers.is_reused(at),
                got.ok,
                universe.names(&got.closure),
                got.distances,
                expected.ok,
                universe.names(&expected.closure),
                expected.distances,
                expected.handover
            ));
        }
        let (name, text) = (answers.id(at), format!("{source:?}"));
        let (shown, nevras) = (shown(&got, universe), universe.names(&got.closure));
        if let Some((old, same, old_nevras)) = before.get(&text) {
            let renewed = got.closure.iter().any(|&id| answers.is_renewed(id));
            if *old == name && (*same != shown || !renewed && *old_nevras != nevras) {
                return Err(format!("{source:?}: one name for {same:?} and {shown:?}"));
            }
        }
        now.insert(text, (name, shown, nevras));
    }
    *before = now;
    Ok(())
}

fn check(generations: &[Generation], total: &Mutex<Work>) -> Result<(), String> {
    for mode in [Mode::Joint, Mode::Two] {
        let (mut earlier, mut before) = (Earlier::default(), Before::new());
        for (at, generation) in generations.iter().enumerate() {
            let universe = generation.universe()?;
            let prepared = universe.prepare(&generation.world.group, mode).map_err(|e| e.to_string())?;
            let sources = generation.sources();
            let asked: Vec<&BuildRequires> = sources.iter().collect();
            let (answers, kept) = prepared.resolve_all(&asked, earlier, 1);
            earlier = kept;
            let mut resolver = prepared.resolver().with_distances().without_texts();
            let mut fresh = |source: &BuildRequires| resolver.resolve_source(source);
            compare(&universe, &sources, &answers, &mut fresh, &mut before)
                .map_err(|difference| format!("{mode:?}, repository {at}: {difference}"))?;
            let mut total = total.lock().unwrap();
            total.reused += answers.work().reused;
            total.measured += answers.work().measured;
            total.handed_over += answers.work().handed_over;
            for (again, count) in &answers.work().solved {
                *total.solved.entry(*again).or_default() += count;
            }
        }
    }
    Ok(())
}

/// Returns a smaller series that still fails.
fn shrink(mut series: Vec<Generation>, fails: impl Fn(&[Generation]) -> bool) -> Vec<Generation> {
    loop {
        let size = format!("{series:?}").len();
        let mut smaller: Vec<Vec<Generation>> = Vec::new();
        for at in 0..series.len() {
            let mut less = series.clone();
            less.remove(at);
            smaller.push(less);
        }
        let each = |change: &dyn Fn(&mut Generation)| {
            let mut less = series.clone();
            less.iter_mut().for_each(change);
            less
        };
        for at in 0..series[0].world.questions.len() {
            smaller.push(each(&|g| {
                if at < g.world.questions.len() && g.world.questions.len() > 1 {
                    g.world.questions.remove(at);
                }
            }));
        }
        for generation in &series {
            for package in &generation.world.packages {
                smaller.push(each(&|g| g.world.packages.retain(|p| p.nevra != package.nevra)));
                for (list, deps) in package.lists.iter().enumerate() {
                    for dep in deps {
                        smaller.push(each(&|g| {
                            for p in g.world.packages.iter_mut().filter(|p| p.nevra == package.nevra) {
                                p.lists[list].retain(|d| d != dep);
                            }
                        }));
                    }
                }
            }
            for member in &generation.world.group {
                smaller.push(each(&|g| g.world.group.retain(|m| m.name != member.name)));
            }
        }
        let less = |s: &Vec<Generation>| !s.is_empty() && format!("{s:?}").len() < size;
        match smaller.into_iter().filter(less).find(|s| fails(s)) {
            Some(less) => series = less,
            None => return series,
        }
    }
}

/// Whatever changes from one repository to the next, the answers are those of solving anew. Each
/// reason to solve again occurs, and many answers are taken over.
#[test]
fn reused_answers_are_those_of_solving_anew() {
    let total = Mutex::new(Work::default());
    let count = scale(1_000, 20_000);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let total = &total;
            scope.spawn(move || {
                for seed in (thread..count).step_by(2) {
                    let series = series(seed);
                    if let Err(difference) = check(&series, total) {
                        let ignored = Mutex::new(Work::default());
                        let smallest = shrink(series, |series| check(series, &ignored).is_err());
                        panic!("seed {seed}: {difference}\nsmallest: {smallest:#?}\n{:?}", check(&smallest, &ignored));
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!("{total:?}");
    let solved: usize = total.solved.values().sum();
    assert!(total.reused * 2 > solved, "too little is reused to test it: {total:?}");
    assert!(total.measured > 100 && total.handed_over > 20, "too little of some kinds is reused: {total:?}");
    for again in Again::ALL {
        let often = total.solved.get(&again).copied().unwrap_or(0);
        assert!(often > 3, "{again:?} is too rare to test it: {total:?}");
    }
}

/// Changes that random series seldom bring: a package wishes for another candidate; a candidate that
/// was not chosen becomes impossible, or possible, so that another one is decided for earlier.
#[rstest]
#[case::wishes(
    &["x", "c"],
    vec![pkg("x-1-1.noarch"), pkg("p-1-1.noarch").provides(&["c"]), pkg("q-1-1.noarch").provides(&["c"])],
    vec![
        pkg("x-1-1.noarch").recommends(&["q"]),
        pkg("p-1-1.noarch").provides(&["c"]),
        pkg("q-1-1.noarch").provides(&["c"]),
    ],
    Again::Wishes
)]
#[case::empty(&["x", "d", "c"], late(&[]), late(&["f"]), Again::Empty)]
#[case::freed(&["x", "d", "c"], late(&["f"]), late(&[]), Again::Excluded)]
fn a_change_that_matters_is_noticed(
    #[case] question: &[&str],
    #[case] before: Vec<Pkg>,
    #[case] after: Vec<Pkg>,
    #[case] expected: Again,
) {
    let source = BuildRequires::literal(question.iter().map(|text| (*text).to_owned()).collect());
    let (mut earlier, mut closures) = (Earlier::default(), Vec::new());
    for packages in [&before, &after] {
        let universe = Universe::load(Arc::new(content(packages)), "x86_64").unwrap();
        let prepared = universe.prepare(&[""; 0], Mode::Two).unwrap();
        let (answers, kept) = prepared.resolve_all(&[&source], earlier, 1);
        earlier = kept;
        let fresh = prepared.resolver().resolve_source(&source);
        assert_eq!(answers.resolution(0).closure, fresh.closure);
        closures.push(universe.names(&fresh.closure));
        if closures.len() == 2 {
            assert_eq!(answers.work().solved, BTreeMap::from([(expected, 1)]));
        }
    }
    assert_ne!(closures[0], closures[1], "the change does not matter");
}

/// `r` is not chosen. If it is impossible, `p` is decided for before `d1` or `d2` is chosen.
fn late(requires_of_r: &[&str]) -> Vec<Pkg> {
    vec![
        pkg("x-1-1.noarch").conflicts(&["f"]),
        pkg("f-1-1.noarch"),
        pkg("d1-1-1.noarch").provides(&["d"]),
        pkg("d2-1-1.noarch").provides(&["d"]),
        pkg("p-1-1.noarch").provides(&["c"]).suggests(&["d2"]),
        pkg("r-1-1.noarch").provides(&["c"]).requires(requires_of_r),
    ]
}
