//! `koschei resolve`, called as a function with arguments as typed.

use std::path::Path;

use clap::Parser;
use koschei::cli::resolve::{ResolveArgs, run_to};
use rstest::rstest;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::tempdir;

use crate::tiny::{MetaFile, Pkg, content, pkg, primary_xml, write_repo};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ResolveArgs,
}

/// Runs a command line in which `DATA` stands for the test data.
pub(crate) fn run(line: &str) -> Result<String, String> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let words = line.split_whitespace().map(|w| w.replace("DATA", data.to_str().unwrap()));
    let cli = Cli::try_parse_from(std::iter::once("resolve".to_owned()).chain(words)).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    run_to(&cli.args, &mut out, false).map_err(|e| e.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

fn oracle(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/distro/small/oracle").join(name);
    let text = String::from_utf8(zstd::decode_all(&std::fs::read(path).unwrap()[..]).unwrap()).unwrap();
    text.lines().map(str::to_owned).collect()
}

const SMALL: &str = "--repo DATA/distro/small/binary --source DATA/distro/small/source";
const KOJI: &str = "--repo DATA/koji/repos/f99-build/26/x86_64 --buildrequires DATA/koji/buildrequires.jsonl";

/// The lines equal those of the oracle byte for byte, except for the wording of problems.
#[rstest]
fn lines_are_those_of_the_oracle(#[values("two", "joint")] mode: &str) {
    compare_lines(mode, |_| {});
}

/// Compares the lines with the oracle. `fault` changes the oracle's lines first.
pub(crate) fn compare_lines(mode: &str, fault: fn(&mut Vec<String>)) {
    let out = run(&format!("{SMALL} --mode {mode} --jsonl")).unwrap();
    let mut expected = oracle(&format!("{mode}.jsonl.zst"));
    fault(&mut expected);
    assert_eq!(out.lines().count(), expected.len());
    for (line, expected) in out.lines().zip(&expected) {
        if expected.contains("\"ok\":true") {
            assert_eq!(line, expected);
        } else {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["closure"].is_null() && !line["problems"].as_array().unwrap().is_empty(), "{line}");
        }
    }
}

/// Several threads leave what libsolv has to say to one of them.
#[rstest]
fn threads_do_not_change_the_output(
    #[values("--jsonl --distances", "--jsonl --digest", "--mode joint", "--jsonl --solver libsolv")] options: &str,
) {
    let one = run(&format!("{SMALL} {options} --threads 1")).unwrap();
    for threads in [2, 3, 8] {
        let several = run(&format!("{SMALL} {options} --threads {threads}")).unwrap();
        assert!(one == several, "the same bytes with {threads} threads");
    }
}

