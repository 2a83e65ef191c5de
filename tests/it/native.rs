//! Our own solver against libsolv on random repositories: everything a repository can say, and questions of every kind.
//!
//! `make test` tries 2,000 repositories, `make test-long` 100,000; each with several questions in both modes. A difference is
//! shrunk; the smallest one belongs into `regressions` below.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use koschei::resolve::{Mode, Resolution, Solvers, Universe};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::feed::scale;
use crate::tiny::{Pkg, content, pkg};

/// A package with its lists of dependencies, as text.
#[derive(Clone, Default)]
struct Any {
    nevra: String,
    /// In the order of [`LISTS`].
    lists: [Vec<String>; 8],
}

const LISTS: [&str; 8] =
    ["provides", "requires", "conflicts", "obsoletes", "recommends", "suggests", "supplements", "enhances"];

impl fmt::Debug for Any {
    /// As a regression test writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg({:?})", self.nevra)?;
        let lists = LISTS.iter().zip(&self.lists).filter(|(_, list)| !list.is_empty());
        lists.into_iter().try_for_each(|(name, list)| write!(f, ".{name}(&{list:?})"))
    }
}

impl Any {
    fn package(&self) -> Pkg {
        let [provides, requires, conflicts, obsoletes, recommends, suggests, supplements, enhances] =
            self.lists.each_ref().map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
        pkg(&self.nevra)
            .provides(&provides)
            .requires(&requires)
            .conflicts(&conflicts)
            .obsoletes(&obsoletes)
            .recommends(&recommends)
            .suggests(&suggests)
            .supplements(&supplements)
            .enhances(&enhances)
    }
}

/// A repository, a build group, and the BuildRequires of some source packages.
#[derive(Clone, Debug)]
struct World {
    packages: Vec<Any>,
    group: Vec<String>,
    questions: Vec<Vec<String>>,
}

/// Makes worlds. The same seed gives the same world.
struct Maker {
    rng: StdRng,
    /// Different package names, capabilities, architectures: few make conflicts, many make chains.
    names: u8,
    capabilities: u8,
    arches: &'static [&'static str],
}

impl Maker {
    fn world(seed: u64) -> World {
        const ARCHES: [&[&str]; 3] = [&["x86_64"], &["x86_64", "noarch"], &["x86_64", "x86_64", "noarch", "i686"]];
        let mut rng = StdRng::seed_from_u64(seed);
        let (names, capabilities) = (rng.random_range(4..40), rng.random_range(2..24));
        let arches = *ARCHES.choose(&mut rng).unwrap();
        let size = rng.random_range(1..=60);
        let mut maker = Self { rng, names, capabilities, arches };
        World {
            packages: (0..size).map(|_| maker.package()).collect(),
            group: maker.list(4, Self::name),
            questions: (0..maker.rng.random_range(1..=6)).map(|_| maker.list(5, Self::dep)).collect(),
        }
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).unwrap()
    }

    fn list(&mut self, max: usize, make: fn(&mut Self) -> String) -> Vec<String> {
        (0..self.rng.random_range(0..=max)).map(|_| make(self)).collect()
    }

    /// A list that is mostly empty.
    fn seldom(&mut self, max: usize, make: fn(&mut Self) -> String) -> Vec<String> {
        if self.rng.random_bool(0.2) { self.list(max, make) } else { Vec::new() }
    }

    fn name(&mut self) -> String {
        if self.rng.random_bool(0.5) {
            format!("n{}", self.rng.random_range(0..self.names))
        } else {
            format!("c{}", self.rng.random_range(0..self.capabilities))
        }
    }

    fn version(&mut self) -> &'static str {
        self.one(&["1", "2", "1-1", "1-2", "2-1", "1:1-1"])
    }

    fn plain(&mut self) -> String {
        let name = self.name();
        if self.rng.random_bool(0.75) {
            return name;
        }
        format!("{name} {} {}", self.one(&["=", "<", "<=", ">", ">="]), self.version())
    }

    fn rich(&mut self, depth: u32) -> String {
        let part = |maker: &mut Self| {
            if depth > 1 && maker.rng.random_bool(0.4) { maker.rich(depth - 1) } else { maker.plain() }
        };
        let (a, b) = (part(self), part(self));
        if self.rng.random_bool(0.75) {
            let op = self.one(&["or", "or", "and", "if", "unless", "with", "without"]);
            return format!("({a} {op} {b})");
        }
        let (op, c) = (self.one(&["if", "unless"]), part(self));
        format!("({a} {op} {b} else {c})")
    }

    fn dep(&mut self) -> String {
        if self.rng.random_bool(0.83) { self.plain() } else { self.rich(2) }
    }

    fn provide(&mut self) -> String {
        let name = format!("c{}", self.rng.random_range(0..self.capabilities));
        if self.rng.random_bool(0.6) {
            return name;
        }
        format!("{name} {} {}", self.one(&["=", "=", "=", "<", "<="]), self.version())
    }

    fn package(&mut self) -> Any {
        let evr = self.one(&["1-1", "1-1", "1-1", "1-2", "2-1", "1:1-1"]);
        let arch = self.one(self.arches);
        Any {
            nevra: format!("n{}-{evr}.{arch}", self.rng.random_range(0..self.names)),
            lists: [
                self.list(3, Self::provide),
                self.list(3, Self::dep),
                self.seldom(2, Self::dep),
                self.seldom(1, Self::plain),
                self.seldom(2, Self::dep),
                self.seldom(2, Self::dep),
                self.seldom(1, Self::dep),
                self.seldom(1, Self::dep),
            ],
        }
    }
}

