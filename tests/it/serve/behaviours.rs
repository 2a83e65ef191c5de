//! Defects of Koschei 2.4 and untested behaviours that show only with a hub. Those with a number
//! (D…) cite it.

mod missed;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use koschei::log::EventLog;
use koschei::model::koji::{RepoState, TaskState};
use koschei::model::{PackageState, RepoId, TaskId};

use crate::hub::value::row;
use crate::hub::{DumpTask, Hub, Lie, NewBuild, NewWorld, Outcome, Settings, Tx};
use crate::live::{Live, PATIENCE};
use crate::rabbitmq_server::{RabbitServer, unique};
use crate::serve::facts::{differences, primary};
use crate::serve::first::{COLLECTION, libfoo, small};
use crate::serve::inside::Inside;
use crate::servers;

const ARCHES: [&str; 1] = ["x86_64"];

/// Two collections with their own tags, and a third with the tags of the first.
const THREE: &str = r#"
[policy]
passive = true
load_threshold = 1000

[[collection]]
name = "f99"
target = "f99"
track_all = true

[[collection]]
name = "copy"
target = "f99"
track_all = true

[[collection]]
name = "f98"
target = "f98"
track_all = true
"#;

fn simple(name: &str, version: usize) -> NewBuild {
    NewBuild::new(&format!("{name}-{version}-1")).build_requires(&["bash"]).binary(name, &ARCHES, &[])
}

/// Makes two tags with their build tags and targets, and this many packages in both.
fn two_tags(hub: &Hub, packages: usize) {
    let mut builds = vec![NewBuild::new("bash-5-1").binary("bash", &ARCHES, &[])];
    builds.extend((0..packages).map(|n| simple(&format!("p{n}"), 1)));
    NewWorld::on(hub)
        .release("f99", "x86_64", &["bash"])
        .builds("f99", builds.clone())
        .release("f98", "x86_64", &["bash"])
        .builds("f98", builds)
        .ready(["f99-build", "f98-build"]);
}

/// Starts the service on such a hub, and waits until it has seen everything.
async fn inside(dir: &tempfile::TempDir, packages: usize) -> Inside {
    inside_since(dir, packages, None).await
}

/// Like [`inside`], on a hub whose clock stands still, this many seconds ago.
async fn inside_since(dir: &tempfile::TempDir, packages: usize, ago: Option<i64>) -> Inside {
    let begin = ago.map(|secs| jiff::Timestamp::now().as_microsecond() - secs * 1_000_000);
    let hub = Hub::start(Settings { begin, ..Settings::new(dir.path().join("koji")) });
    two_tags(&hub, packages);
    let mut inside = Inside::new(hub, dir.path(), THREE).await;
    inside.start();
    assert_eq!(inside.reconciled().await.err(), None);
    inside
}

/// A scratch build of `koschei` that a person made by hand.
fn scratch(tx: &mut Tx<'_>, name: &str) -> Result<i64, crate::hub::Fault> {
    tx.scratch_build("koschei", "f99", &format!("{name}-1-1"), row! {})
}

