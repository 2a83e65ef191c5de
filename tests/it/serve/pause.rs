//! A pause: nothing more goes out, whatever was decided before and whatever dies. Counted at the
//! hub and at the receiver of commands.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use koschei::log::{AnyLog, EventLog, OutboxCommand, PAGE_MAX};
use koschei::model::RepoId;

use crate::cli::words::{Follow, koschei, open, say};
use crate::hub::{DumpTask, Gate};
use crate::live::{Live, PATIENCE};
use crate::nats_server::NatsServer;
use crate::serve::first::{COLLECTION, small};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");
/// Number of rebuilds decided on the small hub.
const DECIDED: usize = 4;

/// Starts a service whose first submission is at the hub's gate. Nothing else was submitted.
async fn at_the_door() -> (Live, Gate) {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    let gate = live.start_until_at("build").await;
    live.wait("all is decided", |s| s.rebuilds.len() == DECIDED).await;
    (live, gate)
}

fn ok(out: &Output) -> String {
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout.clone()).unwrap()
}

/// Returns the decisions that are tasks of the hub, once per task.
fn tasks(live: &Live) -> Vec<u64> {
    let mut decisions: Vec<u64> = live.hub.dump().tasks.iter().map(DumpTask::decided).collect();
    decisions.sort_unstable();
    decisions
}