#[test]
fn digests_are_those_of_the_closures() {
    let out = run(&format!("{SMALL} --jsonl --digest")).unwrap();
    for (line, expected) in out.lines().zip(oracle("two.jsonl.zst")) {
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let source = expected["source"].as_str().unwrap();
        if expected["ok"] == true {
            let closure: Vec<&str> =
                expected["closure"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
            let digest = hex::encode(&Sha256::digest(closure.join("\n"))[..16]);
            assert_eq!(
                line,
                format!(r#"{{"source":"{source}","ok":true,"count":{},"digest":"{digest}"}}"#, closure.len())
            );
        } else {
            assert_eq!(line, format!(r#"{{"source":"{source}","ok":false,"count":0,"digest":null}}"#));
        }
    }
}

#[test]
fn distances_are_those_of_the_oracle() {
    let out = run(&format!("{SMALL} --jsonl --distances")).unwrap();
    let lines: Vec<Value> =
        out.lines().map(|l| serde_json::from_str(l).unwrap()).filter(|l: &Value| l["ok"] == true).collect();
    let expected = oracle("distance.jsonl.zst");
    assert_eq!(lines.len(), expected.len());
    for line in &lines {
        assert!(line["true_distance"].as_object().is_some_and(|d| !d.is_empty()), "beside, not instead: {line}");
    }
    for (line, expected) in lines.iter().zip(expected) {
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!((&line["source"], &line["distance"]), (&expected["source"], &expected["distance"]));
    }
}

/// Chosen packages come in the order of the file. The architecture is the directory's. Sources
/// excluded from it have no line.
#[test]
fn build_requires_file() {
    let out = run(&format!("{KOJI} --packages sed-4.9-2.fc99,bash-5.2.32-2.fc99 --jsonl")).unwrap();
    let sources: Vec<Value> =
        out.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["source"].clone()).collect();
    assert_eq!(sources, ["bash-5.2.32-2.fc99", "sed-4.9-2.fc99"]);
    let x86 = run(&format!("{KOJI} --jsonl")).unwrap();
    let arm = run(&format!("{} --jsonl", KOJI.replace("x86_64", "aarch64"))).unwrap();
    assert!(x86.contains("\"x86tool-") && !arm.contains("\"x86tool-"), "ExclusiveArch");
    assert!(arm.contains(".aarch64\"") && !arm.contains(".x86_64\""));
}

#[test]
fn summary_for_people() {
    let out = run(KOJI).unwrap();
    assert!(out.contains("mode two") && out.contains("Build group  build: 31 packages"), "{out}");
    assert!(out.contains("Resolved ") && out.contains("Unresolved "), "{out}");
}

#[test]
fn raw_requirements_of_the_hub() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("b.jsonl");
    std::fs::write(
        &file,
        "{\"nvr\":\"x-1-1\",\"raw\":[[\"make\",\"4.0\",12],[\"rpmlib(FileDigests)\",\"4.6.0-1\",16777226]]}\n",
    )
    .unwrap();
    let line = format!("--repo DATA/koji/repos/f99-build/26/x86_64 --buildrequires {} --jsonl", file.display());
    assert!(run(&line).unwrap().starts_with(r#"{"source":"x-1-1","ok":true"#));
    std::fs::write(&file, "{\"nvr\":\"x-1-1\",\"requires\":[]}\nnonsense\n").unwrap();
    assert!(run(&line).unwrap_err().contains("b.jsonl line 2"));
    std::fs::write(&file, "{\"nvr\":\"x-1-1\"}\n").unwrap();
    assert!(run(&line).unwrap_err().contains("neither `requires` nor `raw`"));
}

#[rstest]
#[case::unknown_package(&format!("{KOJI} --packages nothing-1-1"), "find source package nothing-1-1: not in")]
#[case::near_package(&format!("{KOJI} --packages bahs-5.2.32-2.fc99"), "; did you mean bash-5.2.32-2.fc99")]
#[case::only_a_name(&format!("{KOJI} --packages bash"), "; did you mean bash-5.")]
#[case::unknown_arch(&format!("{KOJI} --arch x86_46"), "choose the architecture: `x86_46` is no architecture; did you \
    mean `x86_64`?")]
#[case::no_arch(&format!("{KOJI} --arch toaster"), "choose the architecture: `toaster` is no architecture")]
#[case::no_repo(
    "--repo DATA/koji --buildrequires DATA/koji/buildrequires.jsonl",
    "name the directory that holds repodata/"
)]
#[case::no_group(&format!("{KOJI} --group nonesuch"), "find group `nonesuch`")]
#[case::no_sources("--repo DATA/distro/small/binary", "--source <DIR>")]
#[case::no_file("--repo DATA/distro/small/binary --buildrequires DATA/nothing", "read ")]
fn errors_say_what_to_do(#[case] line: &str, #[case] expected: &str) {
    let error = run(line).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

/// A repository without groups gives a clear error, and a group file helps.
#[test]
fn missing_build_group() {
    let dir = tempdir().unwrap();
    let arch = dir.path().join("x86_64");
    let xml = primary_xml(&[pkg("make-1-1.x86_64")]);
    write_repo(&arch, &[MetaFile { kind: "primary", name: "primary.xml", bytes: xml.as_bytes(), open_size: None }]);
    let file = dir.path().join("b.jsonl");
    std::fs::write(&file, "{\"nvr\":\"x-1-1\",\"requires\":[]}\n").unwrap();
    let line = format!("--repo {} --buildrequires {} --jsonl", arch.display(), file.display());
    let error = run(&line).unwrap_err();
    assert!(error.contains("find the build group") && error.contains("--group-file"), "{error}");

    let comps = "<comps><group><id>build</id><packagelist><packagereq type=\"default\">make</packagereq>\
                 <packagereq type=\"optional\">gone</packagereq></packagelist></group></comps>";
    std::fs::write(dir.path().join("comps.xml"), comps).unwrap();
    let with_file = format!("{line} --group-file {}", dir.path().join("comps.xml").display());
    let expected = "{\"source\":\"x-1-1\",\"ok\":true,\"closure\":[\"make-0:1-1.x86_64\"]}\n";
    assert_eq!(run(&with_file).unwrap(), expected);
    std::fs::create_dir(dir.path().join("groups")).unwrap();
    std::fs::write(dir.path().join("groups/comps.xml"), comps).unwrap();
    assert_eq!(run(&line).unwrap(), expected, "Koji's place for it");
}

/// Case rich-br-message: the text names the build requirement and what is missing. Mode `two`
/// resolves `a` without python3, like dnf with `--allowerasing`.
#[rstest]
fn rich_build_requirements_are_named(#[values("both", "libsolv")] solver: &str) {
    let case = "--repo DATA/cases/resolve/rich-br-message/repo --buildrequires \
        DATA/cases/resolve/rich-br-message/br.jsonl --jsonl";
    let line = |source: &str| -> Value {
        let out = run(&format!("{case} --packages {source}-1-1 --solver {solver}")).unwrap();
        serde_json::from_str(&out).unwrap()
    };
    let expected = "nothing provides missing, asked for by build requirement (missing if gcc); gcc comes with build \
        requirement gcc";
    assert_eq!(line("b"), serde_json::json!({"source": "b-1-1", "ok": false, "problems": [expected]}));
    let erased = ["python3-0:3.8-1.noarch"];
    assert_eq!(line("a"), serde_json::json!({"source": "a-1-1", "ok": true, "closure": [], "erased": erased}));
}

/// In `joint`, a rich build requirement with no matching package is skipped and reported.
#[test]
fn what_is_passed_over_is_said() {
    let case = "--repo DATA/cases/resolve/rich-br-message/repo --buildrequires \
        DATA/cases/resolve/rich-br-message/br.jsonl --mode joint";
    let out = run(&format!("{case} --packages a-1-1 --jsonl")).unwrap();
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&line["ok"], &line["skipped"]), (&Value::Bool(true), &serde_json::json!(["(missing if python3)"])));
    let out = run(&format!("{case} --packages b-1-1")).unwrap();
    assert!(out.contains("  b-1-1: (missing if gcc)\n") && out.contains("Skipped "), "{out}");
}

/// Parts of rich build requirements, and their messages.
#[rstest]
#[case(
    "(none or nothing)",
    "nothing provides none and nothing provides nothing, asked for by build requirement (none or nothing)"
)]
#[case("(gcc and none)", "nothing provides none, asked for by build requirement (gcc and none)")]
#[case("(gcc with none)", "nothing provides (gcc with none), asked for by build requirement (gcc with none)")]
#[case(
    "(none if other else nothing)",
    "nothing provides nothing, asked for by build requirement (none if other else nothing); nothing provides other"
)]
#[case("(gcc if bash else nothing)", "")]
#[case(
    "(broken if bash)",
    "nothing that provides broken can be installed, asked for by build requirement (broken if bash); bash is in the \
        build group"
)]
#[case(
    "(none if /bin/sh)",
    "nothing provides none, asked for by build requirement (none if /bin/sh); /bin/sh is in the build group (by bash)"
)]
fn what_rich_build_requirements_lack(#[case] text: &str, #[case] expected: &str) {
    let packages = [
        pkg("bash-1-1.noarch").provides(&["/bin/sh"]),
        pkg("gcc-1-1.noarch"),
        pkg("broken-1-1.noarch").requires(&["gone"]),
    ];
    let universe = koschei::resolve::Universe::load(std::sync::Arc::new(content(&packages)), "x86_64").unwrap();
    let prepared = universe.prepare(&["bash".to_owned()], koschei::resolve::Mode::Two).unwrap();
    let answer = prepared.resolver().resolve(&["bash", text]);
    assert_eq!(answer.problems.last().map_or("", String::as_str), expected, "{:?}", answer.problems);
    assert_eq!(answer.ok, expected.is_empty());
}

