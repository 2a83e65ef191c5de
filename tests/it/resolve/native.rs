//! Our own solver compared with libsolv on random repositories: everything a repository can
//! contain, and questions of every kind.
//!
//! `make test` tries 2,000 repositories, `make test-long` 100,000, each with several questions in
//! both modes. A difference is shrunk. Put the smallest one into `regressions` below.

mod random_repositories;
mod series;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use koschei::resolve::{Handover, Mode, Resolution, Solvers, Universe};
use rstest::rstest;

use crate::feed::scale;
use crate::tiny::{Pkg, content, pkg};
use random_repositories::{Any, Maker, World};

/// Asks both solvers, and returns the difference if there is one. `solved` counts the answers of
/// our own solver, the handed over ones, and those in which a package of the build group was erased
/// or replaced.
fn compare(world: &World, solved: &[AtomicUsize; 3]) -> Result<(), String> {
    let packages: Vec<Pkg> = world.packages.iter().map(Any::package).collect();
    let universe = Universe::load(Arc::new(content(&packages)), "x86_64").map_err(|e| e.to_string())?;
    let alone = universe.prepare_with(&[""; 0], Mode::Two, Solvers::Both).map_err(|e| e.to_string())?;
    let mut ask_alone = alone.resolver().without_texts();
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
            // Packages that replace an installed package must all be installable together
            // (libsolv's `addyumobsrules`). Only these can fail because of what was installed
            // before.
            let without = ask_alone.resolve(question).ok;
            let replaced = world.packages.iter().any(|p| !p.lists[3].is_empty());
            // A member may be of an inferior architecture that a BuildRequires alone could not
            // bring.
            let inferior = ours.group().closure.iter().any(|&id| universe.package(id).arch == "i686");
            let more = answer.ok && !without && !inferior;
            if mode == Mode::Two && ours.group().ok && (more || !answer.ok && without && !replaced) {
                return Err(format!("{question:?}: {} with the group, {without} without", answer.ok));
            }
            let kept = |id: &&_| answer.closure.binary_search(id).is_err();
            let gone = ours.group().closure.iter().filter(kept).copied().collect();
            let erased = if mode == Mode::Two && answer.ok { gone } else { Vec::new() };
            if answer.erased != erased {
                return Err(format!("{question:?}: erased {}, not {}", show(&answer.erased), show(&erased)));
            }
            solved[2].fetch_add(usize::from(!erased.is_empty()), Ordering::Relaxed);
            let facts = |r: &Resolution| (r.ok, r.closure.clone(), r.skipped.clone(), r.erased.clone());
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

/// For any repository, both solvers give the same verdict and the same closure, and ours answers
/// most by itself.
#[test]
fn ours_equals_libsolv() {
    let solved = [const { AtomicUsize::new(0) }; 3];
    let worlds = scale(2_000, 100_000);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let solved = &solved;
            scope.spawn(move || {
                for seed in (thread..worlds).step_by(2) {
                    let world = Maker::world(seed);
                    if let Err(difference) = compare(&world, solved) {
                        let smallest = world.shrink(|world| compare(world, solved).is_err());
                        panic!("seed {seed}: {difference}\nsmallest: {smallest:#?}\n{:?}", compare(&smallest, solved));
                    }
                }
            });
        }
    });
    let [own, handed, erased] = solved.map(AtomicUsize::into_inner);
    println!("{own} questions decided by our own solver, {handed} handed over; something was erased for {erased}");
    assert!(own > 2 * handed, "our own solver decides too little for this to test it: {own} of {}", own + handed);
    assert!(erased * 50 > handed, "too little is erased for this to test it: {erased} of {handed}");
}

fn universe(packages: &[Pkg]) -> Universe {
    Universe::load(Arc::new(content(packages)), "x86_64").unwrap()
}

fn ask(universe: &Universe, group: &[&str], requires: &[&str], mode: Mode, solvers: Solvers) -> Resolution {
    let group: Vec<String> = group.iter().map(|m| (*m).to_owned()).collect();
    universe.prepare_with(&group, mode, solvers).unwrap().resolver().resolve(requires)
}

