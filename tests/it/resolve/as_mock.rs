//! What mock's package manager does with members of the build group beyond solving. The right
//! answers are those of dnf 4.14 (`group install` of the same repository), unless a case says
//! otherwise.

use std::sync::Arc;

use koschei::repodata::{Groups, Limits};
use koschei::resolve::{GroupVerdict, Mode, Solvers, Universe};
use rstest::rstest;
use serde_json::Value;

use crate::recorded::koschei;
use crate::resolve::cli::run;
use crate::tiny::{Pkg, content, pkg};

fn closures(line: &str) -> Vec<String> {
    let out = run(line).unwrap();
    let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| {
            line["closure"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn case_group_as_dnf() {
    let case = "--repo DATA/cases/group-as-dnf/repo --buildrequires DATA/cases/group-as-dnf/br.jsonl --jsonl";
    for solver in ["both", "libsolv"] {
        let two = closures(&format!("{case} --mode two --solver {solver}"));
        assert_eq!(two, ["bash-0:1-1.x86_64 newvi-0:2-1.x86_64 tar-0:1-1.x86_64 y-0:1-1.x86_64"]);
        // Like Koschei: members may be capabilities, of any architecture, and conditional members
        // do not count.
        let joint = closures(&format!("{case} --mode joint --solver {solver}"));
        assert_eq!(joint, ["bash-0:1-1.x86_64 bsd-0:1-1.x86_64 rel-0:1-1.x86_64 vi-0:1-1.x86_64 z-0:1-1.i686"]);
    }
}

/// Resolves the group with both solvers.
fn group(packages: &[Pkg], members: &str, arch: &str, mode: Mode) -> (GroupVerdict, String) {
    let comps = format!("<comps><group><id>build</id><packagelist>{members}</packagelist></group></comps>");
    let comps = Groups::parse(comps.as_bytes(), "comps.xml", &Limits::default()).unwrap();
    let members = comps.installed("build").unwrap();
    let universe = Universe::load(Arc::new(content(packages)), arch).unwrap();
    let [ours, libsolv] = [Solvers::Both, Solvers::Libsolv]
        .map(|solvers| universe.prepare_with(&members, mode, solvers).unwrap().group().clone());
    assert_eq!((ours.ok, &ours.closure, &ours.skipped), (libsolv.ok, &libsolv.closure, &libsolv.skipped));
    let names = universe.names(&ours.closure).join(" ");
    (ours, names)
}

#[rstest]
#[case::an_obsoleter_of_an_obsoleter_does_not_come_along(
    &[pkg("a-1-1.x86_64"), pkg("b-1-1.x86_64").obsoletes(&["a"]), pkg("c-1-1.x86_64").obsoletes(&["b"])],
    r#"<packagereq>a</packagereq>"#,
    "b-0:1-1.x86_64"
)]
#[case::the_condition_is_the_attribute_not_the_kind(
    &[pkg("a-1-1.x86_64"), pkg("b-1-1.x86_64"), pkg("c-1-1.x86_64"), pkg("o-1-1.x86_64")],
    r#"<packagereq type="conditional">a</packagereq><packagereq type="mandatory" requires="nope">b</packagereq>
       <packagereq type="default" requires="a">c</packagereq><packagereq type="optional">o</packagereq>"#,
    "a-0:1-1.x86_64 c-0:1-1.x86_64"
)]
#[case::conditions_are_capabilities(
    &[
        pkg("a-1-1.x86_64").provides(&["virt"]),
        pkg("y-1-1.x86_64"),
        pkg("z-1-1.x86_64").provides(&["w"]),
        pkg("w-1-1.x86_64").requires(&["missing"]),
    ],
    r#"<packagereq>a</packagereq><packagereq type="conditional" requires="virt">y</packagereq>
       <packagereq type="conditional" requires="virt">w</packagereq>"#,
    "a-0:1-1.x86_64 y-0:1-1.x86_64 z-0:1-1.x86_64"
)]
#[case::a_provider_is_no_member_and_its_version_hides_nothing(
    &[
        pkg("a-1-1.x86_64"),
        pkg("p-1-1.x86_64").provides(&["a = 1"]),
        pkg("n-1-1.x86_64").obsoletes(&["a < 3"]),
        pkg("o-1-1.x86_64").obsoletes(&["a < 1"]),
    ],
    r#"<packagereq>a</packagereq>"#,
    "n-0:1-1.x86_64"
)]
#[case::an_inferior_architecture_may_be_chosen(
    &[pkg("a-1-1.i686"), pkg("a-1-1.x86_64").requires(&["missing"])],
    r#"<packagereq>a</packagereq>"#,
    "a-0:1-1.i686"
)]
#[case::a_better_architecture_is_chosen_before_a_newer_version(
    &[pkg("a-2-1.i686"), pkg("a-1-1.x86_64")],
    r#"<packagereq>a</packagereq>"#,
    "a-0:1-1.x86_64"
)]
#[case::an_older_version_that_can_be_installed(
    &[pkg("a-1-1.x86_64"), pkg("a-2-1.x86_64").requires(&["missing"])],
    r#"<packagereq>a</packagereq><packagereq type="default">a</packagereq>"#,
    "a-0:1-1.x86_64"
)]
#[case::noarch_is_not_the_base_architecture(
    &[pkg("a-1-1.noarch"), pkg("b-1-1.noarch"), pkg("c-1-1.x86_64")],
    r#"<packagereq basearchonly="true">a</packagereq><packagereq basearchonly="false">b</packagereq>
       <packagereq basearchonly="true">c</packagereq>"#,
    "b-0:1-1.noarch c-0:1-1.x86_64"
)]
#[case::a_name_and_nothing_else(
    &[pkg("b-1-1.x86_64").files(&["/bin/b"])],
    r#"<packagereq>b</packagereq><packagereq>b.x86_64</packagereq><packagereq>b-1</packagereq>
       <packagereq>b = 1</packagereq><packagereq>/bin/b</packagereq>"#,
    "b-0:1-1.x86_64"
)]
fn group_install(#[case] packages: &[Pkg], #[case] members: &str, #[case] closure: &str) {
    let (verdict, names) = group(packages, members, "x86_64", Mode::Two);
    assert!(verdict.ok, "{:?}", verdict.problems);
    assert_eq!(names, closure);
}

