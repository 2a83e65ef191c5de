//! Cases of Koschei's own tests on a small repository, by their numbers (T1–T5g), and cases of our
//! own.

use std::collections::BTreeMap;
use std::sync::Arc;

use koschei::resolve::{Mode, Resolution, Universe, changes};
use rstest::rstest;

use crate::tiny::{Pkg, content, pkg};

/// The repository of those tests.
fn repo_r() -> Vec<Pkg> {
    vec![
        pkg("A-1-1.fc22.x86_64").provides(&["A = 1-1.fc22", "A(x86-64) = 1-1.fc22"]).requires(&["B"]),
        pkg("B-4.1-2.fc22.noarch").provides(&["B = 4.1-2.fc22", "/bin/csh"]).requires(&["C"]),
        pkg("C-1:3-1.fc22.x86_64").provides(&["C = 1:3-1.fc22", "C(x86-64) = 1:3-1.fc22"]),
        pkg("D-2:8.b-1.rc1.fc22.x86_64")
            .provides(&["D = 2:8.b-1.rc1.fc22", "D(x86-64) = 2:8.b-1.rc1.fc22"])
            .requires(&["F"]),
        pkg("E-0.1-1.fc22.1.noarch").provides(&["E = 0.1-1.fc22.1"]).requires(&["D"]),
        pkg("F-1-1.fc22.noarch").provides(&["F = 1-1.fc22"]).requires(&["B", "C", "E"]),
        pkg("R-3.3-2.fc22.x86_64").provides(&["R = 3.3-2.fc22", "R(x86-64) = 3.3-2.fc22", "virtual"]),
        pkg("bar-1-1.fc22.x86_64").requires(&["nonexistent"]),
        pkg("qt-x11-1:4.8.7-11.fc25.x86_64").requires(&["(sni-qt(x86-64) if plasma-workspace)"]),
        pkg("sni-qt-0.2.6-7.fc24.x86_64").provides(&["sni-qt = 0.2.6-7.fc24", "sni-qt(x86-64) = 0.2.6-7.fc24"]),
        pkg("plasma-workspace-5.5.5-4.fc25.x86_64")
            .recommends(&["plasma-workspace-drkonqi", "plasma-workspace-geolocation"]),
        pkg("copr-test1-3.3-2.fc22.x86_64").provides(&["provide-that-will-be-removed"]),
        pkg("copr-test2-3.3-2.fc22.x86_64").requires(&["provide-that-will-be-removed"]),
        pkg("copr-test3-3.3-2.fc22.x86_64").requires(&["copr-test1"]),
        pkg("copr-test4-3.3-2.fc22.x86_64").requires(&["provide-that-will-be-added"]),
    ]
}