/// Gives the service the time to do what it would do.
async fn next_repository(live: &mut Live) {
    let repo = RepoId(live.hub.change(|tx| tx.new_repo("f99-build")));
    let resolved = |s: &koschei::fold::State| {
        let c = &s.collections["f99"];
        c.arches.values().all(|a| a.repo_id == Some(repo)) && s.last_evaluation > c.resolved_at
    };
    live.wait("another repository is resolved and led to an evaluation", resolved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_pause_a_kill_and_a_restart_the_hub_has_no_further_task() {
    let (mut live, gate) = at_the_door().await;
    ok(&say(&live.db, &["pause", "--reason", "something is wrong"]));
    gate.open();
    let submitted = |s: &koschei::fold::State| s.rebuilds.values().filter(|r| r.task.is_some()).count();
    live.wait("what was on its way is noted", |s| submitted(s) == 1).await;
    next_repository(&mut live).await;
    assert_eq!(tasks(&live).len(), 1, "what had left before the pause");
    live.kill();
    live.start();
    next_repository(&mut live).await;
    assert_eq!(tasks(&live).len(), 1);
    assert!(!live.said().contains("was being submitted; the hub is asked"), "nobody even tried: {}", live.said());
    let waiting = koschei(&["commands", "--peek", "--db", &live.db]).output().unwrap();
    assert_eq!(ok(&waiting).lines().count(), DECIDED - 1, "they wait");

    ok(&say(&live.db, &["resume"]));
    let state = live.wait("all are submitted", |s| submitted(s) == DECIDED).await;
    let decided: Vec<u64> = state.rebuilds.keys().map(|r| r.0).collect();
    assert_eq!(tasks(&live), decided, "each once");
    live.stop();
}

/// A hub that does not answer is retried for minutes. Each attempt would go out.
#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_reach_the_hub_before_the_pause_is_not_tried_again() {
    let (mut live, _closed) = at_the_door().await;
    ok(&say(&live.db, &["pause", "-c", "f99"]));
    live.hub.stop();
    live.hub.restart();
    live.says("submissions were paused while a rebuild was being submitted").await;
    next_repository(&mut live).await;
    assert_eq!(tasks(&live), [0; 0]);
    ok(&say(&live.db, &["resume", "-c", "f99"]));
    let state = live.wait("all are submitted", |s| s.rebuilds.values().all(|r| r.task.is_some())).await;
    assert_eq!((tasks(&live).len(), state.rebuilds.len()), (DECIDED, DECIDED));
    live.stop();
}

const REBUILD: &str = r#""command":"rebuild""#;

/// Returns the rebuilds that reached a stream. A rebuild that runs too long by today's clock is
/// cancelled meanwhile, and that command goes out.
async fn published(server: &NatsServer) -> usize {
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let Ok(mut stream) = context.get_stream("KOSCHEI").await else { return 0 };
    let n = usize::try_from(stream.info().await.unwrap().state.messages).unwrap();
    let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    let texts = messages.take(n).map(|m| String::from_utf8(m.unwrap().payload.to_vec()).unwrap());
    texts.filter(|text| std::future::ready(text.contains(REBUILD))).count().await
}

/// Returns the rebuilds that reached a file.
fn written(path: &str) -> usize {
    std::fs::read_to_string(path).unwrap().matches(REBUILD).count()
}

/// Returns the rebuilds that wait.
async fn waiting(log: &AnyLog) -> Vec<OutboxCommand> {
    let mut waiting = log.pending_commands(1000).await.unwrap();
    waiting.retain(|c| c.kind == "rebuild");
    waiting
}

/// Returns the rebuilds that were decided.
async fn decided(log: &AnyLog) -> usize {
    let records = log.read(None, PAGE_MAX).await.unwrap();
    records.iter().filter(|r| r.kind == "rebuild_requested").count()
}

/// The ingest waits at a silent pipe, and has read half of its next commit.
#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_waits_for_its_next_line_hears_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (db, commands, batch) = (path("a.db"), path("commands"), 300);
    let log = open(&db).await;
    let mut child = koschei(&["ingest", "--from", "-", "--archive", DATA, "--commands", &commands])
        .args(["--batch", &batch.to_string(), "--db", &db])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let recording = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    let lines: Vec<&str> = recording.lines().collect();
    let (first, rest) = lines.split_at(batch * 3 / 2);
    pipe.write_all((first.join("\n") + "\n").as_bytes()).unwrap();
    let taken = tokio::time::timeout(PATIENCE, async {
        loop {
            let counts = log.counts().await.unwrap();
            if counts.inbox_total == batch as u64 && counts.inbox_pending == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    taken.await.expect("the first batch is taken");
    assert_eq!(ok(&say(&db, &["pause", "--reason", "mass rebuild"])).lines().next(), Some("done"));
    assert!(child.try_wait().unwrap().is_none(), "it waits on");
    pipe.write_all((rest.join("\n") + "\n").as_bytes()).unwrap();
    drop(pipe);
    assert!(child.wait().unwrap().success());
    assert!(decided(&log).await > 0, "before the pause");
    assert_eq!(written(&commands), 0);
    assert_eq!(log.counts().await.unwrap().inbox_total, lines.len() as u64 + 1, "all messages, and the word");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_what_is_paused_reach_nobody() {
    let mut server = NatsServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (db, url) = (path("a.db"), server.url());
    let recording = format!("{DATA}/events.jsonl");
    let ingest = ["ingest", "--from", &recording, "--archive", DATA, "--db", &db];
    ok(&koschei(&ingest).output().unwrap());
    let log = open(&db).await;
    let before = decided(&log).await;
    assert!(before > 10, "{before}");

    // The pause is said and not handled yet. It stops commands all the same.
    ok(&koschei(&["admin", "pause", "--no-wait", "--db", &db]).output().unwrap());
    let out = koschei(&["commands", "--to", &path("by-hand"), "--db", &db]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("0 commands delivered") && said.contains("submissions are paused"), "{said}");
    ok(&koschei(&ingest).args(["--commands", &path("of-ingest")]).output().unwrap());
    let nats = ["--nats", &url, "--stream", "KOJI", "--subject", "koji.>"];
    let to_stream = ["--commands-stream", "KOSCHEI", "--commands-subject", "koschei.commands"];
    let follow = |more: &[&str]| koschei(&["follow", "--until-idle", "--db", &db]).args(nats).args(more).output();
    ok(&follow(&["--commands", &path("of-follow")]).unwrap());
    ok(&follow(&to_stream).unwrap());
    // A follower that runs, is killed, and runs again.
    for _ in 0..2 {
        let mut running = Follow::start(&[&nats[..], &to_stream].concat(), &db);
        ok(&say(&db, &["set-priority", "-c", "f99-build", "--points", "1", "curl"]));
        assert!(running.runs());
    }
    let files = ["by-hand", "of-ingest", "of-follow"];
    assert_eq!(files.map(|f| written(&path(f))), [0; 3]);
    assert_eq!(published(&server).await, 0);
    assert_eq!((waiting(&log).await.len(), decided(&log).await), (before, before));

    // A pause of one collection only: the commands of the other one go out.
    let running = Follow::start(&nats, &db);
    ok(&say(&db, &["pause", "-c", "f99-build"]));
    ok(&say(&db, &["resume"]));
    drop(running);
    ok(&follow(&to_stream).unwrap());
    let theirs = |c: &koschei::log::OutboxCommand| c.payload.contains(r#""collection":"f99-build""#);
    let held = waiting(&log).await;
    assert!(!held.is_empty() && held.iter().all(theirs), "{held:?}");
    assert_eq!(published(&server).await, decided(&log).await - held.len());

    let running = Follow::start(&nats, &db);
    ok(&say(&db, &["resume", "-c", "f99-build"]));
    drop(running);
    ok(&follow(&to_stream).unwrap());
    assert_eq!(published(&server).await, decided(&log).await, "each once");
    assert_eq!(waiting(&log).await, []);
    log.close().await;
    server.stop();
}
