//! Architectures in requests have the build tag's spelling, whatever repositories and operators
//! use. Also which overrides are valid.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rstest::rstest;
use serde_json::Value;

use crate::hub::{Hub, NewBuild, NewWorld, V};
use crate::live::Live;
use crate::recorded::koschei;

/// Returns the path of a case from a bug report.
fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases/service").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory for a log.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn ingest(&self, case: &Path, config: Option<&Path>) -> Output {
        let (from, archive) = (case.join("events.jsonl"), case.join("archive"));
        let (db, commands) = (self.path("log.db"), self.path("commands.jsonl"));
        let mut args = vec!["ingest", "--from", from.to_str().unwrap(), "--archive", archive.to_str().unwrap()];
        args.extend(["--db", &db, "--commands", &commands]);
        args.extend(config.map(|c| ["--config", c.to_str().unwrap()]).into_iter().flatten());
        koschei(&args)
    }

    /// Ingests a case with foo's architectures overridden. Returns the architectures of its only
    /// rebuild.
    fn arches(&self, case: &Path, over: &str) -> Vec<String> {
        let config = self.configuration(over);
        let out = self.ingest(case, Some(&config));
        assert!(out.status.success(), "{}", text(&out.stderr));
        let commands = std::fs::read_to_string(self.path("commands.jsonl")).unwrap();
        let commands: Vec<Value> = commands.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert_eq!(commands[0]["nvr"], "foo-1-1.fc99");
        commands[0]["arches"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()).collect()
    }

    fn configuration(&self, over: &str) -> PathBuf {
        let path = self.0.path().join("koschei.toml");
        let package = match over {
            "" => String::new(),
            over => format!("[[collection.package]]\nname='foo'\narch_override='{over}'\n"),
        };
        let collection = "[[collection]]\nname='f99'\nbuild_tag='f99-build'\ndest_tag='f99'\ntrack_all=true\n";
        std::fs::write(&path, format!("{collection}{package}")).unwrap();
        path
    }
}

/// This case's repository has the directory `i386`, and its packages are `i686`.
#[rstest]
#[case("", &["i686", "x86_64"])]
#[case("i686", &["i686"])]
#[case("i386", &["i686"])]
#[case("i386 x86_64", &["i686", "x86_64"])]
#[case("i586, x86_64", &["i686", "x86_64"])]
#[case("^x86_64", &["i686"])]
#[case("^i386", &["x86_64"])]
fn as_the_packages_spell_it(#[case] over: &str, #[case] expected: &[&str]) {
    assert_eq!(Desk::new().arches(&case("i386-override"), over), expected);
}

/// Packages with another spelling than the usual one.
#[test]
fn as_other_packages_spell_it() {
    let desk = Desk::new();
    let older = desk.0.path().join("case");
    let copied = std::process::Command::new("cp").arg("-r").arg(case("i386-override")).arg(&older).status().unwrap();
    assert!(copied.success());
    let dir = older.join("archive/repos/f99-build/1/i386");
    std::fs::remove_dir_all(dir.join("repodata")).unwrap();
    let packages = [crate::tiny::pkg("R-1-1.fc99.i586"), crate::tiny::pkg("foo-1-1.fc99.i586")];
    let primary = crate::tiny::primary_xml(&packages);
    let file =
        crate::tiny::MetaFile { kind: "primary", name: "primary.xml", bytes: primary.as_bytes(), open_size: None };
    crate::tiny::write_repo(&dir, &[file]);
    assert_eq!(desk.arches(&older, ""), ["i586", "x86_64"]);
}

#[rstest]
#[case("^s390x ppc64le")]
#[case("^s390x, ^ppc64le")]
#[case("^ s390x ppc64le")]
fn a_caret_before_a_list_excludes_all_of_it(#[case] over: &str) {
    assert_eq!(Desk::new().arches(&case("caret-list"), over), ["aarch64", "x86_64"]);
}

#[test]
fn the_case_as_it_came() {
    let (desk, case) = (Desk::new(), case("caret-list"));
    let out = desk.ingest(&case, Some(&case.join("koschei.toml")));
    assert!(out.status.success(), "{}", text(&out.stderr));
    let command: Value = serde_json::from_str(&std::fs::read_to_string(desk.path("commands.jsonl")).unwrap()).unwrap();
    assert_eq!(command["arches"], serde_json::json!(["aarch64", "x86_64"]));
}

