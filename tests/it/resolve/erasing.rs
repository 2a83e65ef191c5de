//! Mode two with mock's `--allowerasing`: a package of the build group is erased if a BuildRequires
//! cannot be installed with it.

use std::path::Path;
use std::sync::Arc;

use koschei::buildroot::archive_resolver::ArchiveResolver;
use koschei::buildroot::repo_resolver::{OwnSources, RepoResolver, Unit};
use koschei::buildroot::stored::Stored;
use koschei::buildroot::verdicts::Closures;
use koschei::koji::Archive;
use koschei::model::{Hub, RepoId};
use koschei::resolve::{Handover, Mode, Resolution, ResolveOptions, Universe};
use rstest::rstest;
use serde_json::Value;

use crate::resolve::cli::run;
use crate::tiny::{Pkg, content, pkg};

const CASE: &str =
    "--repo DATA/cases/resolve/allowerasing/repo --buildrequires DATA/cases/resolve/allowerasing/br.jsonl --mode two";

/// As in Fedora from 42 on: systemd replaces systemd-standalone-sysusers. The right answer is that
/// of dnf 4.14.
#[test]
fn allowerasing() {
    let line: Value = serde_json::from_str(&run(&format!("{CASE} --jsonl")).unwrap()).unwrap();
    let names = |list: &Value| {
        let all = list.as_array().unwrap().iter();
        all.map(|n| n.as_str().unwrap().rsplitn(3, '-').last().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line["ok"], true);
    assert_eq!(names(&line["closure"]), "device-mapper newfoo rpm setup systemd tools");
    assert_eq!(names(&line["erased"]), "systemd-standalone-sysusers");
    let text = run(CASE).unwrap();
    let said = "Erased       systemd-standalone-sysusers-0:257-1.noarch of the build group, for dm-1-1\n";
    assert!(text.contains(said), "{text}");
    let joint = run(&CASE.replace("two", "joint")).unwrap();
    assert!(joint.contains("Resolved     1") && !joint.contains("Erased"), "{joint}");
}

#[test]
fn explain_says_for_what() {
    let text = run(&format!("{CASE} --explain dm-1-1")).unwrap();
    let said = "Erased from the build group\n  systemd-standalone-sysusers-0:257-1.noarch: cannot be installed \
        together with systemd-0:257-1.noarch\n";
    assert!(text.ends_with(said), "{text}");
    let lines = run(&format!("{CASE} --explain dm-1-1 --jsonl")).unwrap();
    let last = r#"{"erased":"systemd-standalone-sysusers-0:257-1.noarch","in_the_way":["systemd-0:257-1.noarch"]}"#;
    assert_eq!(lines.lines().last(), Some(last));
    assert_eq!(lines.lines().count(), 7);
}

/// Stored resolutions record erased packages too. Resolutions stored before that existed are read
/// as they were.
#[test]
fn verdicts_that_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases/resolve/allowerasing");
    let arch = dir.path().join("repos/build/1/x86_64");
    std::fs::create_dir_all(arch.join("repodata")).unwrap();
    for file in std::fs::read_dir(case.join("repo/repodata")).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), arch.join("repodata").join(file.file_name())).unwrap();
    }
    std::fs::write(arch.join("../repo.json"), r#"{"id": 1, "tag": "build", "event_id": 1}"#).unwrap();
    std::fs::write(arch.join("pkglist"), "toplink/packages/dm/1/1/noarch/dm-1-1.noarch.rpm\n").unwrap();
    let rpm =
        r#"{"arch": "ARCH", "build_id": 1, "epoch": null, "name": "dm", "version": "1", "release": "1", "id": 1}"#;
    let list: String = ["src", "noarch"].iter().map(|arch| rpm.replace("ARCH", arch) + "\n").collect();
    std::fs::write(arch.join("rpmlist.jsonl"), list).unwrap();
    let source = r#"{"nvr": "dm-1-1", "name": "dm", "requires": ["device-mapper"]}"#;
    std::fs::write(dir.path().join("buildrequires.jsonl"), source).unwrap();
    let hub = Hub::new("primary");
    let resolver = ArchiveResolver::new(Archive::open(dir.path(), hub.clone()).unwrap(), Mode::Two, 1);
    let own = OwnSources::default();
    let (tag, repo, options) = ("build", RepoId(1), ResolveOptions::default());
    let unit = Unit { collection: "c", hub: &hub, tag, repo, arch: "x86_64", group: "build", own: &own, options };
    let bytes = resolver.resolve(&unit).unwrap().to_bytes();
    let read = |bytes: &[u8]| match Stored::from_bytes(bytes).unwrap() {
        Stored::Whole(unit) => Closures::new(*unit),
        Stored::Differs(_) => panic!("it is whole"),
    };
    let names = |bytes: &[u8]| -> Vec<String> {
        read(bytes).unwrap().erased("dm").unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&bytes), ["systemd-standalone-sysusers-0:257-1.noarch"]);
    let text = String::from_utf8(bytes).unwrap();
    let (before, after) = text.split_once("\"erased\":[").unwrap();
    let after = after.split_once(']').unwrap().1;
    let outside = format!("{before}\"erased\":[4000]{after}");
    assert!(read(outside.as_bytes()).is_err(), "outside the table");
    // Old attachments do not have the member.
    let without = format!("{}{after}", before.trim_end_matches(','));
    assert_eq!(names(without.as_bytes()), [""; 0]);
}

