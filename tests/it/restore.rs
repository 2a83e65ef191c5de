//! Going back to a backup: no new command is taken for an old one, and no old task for ours. Counted at the receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use koschei::event::{Event, Record};
use koschei::fold::{HubState, State};
use koschei::log::{EventLog, Options, SqliteLog};
use koschei::model::{PackageState, TaskId};
use serde_json::Value;

use crate::feed;
use crate::hub::value::row;
use crate::hub::{Hub, NewTask};
use crate::live::Live;
use crate::recorded::{koschei, open};
use crate::serve_first::{COLLECTION, small};

/// The ids commands of this log must have, by the event that decided them.
async fn decided(log: &SqliteLog) -> BTreeMap<u64, (String, String)> {
    let log_id = log.info().await.unwrap().log_id;
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = log.read(after, 10_000).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = Some(last.seq);
        let requests = page.iter().filter_map(|r: &Record| match r.decode().unwrap().event {
            Event::RebuildRequested(e) => {
                Some((r.seq.get(), (format!("{log_id}:{}:{}", r.seq, r.hash), e.nvr.to_string())))
            }
            _ => None,
        });
        all.extend(requests);
    }
}

fn ingest(from: &Path, db: &Path, commands: &Path) {
    let text = |p: &Path| p.to_str().unwrap().to_owned();
    let archive = feed::recorded("koji");
    let out = koschei(&[
        "ingest",
        "--from",
        &text(from),
        "--archive",
        &text(&archive),
        "--db",
        &text(db),
        "--commands",
        &text(commands),
    ]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// The receiver keeps what it got before the restore; the log gives the same numbers to other decisions after it.
#[tokio::test]
async fn commands_after_a_restore_all_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let lines = feed::lines(&feed::recorded("koji").join("events.jsonl"));
    let (before, after) = lines.split_at(lines.len() / 3);
    // What came after the backup comes again in part only: the bus has forgotten the beginning.
    let parts = [("before", before), ("after", after), ("again", &after[40..])];
    for (name, part) in parts {
        std::fs::write(at(name), part.join("\n") + "\n").unwrap();
    }
    let (db, commands) = (at("koschei.db"), at("commands.jsonl"));
    ingest(&at("before"), &db, &commands);
    std::fs::copy(&db, at("backup.db")).unwrap();
    ingest(&at("after"), &db, &commands);
    let lost: BTreeSet<u64> = decided(&open(&db).await).await.into_keys().collect();
    for file in ["koschei.db", "koschei.db-wal", "koschei.db-shm"] {
        drop(std::fs::remove_file(at(file)));
    }
    std::fs::copy(at("backup.db"), &db).unwrap();
    ingest(&at("again"), &db, &commands);

    let log = open(&db).await;
    let decided = decided(&log).await;
    let mut arrived: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for command in feed::json_lines(&commands) {
        arrived.entry(command["id"].as_str().unwrap().to_owned()).or_default().push(command);
    }
    for (seq, (id, nvr)) in &decided {
        let got = arrived.get(id).map_or(&[][..], Vec::as_slice);
        assert_eq!(got.len(), 1, "{nvr}, decided at {seq}, arrived {} times", got.len());
        assert_eq!(got[0]["nvr"], nvr.as_str());
    }
    let same_number = decided.keys().filter(|seq| lost.contains(seq)).count();
    assert!(same_number > 20, "only {same_number} decisions have a number that was taken before: this shows little");
    let verified = koschei(&["log", "verify", "--db", db.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

fn rests(s: &State) -> bool {
    let ok = |p: &str| s.package("f99", p).is_some_and(|p| p.state(true) == PackageState::Ok);
    ["bash", "make", "libfoo", "app"].into_iter().all(ok) && s.running() == 0 && s.rebuilds.is_empty()
}

fn primary(s: &State) -> &HubState {
    &s.hubs[&koschei::model::Hub::new("primary")]
}

fn asks_for(live: &Live, package: &str) {
    let out = koschei(&["admin", "set-priority", "-c", "f99", "--points", "1000", package, "--db", &live.db]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// Tasks of the hub by the id they carry.
fn tasks(hub: &Hub) -> BTreeMap<String, Vec<i64>> {
    let mut all: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for task in hub.dump().tasks {
        all.entry(task.metadata["koschei"]["decision"].as_str().unwrap().to_owned()).or_default().push(task.id);
    }
    all
}

async fn decided_by(live: &Live) -> BTreeMap<u64, (String, String)> {
    let options = Options { create: false, read_only: true, ..Options::default() };
    let log = SqliteLog::open(&live.db, &options).await.unwrap();
    let all = decided(&log).await;
    log.close().await;
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_service_submits_what_it_decides_and_takes_no_old_task_for_its_own() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("[policy]\ntick_interval_secs = 1\n{COLLECTION}");
    live.start();
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    live.wait("everything is rebuilt", rests).await;
    live.stop();
    let backup = live.dir.path().join("backup.db");
    std::fs::copy(&live.db, &backup).unwrap();
    let before = decided_by(&live).await.len();

    live.start();
    asks_for(&live, "app");
    let count = |n: usize| move |s: &State| rests(s) && primary(s).tasks.len() == n;
    live.wait("app is rebuilt", count(before + 1)).await;
    live.stop();
    for end in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{end}", live.db)));
    }
    std::fs::copy(&backup, &live.db).unwrap();

    live.start();
    asks_for(&live, "bash");
    asks_for(&live, "libfoo");
    let state = live.wait("both are rebuilt", count(before + 3)).await;
    live.stop();
    let (decided, made) = (decided_by(&live).await, tasks(&live.hub));
    assert_eq!(decided.len(), before + 2);
    for (id, nvr) in decided.values() {
        assert_eq!(made.get(id).map(Vec::len), Some(1), "{nvr} is one task of its own: {made:?}");
    }
    let old: Vec<i64> =
        made.iter().filter(|(id, _)| !decided.values().any(|(d, _)| d == *id)).map(|(_, t)| t[0]).collect();
    assert_eq!(old.len(), 1, "the one of the time that was given up: {made:?}");
    assert_eq!(primary(&state).tasks[&TaskId(old[0])].rebuild, None, "it is known, and not ours");
}

/// An export carries no commands: what waited in the outbox is decided again where it is imported.
#[tokio::test(flavor = "multi_thread")]
async fn what_waited_when_a_log_was_exported_is_rebuilt_where_it_is_imported() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("[policy]\ntick_interval_secs = 1\n{COLLECTION}");
    let gate = live.hub.gate("build");
    live.start();
    let (hub, standing) = (live.hub.clone(), gate.clone());
    tokio::task::spawn_blocking(move || hub.wait_at(&standing)).await.unwrap();
    live.kill();
    assert_eq!(decided_by(&live).await.len(), 4);
    let at = |name: &str| live.dir.path().join(name).to_str().unwrap().to_owned();
    let (export, imported) = (at("export.jsonl"), at("imported.db"));
    for args in
        [["log", "export", "--db", &live.db, "--to", &export], ["log", "import", "--db", &imported, "--from", &export]]
    {
        let out = koschei(&args);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    live.db = imported;
    gate.open();
    live.hub.work_all();
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    live.start();
    live.wait("everything is rebuilt", rests).await;
    live.stop();
    let (decided, made) = (decided_by(&live).await, tasks(&live.hub));
    for id in made.keys().filter(|id| !decided.values().any(|(d, _)| d == *id)) {
        assert_eq!(made[id].len(), 1, "the call that stood at the gate was of the other log: {made:?}");
    }
    let ours = decided.values().filter(|(id, _)| made.contains_key(id)).count();
    assert!(ours >= 3, "{ours} of {made:?}");
    let audit = koschei(&["log", "audit", "--db", &live.db]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
    let verified = koschei(&["log", "verify", "--db", &live.db]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// A decision waits, and the hub has tasks with ids like its own: of another past, for another target, and from another source.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_adopted_by_its_whole_id_its_source_and_its_target() {
    let mut live = Live::new();
    small(&live.hub);
    live.hub.change(|tx| tx.create_target("f99-other", "f99-build", "f99"));
    live.tables = COLLECTION.to_owned();
    let gate = live.hub.gate("build");
    live.start();
    let (hub, standing) = (live.hub.clone(), gate.clone());
    tokio::task::spawn_blocking(move || hub.wait_at(&standing)).await.unwrap();
    live.kill();
    gate.open();
    let decided = decided_by(&live).await;
    let of = |package: &str| decided.values().find(|(_, nvr)| nvr.starts_with(package)).unwrap().clone();
    let build = |nvr: &str, target: &str, id: &str| {
        let (rest, release) = nvr.rsplit_once('-').unwrap();
        let (name, version) = rest.rsplit_once('-').unwrap();
        let source = format!("../packages/{name}/{version}/{release}/src/{nvr}.src.rpm");
        let metadata = row! { "koschei" => row! { "decision" => id } };
        let opts = row! { "scratch" => true, "custom_user_metadata" => metadata };
        let request = vec![source.into(), target.into(), opts];
        live.hub.change(|tx| {
            let owner = tx.user_id("koschei")?;
            Ok(tx.make_task(NewTask { owner, ..NewTask::new("build", request) }))
        })
    };
    let (app, bash, make, libfoo) = (of("app"), of("bash"), of("make"), of("libfoo"));
    let flip = |id: &str| {
        let mut other = id.to_owned();
        let last = other.pop();
        other.push(if last == Some('0') { '1' } else { '0' });
        other
    };
    let another_past = build(&app.1, "f99", &flip(&app.0));
    let another_target = build(&bash.1, "f99-other", &bash.0);
    let another_source = build(&bash.1, "f99", &make.0);
    let ours = build(&libfoo.1, "f99", &libfoo.0);

    let _builders = live.hub.start_builders(Duration::from_millis(20));
    live.start();
    let state = live.wait("everything is rebuilt", |s| rests(s) && primary(s).tasks.len() == 7).await;
    live.stop();
    let tasks = &primary(&state).tasks;
    for foreign in [another_past, another_target, another_source] {
        assert_eq!(tasks[&TaskId(foreign)].rebuild, None, "task {foreign} is not ours");
    }
    assert_eq!(
        tasks[&TaskId(ours)].rebuild.map(|r| r.0),
        decided.iter().find(|(_, d)| **d == libfoo).map(|(seq, _)| *seq)
    );
    let adopted: BTreeSet<u64> = tasks.values().filter_map(|t| t.rebuild).map(|r| r.0).collect();
    assert_eq!(adopted, decided.keys().copied().collect(), "each decision has a task of its own");
}