fn universe(packages: &[Pkg]) -> Universe {
    Universe::load(Arc::new(content(packages)), "x86_64").unwrap()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

fn resolve(universe: &Universe, group: &[&str], requires: &[&str], mode: Mode) -> Resolution {
    universe.prepare(&owned(group), mode).unwrap().resolver().with_distances().resolve(requires)
}

fn names(universe: &Universe, answer: &Resolution) -> Vec<String> {
    let mut names: Vec<String> = answer.closure.iter().map(|&id| universe.package(id).name.to_string()).collect();
    names.sort();
    names
}

/// T1: the whole closure, with full names.
#[rstest]
fn t1_closure(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let universe = universe(&repo_r());
    let answer = resolve(&universe, &["R"], &["A", "F"], mode);
    assert!(answer.ok, "{:?}", answer.problems);
    assert_eq!(
        universe.names(&answer.closure),
        [
            "A-0:1-1.fc22.x86_64",
            "B-0:4.1-2.fc22.noarch",
            "C-1:3-1.fc22.x86_64",
            "D-2:8.b-1.rc1.fc22.x86_64",
            "E-0:0.1-1.fc22.1.noarch",
            "F-0:1-1.fc22.noarch",
            "R-0:3.3-2.fc22.x86_64",
        ]
    );
}

/// T2: C has distance 2 although A→B→C gives 3, because F requires it directly. The group does not
/// count.
#[rstest]
fn t2_distances(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let universe = universe(&repo_r());
    let answer = resolve(&universe, &["R"], &["A", "F"], mode);
    let found: BTreeMap<String, Option<u8>> =
        answer.closure.iter().map(|&id| universe.package(id).name.to_string()).zip(answer.distances.clone()).collect();
    let expected =
        [("A", Some(1)), ("B", Some(2)), ("C", Some(2)), ("D", Some(3)), ("E", Some(2)), ("F", Some(1)), ("R", None)];
    assert_eq!(found, expected.into_iter().map(|(n, d)| (n.to_owned(), d)).collect());
}

/// The cases that have a closure, by name.
#[rstest]
#[case::t3_path_satisfied_by_a_provide(&["R"], &["/bin/csh"], &["B", "C", "R"])]
#[case::t4_condition_not_met(&["R"], &["qt-x11"], &["R", "qt-x11"])]
#[case::t5a_condition_met(&["R"], &["qt-x11", "plasma-workspace"], &["R", "plasma-workspace", "qt-x11", "sni-qt"])]
#[case::t5d_unknown_member_is_passed_over(&["R", "nonexistent"], &[], &["R"])]
#[case::t5g_rich_without_match(&["R"], &["(x if y < 1)"], &["R"])]
fn closures(
    #[case] group: &[&str],
    #[case] requires: &[&str],
    #[case] expected: &[&str],
    #[values(Mode::Joint, Mode::Two)] mode: Mode,
) {
    let universe = universe(&repo_r());
    let answer = resolve(&universe, group, requires, mode);
    assert!(answer.ok, "{:?}", answer.problems);
    assert_eq!(names(&universe, &answer), expected);
}

/// T5c: a member that is a capability counts in joint mode. For dnf, and so in mode two, members
/// are names of packages.
#[rstest]
#[case::together(Mode::Joint, &["R"])]
#[case::as_dnf(Mode::Two, &[])]
fn t5c_member_is_a_provide(#[case] mode: Mode, #[case] expected: &[&str]) {
    let universe = universe(&repo_r());
    assert_eq!(names(&universe, &resolve(&universe, &["virtual"], &[], mode)), expected);
}

/// T5d, T5g: skipped members are reported.
#[test]
fn t5d_t5g_skipped() {
    let universe = universe(&repo_r());
    let prepared = universe.prepare(&owned(&["R", "nonexistent"]), Mode::Joint).unwrap();
    let mut resolver = prepared.resolver();
    assert_eq!(resolver.group().skipped, ["nonexistent"]);
    assert_eq!(resolver.resolve(&["(x if y < 1)"]).skipped, ["(x if y < 1)"]);
}

/// T5e: a BuildRequires that nothing provides. All such BuildRequires are named, and the problems
/// of the others too.
#[rstest]
fn t5e_missing(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let universe = universe(&repo_r());
    let answer = resolve(&universe, &["R"], &["nonexistent", "A", "missing >= 2", "copr-test4"], mode);
    assert!(!answer.ok && answer.closure.is_empty() && answer.distances.is_empty());
    assert_eq!(answer.problems.len(), 3, "{:?}", answer.problems);
    assert!(answer.problems[0].contains("nonexistent"));
    assert!(answer.problems[1].contains("missing >= 2"));
    assert!(answer.problems[2].contains("provide-that-will-be-added"), "{:?}", answer.problems);
}

/// T5f: a group that cannot be installed. Every source package then has that problem.
#[rstest]
fn t5f_broken_group(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let universe = universe(&repo_r());
    let prepared = universe.prepare(&owned(&["bar"]), mode).unwrap();
    let mut resolver = prepared.resolver();
    assert!(!resolver.group().ok && resolver.group().closure.is_empty());
    assert!(resolver.group().problems[0].contains("nonexistent"), "{:?}", resolver.group().problems);
    let answer = resolver.resolve(&["A"]);
    assert!(!answer.ok && answer.problems[0].contains("nonexistent"), "{:?}", answer.problems);
}

/// Problems have all their lines.
#[test]
fn problems_have_all_lines() {
    let packages = [
        pkg("top-1-1.x86_64").requires(&["middle"]),
        pkg("middle-1-1.x86_64").requires(&["bottom = 2"]),
        pkg("bottom-1-1.x86_64"),
    ];
    let universe = universe(&packages);
    let answer = resolve(&universe, &[], &["top"], Mode::Two);
    let text = answer.problems.join("\n");
    assert!(
        text.contains("nothing provides bottom = 2 needed by middle-1-1.x86_64") && text.contains("\n - "),
        "{text}"
    );
}

/// A path that nothing provides is satisfied by the file's owner. A package is also a provider if
/// only some dependency makes it one.
#[rstest]
fn files(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let packages = [
        pkg("owner-1-1.x86_64").files(&["/usr/bin/tool", "/etc/tool.conf"]),
        pkg("user-1-1.x86_64").requires(&["/etc/tool.conf"]),
        pkg("foreign-1-1.s390x").files(&["/usr/bin/foreign"]),
    ];
    let universe = universe(&packages);
    assert_eq!(names(&universe, &resolve(&universe, &[], &["/usr/bin/tool"], mode)), ["owner"]);
    let member = names(&universe, &resolve(&universe, &["/usr/bin/tool"], &[], mode));
    assert_eq!(member, if mode == Mode::Joint { vec!["owner"] } else { vec![] }, "for dnf a path is no member");
    assert_eq!(names(&universe, &resolve(&universe, &["owner"], &["/usr/bin/tool"], mode)), ["owner"]);
    let answer = resolve(&universe, &[], &["user"], mode);
    assert_eq!(names(&universe, &answer), ["owner", "user"]);
    assert_eq!(answer.distances, [Some(2), Some(1)]);
    assert!(!resolve(&universe, &[], &["/usr/bin/foreign"], mode).ok, "its owner is not installable here");
    assert!(!resolve(&universe, &[], &["/usr/bin/nothing"], mode).ok);
}

/// The modes differ if a BuildRequires brings an alternative to what the group would choose.
#[test]
fn modes_differ() {
    let packages = [
        pkg("gawk-1-1.x86_64").provides(&["awk"]),
        pkg("mawk-1-1.x86_64").provides(&["awk"]),
        pkg("base-1-1.x86_64").requires(&["awk"]),
        pkg("lib-1-1.x86_64").requires(&["mawk"]),
    ];
    let universe = universe(&packages);
    assert_eq!(names(&universe, &resolve(&universe, &["base"], &["lib"], Mode::Joint)), ["base", "lib", "mawk"]);
    assert_eq!(names(&universe, &resolve(&universe, &["base"], &["lib"], Mode::Two)), ["base", "gawk", "lib", "mawk"]);
}

/// A package of the group is replaced by an older version that a BuildRequires needs, or erased for
/// one that conflicts with it.
#[test]
fn base_is_replaced_or_erased() {
    let packages = [
        pkg("zlib-2-1.x86_64"),
        pkg("zlib-1-1.x86_64"),
        pkg("zlib-devel-1-1.x86_64").requires(&["zlib = 1-1"]),
        pkg("enemy-1-1.x86_64").conflicts(&["zlib"]),
    ];
    let universe = universe(&packages);
    let answer = resolve(&universe, &["zlib"], &["zlib-devel < 2"], Mode::Two);
    assert_eq!(universe.names(&answer.closure), ["zlib-0:1-1.x86_64", "zlib-devel-0:1-1.x86_64"]);
    assert_eq!(universe.names(&answer.erased), ["zlib-0:2-1.x86_64"]);
    let answer = resolve(&universe, &["zlib"], &["enemy"], Mode::Two);
    assert_eq!(universe.names(&answer.closure), ["enemy-0:1-1.x86_64"]);
    assert_eq!(universe.names(&answer.erased), ["zlib-0:2-1.x86_64"]);
    assert!(!resolve(&universe, &["zlib"], &["enemy"], Mode::Joint).ok, "Koschei asks for both at once");
    assert!(!resolve(&universe, &["zlib"], &["enemy", "zlib"], Mode::Two).ok, "what is asked for is not erased");
}

/// A package that obsoletes another is preferred to it, and cannot be installed beside it.
#[rstest]
fn obsoletes(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let packages = [
        pkg("old-1-1.x86_64").provides(&["tool"]),
        pkg("zoo-2-1.x86_64").provides(&["tool"]).obsoletes(&["old < 2"]),
        pkg("needs-old-1-1.x86_64").requires(&["old"]),
        pkg("needs-zoo-1-1.x86_64").requires(&["zoo"]),
    ];
    let universe = universe(&packages);
    assert_eq!(names(&universe, &resolve(&universe, &[], &["tool"], mode)), ["zoo"]);
    assert!(!resolve(&universe, &[], &["needs-old", "needs-zoo"], mode).ok);
}

/// Weak dependencies are never installed, but they decide between alternatives: libsolv prefers a
/// package that is recommended anyway.
#[rstest]
#[case::nothing_said(&["one"], "alt-a")]
#[case::recommended(&["one", "fan-of-b"], "alt-b")]
#[case::supplemented(&["one", "loved-by-c"], "alt-c")]
fn weak_dependencies_choose(
    #[case] requires: &[&str],
    #[case] chosen: &str,
    #[values(Mode::Joint, Mode::Two)] mode: Mode,
) {
    let packages = [
        pkg("alt-a-1-1.x86_64").provides(&["alt"]),
        pkg("alt-b-1-1.x86_64").provides(&["alt"]),
        pkg("alt-c-1-1.x86_64").provides(&["alt"]).supplements(&["loved-by-c"]),
        pkg("fan-of-b-1-1.x86_64").recommends(&["alt-b", "never"]),
        pkg("loved-by-c-1-1.x86_64"),
        pkg("never-1-1.x86_64").supplements(&["one"]),
        pkg("one-1-1.x86_64").requires(&["alt"]),
    ];
    let universe = universe(&packages);
    let mut expected = requires.to_vec();
    expected.push(chosen);
    expected.sort_unstable();
    assert_eq!(names(&universe, &resolve(&universe, &[], requires, mode)), expected);
}

/// A resolver gives the same answers in any order, and as often as asked.
#[rstest]
fn answers_do_not_depend_on_history(#[values(Mode::Joint, Mode::Two)] mode: Mode) {
    let universe = universe(&repo_r());
    let questions: [&[&str]; 5] =
        [&["A", "F"], &["nonexistent"], &["qt-x11", "plasma-workspace"], &["(x if y < 1)"], &["qt-x11"]];
    let fresh: Vec<Resolution> = questions.iter().map(|q| resolve(&universe, &["R"], q, mode)).collect();
    let prepared = universe.prepare(&owned(&["R"]), mode).unwrap();
    let mut resolver = prepared.resolver().with_distances();
    for round in 0..3 {
        for (question, expected) in questions.iter().zip(&fresh).skip(round).chain(questions.iter().zip(&fresh).rev()) {
            assert_eq!(&resolver.resolve(question), expected, "{question:?}");
        }
    }
}

/// Defect D24 of Koschei: distances and changes with two architectures of one name.
#[test]
fn d24_two_architectures() {
    let packages = |version: &str| {
        vec![
            pkg(&format!("glibc-{version}-1.x86_64")).provides(&["glibc(64)"]),
            pkg(&format!("glibc-{version}-1.i686")).provides(&["glibc(32)"]),
            pkg("gcc-1-1.x86_64").requires(&["glibc(64)", "multilib"]),
            pkg("multilib-1-1.noarch").requires(&["glibc(32)"]),
        ]
    };
    let (before, after) = (universe(&packages("1")), universe(&packages("2")));
    let old = resolve(&before, &[], &["gcc"], Mode::Joint);
    let new = resolve(&after, &[], &["gcc"], Mode::Joint);
    assert_eq!(
        after.names(&new.closure),
        ["gcc-0:1-1.x86_64", "glibc-0:2-1.i686", "glibc-0:2-1.x86_64", "multilib-0:1-1.noarch"]
    );
    let rows: Vec<String> = changes(&old.installed(&before), &new.installed(&after))
        .iter()
        .map(|c| {
            format!("{}.{} {}>{} {:?}", c.name, c.arch, c.old.as_ref().unwrap(), c.new.as_ref().unwrap(), c.distance)
        })
        .collect();
    assert_eq!(rows, ["glibc.i686 1-1>2-1 Some(3)", "glibc.x86_64 1-1>2-1 Some(2)"]);
}

/// Each thread has its own resolver over one universe. The answers are the same.
#[test]
fn threads_share_a_universe() {
    let universe = universe(&repo_r());
    let expected = resolve(&universe, &["R"], &["A", "F"], Mode::Two);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(resolve(&universe, &["R"], &["A", "F"], Mode::Two), expected));
        }
    });
}

