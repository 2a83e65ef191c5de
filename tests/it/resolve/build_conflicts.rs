//! BuildConflicts in mode `two`, as in dnf 5's builddep. The right answers come from reading dnf
//! 5's source.

use std::path::Path;
use std::sync::Arc;

use koschei::buildroot::archive_resolver::ArchiveResolver;
use koschei::buildroot::repo_resolver::{OwnSources, RepoResolver, Unit};
use koschei::koji::Archive;
use koschei::model::{Hub, RepoId};
use koschei::resolve::{BuildRequires, Handover, Mode, Resolution, ResolveOptions, Solvers, Universe};
use rstest::rstest;
use serde_json::Value;

use crate::resolve::cli::run;
use crate::tiny::{Pkg, content, pkg};

const CASE: &str =
    "--repo DATA/cases/resolve/buildconflicts/repo --srpm DATA/cases/resolve/buildconflicts/bc2-1-1.src.rpm";

#[rstest]
#[case::as_dnf5("--mode two", "tool-b-0:1-1.noarch")]
#[case::as_koschei("--mode joint", "tool-a-0:1-1.noarch")]
#[case::as_dnf4("--mode two --ignore-build-conflicts", "tool-a-0:1-1.noarch")]
fn the_case(#[case] args: &str, #[case] expected: &str) {
    for solver in ["both", "libsolv"] {
        let out = run(&format!("{CASE} --jsonl {args} --solver {solver}")).unwrap();
        let line: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(line["closure"], serde_json::json!([expected]), "{out}");
    }
}

/// Asks both solvers. Their answers are equal.
fn ask(mode: Mode, packages: &[Pkg], group: &[&str], requires: &[&str], conflicts: &[&str]) -> (Universe, Resolution) {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let universe = Universe::load(Arc::new(content(packages)), "x86_64").unwrap();
    let build = BuildRequires::literal(own(requires)).conflicting(own(conflicts));
    let [ours, theirs] = [Solvers::Both, Solvers::Libsolv]
        .map(|solvers| universe.prepare_with(&own(group), mode, solvers).unwrap().resolver().resolve_source(&build));
    assert_eq!((ours.ok, &ours.closure, &ours.erased), (theirs.ok, &theirs.closure, &theirs.erased));
    (universe, ours)
}

/// Two providers of `tool`. The group's `old` brought `below`, and `tool-a` may also be a member of
/// the group.
fn packages() -> Vec<Pkg> {
    vec![
        pkg("tool-a-1-1.noarch").provides(&["tool"]),
        pkg("tool-b-1-1.noarch").provides(&["tool"]).files(&["/usr/bin/tool"]),
        pkg("app-1-1.noarch").requires(&["tool-a"]),
        pkg("old-1-1.noarch").requires(&["below"]),
        pkg("below-1-1.noarch").requires(&["deep"]),
        pkg("deep-1-1.noarch"),
    ]
}

#[rstest]
#[case::another_provider(&[], "tool", "tool-a", "tool-b", "")]
#[case::of_the_group(&["tool-a"], "tool", "tool-a", "tool-b", "tool-a")]
#[case::nothing_asked(&["tool-a", "tool-b"], "", "tool-a", "tool-b", "tool-a")]
#[case::what_only_it_needed_goes_too(&["old", "tool-b"], "", "old", "tool-b", "below deep old")]
#[case::a_member_stays(&["old", "deep"], "", "old", "deep", "below old")]
#[case::what_is_required_stays(&["old"], "below", "old", "below deep", "old")]
#[case::what_needs_it_goes(&["old"], "", "below", "", "below deep old")]
#[case::no_such_package(&["tool-b"], "tool", "nope", "tool-b", "")]
#[case::a_capability_is_no_name(&[], "tool", "tool", "tool-a", "")]
#[case::nor_is_a_path(&[], "tool-b", "/usr/bin/tool", "tool-b", "")]
#[case::a_version_matches_no_name(&[], "tool", "tool-a < 2", "tool-a", "")]
fn kept_out(
    #[case] group: &[&str],
    #[case] requires: &str,
    #[case] conflict: &str,
    #[case] closure: &str,
    #[case] erased: &str,
) {
    let requires: Vec<&str> = requires.split_whitespace().collect();
    let (universe, answer) = ask(Mode::Two, &packages(), group, &requires, &[conflict]);
    let names = |ids: &[_]| {
        let mut names: Vec<_> = ids.iter().map(|&id| universe.package(id).name.to_string()).collect();
        names.sort_unstable();
        names.join(" ")
    };
    assert!(answer.ok, "{:?}", answer.problems);
    assert_eq!((names(&answer.closure).as_str(), names(&answer.erased).as_str()), (closure, erased));
    let heeded = packages().iter().any(|p| format!("{p:?}").contains(&format!("\"{conflict}-1-1.noarch\"")));
    assert_eq!(answer.handover, heeded.then_some(Handover::BuildConflicts), "libsolv is asked only where they matter");
}

