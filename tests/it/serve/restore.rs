//! Restoring a backup: no new command is taken for an old one, and no old task for ours. Counted at
//! the receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use koschei::base::clock;
use koschei::event::{Event, Record};
use koschei::fold::{HubState, State};
use koschei::log::{AnyLog, EventLog, Incoming, Options};
use koschei::model::TaskId;
use rstest::rstest;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::bus::follow;
use crate::hub::Hub;
use crate::hub::value::row;
use crate::live::Live;
use crate::nats_server::NatsServer;
use crate::recorded::koschei;
use crate::serve::first::{COLLECTION, rests, small};
use crate::writer::two_writers;
use crate::{feed, servers};

/// Returns the ids that the log's commands must have, by the event that decided them.
async fn decided(db: &str) -> BTreeMap<u64, (String, String)> {
    let options = Options { create: false, read_only: true, ..Options::default() };
    let log = koschei::log::open(db, &options).await.unwrap();
    let log_id = log.info().await.unwrap().log_id;
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = log.read(after, 10_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.seq);
        let requests = page.iter().filter_map(|r: &Record| match r.decode().unwrap().event {
            Event::RebuildRequested(e) => {
                Some((r.seq.get(), (format!("{log_id}:{}:{}", r.seq, r.hash), e.nvr.to_string())))
            }
            _ => None,
        });
        all.extend(requests);
    }
    log.close().await;
    all
}

/// Asserts that each decision arrived once, with its own content.
fn all_arrived(decided: &BTreeMap<u64, (String, String)>, commands: Vec<Value>) {
    let mut arrived: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for command in commands {
        arrived.entry(command["id"].as_str().unwrap().to_owned()).or_default().push(command);
    }
    for (seq, (id, nvr)) in decided {
        let got = arrived.get(id).map_or(&[][..], Vec::as_slice);
        assert_eq!(got.len(), 1, "{nvr}, decided at {seq}, arrived {} times", got.len());
        assert_eq!(got[0]["nvr"], nvr.as_str());
    }
}

fn run(args: &[&str]) {
    let out = koschei(args);
    assert!(out.status.success(), "{args:?}: {out:?}");
}

/// A backup as described in the README, and its restore. The restore returns the address of the
/// restored log.
struct Backup {
    db: String,
    file: PathBuf,
}

impl Backup {
    fn of(db: &str, dir: &Path) -> Self {
        let file = dir.join("backup");
        match db.contains("://") {
            true => tool("pg_dump", &["--format=custom", "--file", file.to_str().unwrap(), "--dbname", db]),
            // No process has the database open, so the file has everything.
            false => drop(std::fs::copy(db, &file).unwrap()),
        }
        Self { db: db.to_owned(), file }
    }

    /// Makes a backup of SQLite beside a running service, as described in the README.
    fn beside_a_writer(db: &str, dir: &Path) -> Self {
        let file = dir.join("beside");
        let sql = format!("VACUUM INTO '{}'", file.display());
        let out = Command::new("sqlite3").args([db, &sql]).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        Self { db: db.to_owned(), file }
    }

    async fn restore(&self) -> String {
        if self.db.contains("://") {
            let new = servers::postgres_database().await;
            tool("pg_restore", &["--exit-on-error", "--dbname", &new, self.file.to_str().unwrap()]);
            return new;
        }
        for end in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{end}", self.db)));
        }
        std::fs::copy(&self.file, &self.db).unwrap();
        self.db.clone()
    }
}

fn tool(name: &str, args: &[&str]) {
    let out = Command::new(servers::postgres_bin().join(name)).args(args).output().unwrap();
    assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
}

async fn database(dir: &Path, postgres: bool) -> String {
    match postgres {
        true => servers::postgres_database().await,
        false => dir.join("koschei.db").to_str().unwrap().to_owned(),
    }
}

/// The receiver keeps what it got before the restore. After the restore, the log gives the same
/// numbers to other decisions.
#[rstest]
#[case::sqlite(false)]
#[case::postgres(true)]
#[tokio::test(flavor = "multi_thread")]
async fn commands_after_a_restore_all_arrive(#[case] postgres: bool) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let lines = feed::lines(&feed::recorded("koji").join("events.jsonl"));
    let (before, after) = lines.split_at(lines.len() / 3);
    // Only a part of the messages after the backup comes again: the bus has forgotten the
    // beginning.
    let parts = [("before", before), ("after", after), ("again", &after[40..])];
    for (name, part) in parts {
        std::fs::write(at(name), part.join("\n") + "\n").unwrap();
    }
    let (commands, archive) = (at("commands.jsonl"), feed::recorded("koji").to_str().unwrap().to_owned());
    let ingest = |part: &str, db: &str| {
        run(&["ingest", "--from", &at(part), "--archive", &archive, "--db", db, "--commands", &commands]);
    };
    let db = database(dir.path(), postgres).await;
    ingest("before", &db);
    let backup = Backup::of(&db, dir.path());
    ingest("after", &db);
    let lost: BTreeSet<u64> = decided(&db).await.into_keys().collect();
    let db = backup.restore().await;
    ingest("again", &db);

    let decided = decided(&db).await;
    all_arrived(&decided, feed::json_lines(Path::new(&commands)));
    let same_number = decided.keys().filter(|seq| lost.contains(seq)).count();
    assert!(same_number > 20, "only {same_number} decisions have a number that was taken before: this shows little");
    run(&["log", "verify", "--db", &db]);
}

