//! The service on hubs whose policies restrict it. Counted in the hub's own table.

use std::process::Command;
use std::time::Duration;

use koschei::decide::Hold;
use koschei::decide::eligibility::stopped;
use koschei::fold::State;
use koschei::model::PackageState;
use rstest::rstest;

use crate::hub::Settings;
use crate::live::Live;
use crate::serve::first::{COLLECTION, small};

const BUILDABLE: [&str; 4] = ["bash", "make", "libfoo", "app"];

fn rebuilt(s: &State) -> bool {
    BUILDABLE.iter().all(|p| s.package("f99", p).is_some_and(|p| p.state(true) == PackageState::Ok)) && s.running() == 0
}

fn koschei(live: &Live, args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).args(["--db", &live.db]).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Returns the doctor's check of our permissions: status, and the rest of the line.
fn permissions(live: &Live) -> String {
    let config = live.config();
    let out = koschei(live, &["doctor", "--json", "--timeout", "120", "--config", config.to_str().unwrap()]);
    let out: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    let check = out["checks"].as_array().unwrap().iter().find(|c| c["check"] == "permissions").unwrap();
    format!("{}: {} -> {}", check["status"], check["found"], check["advice"])
}

/// Returns the number of a package's tasks that are bound to a repository, and of those that are
/// not.
fn tasks(live: &Live, package: &str) -> (usize, usize) {
    let tasks = live.hub.dump().tasks;
    let of: Vec<_> = tasks.iter().filter(|t| t.source.contains(&format!("/{package}-"))).collect();
    let bound = of.iter().filter(|t| t.repo.is_some()).count();
    (bound, of.len() - bound)
}

/// Koji's own default.
#[tokio::test(flavor = "multi_thread")]
async fn rebuilds_are_not_bound_where_only_administrators_may() {
    let mut live = Live::new();
    live.hub.settings(|s| s.may_use_repo_id = false);
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    live.start();
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    live.wait("everything is rebuilt", rebuilt).await;
    for package in BUILDABLE {
        let (bound, unbound) = tasks(&live, package);
        assert!(bound <= 1 && unbound == 1, "{package}: {bound} bound, {unbound} not");
    }
    let said = live.said();
    assert_eq!(said.matches("does not allow rebuilds bound to repositories").count(), 1, "{said}");
    let why = koschei(&live, &["why", "app"]);
    assert!(why.contains("build_from_repo_id refuses it since") && why.contains("tried again from"), "{why}");
    let doctor = permissions(&live);
    assert!(doctor.starts_with("\"warning\"") && doctor.contains("build_from_repo_id"), "{doctor}");

    // The hub's operator allows it, and an operator of ours resumes.
    live.hub.settings(|s| s.may_use_repo_id = true);
    koschei(&live, &["admin", "resume"]);
    koschei(&live, &["admin", "set-priority", "-c", "f99", "--points", "1000", "app"]);
    live.wait("it is bound again", |s| s.hubs.values().all(|h| h.unbound.is_none()) && rebuilt(s)).await;
    assert!(tasks(&live, "app").0 >= 1);
    assert!(live.said().contains("allows rebuilds bound to repositories again"), "{}", live.said());
    live.stop();
}

/// If there is no fallback, the collection stops, and shows that everywhere.
#[rstest]
#[case::may_not_build("", |s: &mut Settings| s.may_build = false, "build_rpm")]
#[case::may_not_build_source_packages("", |s: &mut Settings| s.may_use_srpm = false, "build_from_srpm")]
#[case::always_bound("bind_repo = \"always\"", |s: &mut Settings| s.may_use_repo_id = false, "build_from_repo_id")]
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_stops_and_says_why(
    #[case] of_hub: &str,
    #[case] forbid: fn(&mut Settings),
    #[case] policy: &str,
) {
    let mut live = Live::new();
    live.hub.settings(forbid);
    small(&live.hub);
    live.tables = format!("{of_hub}\n[policy]\ntick_interval_secs = 1\n{COLLECTION}");
    live.start();
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    let stops = |s: &State| s.collections.get("f99").is_some_and(|c| c.refused.is_some()) && s.running() == 0;
    let state = live.wait("it has stopped", stops).await;
    // Time passes, and nothing more is requested.
    let then = state.last_tick.map(|t| t.plus_secs(3));
    let state = live.wait("some ticks have passed", |s| s.last_tick > then).await;
    for package in BUILDABLE {
        let (bound, unbound) = tasks(&live, package);
        assert_eq!(bound + unbound, 1, "{package}");
    }
    let why = stopped(&state, &state.collections["f99"], &koschei::decide::Policy::default());
    assert!(matches!(&why[..], [Hold::PolicyRefused { policy: p, .. }] if p == policy), "{why:?}");
    let said = live.said();
    assert_eq!(said.matches("does not allow rebuilds of the collection").count(), 1, "{said}");
    let status = koschei(&live, &["status"]);
    assert!(status.contains(policy), "{status}");
    let doctor = permissions(&live);
    assert!(doctor.starts_with("\"failed\"") && doctor.contains(policy), "{doctor}");
    live.stop();
}
