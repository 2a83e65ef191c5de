//! Hubs in trouble, with Koji's own faults, while a rebuild is requested. The decision becomes one
//! task (counted in the hub's table), nothing is lost, and the log says what to do.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use koschei::event::Event;
use koschei::log::EventLog;
use rstest::rstest;

use crate::hub::{Hub, Lie, Settings};
use crate::live::Live;
use crate::serve::first::{COLLECTION, rests, small};

const CLOSED: &str = "closed for maintenance or has no database; the service waits and continues by itself";
const SEARCHED: &str = "Koschei searches its tasks before it repeats the call";

fn koschei(live: &Live, args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).args(["--db", &live.db]).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Returns the number of tasks per decision.
fn decisions(hub: &Hub) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for task in hub.dump().tasks {
        *all.entry(task.metadata["koschei"]["decision"].to_string()).or_default() += 1;
    }
    all
}

/// Starts a service that has rebuilt everything. Returns the number of tasks that took.
async fn settled() -> (Live, crate::hub::state::Builders, usize) {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("[policy]\ntick_interval_secs = 1\n{COLLECTION}");
    live.start();
    let builders = live.hub.start_builders(Duration::from_millis(20));
    live.wait("everything is rebuilt", rests).await;
    let tasks = live.hub.dump().tasks.len();
    (live, builders, tasks)
}

/// Asserts that one more decision has one more task, that no decision has two, and that nothing
/// waits any more.
async fn ends_well(live: &mut Live, before: usize) {
    let hub = live.hub.clone();
    let state = live.wait("it was rebuilt once more", |s| rests(s) && hub.dump().tasks.len() > before).await;
    // Enough time for a second request.
    let then = state.last_tick.map(|t| t.plus_secs(3));
    live.wait("some ticks have passed", |s| s.last_tick > then && s.running() == 0).await;
    let decisions = decisions(&live.hub);
    assert!(decisions.values().all(|n| *n == 1), "{decisions:?}");
    assert_eq!(decisions.len(), before + 1, "{decisions:?}");
    let log = live.log().await;
    let waits = log.counts().await.unwrap();
    assert_eq!((waits.inbox_pending, waits.outbox_pending), (0, 0));
    let events = log.read(None, 100_000).await.unwrap();
    let ended = events.iter().filter(|r| matches!(r.decode().unwrap().event, Event::RebuildFinished(_))).count();
    assert_eq!(ended, before + 1, "each is known to have ended");
    log.close().await;
}

/// While a rebuild is submitted.
#[rstest]
#[case::lockout(|h: &Hub| h.settings(|s| s.lockout = true), "Server disabled for maintenance", CLOSED)]
#[case::offline(|h: &Hub| h.settings(|s| s.offline = Some("back at noon".to_owned())), "back at noon", CLOSED)]
#[case::retry(|h: &Hub| h.misbehave("build", Lie::Fault(1009, "unable to retry call 7 (method \
    build)".to_owned()), 1), "unable to retry call", SEARCHED)]
#[case::cut_off_after_it_was_made(|h: &Hub| h.misbehave("build", Lie::CutAfter, 1), "its result is lost", SEARCHED)]
#[case::cut_in_the_answer(|h: &Hub| h.misbehave("build", Lie::Truncate(60), 1), "its result is lost", SEARCHED)]
#[tokio::test(flavor = "multi_thread")]
async fn a_submission_meets(#[case] trouble: fn(&Hub), #[case] says: &str, #[case] remedy: &str) {
    let (mut live, _builders, before) = settled().await;
    trouble(&live.hub);
    koschei(&live, &["admin", "set-priority", "-c", "f99", "--points", "1000", "app"]);
    live.says("commands wait").await;
    let said = live.said();
    let line = said.lines().find(|l| l.contains("commands wait")).unwrap();
    assert!(line.contains(says) && line.contains(remedy), "{line}");
    if remedy == CLOSED {
        let config = live.config();
        let doctor = koschei(&live, &["doctor", "--timeout", "120", "--config", config.to_str().unwrap()]);
        assert!(doctor.contains(says) && doctor.contains(CLOSED), "{doctor}");
        assert_eq!(live.hub.dump().tasks.len(), before, "nothing was made meanwhile");
    }
    live.hub.settings(|s| (s.lockout, s.offline) = (false, None));
    ends_well(&mut live, before).await;
    live.stop();
}

/// An expired session is no trouble: a new session is made, and the call is made in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_expired_is_made_anew() {
    let (mut live, _builders, before) = settled().await;
    live.hub.misbehave("build", Lie::Fault(1007, "session \"7\" has expired".to_owned()), 1);
    koschei(&live, &["admin", "set-priority", "-c", "f99", "--points", "1000", "app"]);
    ends_well(&mut live, before).await;
    assert!(!live.said().contains("commands wait"), "{}", live.said());
    live.stop();
}

/// A fault in the middle of a `multiCall`: the other answers do not mean that the objects of this
/// one are gone.
#[rstest]
#[case::expired(1007, "session has expired")]
#[case::offline(1014, "database outage")]
#[case::locked(1001, "could not lock")]
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_among_many_is(#[case] code: i64, #[case] text: &str) {
    let (mut live, _builders, before) = settled().await;
    let fault = ("getTaskInfo".to_owned(), code, text.to_owned());
    live.hub.settings(|s: &mut Settings| s.element_fault = Some(fault));
    koschei(&live, &["admin", "set-priority", "-c", "f99", "--points", "1000", "app"]);
    live.says("hints wait").await;
    let said = live.said();
    let line = said.lines().find(|l| l.contains("hints wait")).unwrap();
    assert!(line.contains(text), "{line}");
    assert!(!said.contains("does not know the task"), "{said}");
    live.hub.settings(|s| s.element_fault = None);
    ends_well(&mut live, before).await;
    live.stop();
}
