//! The service with two hubs: a collection watched on a hub where we have no login, and built on
//! the other.

use std::process::Command;
use std::time::Duration;

use koschei::decide::eligibility::stopped;
use koschei::decide::{Hold, Policy};
use koschei::fold::{EvidenceKind, State};
use koschei::log::EventLog;
use koschei::model::{self, PackageState, RepoId, TaskId};

use crate::hub::value::row;
use crate::hub::{DumpTask, Gate, Hub, Lie, NewWorld, Outcome, Settings};
use crate::live::Live;
use crate::serve::first::{libfoo, small};

const ARCHES: [&str; 2] = ["x86_64", "aarch64"];
const REBUILT: [&str; 4] = ["bash", "make", "libfoo", "app"];

/// Makes a `Live` whose hub is the building one, and a second hub, `riscv`, that is only watched.
/// Both have the same packages in tags of the same names. Their numbers differ, and so does the tag
/// used for building.
pub(crate) fn two_hubs() -> (Live, Hub) {
    let mut live = Live::new();
    let watched = Hub::start(Settings::new(live.dir.path().join("riscv")));
    small(&watched);
    small(&live.hub);
    NewWorld::on(&live.hub)
        .tag("f99-riscv-build", "x86_64 aarch64")
        .inherits("f99-riscv-build", &["f99"])
        .build_group("f99-riscv-build", &["bash", "make"])
        .target("f99-riscv", "f99-riscv-build", "f99")
        .ready(["f99-build", "f99-riscv-build"]);
    live.tables = format!(
        r#"
[[hub]]
name = "riscv"
server = "{}"
topurl = "{}"
auth = "none"
poll_secs = 1
reconcile_secs = 3600
requests_per_second = 1000

[policy]
build_threshold = 100
load_threshold = 1000
tick_interval_secs = 1

[[collection]]
name = "riscv"
hub = "riscv"
target = "f99"
track_all = true
builds_on = {{ hub = "primary", target = "f99-riscv", srpm_root = "../mirror" }}
"#,
        watched.url(),
        watched.topurl(),
    );
    (live, watched)
}

/// A collection of the building hub itself, with packages of the same names.
const LOCAL: &str = r#"
[[collection]]
name = "local"
target = "f99"
track_all = true
"#;

/// Makes a new version of a library on the watched hub, with a repository. The building hub gets
/// its source package too.
fn bump(watched: &Hub, builds: &Hub, version: &str) -> RepoId {
    builds.change(|tx| tx.import_build(&libfoo(version)));
    watched.change(|tx| tx.import_into("f99", &libfoo(version)));
    RepoId(watched.change(|tx| tx.new_repo("f99-build")))
}

/// Number of tasks that [`foreign`] makes: enough that ours get the same numbers.
const FOREIGN: usize = 30;

/// Makes tasks on the watched hub in the name of our user, like another Koschei.
fn foreign(watched: &Hub) {
    watched.change(|tx| {
        let names = REBUILT.iter().cycle().take(FOREIGN);
        names.map(|name| format!("{name}-1-1")).try_for_each(|nvr| {
            tx.scratch_build("koschei", "f99", &nvr, row! {})?;
            Ok(())
        })
    });
}

fn is(s: &State, collection: &str, package: &str, state: PackageState) -> bool {
    s.package(collection, package).is_some_and(|p| p.state(true) == state)
}

fn hub(name: &str) -> model::Hub {
    model::Hub::new(name)
}