/// D2, behaviour 1: many more builds run than one query asks about, and each gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_more_than_a_hundred_running_builds_are_polled_right() {
    const BUILDS: usize = 230;
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    two_tags(&hub, BUILDS);
    let ends = [Outcome::Ok, Outcome::FailBuild, Outcome::Hang, Outcome::FailDeps, Outcome::FailSrpm];
    let mut tasks = BTreeMap::new();
    for n in 0..BUILDS {
        let name = format!("p{n}");
        hub.rule(&name, None, ends[n % ends.len()].clone());
        tasks.insert(n, hub.change(|tx| scratch(tx, &name)));
    }
    hub.work();
    hub.take_messages();
    let mut inside = Inside::new(hub.clone(), dir.path(), THREE).await;
    inside.start();
    assert_eq!(inside.reconciled().await.err(), None);
    let running = |s: &koschei::fold::State| s.hubs[&primary()].tasks.values().filter(|t| !t.state.is_final()).count();
    assert_eq!(running(inside.state().await), BUILDS, "they are found although nobody told of them");
    hub.work_all();
    // Some are cancelled in another order than their numbers.
    for n in (0..BUILDS).rev().filter(|n| n % 7 == 2) {
        hub.change(|tx| Ok(tx.cancel(tasks[&n])));
    }
    // None of the messages arrives.
    hub.take_messages();
    assert_eq!(inside.reconciled().await.err(), None);
    let state = inside.state().await;
    let mut seen: BTreeMap<TaskState, usize> = BTreeMap::new();
    for (n, id) in &tasks {
        let (task, row) = (&state.hubs[&primary()].tasks[&TaskId(*id)], hub.see(|w| w.task(*id).unwrap().clone()));
        assert_eq!(task.state, TaskState::from(row.state), "p{n}");
        assert_eq!(task.package, format!("p{n}"));
        *seen.entry(task.state).or_default() += 1;
        let failed: Vec<&str> = task.steps.iter().filter(|s| s.failed.is_some()).map(|s| s.label.as_str()).collect();
        let expected: &[&str] = match (task.state, n % ends.len()) {
            (TaskState::Failed, 1 | 3) => &["x86_64"],
            (TaskState::Failed, 4) => &["srpm"],
            _ => &[],
        };
        assert_eq!(failed, expected, "p{n}: the steps of its own task");
    }
    assert!(seen.len() == 4 && seen.values().all(|n| *n > 3), "{seen:?}");
    inside.stop().await;
}

/// D11: a rebuild decided before a crash and not sent is sent after it, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_decided_before_a_crash_is_submitted_after_it() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    let gate = live.start_until_at("build").await;
    live.kill();
    let decided: Vec<u64> = live.state().await.rebuilds.keys().map(|r| r.0).collect();
    let log = live.log().await;
    assert_eq!((decided.len(), log.counts().await.unwrap().outbox_pending), (4, 4));
    log.close().await;
    assert_eq!(live.hub.dump().tasks, [], "nothing was sent");
    gate.open();
    live.start();
    let state = live.wait("all are submitted", |s| s.rebuilds.values().all(|r| r.task.is_some())).await;
    let again: Vec<u64> = state.rebuilds.keys().map(|r| r.0).collect();
    assert_eq!(again, decided, "no other decisions were taken");
    let mut made: Vec<u64> = live.hub.dump().tasks.iter().map(DumpTask::decided).collect();
    made.sort_unstable();
    assert_eq!(made, decided);
    live.stop();
}

/// D12, behaviour 13: one message about a tag concerns all collections that use the tag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d12_one_tag_event_reaches_all_its_collections() {
    let dir = tempfile::tempdir().unwrap();
    let mut inside = inside(&dir, 3).await;
    let hub = inside.hub.clone();
    hub.change(|tx| tx.import_into("f99", &simple("p1", 2)));
    let tag: Vec<_> = hub.take_messages().into_iter().filter(|m| m.short_topic() == "buildsys.tag").collect();
    assert_eq!(tag.len(), 1);
    inside.deliver(&tag).await;
    inside.looked().await;
    let state = inside.state().await;
    let latest = |c: &str| state.package(c, "p1").unwrap().latest.as_ref().unwrap().source.to_string();
    assert_eq!([latest("f99"), latest("copy"), latest("f98")], ["2-1", "2-1", "1-1"]);
    inside.stop().await;
}

