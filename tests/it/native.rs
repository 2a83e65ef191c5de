//! Our own solver against libsolv on random repositories: everything a repository can say, and questions of every kind.
//!
//! `make test` tries 2,000 repositories, `make test-long` 100,000; each with several questions in both modes. A difference is
//! shrunk by proptest; the smallest one belongs into `regressions` below.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use koschei::resolve::{Mode, Resolution, Solvers, Universe};
use proptest::prelude::*;

use crate::feed::scale;
use crate::tiny::{Pkg, content, pkg};

/// A package with its lists of dependencies, as text.
#[derive(Clone, Default)]
struct Any {
    nevra: String,
    provides: Vec<String>,
    requires: Vec<String>,
    conflicts: Vec<String>,
    obsoletes: Vec<String>,
    recommends: Vec<String>,
    suggests: Vec<String>,
    supplements: Vec<String>,
    enhances: Vec<String>,
}

impl std::fmt::Debug for Any {
    /// As a regression test writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pkg({:?})", self.nevra)?;
        let lists = [
            ("provides", &self.provides),
            ("requires", &self.requires),
            ("conflicts", &self.conflicts),
            ("obsoletes", &self.obsoletes),
            ("recommends", &self.recommends),
            ("suggests", &self.suggests),
            ("supplements", &self.supplements),
            ("enhances", &self.enhances),
        ];
        lists.iter().filter(|(_, list)| !list.is_empty()).try_for_each(|(name, list)| write!(f, ".{name}(&{list:?})"))
    }
}

impl Any {
    fn package(&self) -> Pkg {
        fn refs(texts: &[String]) -> Vec<&str> {
            texts.iter().map(String::as_str).collect()
        }
        pkg(&self.nevra)
            .provides(&refs(&self.provides))
            .requires(&refs(&self.requires))
            .conflicts(&refs(&self.conflicts))
            .obsoletes(&refs(&self.obsoletes))
            .recommends(&refs(&self.recommends))
            .suggests(&refs(&self.suggests))
            .supplements(&refs(&self.supplements))
            .enhances(&refs(&self.enhances))
    }
}

/// A repository, a build group, and the BuildRequires of some source packages.
#[derive(Clone, Debug)]
struct World {
    packages: Vec<Any>,
    group: Vec<String>,
    questions: Vec<Vec<String>>,
}

/// How many different package names and capabilities there are: few make conflicts, many make chains.
#[derive(Clone, Copy, Debug)]
struct Names {
    packages: u8,
    capabilities: u8,
}

fn name(names: Names) -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        (0..names.packages).prop_map(|n| format!("n{n}")),
        (0..names.capabilities).prop_map(|n| format!("c{n}")),
    ]
}

fn version() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec!["1", "2", "1-1", "1-2", "2-1", "1:1-1"])
}

fn operator() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec!["=", "<", "<=", ">", ">="])
}

fn plain(names: Names) -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        6 => name(names),
        2 => (name(names), operator(), version()).prop_map(|(n, o, v)| format!("{n} {o} {v}")),
    ]
}

fn rich(names: Names) -> impl Strategy<Value = String> + Clone {
    let part = plain(names).boxed();
    let inner = prop_oneof![3 => part.clone(), 1 => two(part.clone()), 1 => three(part)].boxed();
    prop_oneof![3 => two(inner.clone()), 1 => three(inner)]
}

fn two(part: BoxedStrategy<String>) -> impl Strategy<Value = String> + Clone {
    let op = prop::sample::select(vec!["or", "or", "and", "if", "unless", "with", "without"]);
    (part.clone(), op, part).prop_map(|(a, op, b)| format!("({a} {op} {b})"))
}

fn three(part: BoxedStrategy<String>) -> impl Strategy<Value = String> + Clone {
    let op = prop::sample::select(vec!["if", "unless"]);
    (part.clone(), op, part.clone(), part).prop_map(|(a, op, b, c)| format!("({a} {op} {b} else {c})"))
}

fn any_dep(names: Names) -> impl Strategy<Value = String> + Clone {
    prop_oneof![5 => plain(names), 1 => rich(names)]
}

fn list(dep: impl Strategy<Value = String> + Clone, max: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(dep, 0..=max)
}

/// A list that is mostly empty.
fn seldom(dep: impl Strategy<Value = String> + Clone + 'static, max: usize) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![4 => Just(Vec::new()), 1 => list(dep, max)]
}

fn provide(names: Names) -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        3 => (0..names.capabilities).prop_map(|n| format!("c{n}")),
        2 => ((0..names.capabilities), prop::sample::select(vec!["=", "=", "=", "<", "<="]), version())
            .prop_map(|(n, o, v)| format!("c{n} {o} {v}")),
    ]
}

fn package(names: Names, arches: &'static [&'static str]) -> impl Strategy<Value = Any> {
    let nevra = (
        0..names.packages,
        prop::sample::select(vec!["1-1", "1-1", "1-1", "1-2", "2-1", "1:1-1"]),
        prop::sample::select(arches.to_vec()),
    )
        .prop_map(|(n, evr, arch)| format!("n{n}-{evr}.{arch}"));
    (
        nevra,
        list(provide(names), 3),
        list(any_dep(names), 3),
        seldom(any_dep(names), 2),
        seldom(plain(names), 1),
        seldom(any_dep(names), 2),
        seldom(any_dep(names), 2),
        seldom(any_dep(names), 1),
        seldom(any_dep(names), 1),
    )
        .prop_map(
            |(nevra, provides, requires, conflicts, obsoletes, recommends, suggests, supplements, enhances)| Any {
                nevra,
                provides,
                requires,
                conflicts,
                obsoletes,
                recommends,
                suggests,
                supplements,
                enhances,
            },
        )
}

fn world() -> impl Strategy<Value = World> {
    let arches: &[&'static [&'static str]] =
        &[&["x86_64"], &["x86_64", "noarch"], &["x86_64", "x86_64", "noarch", "i686"]];
    let names = (4u8..40, 2u8..24).prop_map(|(packages, capabilities)| Names { packages, capabilities });
    (names, prop::sample::select(arches.to_vec()), 1usize..60).prop_flat_map(|(names, arches, size)| {
        let wanted = any_dep(names);
        (
            prop::collection::vec(package(names, arches), 1..=size),
            list(name(names), 4),
            prop::collection::vec(list(wanted, 5), 1..=5),
        )
            .prop_map(|(packages, group, questions)| World { packages, group, questions })
    })
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
    let cases = u32::try_from(scale(2_000, 100_000)).unwrap();
    let config =
        ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(world in world())| {
        if let Err(difference) = compare(&world, &solved) {
            return Err(TestCaseError::fail(difference));
        }
    });
    let [own, handed] = solved.map(AtomicUsize::into_inner);
    println!("{own} questions decided by our own solver, {handed} handed over");
    assert!(own > 4 * handed, "our own solver decides too little for this to test it: {own} of {}", own + handed);
}