/// Weak dependencies are installed only on request, including those of the build group. A weak
/// dependency that cannot be installed is left out.
#[rstest]
fn weak_dependencies_are_asked_for(#[values("two", "joint")] mode: &str) {
    let dir = tempdir().unwrap();
    let packages = [
        pkg("bash-1-1.noarch").recommends(&["completion"]),
        pkg("completion-1-1.noarch"),
        pkg("tool-1-1.noarch").recommends(&["(docs if bash)", "gone"]),
        pkg("docs-1-1.noarch"),
        pkg("plugin-1-1.noarch").supplements(&["tool"]),
        pkg("hint-1-1.noarch").enhances(&["tool"]),
    ];
    let line = written(dir.path(), &packages, "{\"nvr\":\"x-1-1\",\"requires\":[\"tool\"]}\n");
    let closure = |more: &str| -> Value {
        let out = run(&format!("{line} --mode {mode} --jsonl {more}")).unwrap();
        serde_json::from_str::<Value>(&out).unwrap()["closure"].clone()
    };
    assert_eq!(closure(""), serde_json::json!(["bash-0:1-1.noarch", "tool-0:1-1.noarch"]));
    let names = ["bash", "completion", "docs", "plugin", "tool"].map(|name| format!("{name}-0:1-1.noarch"));
    assert_eq!(closure("--weak-deps"), serde_json::json!(names));
    let refused = run(&format!("{line} --weak-deps --explain x-1-1")).unwrap_err();
    assert!(refused.contains("cannot be used with"), "{refused}");
}