/// Differences found once. In each, our own solver left libsolv's order.
#[rstest]
// A choice is replaced by a better one. The next job, satisfied until then, must be decided anew.
#[case::job_open_again(
    &[
        pkg("n0-1-1.x86_64").provides(&["c1 = 1", "c0 = 1"]).requires(&["n3"]),
        pkg("n3-1-1.x86_64").provides(&["c0"]),
        pkg("n2-1-1.x86_64").provides(&["c1 = 1"]),
    ],
    &["c0", "c1"],
    &[]
)]
// libsolv counts a newer version of an installed package even if it cannot be installed.
#[case::update_that_cannot_be(
    &[
        pkg("n15-1-2.noarch"),
        pkg("n0-1-1.x86_64").provides(&["c5"]),
        pkg("n0-1-2.x86_64"),
        pkg("n1-1:1-1.noarch").provides(&["c5 = 2-1"]).requires(&["c6"]),
        pkg("n15-1:1-1.x86_64").provides(&["c6"]).requires(&["n21"]),
        pkg("n6-1:1-1.x86_64").provides(&["c6"]),
    ],
    &["n15"],
    &["c5"]
)]
#[case::update_that_cannot_be_by_name(
    &[
        pkg("n1-1:1-1.x86_64").requires(&["c5"]),
        pkg("n4-1-1.x86_64").requires(&["n5"]),
        pkg("n3-1-1.x86_64").provides(&["c5"]),
        pkg("n5-2-1.x86_64").requires(&["c12"]),
        pkg("n1-1-1.x86_64"),
        pkg("n7-1-1.x86_64").provides(&["c12 = 2"]),
        pkg("n7-1:1-1.x86_64").provides(&["c5"]).requires(&["n0"]),
    ],
    &["n4"],
    &["n1"]
)]
// libsolv forbids a package of an inferior architecture only if it has seen the better one of
// another version. A package that needs it is as doubtful.
#[case::doubt_spreads(
    &[
        pkg("n13-1-2.x86_64").provides(&["c14"]),
        pkg("n14-1-1.noarch").provides(&["c7 = 2", "c10 = 1-1"]),
        pkg("n13-1:1-1.i686").provides(&["c19"]).recommends(&["n12"]),
        pkg("n2-1-1.x86_64").provides(&["c10"]).requires(&["c19"]),
        pkg("n9-2-1.x86_64").provides(&["c10"]),
        pkg("n4-1-1.x86_64").requires(&["c10 > 1-2"]),
        pkg("n12-1-1.i686").requires(&["c14"]),
        pkg("n0-1-2.x86_64").provides(&["c7"]).requires(&["c10"]),
        pkg("n2-1-2.x86_64"),
    ],
    &["c7", "n4"],
    &[]
)]
// Like the case above, with a `noarch` package of the version of the inferior one.
#[case::better_architecture_of_another_version(
    &[
        pkg("n0-1-1.x86_64"),
        pkg("n2-3-1.x86_64").provides(&["c0"]).requires(&["n0"]),
        pkg("n1-2-1.i686").provides(&["c3"]),
        pkg("n1-3-1.x86_64"),
        pkg("n0-2-1.x86_64").requires(&["c3"]),
        pkg("n1-2-1.noarch").obsoletes(&["n2"]),
    ],
    &[],
    &["c0"]
)]
// Versions that look like hashes do not say which is newer. Compared as versions, they would
// decide.
#[case::hashes_are_no_versions(
    &[
        pkg("n1-1-1.x86_64").provides(&["c0", "commit = abcd12"]),
        pkg("n2-1-1.x86_64").provides(&["c0", "commit = abcd34"]),
    ],
    &[],
    &["c0"]
)]
#[case::hashes_the_other_way_round(
    &[
        pkg("n1-1-1.x86_64").provides(&["c0", "commit = abcd34"]),
        pkg("n2-1-1.x86_64").provides(&["c0", "commit = abcd12"]),
    ],
    &[],
    &["c0"]
)]
// Too short for a hash, so it is a version.
#[case::short_is_a_version(
    &[
        pkg("n1-1-1.x86_64").provides(&["c0", "commit = a12"]),
        pkg("n2-1-1.x86_64").provides(&["c0", "commit = a34"]),
    ],
    &[],
    &["c0"]
)]
// libsolv makes no rules for the packages after `else`.
#[case::rich_requirement_without_rules(
    &[
        pkg("n5-1-2.x86_64").provides(&["c19"]).requires(&["c15"]),
        pkg("n9-2-1.noarch").provides(&["c19"]),
        pkg("n0-1-1.noarch").provides(&["c9"]),
    ],
    &[],
    &["((n3 >= 2 unless c19 else c9 < 1-1) or n7)"]
)]
// libsolv prefers an update of what is installed also where a rich dependency names it, and also if it cannot be
// installed. Its rule for that ignores the conditions, so the package that needs it is out.
#[case::update_that_cannot_be_in_rich_conflict(
    &[
        pkg("n18-1:1-1.noarch").provides(&["c0"]),
        pkg("n13-1-1.noarch"),
        pkg("n14-1:1-1.noarch").requires(&["c3 >= 1:1-1"]),
        pkg("n10-1:1-1.x86_64"),
        pkg("n14-1-1.x86_64").conflicts(&["(c5 unless c0 else n3)"]),
        pkg("n1-1-1.x86_64").provides(&["c6", "c5 <= 2-1"]).requires(&["n14"]),
        pkg("n13-1-1.noarch").provides(&["c0 <= 1"]).requires(&["n0"]),
        pkg("n10-1-1.noarch").provides(&["c3"]),
    ],
    &["n13"],
    &["c6", "n10"]
)]
#[case::update_that_cannot_be_in_rich_requirement(
    &[
        pkg("n18-1:1-1.noarch").provides(&["c0"]),
        pkg("n13-1-1.noarch"),
        pkg("n14-1:1-1.noarch").requires(&["c3 >= 1:1-1"]),
        pkg("n10-1:1-1.x86_64"),
        pkg("n14-1-1.x86_64").requires(&["(c0 if c5)"]),
        pkg("n1-1-1.x86_64").provides(&["c6", "c5 <= 2-1"]).requires(&["n14"]),
        pkg("n13-1-2.noarch").provides(&["c0 <= 1"]).requires(&["n0"]),
        pkg("n10-1-1.noarch").provides(&["c3"]),
    ],
    &["n13"],
    &["c6", "n10"]
)]
// A condition that cannot hold asks for nothing, and libsolv agrees.
#[case::update_that_cannot_be_under_an_impossible_condition(
    &[
        pkg("n18-1:1-1.noarch").provides(&["c0"]),
        pkg("n13-1-1.noarch"),
        pkg("n14-1:1-1.noarch").requires(&["c3 >= 1:1-1"]),
        pkg("n10-1:1-1.x86_64"),
        pkg("n14-1-1.x86_64").requires(&["(c0 if c5)"]),
        pkg("n1-1-1.x86_64").provides(&["c6"]).requires(&["n14"]),
        pkg("n2-1-1.x86_64").provides(&["c5"]).requires(&["n0"]),
        pkg("n13-1-2.noarch").provides(&["c0 <= 1"]).requires(&["n0"]),
        pkg("n10-1-1.noarch").provides(&["c3"]),
    ],
    &["n13"],
    &["c6", "n10"]
)]
fn regressions(
    #[case] packages: &[Pkg],
    #[case] group: &[&str],
    #[case] requires: &[&str],
    #[values(Mode::Joint, Mode::Two)] mode: Mode,
) {
    let universe = universe(packages);
    let ours = ask(&universe, group, requires, mode, Solvers::Both);
    let oracle = ask(&universe, group, requires, mode, Solvers::Libsolv);
    assert_eq!(universe.names(&ours.closure), universe.names(&oracle.closure));
    assert_eq!(ours.ok, oracle.ok);
}