/// A member that exists but cannot be installed breaks the group. A missing member is skipped and
/// named.
#[test]
fn a_missing_member_is_passed_over_a_broken_one_is_not() {
    let packages = [pkg("a-1-1.x86_64").requires(&["missing"]), pkg("b-1-1.x86_64"), pkg("z-1-1.aarch64")];
    let (verdict, names) =
        group(&packages, "<packagereq>b</packagereq><packagereq>c</packagereq>", "x86_64", Mode::Two);
    assert_eq!((verdict.skipped.as_slice(), names.as_str()), (&["c".to_owned()][..], "b-0:1-1.x86_64"));
    let (verdict, _) = group(&packages, "<packagereq>b</packagereq><packagereq>a</packagereq>", "x86_64", Mode::Two);
    assert!(!verdict.ok && verdict.problems.iter().any(|p| p.contains("missing")), "{:?}", verdict.problems);
    // A member of an architecture that cannot be installed exists and is broken.
    let (verdict, _) = group(&packages, "<packagereq>z</packagereq>", "x86_64", Mode::Two);
    assert!(!verdict.ok, "{verdict:?}");
}

/// Packages hidden by modules are counted together with other skipped ones.
#[test]
fn what_modules_hide_is_counted() {
    let data = format!("{}/tests/data/cases/modular", env!("CARGO_MANIFEST_DIR"));
    let stats = |more: &str, json: &str| {
        let repo = format!("{data}/repo{more}");
        let args = ["resolve", "--repo", &repo, "--buildrequires", &format!("{data}/br.jsonl"), "--stats", json];
        let done = koschei(&args[..if json.is_empty() { 6 } else { 7 }]);
        String::from_utf8(done.stderr).unwrap()
    };
    let counted = |more: &str| serde_json::from_str::<Value>(&stats(more, "--jsonl")).unwrap()["passed_over"].clone();
    assert_eq!(counted(""), serde_json::json!({ "package_hidden_by_modules": 2 }));
    assert_eq!(counted(",module_hotfixes=1"), serde_json::json!({}));
    let people = stats("", "");
    assert!(people.contains("       2 package left out: modules hide it\n"), "{people}");
}

#[test]
fn case_modular() {
    let case = "--repo DATA/cases/modular/repo HOTFIX --buildrequires DATA/cases/modular/br.jsonl --jsonl";
    for (mode, solver) in [("two", "both"), ("two", "libsolv"), ("joint", "both")] {
        let case = format!("{case} --mode {mode} --solver {solver}");
        let out = run(&case.replace(" HOTFIX", "")).unwrap();
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["closure"], serde_json::json!(["webd-0:1-1.x86_64"]), "the default stream");
        assert_eq!(lines[1]["closure"], serde_json::json!(["other-0:5-1.x86_64"]), "no stream is enabled");
        assert_eq!(
            lines[2]["problems"],
            serde_json::json!([
                "no package found for build requirement webd = 2; filtered by modules: webd-0:2-1.x86_64"
            ])
        );
        let hotfix = run(&case.replace(" HOTFIX", ",module_hotfixes=1")).unwrap();
        assert!(hotfix.contains("webd-0:2-1.x86_64") && hotfix.contains("other-0:9-1.x86_64"), "{hotfix}");
    }
}
