//! An operator cancels a rebuild: its task ends at the hub (counted there), whatever the hub
//! answers first.

use koschei::model::{RebuildId, TaskId};
use rstest::rstest;

use crate::cli::words::say;
use crate::hub::{Hub, Lie};
use crate::live::Live;
use crate::serve::first::{COLLECTION, small};

/// Number of rebuilds decided on the small hub.
const DECIDED: usize = 4;
const CANCELED: i64 = 3;

/// Starts a service that has submitted all rebuilds. Returns one of them.
async fn submitted() -> (Live, RebuildId, TaskId) {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    live.start();
    let all = |s: &koschei::fold::State| s.rebuilds.values().filter(|r| r.task.is_some()).count() == DECIDED;
    let state = live.wait("all are submitted", all).await;
    let (id, open) = state.rebuilds.iter().next().unwrap();
    (live, *id, open.task.as_ref().unwrap().1)
}

fn cancel(live: &Live, task: TaskId) {
    let out = say(&live.db, &["cancel", &task.to_string(), "--reason", "not worth it"]);
    assert!(out.status.success(), "{out:?}");
}

fn cancelled(live: &Live) -> Vec<TaskId> {
    live.hub.dump().tasks.iter().filter(|t| t.state == CANCELED).map(|t| TaskId(t.id)).collect()
}

#[rstest]
#[case::at_once(|_: &Hub| {})]
#[case::when_the_hub_is_back(|h: &Hub| h.misbehave("cancelTask", Lie::Status(503), 2))]
#[case::and_the_answer_is_lost(|h: &Hub| h.misbehave("cancelTask", Lie::CutAfter, 1))]
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_rebuild_ends_at_the_hub(#[case] trouble: fn(&Hub)) {
    let (mut live, id, task) = submitted().await;
    trouble(&live.hub);
    cancel(&live, task);
    let state = live.wait("it ended", |s| !s.rebuilds.contains_key(&id)).await;
    assert_eq!(cancelled(&live), [task], "it and no other");
    assert_eq!(state.rebuilds.len(), DECIDED - 1);
    live.stop();
}

/// The hub refuses: the rebuild goes on, the refused command is not repeated for ever, and other
/// commands are sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_does_not_let_us_cancel_goes_on() {
    let (mut live, id, task) = submitted().await;
    live.hub.misbehave("cancelTask", Lie::Fault(1004, "Cannot cancel task, not owner".to_owned()), 1);
    cancel(&live, task);
    live.says("the hub refuses to cancel a task").await;
    let state = live.state().await;
    let other = state.rebuilds.iter().find(|(other, _)| **other != id).and_then(|(_, r)| r.task.clone()).unwrap().1;
    cancel(&live, other);
    live.wait("the other one ended", |s| s.rebuilds.len() == DECIDED - 1).await;
    assert_eq!(cancelled(&live), [other]);
    assert_eq!(live.hub.calls()["cancelTask"], 1, "what was refused is not said again: the hub would let it now");
    live.stop();
}