impl World {
    /// A smaller world that still fails: everything is left out that can be.
    fn shrink(mut self, fails: impl Fn(&Self) -> bool) -> Self {
        loop {
            let before = format!("{self:?}").len();
            for smaller in [Self::without_question, Self::without_package, Self::without_member, Self::without_dep] {
                let mut at = 0;
                while let Some(less) = smaller(&self, at) {
                    if fails(&less) {
                        self = less;
                    } else {
                        at += 1;
                    }
                }
            }
            if format!("{self:?}").len() == before {
                return self;
            }
        }
    }

    fn without_question(&self, at: usize) -> Option<Self> {
        let mut less = self.clone();
        (at < less.questions.len()).then(|| less.questions.remove(at))?;
        Some(less)
    }

    fn without_package(&self, at: usize) -> Option<Self> {
        let mut less = self.clone();
        (at < less.packages.len()).then(|| less.packages.remove(at))?;
        Some(less)
    }

    fn without_member(&self, at: usize) -> Option<Self> {
        let mut less = self.clone();
        (at < less.group.len()).then(|| less.group.remove(at))?;
        Some(less)
    }

    fn without_dep(&self, mut at: usize) -> Option<Self> {
        let mut less = self.clone();
        let lists = less.packages.iter_mut().flat_map(|p| &mut p.lists).chain(&mut less.questions);
        for list in lists {
            if at < list.len() {
                list.remove(at);
                return Some(less);
            }
            at -= list.len();
        }
        None
    }
}

/// Asks both; the difference if there is one. `solved` counts what our own solver decided, and what it handed over.
fn compare(world: &World, solved: &[AtomicUsize; 2]) -> Result<(), String> {
    let packages: Vec<Pkg> = world.packages.iter().map(Any::package).collect();
    let universe = Universe::load(Arc::new(content(&packages)), "x86_64").map_err(|e| e.to_string())?;
    for mode in [Mode::Joint, Mode::Two] {
        let ours = universe.prepare_with(&world.group, mode, Solvers::Both).map_err(|e| e.to_string())?;
        let oracle = universe.prepare_with(&world.group, mode, Solvers::Libsolv).map_err(|e| e.to_string())?;
        let show = |closure: &[_]| universe.names(closure).join(" ");
        if (ours.group().ok, &ours.group().closure) != (oracle.group().ok, &oracle.group().closure) {
            let (ours, oracle) = (ours.group(), oracle.group());
            return Err(format!(
                "{mode:?}, group: ours {} {}, libsolv {} {}",
                ours.ok,
                show(&ours.closure),
                oracle.ok,
                show(&oracle.closure)
            ));
        }
        let (mut ask, mut ask_oracle) = (ours.resolver(), oracle.resolver());
        for question in &world.questions {
            let answer = ask.resolve(question);
            let expected = ask_oracle.resolve(question);
            solved[usize::from(answer.handover.is_some())].fetch_add(1, Ordering::Relaxed);
            let facts = |r: &Resolution| (r.ok, r.closure.clone(), r.skipped.clone());
            if facts(&answer) != facts(&expected) {
                return Err(format!(
                    "{mode:?}, {question:?}: ours {} {} ({:?}), libsolv {} {}\n{:?}",
                    answer.ok,
                    show(&answer.closure),
                    answer.handover,
                    expected.ok,
                    show(&expected.closure),
                    expected.problems,
                ));
            }
        }
    }
    Ok(())
}

/// Whatever a repository says, both solvers give the same verdict and the same closure; and ours does most of it by itself.
#[test]
fn ours_equals_libsolv() {
    let solved = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let (worlds, threads) = (scale(2_000, 100_000), 2);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let solved = &solved;
            scope.spawn(move || {
                for seed in (thread..worlds).step_by(threads as usize) {
                    let world = Maker::world(seed);
                    if let Err(difference) = compare(&world, solved) {
                        let smallest = world.shrink(|world| compare(world, solved).is_err());
                        panic!("seed {seed}: {difference}\nsmallest: {smallest:#?}\n{:?}", compare(&smallest, solved));
                    }
                }
            });
        }
    });
    let [own, handed] = solved.map(AtomicUsize::into_inner);
    println!("{own} questions decided by our own solver, {handed} handed over");
    assert!(own > 2 * handed, "our own solver decides too little for this to test it: {own} of {}", own + handed);
}