/// Handing over is needed: our own solver alone does not find answers that need backtracking. It
/// says why it handed over.
#[rstest]
fn alone_it_is_wrong(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    // `a` comes first by name. Only later it turns out to exclude what `d` needs.
    let universe = universe(&[
        pkg("a-1-1.noarch").provides(&["c"]).conflicts(&["e"]),
        pkg("b-1-1.noarch").provides(&["c"]),
        pkg("d-1-1.noarch").requires(&["(e or f)", "(e or g)"]),
        pkg("e-1-1.noarch"),
        pkg("f-1-1.noarch").conflicts(&["g"]),
        pkg("g-1-1.noarch"),
    ]);
    let right = ask(&universe, &[], &["c", "d"], mode, Solvers::Libsolv);
    assert_eq!(universe.names(&right.closure), ["b-0:1-1.noarch", "d-0:1-1.noarch", "e-0:1-1.noarch"]);
    let both = ask(&universe, &[], &["c", "d"], mode, Solvers::Both);
    assert_eq!((both.closure, both.handover), (right.closure.clone(), Some(Handover::Conflict)));
    let alone = ask(&universe, &[], &["c", "d"], mode, Solvers::NativeAlone);
    assert_ne!(alone.closure, right.closure);
}

/// In mode two, the group's packages are installed first. In joint mode, a build requirement can
/// satisfy the group's requirement.
#[test]
fn the_modes_differ() {
    let universe = universe(&[
        pkg("gawk-1-1.noarch").provides(&["awk"]),
        pkg("mawk-1-1.noarch").provides(&["awk"]),
        pkg("bash-1-1.noarch"),
        pkg("scripts-1-1.noarch").requires(&["awk"]),
    ]);
    for solvers in [Solvers::Both, Solvers::Libsolv] {
        let group = ["bash", "scripts"];
        let names = |mode| universe.names(&ask(&universe, &group, &["mawk"], mode, solvers).closure).join(" ");
        assert_eq!(names(Mode::Two), "bash-0:1-1.noarch gawk-0:1-1.noarch mawk-0:1-1.noarch scripts-0:1-1.noarch");
        assert_eq!(names(Mode::Joint), "bash-0:1-1.noarch mawk-0:1-1.noarch scripts-0:1-1.noarch");
    }
}