#[rstest]
#[case("aarhc64", "did you mean `aarch64`?")]
#[case("^s390x aarhc64", "did you mean `aarch64`?")]
#[case("x86-64", "did you mean `x86_64`?")]
#[case("asdf", "`asdf` is no architecture")]
#[case("x86_64 ^s390x", "excludes after architectures that replace")]
fn what_nobody_has_is_refused_at_once(#[case] over: &str, #[case] says: &str) {
    let (desk, case) = (Desk::new(), case("i386-override"));
    let said = text(&desk.ingest(&case, Some(&desk.configuration(over))).stderr);
    assert!(said.contains(says) && said.contains("package `foo`"), "{said}");
    assert!(!Path::new(&desk.path("log.db")).exists(), "nothing was begun");
    // The same by command, on a log.
    assert!(desk.ingest(&case, Some(&desk.configuration(""))).status.success());
    let db = desk.path("log.db");
    let out = koschei(&["admin", "set-arch-override", "-c", "f99", "--arches", over, "foo", "--db", &db]);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains(says), "{}", text(&out.stderr));
}

/// An override by command has the same effect as by configuration. If the tag lacks an
/// architecture, every view of the package says so.
#[test]
fn by_command() {
    let (desk, case) = (Desk::new(), case("caret-list"));
    assert!(desk.ingest(&case, Some(&desk.configuration(""))).status.success());
    let db = desk.path("log.db");
    let set =
        ["admin", "set-arch-override", "-c", "f99", "--arches", "^s390x riscv64", "foo", "--db", &db, "--no-wait"];
    assert!(koschei(&set).status.success());
    let said = text(&desk.ingest(&case, None).stderr);
    assert!(said.contains("does not have") && said.contains("riscv64") && !said.contains("s390x\""), "{said}");
    let why = text(&koschei(&["why", "foo", "--db", &db]).stdout);
    assert!(why.contains("overridden (`^s390x ^riscv64`), and its build tag has no riscv64"), "{why}");
    let status: Value = serde_json::from_slice(&koschei(&["status", "--json", "--db", &db]).stdout).unwrap();
    let foo = status["packages"].as_array().unwrap().iter().find(|p| p["package"] == "foo").unwrap();
    assert_eq!(foo["override_absent"], serde_json::json!(["riscv64"]));
}

const ARCHES: [&str; 2] = ["x86_64", "i686"];

/// Makes a distribution with a 32-bit architecture.
fn multilib(hub: &Hub) {
    let build =
        |name: &str| NewBuild::new(&format!("{name}-1-1.fc99")).build_requires(&["bash"]).binary(name, &ARCHES, &[]);
    NewWorld::on(hub)
        .release("f99", "i686 x86_64", &["bash"])
        .builds("f99", ["bash", "both", "small", "large"].map(build))
        .ready(["f99-build"]);
}

/// On a hub: the option of `build`, and what is built.
#[tokio::test(flavor = "multi_thread")]
async fn as_the_tag_of_a_hub_spells_it() {
    let mut live = Live::new();
    multilib(&live.hub);
    live.tables =
        "[policy]\nload_threshold = 1000\n[[collection]]\nname = \"f99\"\ntarget = \"f99\"\ntrack_all = true\n\
        [[collection.package]]\nname = \"small\"\narch_override = \"i386\"\n\
        [[collection.package]]\nname = \"large\"\narch_override = \"^i386 s390x\"\n"
            .to_owned();
    live.start();
    let builders = live.hub.start_builders(Duration::from_millis(20));
    live.wait("everything is rebuilt", |s| {
        ["bash", "both", "small", "large"]
            .iter()
            .all(|p| s.package("f99", p).is_some_and(|p| p.state(true) == koschei::model::PackageState::Ok))
    })
    .await;
    live.says("does not have").await;
    drop(builders);
    live.stop();
    assert!(live.said().contains("s390x"), "the running service says what the tag lacks");
    let sent = |package: &str| {
        live.hub.see(|w| {
            let source = format!("{package}-1-1.fc99.src.rpm");
            let is_it = |t: &&crate::hub::rows::Task| {
                t.method == "build" && t.request[0].as_str().is_some_and(|s| s.ends_with(&source))
            };
            let task = w.tasks.iter().find(is_it).unwrap();
            let option = task.request[2].get("arch_override").and_then(V::as_str).map(str::to_owned);
            let steps = w.children(task.id).filter(|t| t.method == "buildArch");
            let mut built: Vec<String> = steps.map(|t| t.label.clone().unwrap_or_default()).collect();
            built.sort();
            (option.unwrap_or_default(), built.join(" "))
        })
    };
    assert_eq!(sent("both"), ("i686 x86_64".to_owned(), "i686 x86_64".to_owned()));
    assert_eq!(sent("small"), ("i686".to_owned(), "i686".to_owned()));
    assert_eq!(sent("large"), ("x86_64".to_owned(), "x86_64".to_owned()));
}