#[rstest]
fn weak_dependencies_are_installed_where_wanted(#[values(Mode::Two, Mode::Joint)] mode: Mode) {
    let packages = [
        pkg("base-1-1.x86_64").recommends(&["nice"]),
        pkg("nice-1-1.x86_64"),
        pkg("tool-1-1.x86_64").recommends(&["helper", "nobody-has-this", "needy"]),
        pkg("helper-1-1.x86_64").requires(&["deep"]),
        pkg("deep-1-1.x86_64"),
        pkg("needy-1-1.x86_64").requires(&["nobody-has-this"]),
        pkg("plugin-1-1.x86_64").supplements(&["tool"]),
    ];
    let answer = |weak: bool| {
        let universe = Universe::load(Arc::new(content(&packages)), "x86_64").unwrap().with_weak_deps(weak);
        let answer = universe.prepare(&owned(&["base"]), mode).unwrap().resolver().with_distances().resolve(&["tool"]);
        let mut names: Vec<String> = answer.closure.iter().map(|id| universe.nevra(*id).name.to_string()).collect();
        names.sort_unstable();
        (answer.ok, names.join(" "), answer.handover)
    };
    assert_eq!(answer(false), (true, "base tool".to_owned(), None), "builders' way, and our own solver's");
    let all = "base deep helper nice plugin tool".to_owned();
    assert_eq!(answer(true), (true, all, Some(koschei::resolve::Handover::WeakDeps)));
}
