//! Problem texts name the build requirements involved, and the packages that modules hide.

use std::sync::Arc;

use koschei::model::{Evr, Nevra};
use koschei::repodata::Dependency;
use koschei::resolve::{BuildRequires, Mode, Solvers, Universe};
use rstest::rstest;
use serde_json::Value;

use crate::resolve::cli::run;
use crate::tiny::{Pkg, content, pkg};

fn packages() -> Vec<Pkg> {
    vec![
        pkg("base-1-1.noarch"),
        pkg("gcc-1-1.noarch").conflicts(&["clang"]),
        pkg("clang-1-1.noarch"),
        pkg("tool-1-1.noarch").requires(&["gcc"]),
        pkg("other-1-1.noarch"),
        pkg("broken-1-1.noarch").requires(&["gone"]),
        pkg("needs-broken-1-1.noarch").requires(&["broken"]),
    ]
}

fn ask(mode: Mode, solvers: Solvers, group: &[&str], requires: &[&str], conflicts: &[&str]) -> Vec<String> {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let universe = Universe::load(Arc::new(content(&packages())), "x86_64").unwrap();
    let prepared = universe.prepare_with(&own(group), mode, solvers).unwrap();
    let build = BuildRequires::literal(own(requires)).conflicting(own(conflicts));
    let answer = prepared.resolver().resolve_source(&build);
    assert!(!answer.ok, "{:?}", answer.closure);
    answer.problems
}

