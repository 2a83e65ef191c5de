//! `koschei resolve --explain`, `--who-needs`, `--against`: why a package is there, which packages
//! need it, and what broke it.

use std::collections::BTreeMap;
use std::path::Path;

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::resolve::cli::run;
use crate::tiny::{MetaFile, Pkg, pkg, primary_xml, write_repo};

const SOURCES: &str = "--buildrequires DATA/koji/buildrequires.jsonl";

fn koji(generation: u32) -> String {
    format!("DATA/koji/repos/f99-build/{generation}/x86_64")
}

fn lines(line: &str) -> Vec<Value> {
    run(line).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// Every package has a chain from a BuildRequires or a member of the group to the package. The
/// chain is as long as the distance over the installed packages.
#[rstest]
#[case::koji(&format!("--repo {} {SOURCES}", koji(26)), "appbar-7-1.fc99")]
#[case::small("--repo DATA/distro/small/binary --source DATA/distro/small/source", "")]
fn chains_lead_from_the_source_to_every_package(#[case] repo: &str, #[case] source: &str) {
    let resolved = lines(&format!("{repo} --jsonl --distances"));
    let chosen = resolved.iter().filter(|l| l["ok"] == true).filter(|l| source.is_empty() || l["source"] == source);
    let mut seen = 0;
    for line in chosen.take(if source.is_empty() { 3 } else { 1 }) {
        let name = line["source"].as_str().unwrap();
        let explained = lines(&format!("{repo} --jsonl --explain {name}"));
        let packages: Vec<&Value> = explained.iter().map(|l| &l["package"]).collect();
        assert_eq!(json!(packages), line["closure"], "{name}");
        let mut least: BTreeMap<String, u64> = BTreeMap::new();
        for entry in &explained {
            let chain = entry["chain"].as_array().unwrap();
            assert_eq!(chain.last().unwrap()["package"], entry["package"]);
            if entry["origin"] == "build_requires" {
                let distance = entry["true_distance"].as_u64().unwrap();
                assert_eq!(distance, chain.len() as u64, "{entry}");
                let package = entry["package"].as_str().unwrap();
                let (package, _) = package.rsplit_once('-').unwrap().0.rsplit_once('-').unwrap();
                let known = least.entry(package.to_owned()).or_insert(distance);
                *known = distance.min(*known);
            } else {
                assert!(entry["in_group"] == true && entry["true_distance"].is_null(), "{entry}");
            }
        }
        assert_eq!(json!(least), line["true_distance"], "{name}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn a_chain_step_by_step() {
    let line = format!("--repo {} {SOURCES} --explain bash-5.2.32-2.fc99", koji(26));
    let explained = lines(&format!("{line} --jsonl"));
    let zlib = explained.iter().find(|l| l["package"] == "zlib-0:1.3.1-2.fc99.x86_64").unwrap();
    let chain: Vec<&str> =
        zlib["chain"].as_array().unwrap().iter().map(|s| s["requirement"].as_str().unwrap()).collect();
    assert_eq!(chain, ["gcc", "binutils >= 2.31", "libz.so.1()(64bit)"]);
    assert_eq!((&zlib["distance"], &zlib["true_distance"]), (&json!(3), &json!(3)));

    let text = run(&line).unwrap();
    assert!(
        text.starts_with("bash-5.2.32-2.fc99 on x86_64: 42 packages, 31 of them of the build group\nBuildRequires\n")
    );
    assert!(
        text.contains("\n    binutils >= 2.31 → binutils-0:2.43-2.fc99.x86_64\n      libz.so.1()(64bit) → zlib-"),
        "{text}"
    );
    assert_eq!(text.matches(" → ").count(), 42, "each package once");
}

#[test]
fn what_does_not_resolve_says_what_to_do_next() {
    let text = run(&format!("--repo {} {SOURCES} --explain appbar-7-1.fc99", koji(5))).unwrap();
    assert!(
        text.starts_with("appbar-7-1.fc99 cannot be resolved on x86_64\n") && text.contains("--against DIR"),
        "{text}"
    );
    let line = &lines(&format!("--repo {} {SOURCES} --explain appbar-7-1.fc99 --jsonl", koji(5)))[0];
    assert!(line["ok"] == false && !line["problems"].as_array().unwrap().is_empty(), "{line}");
}

#[test]
fn who_needs_a_capability() {
    let dir = tempdir().unwrap();
    let repo = repository(
        &dir.path().join("r/x86_64"),
        &[
            pkg("base-1-1.noarch"),
            pkg("lib-1-1.noarch").provides(&["so.1"]).files(&["/opt/lib"]),
            pkg("app-1-1.noarch").requires(&["so.1", "(so.1 or other)"]),
            pkg("not-1-1.noarch").requires(&["(base if so.1)"]),
        ],
    );
    let sources = dir.path().join("s.jsonl");
    std::fs::write(
        &sources,
        "{\"nvr\":\"x-1-1\",\"requires\":[\"so.1\"]}\n{\"nvr\":\"y-1-1\",\"requires\":[\"app\"]}\n\
         {\"nvr\":\"z-1-1\",\"requires\":[\"not\"]}\n{\"nvr\":\"n-1-1\",\"requires\":[\"nothing\",\"so.1 >= 2\"]}\n",
    )
    .unwrap();
    let line = format!("--repo {repo} --buildrequires {} --who-needs so.1", sources.display());
    let expected = [
        json!({ "kind": "provides", "package": "lib-0:1-1.noarch" }),
        json!({ "kind": "requires", "package": "app-0:1-1.noarch", "requirements": ["so.1", "(so.1 or other)"] }),
        json!({ "kind": "build_requires", "source": "x-1-1", "requirements": ["so.1"] }),
        json!({ "kind": "build_requires", "source": "n-1-1", "requirements": ["so.1 >= 2"] }),
        json!({ "kind": "in_buildroot", "source": "x-1-1", "packages": ["lib-0:1-1.noarch"] }),
        json!({ "kind": "in_buildroot", "source": "y-1-1", "packages": ["lib-0:1-1.noarch"] }),
    ];
    assert_eq!(lines(&format!("{line} --jsonl")), expected);
    let text = run(&line).unwrap();
    assert!(text.contains("In buildroots  of 2 source packages of 3 that resolve"), "{text}");
    let file = run(&line.replace("so.1", "/opt/lib")).unwrap();
    assert!(file.contains("Provided by    1 packages\n  lib-0:1-1.noarch\nRequired by    0"), "{file}");
    assert!(run(&line.replace("so.1", "so1")).unwrap().contains("No package knows it"));
}

/// The recorded soname bump, and the tool that lost a file. A breakage repaired in between is no
/// cause.
#[test]
fn the_change_that_broke_recorded_packages() {
    let against = |old: &[u32], new: u32| {
        let old: String = old.iter().map(|g| format!(" --against {}", koji(*g))).collect();
        lines(&format!("--repo {} {SOURCES}{old} --jsonl", koji(new)))
    };
    let found = against(&[4], 5);
    let broken: Vec<(&Value, &Value)> =
        found.iter().filter(|l| l["outcome"] == "broken").map(|l| (&l["source"], &l["cause"])).collect();
    let id = &json!("libfoo.x86_64 1.0-1.fc99 -> 2.0-1.fc99 @1");
    assert_eq!(broken, [(&json!("appbar-7-1.fc99"), id), (&json!("docfoo-20240901-1.fc99"), id)]);
    let cause = found.last().unwrap();
    assert_eq!(
        (&cause["cause"], &cause["effect"], &cause["what"]),
        (id, &json!("lost"), &json!("libfoo.so.1()(64bit)"))
    );
    assert_eq!((&cause["sources"], &cause["built_from"]["new"]), (&json!(2), &json!("libfoo-2.0-1.fc99")));
    let changed = found.iter().find(|l| l["source"] == "libbar-0.9-1.fc99").unwrap();
    assert_eq!(
        changed["changes"][0],
        json!({
            "name": "libfoo", "arch": "x86_64", "old": "1.0-1.fc99", "new": "2.0-1.fc99", "distance": 2
        })
    );
    let repaired: Vec<Value> = against(&[5], 7).into_iter().filter(|l| l["outcome"] == "repaired").collect();
    assert_eq!(repaired.len(), 2);

    let found = against(&[1, 4, 5, 13], 23);
    let cause = found.last().unwrap();
    assert_eq!(cause["cause"], "python3-pytest.noarch 8.3.3-1.fc99 -> 8.4.0-1.fc99 @4");
    assert!(cause["from"].as_str().unwrap().contains("/13/") && cause["to"].as_str().unwrap().contains("/23/"));
    assert_eq!(found.iter().filter(|l| !l["cause"].is_null() && !l["source"].is_null()).count(), 2);
}

#[test]
fn causes_for_people() {
    let dir = tempdir().unwrap();
    let base = || pkg("base-1-1.noarch");
    let needs = || pkg("app-1-1.noarch").requires(&["so.1"]);
    let g0 = repository(&dir.path().join("0/x86_64"), &[base(), needs(), pkg("lib-1-1.noarch").provides(&["so.1"])]);
    let g1 = repository(&dir.path().join("1/x86_64"), &[base(), needs(), pkg("lib-2-1.noarch").provides(&["so.2"])]);
    let g2 = repository(&dir.path().join("2/x86_64"), &[pkg("base-2-1.noarch"), needs(), pkg("lib-3-1.noarch")]);
    let sources = dir.path().join("s.jsonl");
    std::fs::write(
        &sources,
        "{\"nvr\":\"x-1-1\",\"requires\":[\"app\"]}\n{\"nvr\":\"y-1-1\",\"requires\":[\"nothing\"]}\n\
         {\"nvr\":\"z-1-1\",\"requires\":[]}\n",
    )
    .unwrap();
    let sources = sources.display();
    let text = run(&format!("--repo {g2} --against {g0} --against {g1} --buildrequires {sources}")).unwrap();
    for expected in [
        "Resolved     1 source packages, before 1\n",
        "Broken       0 source packages\nStill broken 1 source packages that once resolved\n",
        "    1  lib.noarch 1-1 → 2-1\n       no longer provides so.1\n",
        "         x-1-1: app → so.1\n",
        "    1  resolve in none of the given repositories\n",
        "Changed      1 source packages with another buildroot\n  z-1-1: base 1-1 → 2-1\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let same = run(&format!("--repo {g0} --against {g0} --buildrequires {sources}")).unwrap();
    assert!(same.contains("Broken       0") && !same.contains("Changed"), "{same}");
}

#[rstest]
#[case::capability("--who-needs=", "write it as in a spec file")]
#[case::unknown_source("--explain nothing-1-1", "find source package nothing-1-1: not in")]
#[case::no_repository("--against DATA/koji", "name the directory that holds repodata/")]
#[case::one_question_at_a_time("--explain a-1-1 --against DATA/koji", "cannot be used with")]
fn errors_say_what_to_do(#[case] flags: &str, #[case] expected: &str) {
    let error = run(&format!("--repo {} {SOURCES} {flags}", koji(5))).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

/// Makes a repository on disk with the build group `base`. Returns its path as text.
fn repository(dir: &Path, packages: &[Pkg]) -> String {
    let xml = primary_xml(packages);
    write_repo(dir, &[MetaFile { kind: "primary", name: "primary.xml", bytes: xml.as_bytes(), open_size: None }]);
    let groups = dir.parent().unwrap().join("groups");
    std::fs::create_dir_all(&groups).unwrap();
    let comps = "<comps><group><id>build</id><packagelist><packagereq \
        type=\"default\">base</packagereq></packagelist></group></comps>";
    std::fs::write(groups.join("comps.xml"), comps).unwrap();
    dir.display().to_string()
}