/// In a circle each package requires the next. In a contradiction the last one also excludes the
/// first.
#[rstest]
fn circles_and_contradictions(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let circle: Vec<Pkg> = (0..100)
        .map(|i| {
            let next = format!("p{}", (i + 1) % 100);
            pkg(&format!("p{i}-1-1.noarch")).requires(&[&next, "(p1 if p2)"])
        })
        .collect();
    let answer = ask(&universe(&circle), &[], &["p50"], mode, Solvers::Both);
    assert_eq!((answer.ok, answer.closure.len(), answer.handover), (true, 100, None));
    let mut broken = circle;
    broken[99] = pkg("p99-1-1.noarch").requires(&["p0"]).conflicts(&["p0"]);
    let answer = ask(&universe(&broken), &[], &["p50"], mode, Solvers::Both);
    assert!(!answer.ok && answer.problems.iter().any(|p| p.contains("p99")), "{:?}", answer.problems);
    let itself = [pkg("x-1-1.noarch").requires(&["x > 1"]), pkg("y-1-1.noarch").conflicts(&["y"])];
    assert!(!ask(&universe(&itself), &[], &["x"], mode, Solvers::Both).ok);
    assert!(ask(&universe(&itself), &[], &["y"], mode, Solvers::Both).ok, "nothing conflicts with itself");
}

/// Ten thousand packages provide the same capability, and each requires it from another one.
#[rstest]
fn ten_thousand_providers(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let packages: Vec<Pkg> = (0..10_000)
        .map(|i| {
            let version = format!("common = {i}-1");
            pkg(&format!("p{i:05}-1-1.noarch")).provides(&["all", &version]).requires(&["(all without p00000)"])
        })
        .collect();
    let universe = universe(&packages);
    let answer = ask(&universe, &["all"], &["all", "common >= 5000"], mode, Solvers::Both);
    let oracle = ask(&universe, &["all"], &["all", "common >= 5000"], mode, Solvers::Libsolv);
    assert!(answer.ok);
    assert_eq!(universe.names(&answer.closure), universe.names(&oracle.closure));
}

/// The check asks libsolv. It reports nothing if both agree, and otherwise returns libsolv's
/// answer.
#[rstest]
fn the_check_notices(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let universe = universe(&[pkg("a-1-1.noarch").provides(&["c"]), pkg("b-1-1.noarch").provides(&["c"])]);
    let prepared = universe.prepare(&[""; 0], mode).unwrap();
    let mut resolver = prepared.resolver();
    let answer = resolver.resolve(&["c"]);
    assert_eq!(resolver.check(&["c"], &answer), None);
    let wrong = resolver.resolve(&["b"]);
    let right = resolver.check(&["c"], &wrong).unwrap();
    assert_eq!((right.ok, &right.closure), (true, &answer.closure));
    let unresolved = Resolution { ok: false, closure: Vec::new(), ..answer.clone() };
    assert_eq!(resolver.check(&["c"], &unresolved).unwrap().closure, answer.closure);
    let nothing = resolver.resolve(&["nothing"]);
    assert_eq!(resolver.check(&["nothing"], &nothing), None);
}
