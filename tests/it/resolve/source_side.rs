//! What source packages say about how they are built: requirements bound to an architecture,
//! excluded architectures, and headers of the packages themselves. Tested through the command and
//! through a whole recording.

use std::path::Path;

use koschei::fold::Package;
use koschei::log::EventLog as _;
use koschei::log::folding;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::recorded::{open, recorded};
use crate::resolve::cli::run;
use crate::tiny::{MetaFile, Pkg, pkg, primary_xml, write_repo};

const COMPS: &str = "<comps><group><id>build</id><packagelist><packagereq \
    type=\"mandatory\">base</packagereq></packagelist></group></comps>";

fn repo(dir: &Path, arch: &str, packages: &[Pkg]) -> String {
    let xml = primary_xml(packages);
    let file = |kind, name, bytes| MetaFile { kind, name, bytes, open_size: None };
    write_repo(
        &dir.join(arch),
        &[file("primary", "primary.xml", xml.as_bytes()), file("group", "comps.xml", COMPS.as_bytes())],
    );
    dir.join(arch).to_str().unwrap().to_owned()
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns what the specimen needs on an architecture with this ISA, without the 32-bit libraries.
fn with_libraries(arch: &str, isa: &str) -> Vec<Pkg> {
    let nevra = |name: &str| format!("{name}.{arch}");
    vec![
        pkg("base-1-1.noarch"),
        pkg(&nevra("gcc-14-1")),
        pkg(&nevra("make-4-1")).provides(&["make = 4-1", &format!("make({isa}) = 4-1")]),
        pkg(&nevra("libfoo-devel-1:2.1-1")).provides(&[
            "libfoo-devel = 1:2.1-1",
            &format!("libfoo-devel({isa}) = 1:2.1-1"),
            "pkgconfig(x) = 3",
        ]),
        pkg(&nevra("libbar-devel-2-1")).provides(&["libbar-devel = 2-1", &format!("libbar-devel({isa}) = 2-1")]),
        pkg(&nevra("perl-5-1")).files(&["/usr/bin/perl"]),
    ]
}

const SPECIMEN: &str = "DATA/srpm/specimen-1.0~rc1-2.fc99.src.rpm";

/// The header says that the specimen was made on `x86_64`. That ISA is translated. The 32-bit one
/// is intended and stays.
#[test]
fn source_packages_themselves() {
    let dir = tempdir().unwrap();
    let x86 = repo(
        dir.path(),
        "x86_64",
        &[
            with_libraries("x86_64", "x86-64"),
            vec![pkg("glibc-devel-2-1.i686").provides(&["glibc-devel(x86-32) = 2-1"])],
        ]
        .concat(),
    );
    let run_on = |repo: &str| {
        lines(&run(&format!("--repo {repo} --srpm {SPECIMEN} DATA/srpm/plain-7-1.src.rpm --jsonl")).unwrap())
    };
    let closure = json!([
        "base-0:1-1.noarch",
        "gcc-0:14-1.x86_64",
        "glibc-devel-0:2-1.i686",
        "libbar-devel-0:2-1.x86_64",
        "libfoo-devel-1:2.1-1.x86_64",
        "perl-0:5-1.x86_64"
    ]);
    let plain = json!(["base-0:1-1.noarch", "make-0:4-1.x86_64"]);
    assert_eq!(
        run_on(&x86),
        [
            json!({"source": "specimen-3:1.0~rc1-2.fc99", "ok": true, "closure": closure}),
            json!({"source": "plain-7-1", "ok": true, "closure": plain})
        ]
    );

    let arm = run_on(&repo(dir.path(), "aarch64", &with_libraries("aarch64", "aarch-64")));
    let problems = arm[0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "only what is meant for 32 bits is missing: {problems:?}");
    assert!(problems[0].as_str().unwrap().contains("glibc-devel(x86-32)"), "{problems:?}");
    assert_eq!(arm[1]["closure"], json!(["base-0:1-1.noarch", "make-0:4-1.aarch64"]), "a noarch header says nothing");

    // Without libfoo, the message has both names.
    let packages: Vec<Pkg> = with_libraries("aarch64", "aarch-64").drain(..3).collect();
    let arm = run_on(&repo(dir.path(), "aarch64", &packages));
    let problems = arm[0]["problems"].to_string();
    assert!(problems.contains("libfoo-devel(aarch-64) is libfoo-devel(x86-64)"), "{problems}");
}

/// Neither resolved nor unresolved: a JSON line that says so, and a separate line for people.
#[test]
fn not_for_this_architecture() {
    let dir = tempdir().unwrap();
    let s390x = repo(dir.path(), "s390x", &with_libraries("s390x", "s390-64"));
    let line = format!("--repo {s390x} --srpm {SPECIMEN} --srpm DATA/srpm/plain-7-1.src.rpm");
    assert_eq!(
        lines(&run(&format!("{line} --jsonl --distances")).unwrap()),
        [
            json!({"source": "specimen-3:1.0~rc1-2.fc99", "not_for_this_arch": "is in ExcludeArch"}),
            json!({"source": "plain-7-1", "not_for_this_arch": "is not in ExclusiveArch"})
        ]
    );
    let text = run(&line).unwrap();
    assert!(text.contains("Unresolved   0 source packages\nNot for s390x   2 source packages\n"), "{text}");
    assert!(text.contains("specimen-3:1.0~rc1-2.fc99: s390x is in ExcludeArch"), "{text}");
}

#[rstest]
#[case::no_file("--srpm DATA/nothing.src.rpm", "nothing.src.rpm")]
#[case::not_a_package("--srpm DATA/srpm/README.md", "README.md: it is not an RPM package")]
#[case::two_kinds("--srpm DATA/x.src.rpm --source DATA/distro/small/source", "cannot be used with")]
#[case::not_there(&format!("--srpm {SPECIMEN} --packages other-1-1"), "find source package other-1-1: not in")]
fn errors_name_the_file(#[case] rest: &str, #[case] expected: &str) {
    let error = run(&format!("--repo DATA/koji/repos/f99-build/26/x86_64 {rest}")).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

/// The file says where it was made. If it does not, the repository decides what is meant.
#[test]
fn a_file_of_requirements() {
    let dir = tempdir().unwrap();
    let both = vec![
        pkg("base-1-1.noarch"),
        pkg("libc-1-1.x86_64").provides(&["libc(x86-64) = 1-1"]),
        pkg("libc-1-1.i686").provides(&["libc(x86-32) = 1-1"]),
        pkg("libz-1-1.x86_64").provides(&["libz(x86-64) = 1-1"]),
    ];
    let repo = repo(dir.path(), "x86_64", &both);
    let file = dir.path().join("b.jsonl");
    let text = "{\"nvr\":\"known-1-1\",\"requires\":[\"libc(x86-32)\"],\"made_on\":\"x86_64\"}\n\
                {\"nvr\":\"other-1-1\",\"requires\":[\"libc(x86-32)\"],\"made_on\":\"i686\"}\n\
                {\"nvr\":\"meant-1-1\",\"requires\":[\"libc(x86-32)\"]}\n\
                {\"nvr\":\"absent-1-1\",\"requires\":[\"libz(x86-32)\"]}\n";
    std::fs::write(&file, text).unwrap();
    let line = format!("--repo {repo} --buildrequires {} --jsonl", file.display());
    let installed = |out: String| -> Vec<Option<String>> {
        lines(&out).iter().map(|l| Some(l["closure"].as_array()?[1].as_str()?.to_owned())).collect()
    };
    let [native, foreign] = ["libc-0:1-1.x86_64", "libc-0:1-1.i686"].map(|n| Some(n.to_owned()));
    let literal = installed(run(&line).unwrap());
    assert_eq!(literal, [foreign.clone(), foreign.clone(), foreign.clone(), None]);
    let translated = installed(run(&format!("{line} --translate-isa")).unwrap());
    assert_eq!(translated, [foreign.clone(), native, foreign, Some("libz-0:1-1.x86_64".to_owned())]);
}

/// The oracle takes requirements literally, and so does the plain command. If they are translated,
/// `appbar` also resolves on `aarch64`, and nothing else changes.
#[rstest]
fn the_recording_literally_and_translated(
    #[values("x86_64", "aarch64")] arch: &str,
    #[values("f99-build/5", "f99-build/26")] repo: &str,
) {
    let line = format!(
        "--repo DATA/koji/repos/{repo}/{arch} --buildrequires DATA/koji/buildrequires.jsonl --mode joint --arch {arch} \
            --jsonl"
    );
    let of_nvr = |out: &str| -> std::collections::BTreeMap<String, Value> {
        lines(out).into_iter().map(|l| (l["source"].as_str().unwrap().to_owned(), l)).collect()
    };
    let literal = of_nvr(&run(&line).unwrap());
    let oracle = format!("{}/tests/data/koji/oracle/{repo}/{arch}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let mut compared = 0;
    for expected in lines(&std::fs::read_to_string(oracle).unwrap()).iter().skip(1) {
        let found = &literal[expected["nvr"].as_str().unwrap()];
        assert_eq!(found["ok"], expected["ok"], "{found}");
        if expected["ok"] == true {
            let names = |v: &Value| -> Vec<String> {
                let all = v["closure"].as_array().unwrap().iter();
                all.map(|n| n.as_str().unwrap().replace("-0:", "-")).collect()
            };
            let (mut found, mut expected) = (names(found), names(expected));
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
        compared += 1;
    }
    assert!(compared > 20);
    let translated = of_nvr(&run(&format!("{line} --translate-isa")).unwrap());
    let changed: Vec<&String> = literal.keys().filter(|k| literal[*k]["ok"] != translated[*k]["ok"]).collect();
    let is_broken = repo.ends_with("/5");
    match (arch, is_broken) {
        ("aarch64", false) => assert_eq!(changed, ["appbar-7-1.fc99"]),
        _ => assert!(changed.is_empty(), "{changed:?}"),
    }
    let problems = literal["appbar-7-1.fc99"]["problems"].to_string();
    assert_eq!(problems.contains("libfoo-devel(x86-64)"), arch == "aarch64", "{problems}");
}

/// The engine always translates: `appbar` is not called broken on an architecture where it builds.
/// `x86tool` has no verdict on its excluded architecture, and resolves as a whole.
#[tokio::test]
async fn the_engine_on_the_recording() {
    let log = open(recorded()).await;
    let state = folding::from_start(&log, None, &mut |_| {}).await.unwrap();
    let packages = &state.collections["f99-build"].packages;
    let verdicts = |p: &Package| -> Vec<(String, Option<bool>)> {
        let mut all: Vec<_> = p.verdicts.iter().map(|v| (v.arch.to_string(), v.ok)).collect();
        all.sort();
        all
    };
    let row = |arch: &str, ok| (arch.to_owned(), ok);
    let appbar = &packages["appbar"];
    assert_eq!(verdicts(appbar), [row("aarch64", Some(true)), row("x86_64", Some(true))]);
    assert_eq!(appbar.resolved, Some(true));
    let x86tool = &packages["x86tool"];
    assert_eq!(verdicts(x86tool), [row("aarch64", None), row("x86_64", Some(true))]);
    assert_eq!(x86tool.resolved, Some(true));
    log.close().await;
}