/// D20: a hub that does not answer holds up only the tasks that ask it. Messages are received and
/// acknowledged meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d20_a_slow_hub_does_not_hold_up_the_intake() {
    const MESSAGES: usize = 60;
    let rabbit = RabbitServer::shared().await;
    let queue = unique("serve");
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!(
        "[bus]\namqp_url = \"{}\"\nqueue = \"{queue}\"\n\n[policy]\npassive = true\n{COLLECTION}",
        rabbit.url()
    );
    live.start();
    live.wait("it is there", |s| s.collections.get("f99").is_some_and(|c| !c.arches.is_empty())).await;
    // From now on every call to the hub hangs.
    let gate = crate::hub::Gate::default();
    live.hub.misbehave("multiCall", Lie::Gate(gate.clone()), 1_000);
    let (hub, standing) = (live.hub.clone(), gate.clone());
    tokio::task::spawn_blocking(move || hub.wait_at(&standing)).await.unwrap();
    let log = live.log().await;
    let before = log.counts().await.unwrap().inbox_total;
    let publisher = rabbit.publisher().await;
    for n in 0..MESSAGES {
        live.hub.change(|tx| {
            if n % 2 == 0 { tx.package_list_block("f99", "app") } else { tx.package_list_unblock("f99", "app") }
        });
    }
    let mut messages = live.hub.take_messages();
    let last = messages.pop().unwrap();
    // When the last message is received, those of the batches before it were acknowledged. Its own
    // acknowledgement may still be on its way.
    for (part, of_them) in [(messages, MESSAGES - 1), (vec![last], MESSAGES)] {
        for message in part {
            publisher.line("amq.topic", &message.line(0.0).to_string()).await;
        }
        let came = tokio::time::timeout(PATIENCE, async {
            while log.counts().await.unwrap().inbox_total < before + of_them as u64 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(came.await.is_ok(), "messages are not taken in while the hub hangs");
    }
    assert_eq!(log.counts().await.unwrap().inbox_pending, MESSAGES as u64, "and none is taken at its word");
    assert_eq!(gate.arrived(), 1, "the hub still hangs");
    log.close().await;
    // Unacknowledged messages are in the queue again once the service is dead.
    live.kill();
    let left = publisher.left(&queue, 0).await;
    assert!(left <= 1, "they were acknowledged, but for {left}");
    gate.open();
    live.hub.behave();
    live.start();
    let log = live.log().await;
    let looked = tokio::time::timeout(PATIENCE, async {
        while log.counts().await.unwrap().inbox_pending > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(looked.await.is_ok(), "they are never looked at: {}", live.said());
    log.close().await;
    live.stop();
    publisher.delete_queue(&queue).await;
}

/// Trouble is logged once, and so is its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_and_a_broker_that_are_back_are_said_to_be() {
    let rabbit = RabbitServer::restartable().await;
    let queue = unique("back");
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!(
        "[bus]\namqp_url = \"{}\"\nqueue = \"{queue}\"\n\n[policy]\npassive = true\n{COLLECTION}",
        rabbit.url()
    );
    live.start();
    live.wait("it is there", |s| s.collections.get("f99").is_some_and(|c| !c.arches.is_empty())).await;
    live.hub.misbehave("multiCall", Lie::Status(503), 1_000);
    live.says("the hub does not answer").await;
    live.hub.behave();
    live.says("the hub answers again").await;
    rabbit.stop();
    live.says("the bus does not answer").await;
    rabbit.restart().await;
    live.says("the bus answers again").await;
    live.stop();
    let said = live.said();
    for line in ["the hub answers again", "the bus answers again"] {
        assert_eq!(said.matches(line).count(), 1, "{said}");
    }
    // Each error has its causes, in one place, and each part once.
    for error in said.lines().filter_map(|l| l.split_once("error=")).map(|(_, error)| error) {
        let parts: Vec<&str> = error.split(": ").filter(|part| part.len() > 8).collect();
        assert!(parts.iter().enumerate().all(|(i, part)| !parts[..i].contains(part)), "{error}");
    }
    rabbit.publisher().await.delete_queue(&queue).await;
}

/// D32: a fault inside a `multiCall` concerns only its own object. The others are read, and this
/// one is asked for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d32_a_fault_inside_a_multicall_hurts_only_its_element() {
    let dir = tempfile::tempdir().unwrap();
    let mut inside = inside(&dir, 4).await;
    let hub = inside.hub.clone();
    let tasks = hub.change(|tx| Ok([scratch(tx, "p0")?, scratch(tx, "p3")?]));
    hub.settings(|s| {
        s.broken.push(("listTagged".to_owned(), "p1".to_owned()));
        s.broken.push(("getBuildTarget".to_owned(), "f98".to_owned()));
        s.broken.push(("getTaskDescendents".to_owned(), tasks[0].to_string()));
    });
    hub.rule("p0", None, Outcome::FailBuild);
    hub.change(|tx| {
        tx.import_into("f99", &simple("p1", 2))?;
        tx.import_into("f99", &simple("p2", 2))?;
        tx.edit_tag_arches("f99-build", "x86_64 aarch64")?;
        tx.edit_target("f98", "f99-build", "f98")
    });
    hub.work_all();
    inside.deliver(&hub.take_messages()).await;
    inside.looked().await;
    let left = inside.reconciled().await.unwrap_err();
    assert!(!left.is_empty() && left.iter().all(|l| l.contains("p1") || l.contains("target f98")), "{left:?}");
    let ended = |s: &koschei::fold::State, id: i64| s.hubs[&primary()].tasks.get(&TaskId(id)).map(|t| t.state);
    let state = inside.state().await;
    assert_eq!(state.package("f99", "p2").unwrap().latest.as_ref().unwrap().source, "2-1");
    assert_eq!(ended(state, tasks[1]), Some(TaskState::Closed));
    assert_eq!(ended(state, tasks[0]), None, "without its steps nobody could say why it failed");
    // Looks at other objects do not make it forgotten.
    hub.change(|tx| tx.import_into("f99", &simple("p2", 3)));
    inside.deliver(&hub.take_messages()).await;
    inside.looked().await;
    assert_eq!(inside.state().await.package("f99", "p2").unwrap().latest.as_ref().unwrap().source, "3-1");
    // The fault passes, and what was missed is seen without any message.
    hub.settings(|s| s.broken.clear());
    assert_eq!(inside.reconciled().await.err(), None);
    let state = inside.state().await;
    assert_eq!(ended(state, tasks[0]), Some(TaskState::Failed));
    assert_eq!(state.package("f99", "p0").unwrap().state(true), PackageState::Failing);
    inside.stop().await;
}

/// D33: a collection whose only repository was deleted affects no other collection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d33_an_idle_collection_without_a_repository_stops_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut inside = inside(&dir, 3).await;
    let hub = inside.hub.clone();
    hub.change(|tx| {
        let tag = tx.w.tag("f98-build", None)?;
        let all: Vec<i64> = tx.w.repos.iter().filter(|r| r.tag == tag).map(|r| r.id).collect();
        all.into_iter().try_for_each(|id| tx.delete_repo(id))
    });
    // Somebody adds a package that was never resolved there, and restarts the service.
    hub.change(|tx| {
        tx.import_into("f98", &simple("new", 1))?;
        tx.import_into("f99", &simple("new", 1))
    });
    inside.restart().await;
    let repo = hub.change(|tx| tx.new_repo("f99-build"));
    assert_eq!(inside.reconciled().await.err(), None);
    let state = inside.state().await;
    for c in ["f99", "copy"] {
        assert!(state.collections[c].arches.values().all(|a| a.repo_id == Some(RepoId(repo))), "{c} goes on");
        assert!(state.package(c, "new").unwrap().verdicts.iter().any(|v| v.ok == Some(true)));
    }
    assert!(state.package("f98", "new").unwrap().verdicts.is_empty(), "nothing is known of it there");
    assert!(
        state.package("f98", "p1").unwrap().verdicts.iter().any(|v| v.ok == Some(true)),
        "what was found out stands"
    );
    let gone = state.hubs[&primary()].repos.values().filter(|r| r.tag == "f98-build");
    assert!(gone.map(|r| r.state).all(|s| s == RepoState::Deleted));
    inside.stop().await;
}