#[rstest]
#[case::itself("tool-a", &["tool-a"])]
#[case::further_down("app", &["tool-a"])]
#[case::all_of_them("tool", &["tool-a", "tool-b"])]
fn a_conflict_with_what_is_required(#[case] requires: &str, #[case] conflicts: &[&str]) {
    let (_, answer) = ask(Mode::Two, &packages(), &["below"], &[requires], conflicts);
    let nevras: Vec<String> = conflicts.iter().map(|name| format!("{name}-0:1-1.noarch")).collect();
    let said =
        format!("the source package's BuildConflicts keep out {}; without them it would resolve", nevras.join(", "));
    assert!(!answer.ok && answer.problems[0] == said, "{:?}", answer.problems);
    // A package that is missing anyway is not caused by BuildConflicts.
    let (_, answer) = ask(Mode::Two, &packages(), &["below"], &["tool", "nope"], conflicts);
    assert!(!answer.ok && !answer.problems.iter().any(|p| p.contains("without them")), "{:?}", answer.problems);
    let (_, answer) = ask(Mode::Joint, &packages(), &["below"], &[requires], conflicts);
    assert!(answer.ok, "Koschei passes them over: {:?}", answer.problems);
}

/// `buildrequires.jsonl` may contain them. The digest of a verdict's inputs covers them exactly
/// where they are honoured.
#[test]
fn of_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases/resolve/buildconflicts");
    let arch = dir.path().join("repos/build/1/x86_64");
    std::fs::create_dir_all(arch.join("repodata")).unwrap();
    for file in std::fs::read_dir(case.join("repo/repodata")).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), arch.join("repodata").join(file.file_name())).unwrap();
    }
    std::fs::write(arch.join("../repo.json"), r#"{"id": 1, "tag": "build", "event_id": 1}"#).unwrap();
    std::fs::write(arch.join("pkglist"), "toplink/packages/bc2/1/1/noarch/bc2-1-1.noarch.rpm\n").unwrap();
    let rpm =
        r#"{"arch": "ARCH", "build_id": 1, "epoch": null, "name": "bc2", "version": "1", "release": "1", "id": 1}"#;
    let list: String = ["src", "noarch"].iter().map(|arch| rpm.replace("ARCH", arch) + "\n").collect();
    std::fs::write(arch.join("rpmlist.jsonl"), list).unwrap();
    let of = |line: &str, mode: Mode, heeded: bool| -> (Value, Value) {
        std::fs::write(dir.path().join("buildrequires.jsonl"), line).unwrap();
        let hub = Hub::new("primary");
        let archive = Archive::open(dir.path(), hub.clone()).unwrap();
        let resolver = ArchiveResolver::new(archive, mode, 1).with_build_conflicts(heeded);
        let own = OwnSources::default();
        let (tag, repo, options) = ("build", RepoId(1), ResolveOptions::default());
        let unit = Unit { collection: "c", hub: &hub, tag, repo, arch: "x86_64", group: "build", own: &own, options };
        let kept: Value = serde_json::from_slice(&resolver.resolve(&unit).unwrap().to_bytes()).unwrap();
        (kept["packages"].clone(), kept["inputs"].clone())
    };
    let with = r#"{"nvr": "bc2-1-1", "requires": ["tool"], "conflicts": ["tool-a"]}"#;
    let without = r#"{"nvr": "bc2-1-1", "requires": ["tool"]}"#;
    let (packages, inputs) = of(with, Mode::Two, true);
    assert_eq!(packages, serde_json::json!(["tool-b-0:1-1.noarch"]));
    let none = of(without, Mode::Two, true);
    assert_eq!(none.0, serde_json::json!(["tool-a-0:1-1.noarch"]));
    assert_ne!(inputs, none.1);
    assert_eq!(of(with, Mode::Two, false), none);
    assert_eq!(of(with, Mode::Joint, true), of(without, Mode::Joint, true));
}