/// On NATS, the consumer remembers what was acknowledged in the lost time. If the consumer is
/// deleted, the stream is read from its beginning, and messages known to the inbox are skipped.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_again_after_a_restore() {
    let (server, dir) = (NatsServer::start().await, tempfile::tempdir().unwrap());
    let context = two_writers::stream(&server).await;
    let (url, db) = (server.url(), database(dir.path(), false).await);
    let archive = feed::recorded("koji").to_str().unwrap().to_owned();
    let follow = || {
        let from = ["follow", "--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--consumer", "one"];
        let to = ["--commands-stream", "KOSCHEI", "--commands-subject", "koschei.commands"];
        let how = ["--archive", &archive, "--db", &db, "--until-idle"];
        run(&[&from[..], &to[..], &how[..]].concat());
    };
    let lines = feed::lines(&feed::recorded("koji").join("events.jsonl"));
    let total = lines.len() as u64;
    let (before, after) = lines.split_at(lines.len() / 3);
    let mut backup = None;
    for (n, part) in [before, after].into_iter().enumerate() {
        for line in part {
            context.publish("koji.buildsys", line.clone().into()).await.unwrap().await.unwrap();
        }
        follow();
        if n == 0 {
            backup = Some(Backup::of(&db, dir.path()));
        }
    }
    backup.unwrap().restore().await;
    context.get_stream("KOJI").await.unwrap().delete_consumer("one").await.unwrap();
    follow();

    let log = koschei::log::open(&db, &Options::default()).await.unwrap();
    let counts = log.counts().await.unwrap();
    assert_eq!((counts.inbox_total, counts.inbox_pending, counts.outbox_pending), (total, 0, 0), "all came again");
    log.close().await;
    let decided = decided(&db).await;
    assert!(decided.len() > 20, "{}", decided.len());
    all_arrived(&decided, follow::received(&server).await);
}

fn primary(s: &State) -> &HubState {
    &s.hubs[&koschei::model::Hub::new("primary")]
}

fn asks_for(live: &Live, package: &str) {
    run(&["admin", "set-priority", "-c", "f99", "--points", "1000", package, "--wait", "120", "--db", &live.db]);
}

/// Returns the hub's tasks by the command id they carry.
fn tasks(hub: &Hub) -> BTreeMap<String, Vec<i64>> {
    let mut all: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for task in hub.dump().tasks {
        all.entry(task.command().to_owned()).or_default().push(task.id);
    }
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
    let backup = Backup::of(&live.db, live.dir.path());
    let before = decided(&live.db).await.len();

    live.start();
    asks_for(&live, "app");
    let count = |n: usize| move |s: &State| rests(s) && primary(s).tasks.len() == n;
    live.wait("app is rebuilt", count(before + 1)).await;
    live.stop();
    backup.restore().await;

    live.start();
    asks_for(&live, "bash");
    asks_for(&live, "libfoo");
    let state = live.wait("both are rebuilt", count(before + 3)).await;
    live.stop();
    let (decided, made) = (decided(&live.db).await, tasks(&live.hub));
    assert_eq!(decided.len(), before + 2);
    for (id, nvr) in decided.values() {
        assert_eq!(made.get(id).map(Vec::len), Some(1), "{nvr} is one task of its own: {made:?}");
    }
    let old: Vec<i64> =
        made.iter().filter(|(id, _)| !decided.values().any(|(d, _)| d == *id)).map(|(_, t)| t[0]).collect();
    assert_eq!(old.len(), 1, "the one of the time that was given up: {made:?}");
    assert_eq!(primary(&state).tasks[&TaskId(old[0])].rebuild, None, "it is known, and not ours");
}

