//! What no message told of: it is found, and counted as missed where a message should have told.

use koschei::event::{Event, Source};
use koschei::log::EventLog;
use koschei::model::koji::{RepoState, TaskState};
use koschei::model::{PackageState, RepoId, TaskId};
use rstest::rstest;

use super::{inside, inside_since, scratch, simple};
use crate::serve::facts::{differences, primary};
use crate::serve::inside::Inside;

/// Returns how many facts the log's reconciliations counted as missed, and how many as invented.
async fn counted(inside: &Inside) -> (u32, u32) {
    let records = inside.log.read(None, 100_000).await.unwrap();
    let marks = records.iter().filter_map(|r| match r.decode().unwrap().event {
        Event::Reconciled(r) => Some((r.missed, r.invented)),
        _ => None,
    });
    marks.fold((0, 0), |(m, i), (missed, invented)| (m + missed, i + invented))
}

/// Tasks of ours without any message, from beginning to end, between two looks or while nobody
/// looked. They are found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_ended_before_anybody_heard_of_them_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut inside = inside(&dir, 3).await;
    let hub = inside.hub.clone();
    let state_of = |s: &koschei::fold::State, id: i64| s.hubs[&primary()].tasks.get(&TaskId(id)).map(|t| t.state);
    for (package, restart) in [("p0", false), ("p1", true)] {
        if restart {
            inside.stop().await;
        }
        let id = hub.change(|tx| scratch(tx, package));
        hub.work_all();
        hub.take_messages();
        if restart {
            inside.start();
        }
        assert_eq!(inside.reconciled().await.err(), None);
        assert_eq!(state_of(inside.state().await, id), Some(TaskState::Closed), "{package}");
    }
    inside.stop().await;
}

/// These are not counted as lost by the bus: changes that Koji sends no message about, facts read
/// for the first time, and facts so young that their message may be on its way.
#[rstest]
#[case::long_ago(Some(7_200))]
#[case::just_now(None)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_a_message_should_have_told_counts_as_missed(#[case] ago: Option<i64>) {
    let dir = tempfile::tempdir().unwrap();
    let mut inside = inside_since(&dir, 3, ago).await;
    let hub = inside.hub.clone();
    assert_eq!(counted(&inside).await, (0, 0), "a hub that is read for the first time");
    let expired = hub.see(|w| w.newest_repo(w.tag("f98-build", None).unwrap()).unwrap());
    let id = hub.change(|tx| {
        tx.expire_repo(expired)?;
        scratch(tx, "p0")
    });
    hub.take_messages();
    assert_eq!(inside.reconciled().await.err(), None);
    let state = inside.state().await;
    assert_eq!(state.hubs[&primary()].tasks[&TaskId(id)].state, TaskState::Free);
    assert_eq!(state.hubs[&primary()].repos[&RepoId(expired)].state, RepoState::Expired);
    assert_eq!(counted(&inside).await, (0, 0), "a task nobody has taken, and a repository that expired");
    hub.work();
    hub.take_messages();
    assert_eq!(inside.reconciled().await.err(), None);
    let taken = u32::from(ago.is_some());
    assert_eq!(counted(&inside).await, (taken, 0), "that it was taken should have been told");
    // A look that is running would take the new fact for a young one.
    if ago.is_some() {
        inside.stop().await;
    }
    hub.change(|tx| tx.untag_build("f99", "p2-1-1"));
    hub.take_messages();
    if ago.is_some() {
        inside.start();
    }
    assert_eq!(inside.reconciled().await.err(), None);
    assert_eq!(counted(&inside).await, (taken, taken), "and that a build was untagged");
    inside.stop().await;
}

/// Behaviour 8: the broker is away when a change is committed. The message is lost, the change is
/// not.
#[rstest]
#[case::long_ago(Some(7_200), Some(3))]
#[case::so_short_ago_that_the_message_may_come(None, None)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b8_what_happened_while_the_bus_was_away_is_found(#[case] ago: Option<i64>, #[case] counts: Option<u32>) {
    let dir = tempfile::tempdir().unwrap();
    let mut inside = inside_since(&dir, 3, ago).await;
    let hub = inside.hub.clone();
    // A look that is running would take the new fact for a young one.
    if ago.is_some() {
        inside.stop().await;
    }
    hub.broker(false);
    hub.change(|tx| {
        tx.import_into("f99", &simple("p1", 2))?;
        tx.package_list_block("f98", "p2")
    });
    let lost = hub.broker(true);
    assert!(lost.len() >= 3 && hub.take_messages().is_empty());
    assert!(!differences(inside.state().await, &hub).is_empty());
    if ago.is_some() {
        inside.start();
    }
    assert_eq!(inside.reconciled().await.err(), None);
    let state = inside.state().await;
    assert_eq!(state.package("f98", "p2").unwrap().state(true), PackageState::Blocked);
    inside.stop().await;
    let records = inside.log.read(None, 10_000).await.unwrap();
    let events: Vec<_> = records.iter().map(|r| r.decode().unwrap()).collect();
    let found = events.iter().rfind(|e| matches!(&e.event, Event::BuildTagged(t) if t.name == "p1")).unwrap();
    assert_eq!(found.source, Source::Reconciliation, "the fact says how it was found");
    assert!(found.koji_event.is_some());
    let missed = events.iter().rev().find_map(|e| match &e.event {
        Event::Reconciled(r) if r.missed > 0 => Some(r.missed),
        _ => None,
    });
    let told: Vec<String> =
        events.iter().map(|e| format!("{} {:?} {:.200}", e.seq, e.source, format!("{:?}", e.event))).collect();
    assert_eq!(missed, counts, "a build, its tagging, an entry of a list: {}", told[told.len() - 12..].join("\n"));
}