/// All build requirements that are part of a problem are named, once, in the order of the source
/// package. Others are not.
#[rstest]
#[case::two(&["other", "gcc", "clang >= 1"], "build requirements gcc, clang >= 1")]
#[case::one_further_down(&["clang", "other", "tool"], "build requirements clang, tool")]
#[case::one_alone(&["other", "needs-broken"], "build requirement needs-broken")]
#[case::rich(&["(gcc or nope)", "clang", "other"], "build requirements (gcc or nope), clang")]
fn build_requirements_that_conflict(
    #[values(Mode::Two, Mode::Joint)] mode: Mode,
    #[values(Solvers::Both, Solvers::Libsolv)] solvers: Solvers,
    #[case] requires: &[&str],
    #[case] named: &str,
) {
    let problems = ask(mode, solvers, &["base"], requires, &[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let lines: Vec<&str> = problems[0].split("\n - ").collect();
    let asked: Vec<&&str> = lines.iter().filter(|line| line.starts_with("conflicting requests")).collect();
    assert_eq!(asked, [&&*format!("conflicting requests ({named})")], "{problems:?}");
    assert!(lines.len() > 1, "and why: {problems:?}");
}

#[test]
fn members_of_the_group_are_named_where_they_ask() {
    let joint = ask(Mode::Joint, Solvers::Both, &["base", "gcc"], &["other", "clang"], &[]);
    assert!(joint[0].contains("conflicting requests (build requirement clang; build group member gcc)"), "{joint:?}");
    for mode in [Mode::Two, Mode::Joint] {
        let problems = ask(mode, Solvers::Both, &["base", "gcc", "clang"], &["other"], &[]);
        assert!(problems[0].contains("conflicting requests (build group members gcc, clang)"), "{problems:?}");
    }
}

#[test]
fn build_conflicts_are_named_where_they_ask() {
    let problems = ask(Mode::Two, Solvers::Both, &["base"], &["other", "tool"], &["gcc"]);
    let said = "conflicting requests (build requirement tool; the source package's BuildConflicts)";
    assert!(problems.iter().any(|p| p.contains(said)), "{problems:?}");
}

/// Packages hidden by modules are named by any requirement that would have selected them: a plain
/// or rich build requirement, or a package's requirement.
#[rstest]
#[case::plain("webd = 2", "no package found for build requirement webd = 2; HIDDEN")]
#[case::file("/usr/bin/webd", "no package found for build requirement /usr/bin/webd; HIDDEN")]
#[case::rich(
    "(webd = 2 or nope)",
    "nothing provides webd = 2 (HIDDEN) and nothing provides nope, asked for by build requirement (webd = 2 or nope)"
)]
#[case::rich_with(
    "(webd with web(api) = 2)",
    "nothing provides (webd with web(api) = 2) (HIDDEN), asked for by build requirement (webd with web(api) = 2)"
)]
#[case::condition(
    "(nope if webd = 1)",
    "nothing provides nope, asked for by build requirement (nope if webd = 1); webd = 1 is in the build group (by webd)"
)]
#[case::of_a_package("app", "nothing provides webd = 2 needed by app-1-1.noarch; HIDDEN")]
#[case::of_a_package_rich("app-rich", "nothing provides (web(api) = 2 or nope) needed by app-rich-1-1.noarch; HIDDEN")]
#[case::further_down("top", "nothing provides webd = 2 needed by app-1-1.noarch; HIDDEN")]
#[case::of_another_version("app-3", "nothing provides webd = 3 needed by app-3-1-1.noarch")]
fn what_modules_hide_is_named(
    #[values(Mode::Two, Mode::Joint)] mode: Mode,
    #[case] requirement: &str,
    #[case] expected: &str,
) {
    let packages = [
        pkg("webd-1-1.noarch"),
        pkg("app-1-1.noarch").requires(&["webd = 2"]),
        pkg("app-3-1-1.noarch").requires(&["webd = 3"]),
        pkg("app-rich-1-1.noarch").requires(&["(web(api) = 2 or nope)"]),
        pkg("top-1-1.noarch").requires(&["app"]),
    ];
    let mut content = content(&packages);
    let nevra = |name: &str| {
        let evr = Evr { epoch: Some(0), version: "2".into(), release: "1".into() };
        Nevra { name: name.into(), evr, arch: "noarch".into() }
    };
    let provides = ["web(api) = 2", "/usr/bin/webd"].map(|text| Dependency::parse(text).unwrap());
    content.filtered = vec![(nevra("side"), Vec::new()), (nevra("webd"), provides.to_vec())];
    let universe = Universe::load(Arc::new(content), "x86_64").unwrap();
    let prepared = universe.prepare(&["webd".to_owned()], mode).unwrap();
    let answer = prepared.resolver().resolve(&[requirement]);
    if mode == Mode::Joint && requirement.starts_with("(nope if") {
        return assert_eq!(answer.skipped, [requirement]);
    }
    if mode == Mode::Joint && requirement.starts_with('(') {
        return assert!(answer.ok && answer.skipped == [requirement], "{answer:?}");
    }
    if requirement.starts_with("(nope if") {
        // It may erase its own condition, if nothing else requires that.
        let answer = prepared.resolver().resolve(&["webd = 1", requirement]);
        let said = "nothing provides nope, asked for by build requirement (nope if webd = 1)";
        return assert!(answer.problems[0].starts_with(said) && !answer.problems[0].contains("filtered"), "{answer:?}");
    }
    let expected = expected.replace("HIDDEN", "filtered by modules: webd-0:2-1.noarch");
    let lines: Vec<&str> = answer.problems.iter().flat_map(|p| p.split("\n - ")).collect();
    assert!(lines.contains(&expected.as_str()), "{lines:#?}");
}

/// The same from a repository with a modules file, as users see it.
#[test]
fn of_a_repository() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("b.jsonl");
    std::fs::write(&file, "{\"nvr\":\"x-1-1\",\"requires\":[\"(webd = 2 and other)\"]}\n").unwrap();
    let out = run(&format!("--repo DATA/cases/modular/repo --buildrequires {} --jsonl", file.display())).unwrap();
    let line: Value = serde_json::from_str(&out).unwrap();
    let said = "nothing provides webd = 2 (filtered by modules: webd-0:2-1.x86_64), asked for by build requirement \
        (webd = 2 and other)";
    assert_eq!(line["problems"], serde_json::json!([said]));
}