/// The service and others commit while the copy is taken. The copy has a consistent beginning of
/// the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_taken_beside_a_running_service_is_a_backup() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("[policy]\ntick_interval_secs = 1\n{COLLECTION}");
    live.start();
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    live.wait("everything is rebuilt", rests).await;
    let before = live.hub.dump().tasks.len();

    let (log, stop) = (live.log().await, CancellationToken::new());
    let (others, until) = (log.clone(), stop.clone());
    let commits = tokio::spawn(async move {
        let mut n = 0;
        while !until.is_cancelled() {
            let (id, topic) = (format!("other {n}"), "org.example.nothing".to_owned());
            let source = "another".to_owned();
            let body = format!(r#"{{"topic": "{topic}", "id": "{id}", "body": {{}}}}"#).into_bytes();
            others.receive(&[Incoming { id, source, topic, received_at: clock::now(), body }]).await.unwrap();
            n += 1;
        }
        n
    });
    let inbox = async |log: &AnyLog| log.counts().await.unwrap().inbox_total;
    while inbox(&log).await < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asks_for(&live, "app");
    let backup = Backup::beside_a_writer(&live.db, live.dir.path());
    let then = inbox(&log).await;
    while inbox(&log).await < then + 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    let written = commits.await.unwrap();
    log.close().await;
    let count = |n: usize| move |s: &State| rests(s) && primary(s).tasks.len() == n;
    live.wait("app is rebuilt", count(before + 1)).await;
    asks_for(&live, "bash");
    live.wait("bash is rebuilt", count(before + 2)).await;
    live.stop();
    backup.restore().await;
    for check in ["verify", "audit"] {
        run(&["log", check, "--db", &live.db]);
    }
    let log = live.log().await;
    let copied = inbox(&log).await;
    assert!((20..written).contains(&copied), "{copied} of {written} messages: commits went on before and after");
    log.close().await;
    let kept = decided(&live.db).await;

    live.start();
    asks_for(&live, "libfoo");
    // Every decision about app in the copy follows from a word in the copy, or from none.
    live.wait("libfoo is rebuilt", |s| rests(s) && s.package("f99", "libfoo").is_some_and(|p| p.manual_points == 0))
        .await;
    live.stop();
    let (decided, made) = (decided(&live.db).await, tasks(&live.hub));
    assert!(kept.iter().all(|(seq, decision)| decided.get(seq) == Some(decision)));
    assert!(decided.len() > kept.len());
    for (id, nvr) in decided.values() {
        assert_eq!(made.get(id).map(Vec::len), Some(1), "{nvr} is one task of its own: {made:?}");
    }
    run(&["log", "verify", "--db", &live.db]);
}

/// An export has no commands: what waited in the outbox is decided again after the import.
#[tokio::test(flavor = "multi_thread")]
async fn what_waited_when_a_log_was_exported_is_rebuilt_where_it_is_imported() {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = format!("[policy]\ntick_interval_secs = 1\n{COLLECTION}");
    let gate = live.start_until_at("build").await;
    live.kill();
    assert_eq!(decided(&live.db).await.len(), 4);
    let at = |name: &str| live.dir.path().join(name).to_str().unwrap().to_owned();
    let (export, imported) = (at("export.jsonl"), at("imported.db"));
    run(&["log", "export", "--db", &live.db, "--to", &export]);
    run(&["log", "import", "--db", &imported, "--from", &export]);
    live.db = imported;
    gate.open();
    live.hub.work_all();
    let _builders = live.hub.start_builders(Duration::from_millis(20));
    live.start();
    live.wait("everything is rebuilt", rests).await;
    live.stop();
    let (decided, made) = (decided(&live.db).await, tasks(&live.hub));
    for id in made.keys().filter(|id| !decided.values().any(|(d, _)| d == *id)) {
        assert_eq!(made[id].len(), 1, "the call that stood at the gate was of the other log: {made:?}");
    }
    let ours = decided.values().filter(|(id, _)| made.contains_key(id)).count();
    assert!(ours >= 3, "{ours} of {made:?}");
    run(&["log", "audit", "--db", &live.db]);
    run(&["log", "verify", "--db", &live.db]);
}

/// A decision waits, and the hub has tasks with similar ids: from another past, for another target,
/// and from another source.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_adopted_by_its_whole_id_its_source_and_its_target() {
    let mut live = Live::new();
    small(&live.hub);
    live.hub.change(|tx| tx.create_target("f99-other", "f99-build", "f99"));
    live.tables = COLLECTION.to_owned();
    let gate = live.start_until_at("build").await;
    live.kill();
    gate.open();
    let decided = decided(&live.db).await;
    let of = |package: &str| decided.values().find(|(_, nvr)| nvr.starts_with(package)).unwrap().clone();
    let build = |nvr: &str, target: &str, id: &str| {
        let metadata = row! { "koschei" => row! { "decision" => id } };
        let options = row! { "custom_user_metadata" => metadata };
        live.hub.change(|tx| tx.scratch_build("koschei", target, nvr, options))
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