/// Writes a repository whose build group is `bash`, and a file of requirements. Returns the
/// arguments for them.
fn written(dir: &Path, packages: &[Pkg], requires: &str) -> String {
    let (arch, file) = (dir.join("x86_64"), dir.join("b.jsonl"));
    let xml = primary_xml(packages);
    write_repo(&arch, &[MetaFile { kind: "primary", name: "primary.xml", bytes: xml.as_bytes(), open_size: None }]);
    std::fs::create_dir_all(dir.join("groups")).unwrap();
    let comps = "<comps><group><id>build</id><packagelist><packagereq>bash</packagereq></packagelist></group></comps>";
    std::fs::write(dir.join("groups/comps.xml"), comps).unwrap();
    std::fs::write(&file, requires).unwrap();
    format!("--repo {} --buildrequires {}", arch.display(), file.display())
}

/// A build group that cannot be installed gives the same status as a source package that cannot,
/// even without source packages.
#[rstest]
fn a_broken_build_group_exits_with_5(
    #[values("two", "joint")] mode: &str,
    #[values("", "{\"nvr\":\"x-1-1\",\"requires\":[]}\n")] sources: &str,
) {
    let dir = tempdir().unwrap();
    let status = |bash: Pkg, more: &str| {
        let line = format!("resolve {} --mode {mode} {more}", written(dir.path(), &[bash], sources));
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_koschei")).args(line.split_whitespace()).output();
        let done = done.unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let broken = || pkg("bash-1-1.noarch").requires(&["missing"]);
    let (code, said) = status(broken(), "");
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("Build group  build: cannot be installed\n") && said.contains("missing"), "{said}");
    assert_eq!(status(broken(), "--jsonl").0, Some(0), "the verdicts are the answer");
    assert_eq!(status(broken(), "--jsonl --fail-unresolved").0, Some(5));
    assert_eq!(status(pkg("bash-1-1.noarch"), "").0, Some(0));
    assert_eq!(status(pkg("bash-1-1.noarch"), "--jsonl --fail-unresolved").0, Some(0));
}

/// Exit statuses: with `--jsonl`, every verdict is an answer (0). Without it, or with
/// `--fail-unresolved`, an unresolved package gives 5.
#[rstest]
#[case("", 5)]
#[case("--packages b-1-1", 5)]
#[case("--packages b-1-1 --jsonl", 0)]
#[case("--packages b-1-1 --jsonl --fail-unresolved", 5)]
#[case("--packages b-1-1 --mode joint", 0)]
#[case("--packages b-1-1 --mode joint --jsonl --fail-unresolved", 0)]
#[case("--explain b-1-1", 5)]
#[case("--explain b-1-1 --jsonl", 0)]
#[case("--who-needs gcc", 0)]
#[case("--packages x-1-1", 3)]
#[case("--arch aarhc64", 3)]
fn exit_statuses(#[case] words: &str, #[case] expected: i32) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let line = format!(
        "resolve --repo DATA/cases/resolve/rich-br-message/repo --buildrequires \
            DATA/cases/resolve/rich-br-message/br.jsonl {words}"
    );
    let words = line.split_whitespace().map(|w| w.replace("DATA", data.to_str().unwrap()));
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_koschei")).args(words).output().unwrap();
    assert_eq!(done.status.code(), Some(expected), "{}", String::from_utf8_lossy(&done.stderr));
}