/// An unavailable repository holds up only its own tag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_had_hold_up_no_other_collection() {
    let dir = tempfile::tempdir().unwrap();
    let mut inside = inside(&dir, 3).await;
    let hub = inside.hub.clone();
    // The first one by name. Its files are unavailable.
    let bad = hub.change(|tx| tx.new_repo("f98-build"));
    hub.misbehave_files(&format!("f98-build/{bad}/"), crate::hub::FileLie::Status(503), 1_000_000);
    let good = hub.change(|tx| tx.new_repo("f99-build"));
    inside.deliver(&hub.take_messages()).await;
    let seen = tokio::time::timeout(PATIENCE, async {
        while inside.state().await.collections["f99"].arches.values().any(|a| a.repo_id != Some(RepoId(good))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(seen.await.is_ok(), "f99 waits for the files of f98");
    hub.behave();
    inside.stop().await;
}

/// The service's database server goes away in the middle and comes back: nothing is lost, and no
/// part has stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_postgres_is_waited_for() {
    let server = servers::start_postgres(&servers::postgres_bin(), "-c fsync=off");
    let mut live = Live::new();
    live.db = format!("postgres://koschei@localhost/postgres?host={}", server.dir.display());
    small(&live.hub);
    live.tables = format!("[policy]\nbuild_threshold = 100\ntick_interval_secs = 1\n{COLLECTION}");
    live.start();
    let builders = live.hub.start_builders(Duration::from_millis(20));
    let is_ok = |s: &koschei::fold::State, name: &str| {
        s.package("f99", name).is_some_and(|p| p.state(true) == PackageState::Ok)
    };
    live.wait("everything is rebuilt", |s| ["bash", "make", "libfoo", "app"].iter().all(|p| is_ok(s, p))).await;
    drop(builders);
    postgres(&server, "stop -m immediate");
    // Much happens meanwhile, and the tasks that look at the hub cannot hand in what they see.
    live.hub.change(|tx| {
        tx.import_into("f99", &libfoo("1.1"))?;
        tx.package_list_block("f99", "lone")
    });
    live.hub.change(|tx| tx.new_repo("f99-build"));
    live.says("the database does not answer").await;
    let tasks = live.hub.dump().tasks.len();
    postgres(&server, "start");
    live.says("the database answers again").await;
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    let hub = live.hub.clone();
    let state = live
        .wait("it goes on where it was", |s| {
            let rebuilt = s.package("f99", "app").unwrap().base().and_then(|b| b.repo);
            rebuilt == Some(RepoId(2)) && s.running() == 0 && differences(s, &hub).is_empty()
        })
        .await;
    assert_eq!(state.package("f99", "lone").unwrap().state(true), PackageState::Blocked);
    let mut decisions: Vec<u64> = live.hub.dump().tasks.iter().map(DumpTask::decided).collect();
    assert!(decisions.len() > tasks);
    decisions.sort_unstable();
    decisions.dedup();
    assert_eq!(decisions.len(), live.hub.dump().tasks.len(), "each decision is one task");
    live.stop();
}

/// Runs `pg_ctl` on the data of a server that a test started.
pub(crate) fn postgres(server: &servers::Server, what: &str) {
    let options = format!("-k {} -c listen_addresses='' -c fsync=off", server.dir.display());
    let mut command = servers::as_user("postgres", servers::postgres_bin().join("pg_ctl"));
    command.arg("-D").arg(server.dir.join("data")).args(["-w", "-t", "120", "-l"]).arg(server.dir.join("server.log"));
    command.arg("-o").arg(options).args(what.split(' ')).current_dir(&server.dir);
    let out = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(out.success(), "pg_ctl {what}");
}

/// Hubs from 1.35 on make repositories on demand. If nobody else requests one, the service does so
/// when the build tag has changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_asked_for_where_none_is_made() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("request_repo_after_secs = 1\n{COLLECTION}");
    live.start();
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    let app = |s: &koschei::fold::State| s.package("f99", "app").map(|p| p.state(true));
    live.wait("app is rebuilt", |s| app(s) == Some(PackageState::Ok)).await;
    let tasks = |hub: &Hub| hub.dump().tasks.len();
    let (before, repos) = (tasks(&live.hub), live.hub.see(|w| w.repos.len()));
    assert_eq!(live.hub.see(|w| w.repo_requests.len()), 0, "the repository that is there covers everything");
    live.hub.change(|tx| tx.import_into("f99", &libfoo("1.1")));
    let newest = |s: &koschei::fold::State| s.collections["f99"].newest_repo;
    let first = newest(&live.state().await);
    live.wait("a newer repository is resolved", |s| {
        let c = &s.collections["f99"];
        c.newest_repo > first && c.arches.values().all(|a| a.repo_id == c.newest_repo)
    })
    .await;
    let (requests, koschei) = live.hub.see(|w| (w.repo_requests.clone(), w.user_named("koschei").unwrap().id));
    assert_eq!(requests.len(), 1, "one move, one request: {requests:?}");
    assert_eq!(requests[0].owner, koschei);
    assert!(live.hub.see(|w| w.repos.len()) > repos && tasks(&live.hub) >= before);
    live.stop();
}