/// Runs `koschei status --json` on the log.
fn status(live: &Live) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    let out = command.args(["status", "--json", "--db", &live.db]).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_on_one_hub_and_built_on_another() {
    let (mut live, watched) = two_hubs();
    live.tables.push_str(LOCAL);
    foreign(&watched);
    live.start();
    let builders = live.hub.start_builders(Duration::from_millis(20));
    let both = |s: &State| {
        REBUILT.iter().all(|p| ["riscv", "local"].iter().all(|c| is(s, c, p, PackageState::Ok)))
            && is(s, "riscv", "lone", PackageState::Unresolved)
    };
    let state = live.wait("everything is rebuilt", both).await;
    let tasks = live.hub.dump().tasks;
    assert_eq!(tasks.len(), 8, "one for each package and collection: {tasks:?}");
    let mirrored: Vec<_> = tasks.iter().filter(|t| t.source.starts_with("../mirror/packages/")).collect();
    assert_eq!(mirrored.len(), 4, "{tasks:?}");
    assert!(mirrored.iter().all(|t| t.scratch && t.owner == "koschei" && t.repo.is_none()), "{mirrored:?}");
    let theirs = watched.dump().tasks;
    assert_eq!(theirs.len(), FOREIGN, "nothing was submitted there: {theirs:?}");
    assert!(theirs.iter().any(|t| mirrored.iter().any(|ours| ours.id == t.id)), "some numbers are the same");
    let hands_off = |m: &str| ["sslLogin", "build", "cancelTask", "exclusiveSession"].contains(&m);
    assert!(!watched.calls().keys().any(|m| hands_off(m)), "{:?}", watched.calls());
    assert!(state.hubs[&hub("riscv")].tasks.values().all(|t| t.collection.is_none()), "they are not ours");
    for package in REBUILT {
        let evidence = &state.package("riscv", package).unwrap().evidence;
        let scratch: Vec<_> = evidence.iter().filter(|e| matches!(e.kind, EvidenceKind::Scratch(_))).collect();
        assert_eq!(scratch.len(), 1, "{package}: {evidence:?}");
        assert_eq!((scratch[0].hub.as_ref(), scratch[0].repo), (Some(&hub("primary")), Some(RepoId(1))), "{package}");
        let own = &state.package("local", package).unwrap().base().unwrap();
        assert_eq!((own.hub.as_ref(), own.repo), (None, Some(RepoId(2))), "{package}");
    }
    assert_eq!(state.collections["riscv"].tag_arches, ARCHES);

    // A change on the watched hub, and a package that fails to build with it.
    live.hub.rule("app", None, Outcome::FailBuild);
    let repo = bump(&watched, &live.hub, "1.1");
    let failed = |s: &State| {
        is(s, "riscv", "app", PackageState::Failing) && is(s, "riscv", "libfoo", PackageState::Ok) && s.running() == 0
    };
    let state = live.wait("a package fails", failed).await;
    assert_eq!(state.package("riscv", "app").unwrap().base().unwrap().repo, Some(repo));
    assert!(is(&state, "local", "app", PackageState::Ok), "nothing changed there");
    live.hub.rule("app", None, Outcome::Ok);
    let repo = bump(&watched, &live.hub, "1.2");
    // A package that began to fail is tried once more, maybe before this repository is known. A
    // rebuild without a target would be refused and would wait, so the target is removed only
    // later.
    live.wait("and builds again", |s| {
        let base = s.package("riscv", "app").unwrap().base().unwrap();
        is(s, "riscv", "app", PackageState::Ok) && base.repo == Some(repo) && s.running() == 0 && s.rebuilds.is_empty()
    })
    .await;

    // Without its target the collection stops and says why.
    live.hub.change(|tx| tx.delete_target("f99-riscv"));
    let state = live.wait("its target is seen to be gone", |s| s.collections["riscv"].target_gone).await;
    assert_eq!(stopped(&state, &state.collections["riscv"], &Policy::default()), [Hold::TargetGone]);
    assert_eq!(stopped(&state, &state.collections["local"], &Policy::default()), []);
    let before = live.hub.dump().tasks.len();
    let repo = bump(&watched, &live.hub, "1.3");
    let resolved = |s: &State| s.collections["riscv"].arches.values().all(|a| a.repo_id == Some(repo));
    let state = live
        .wait("it is looked at all the same", |s| resolved(s) && s.last_evaluation > s.collections["riscv"].resolved_at)
        .await;
    assert_eq!(live.hub.dump().tasks.len(), before, "nothing is submitted: {:?}", state.rebuilds);
    let shown = status(&live);
    let of =
        |name: &str| shown["collections"].as_array().unwrap().iter().find(|c| c["collection"] == name).unwrap().clone();
    assert_eq!(of("riscv")["builds_on"]["target"], "f99-riscv");
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    let text = String::from_utf8(command.args(["status", "--db", &live.db]).output().unwrap().stdout).unwrap();
    assert!(text.contains("  built on hub primary, target f99-riscv\n"), "{text}");
    assert_eq!(of("riscv")["stopped"][0], "the collection's build target does not exist");
    assert_eq!((of("local").get("stopped"), of("local").get("builds_on")), (None, None));
    live.hub.change(|tx| tx.create_target("f99-riscv", "f99-riscv-build", "f99"));
    live.wait("it goes on", |s| {
        !s.collections["riscv"].target_gone && s.running() == 0 && {
            let base = s.package("riscv", "app").unwrap().base().unwrap();
            base.repo == Some(repo)
        }
    })
    .await;
    drop(builders);
    live.stop();
    let state = live.state().await;
    assert!(state.anomalies.is_empty(), "{:?}", state.anomalies);
    let log = live.log().await;
    let audit = koschei::tools::audit::audit(&log, &mut |_| {}).await.unwrap();
    log.close().await;
    assert_eq!(audit.findings, []);
}

