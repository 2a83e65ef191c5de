//! The official `koji` command works against the test hub. The install step puts a pinned version
//! into cargo's target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use crate::hub::{Hub, Login, NewBuild, NewWorld, Outcome, Pki, Settings};

/// Returns the path of the `koji` command.
fn koji() -> &'static Path {
    static KOJI: OnceLock<PathBuf> = OnceLock::new();
    KOJI.get_or_init(|| {
        let koji = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("koji-client").join("bin/koji");
        assert!(koji.is_file(), "there is no {}: run deploy/install-deps.sh build test", koji.display());
        koji
    })
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = text(&output);
    assert!(output.status.success(), "{command:?} failed:\n{text}");
    text
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A hub over TLS with builds, a repository and a user with a certificate.
struct Lab {
    hub: Hub,
    config: PathBuf,
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new(&dir.path().join("pki"));
        let hub = Hub::start_with(Settings::new(dir.path().join("top")), Login::Certificate(pki.clone()));
        let both = &["x86_64", "aarch64"];
        let builds = [
            NewBuild::new("bash-5.2-1.fc99").binary("bash", both, &[]),
            NewBuild::new("app-1-1.fc99").binary("app", both, &["bash"]),
        ];
        NewWorld::on(&hub).release("f99", "x86_64 aarch64", &[]).builds("f99", builds).ready(["f99-build"]);
        let config = dir.path().join("koji.conf");
        let text = hub.profile("koji", Some((&pki.user("koschei"), &pki.ca()))) + "poll_interval = 1\n";
        std::fs::write(&config, text).unwrap();
        Self { hub, config, dir }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(koji());
        command
            .arg("-c")
            .arg(&self.config)
            .args(args)
            .env("HOME", self.dir.path())
            .env_remove("KOJI_PROFILE")
            .env("PYTHONWARNINGS", "ignore");
        command
    }

    fn koji(&self, args: &[&str]) -> String {
        run(&mut self.command(args))
    }
}

#[test]
fn lists_without_login() {
    let lab = Lab::new();
    let tagged = lab.koji(&["--noauth", "list-tagged", "f99"]);
    let lines: Vec<&str> = tagged.lines().skip(2).map(|l| l.split_whitespace().next().unwrap()).collect();
    assert_eq!(lines, ["app-1-1.fc99", "bash-5.2-1.fc99"]);
    let tagged = lab.koji(&["--noauth", "list-tagged", "--latest", "--inherit", "f99-build", "bash"]);
    assert!(tagged.contains("bash-5.2-1.fc99") && tagged.contains("f99") && !tagged.contains("app"), "{tagged}");
    let rpms = lab.koji(&["--noauth", "list-tagged", "--latest", "--rpms", "--arch", "src", "f99"]);
    assert!(rpms.contains("app-1-1.fc99.src"), "{rpms}");
}

#[test]
fn shows_history() {
    let lab = Lab::new();
    lab.hub.change(|tx| tx.untag_build("f99", "bash-5.2-1.fc99"));
    let history = lab.koji(&["--noauth", "list-history", "--tag", "f99", "--utc"]);
    for line in [
        "package list entry created: bash in f99 by kojiadmin [still active]",
        "bash-5.2-1.fc99 tagged into f99 by kojiadmin",
        "bash-5.2-1.fc99 untagged from f99 by kojiadmin",
        "app-1-1.fc99 tagged into f99 by kojiadmin [still active]",
    ] {
        assert!(history.contains(line), "{line}\n{history}");
    }
    let history = lab.koji(&["--noauth", "list-history", "--build", "app-1-1.fc99"]);
    assert!(history.contains("app-1-1.fc99 tagged into f99"), "{history}");
    let history = lab.koji(&["--noauth", "list-history", "--package", "app", "--tag", "f99"]);
    assert!(history.contains("package owner alice set for app in f99"), "{history}");
}

/// Writes the file of a source package on the hub, and returns its path.
fn source(lab: &Lab) -> String {
    let path = lab.dir.path().join("app-1-1.fc99.src.rpm");
    lab.hub
        .see(|w| std::fs::write(&path, crate::hub::srpm::file(w.source_of("app-1-1.fc99.src.rpm").unwrap())).unwrap());
    path.display().to_string()
}

fn task(lab: &Lab) -> i64 {
    lab.hub.dump().tasks.last().unwrap().id
}