fn ask(packages: &[Pkg], group: &[&str], requires: &[&str]) -> (Universe, Resolution) {
    let universe = Universe::load(Arc::new(content(packages)), "x86_64").unwrap();
    let group: Vec<String> = group.iter().map(|m| (*m).to_owned()).collect();
    let answer = universe.prepare(&group, Mode::Two).unwrap().resolver().resolve(requires);
    (universe, answer)
}

/// Every way in which a package of the base can be in the way. Our own solver hands all of them
/// over to libsolv.
#[rstest]
#[case::conflict(&[pkg("new-1-1.noarch").conflicts(&["old"])], "new")]
#[case::conflict_of_the_base(&[pkg("new-1-1.noarch").provides(&["bad"])], "new")]
#[case::obsoletes(&[pkg("new-1-1.noarch").obsoletes(&["below"])], "new")]
#[case::further_down(&[pkg("top-1-1.noarch").requires(&["new"]), pkg("new-1-1.noarch").conflicts(&["old"])], "new top")]
#[case::condition(&[pkg("new-1-1.noarch").requires(&["(nothing if old)"])], "new")]
#[case::one_of_its_requirements(&[pkg("new-1-1.noarch").conflicts(&["below"])], "new")]
fn in_the_way(#[case] more: &[Pkg], #[case] added: &str) {
    let old = [
        pkg("old-1-1.noarch").conflicts(&["bad"]).requires(&["below"]),
        pkg("below-1-1.noarch"),
        pkg("other-1-1.noarch"),
    ];
    let packages: Vec<Pkg> = old.iter().chain(more).cloned().collect();
    let wanted = if added.contains("top") { "top" } else { "new" };
    let (universe, answer) = ask(&packages, &["old", "other"], &[wanted]);
    let names = |ids: &[_]| ids.iter().map(|&id| universe.package(id).name.to_string()).collect::<Vec<_>>();
    assert!(answer.ok && answer.handover.is_some_and(|h| h != Handover::Wanted), "{answer:?}");
    let mut expected: Vec<&str> = added.split(' ').chain(["other"]).collect();
    let gone = names(&answer.erased);
    if !gone.contains(&"below".to_owned()) {
        expected.push("below");
    }
    expected.sort_unstable();
    let mut closure = names(&answer.closure);
    closure.sort_unstable();
    assert_eq!(closure, expected);
    assert!(gone.contains(&"old".to_owned()), "{gone:?}");
}

/// The base meets a condition of a BuildRequires, and what the BuildRequires then asks for is
/// missing: the condition's package is erased. dnf 4.14 does so with `--allowerasing`, and reports
/// "conflicting requests" without it.
#[test]
fn a_condition_is_erased() {
    let packages = [pkg("python3-1-1.noarch"), pkg("gcc-1-1.noarch")];
    let (universe, answer) = ask(&packages, &["python3"], &["gcc", "(missing if python3)"]);
    assert_eq!(universe.names(&answer.closure), ["gcc-0:1-1.noarch"]);
    assert_eq!(universe.names(&answer.erased), ["python3-0:1-1.noarch"]);
    assert!(!ask(&packages, &["python3"], &["(missing if gcc)", "gcc"]).1.ok, "nobody may do without gcc");
}

/// A package that the group brought stays even if the package that required it is erased. Its chain
/// leads over the erased one.
#[test]
fn what_an_erased_package_brought() {
    let packages = [
        pkg("old-1-1.noarch").requires(&["below"]),
        pkg("below-1-1.noarch"),
        pkg("new-1-1.noarch").conflicts(&["old"]),
    ];
    let universe = Universe::load(Arc::new(content(&packages)), "x86_64").unwrap();
    let prepared = universe.prepare(&["old".to_owned()], Mode::Two).unwrap();
    let answer = prepared.resolver().resolve(&["new"]);
    assert_eq!(universe.names(&answer.closure), ["below-0:1-1.noarch", "new-0:1-1.noarch"]);
    let mut explainer = prepared.explainer();
    let chains = explainer.chains(&["new"], &answer.closure);
    let steps: Vec<Vec<String>> = chains
        .iter()
        .map(|chain| {
            chain.as_ref().unwrap().steps.iter().map(|s| universe.package(s.package).name.to_string()).collect()
        })
        .collect();
    assert_eq!(steps, [vec!["old", "below"], vec!["new"]]);
    let [gone] = answer.erased[..] else { panic!("{:?}", answer.erased) };
    assert_eq!(universe.names(&explainer.in_the_way(gone, &answer.closure)), ["new-0:1-1.noarch"]);
}