/// The service is killed while a submission is at the building hub's gate, and again while its
/// answer is on its way. A decision is one task.
#[tokio::test(flavor = "multi_thread")]
async fn killed_around_submission_there_is_one_task() {
    let (mut live, watched) = two_hubs();
    for lie in [Lie::Gate as fn(Gate) -> Lie, Lie::GateAfter] {
        let gate = Gate::default();
        live.hub.misbehave("build", lie(gate.clone()), 1);
        live.start();
        let (builds, standing) = (live.hub.clone(), gate.clone());
        tokio::task::spawn_blocking(move || builds.wait_at(&standing)).await.unwrap();
        live.kill();
        gate.open();
    }
    live.start();
    let state = live
        .wait("all are submitted", |s| s.rebuilds.len() == 4 && s.rebuilds.values().all(|r| r.task.is_some()))
        .await;
    let decided: Vec<u64> = state.rebuilds.keys().map(|r| r.0).collect();
    let tasks = live.hub.dump().tasks;
    let mut made: Vec<u64> = tasks.iter().map(DumpTask::decided).collect();
    made.sort_unstable();
    assert_eq!(made, decided, "each decision is one task");
    for r in state.rebuilds.values() {
        let (on, task) = r.task.clone().unwrap();
        assert!(on == hub("primary") && tasks.iter().any(|t| TaskId(t.id) == task));
    }
    assert_eq!(watched.dump().tasks, []);
    live.stop();
}

/// Operators' words about such a collection while the service runs.
#[tokio::test(flavor = "multi_thread")]
async fn operators_have_a_collection_built_elsewhere() {
    let (mut live, _watched) = two_hubs();
    live.top = "[policy]\npassive = true\n".to_owned();
    live.tables =
        live.tables.replace("[policy]\nbuild_threshold = 100\nload_threshold = 1000\ntick_interval_secs = 1\n", "");
    live.start();
    let met = |s: &State| {
        ["primary", "riscv"].iter().all(|h| s.hubs.get(&hub(h)).is_some_and(|h| h.reconciled_through.is_some()))
    };
    live.wait("both hubs are known", met).await;
    let db = live.db.clone();
    let admin = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        let out = command
            .arg("admin")
            .args(args)
            .args(["--wait", "120", "--db", &db])
            .env_remove("SUDO_USER")
            .output()
            .unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stderr).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let refused = |args: &[&str], why: &str| {
        let (done, said) = admin(args);
        assert!(!done && said.contains(why), "{args:?}: {said}");
    };
    let create = ["create-collection", "two", "--hub", "riscv", "--target", "f99", "--builds-on"];
    refused(&[&create[..], &["primary"]].concat(), "add --builds-on-target");
    refused(&[&create[..], &["riscv", "--builds-on-target", "f99"]].concat(), "its own hub");
    refused(&[&create[..], &["nowhere", "--builds-on-target", "f99"]].concat(), "no hub `nowhere` is known");
    assert_eq!(admin(&[&create[..], &["primary", "--builds-on-target", "f99-riscv"]].concat()), (true, String::new()));
    refused(&["edit-collection", "two", "--builds-on", "third"], "add --builds-on-target");
    refused(&["edit-collection", "two", "--hub", "primary"], "its own hub");
    assert!(admin(&["edit-collection", "two", "--srpm-root", "../mirror"]).0);
    assert!(admin(&["edit-collection", "two", "--max-builds", "3"]).0);
    let state =
        live.wait("it is edited", |s| s.collections.get("two").is_some_and(|c| c.settings.max_builds.is_some())).await;
    let on = state.collections["two"].settings.builds_on.clone().unwrap();
    assert_eq!((on.hub, on.target.as_str(), on.srpm_root.as_str()), (hub("primary"), "f99-riscv", "../mirror"));
    assert!(admin(&["edit-collection", "two", "--builds-on", ""]).0);
    live.wait("its own hub builds again", |s| s.collections["two"].settings.builds_on.is_none()).await;
    live.stop();
}