#[test]
fn builds_cancels_and_shows_tasks() {
    let lab = Lab::new();
    let source = source(&lab);
    let said = lab.koji(&["build", "--scratch", "--nowait", "--arch-override", "x86_64", "f99", &source]);
    let id = task(&lab).to_string();
    assert!(said.contains(&format!("Created task: {id}")), "{said}");
    let uploaded = walk(&lab.dir.path().join("top/work"));
    assert!(uploaded.iter().any(|f| f.ends_with("app-1-1.fc99.src.rpm")), "{uploaded:?}");
    let info = lab.koji(&["--noauth", "taskinfo", "-r", "-v", &id]);
    for line in ["Type: build", "Owner: koschei", "State: free", "Build Target: f99", "arch_override"] {
        assert!(info.contains(line), "{line}\n{info}");
    }
    lab.koji(&["cancel", &id]);
    assert_eq!(lab.hub.dump().tasks[0].state, 3);
    let info = lab.koji(&["--noauth", "taskinfo", &id]);
    assert!(info.contains("State: canceled"), "{info}");
    // A user may not cancel another user's task.
    let other = lab.hub.change_as("alice", |tx| {
        let request = vec![source.as_str().into(), "f99".into(), crate::hub::value::row! { "scratch" => true }];
        let owner = tx.user_id("alice")?;
        Ok(tx.make_task(crate::hub::ops::tasks::NewTask {
            owner,
            ..crate::hub::ops::tasks::NewTask::new("build", request)
        }))
    });
    let output = lab.command(&["cancel", &other.to_string()]).output().unwrap();
    assert!(text(&output).contains("not owner"), "{}", text(&output));
}

fn walk(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p.display().to_string()] }).collect()
}

#[test]
fn waits_for_a_build_and_watches_another() {
    let lab = Lab::new();
    let source = source(&lab);
    let builders = lab.hub.start_builders(Duration::from_millis(100));
    let said = lab.koji(&["build", "--scratch", "--wait", "f99", &source]);
    let id = task(&lab);
    for line in [
        format!("{id} build (f99, app-1-1.fc99.src.rpm)"),
        "buildArch (app-1-1.fc99.src.rpm, aarch64)".to_owned(),
        "completed successfully".to_owned(),
    ] {
        assert!(said.contains(&line), "{line}\n{said}");
    }
    drop(builders);
    lab.hub.rule("app", Some("aarch64"), Outcome::FailBuild);
    lab.koji(&["build", "--scratch", "--nowait", "f99", &source]);
    let id = task(&lab).to_string();
    lab.hub.work_all();
    let output = lab.command(&["watch-task", &id]).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "a failed task is a failure\n{said}");
    assert!(
        said.contains("FAILED: BuildError: error building package (arch aarch64), mock exited with status 1"),
        "{said}"
    );
    let info = lab.koji(&["--noauth", "taskinfo", "-r", &id]);
    assert!(info.contains("State: failed") && info.contains("Type: buildArch"), "{info}");
}

/// Other commands that people use: hosts, repositories, builds, packages, targets.
#[test]
fn looks_around() {
    let lab = Lab::new();
    assert!(lab.koji(&["hello"]).contains("koschei"));
    let info = lab.koji(&["--noauth", "buildinfo", "app-1-1.fc99"]);
    assert!(info.contains("State: COMPLETE") && info.contains("Tags: f99"), "{info}");
    assert!(lab.koji(&["--noauth", "list-targets"]).contains("f99-build"));
    assert!(lab.koji(&["--noauth", "list-pkgs", "--tag", "f99"]).contains("bash"));
    assert!(lab.koji(&["--noauth", "taginfo", "f99-build"]).contains("x86_64 aarch64"));
    assert!(lab.koji(&["--noauth", "list-hosts"]).contains("kojibuilder1"));
    assert!(lab.koji(&["--noauth", "rpminfo", "app-1-1.fc99.x86_64"]).contains("SIGMD5"));
    let latest = lab.koji(&["--noauth", "latest-build", "f99-build", "bash"]);
    assert!(latest.contains("bash-5.2-1.fc99"), "{latest}");
    lab.koji(&["build", "--scratch", "--nowait", "f99", &source(&lab)]);
    assert!(lab.koji(&["--noauth", "list-tasks"]).contains("build (f99, app-1-1.fc99.src.rpm)"));
}
