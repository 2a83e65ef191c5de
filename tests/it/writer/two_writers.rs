//! Two writers on one log: one gives way, and the other handles what it had acknowledged.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use koschei::base::clock;
use koschei::log::{AnyLog, Counts, EventLog, Incoming, Options};
use rstest::rstest;

use crate::live::PATIENCE;
use crate::nats_server::NatsServer;
use crate::{feed, servers};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts `koschei follow` on a stream. Each has its own consumer, as if two operators had set them
/// up.
fn follow(server: &NatsServer, consumer: &str, db: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    command.args(["follow", "--nats", &server.url(), "--stream", "KOJI", "--subject", "koji.>", "--db", db]);
    command.args(["--consumer", consumer, "--batch", "20"]).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

pub(crate) async fn stream(server: &NatsServer) -> jetstream::Context {
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config =
        jetstream::stream::Config { name: "KOJI".into(), subjects: vec!["koji.>".into()], ..Default::default() };
    context.create_stream(config).await.unwrap();
    context
}

async fn until(log: &AnyLog, what: &str, so: impl Fn(&Counts, u64) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let (counts, head) = (log.counts().await.unwrap(), log.head().await.unwrap());
            if so(&counts, head.seq.map_or(0, koschei::model::Seq::get)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "never {what}: {:?}", log.counts().await);
}

async fn database(dir: &tempfile::TempDir, postgres: bool) -> String {
    match postgres {
        true => servers::postgres_database().await,
        false => dir.path().join("koschei.db").to_str().unwrap().to_owned(),
    }
}

/// The other process received messages, acknowledged them, and is gone.
#[rstest]
#[case::sqlite(false)]
#[case::postgres(true)]
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_acknowledged_is_handled(#[case] postgres: bool) {
    let (server, dir) = (NatsServer::start().await, tempfile::tempdir().unwrap());
    let context = stream(&server).await;
    let db = database(&dir, postgres).await;
    let log = koschei::log::open(&db, &Options::default()).await.unwrap();
    let lines = feed::lines(&feed::recorded("koji").join("events.jsonl"));
    let _follower = follow(&server, "one", &db);
    context.publish("koji.buildsys", lines[0].clone().into()).await.unwrap().await.unwrap();
    until(&log, "the first is handled", |c, head| c.inbox_total == 1 && c.inbox_pending == 0 && head > 0).await;

    let of_the_other: Vec<Incoming> = lines[1..60]
        .iter()
        .map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            Incoming {
                id: message["id"].as_str().unwrap().to_owned(),
                source: "the other".to_owned(),
                topic: message["topic"].as_str().unwrap().to_owned(),
                received_at: clock::now(),
                body: line.as_bytes().to_vec(),
            }
        })
        .collect();
    log.receive(&of_the_other).await.unwrap();
    until(&log, "those of the other are handled", |c, _| c.inbox_total == 60 && c.inbox_pending == 0).await;
    assert_eq!(log.counts().await.unwrap().inbox_parked, 0);
}

/// Both run at once, each with all messages: one ends and says why, the other has handled all of
/// them, each once.
#[rstest]
#[case::sqlite(false)]
#[case::postgres(true)]
#[tokio::test(flavor = "multi_thread")]
async fn of_two_one_goes_on_and_nothing_is_lost(#[case] postgres: bool) {
    let (server, dir) = (NatsServer::start().await, tempfile::tempdir().unwrap());
    let context = stream(&server).await;
    let db = database(&dir, postgres).await;
    let log = koschei::log::open(&db, &Options::default()).await.unwrap();
    let mut both = [follow(&server, "one", &db), follow(&server, "two", &db)];
    let lines = feed::lines(&feed::recorded("koji").join("events.jsonl"));
    let total = lines.len() as u64;
    for line in lines {
        context.publish("koji.buildsys", line.into()).await.unwrap().await.unwrap();
    }
    until(&log, "all are handled", |c, _| c.inbox_total == total && c.inbox_pending == 0).await;
    let ended: Vec<ExitStatus> = both.iter_mut().filter_map(|r| r.0.try_wait().unwrap()).collect();
    assert!(ended.len() <= 1 && ended.iter().all(|status| !status.success()), "{ended:?}");
    koschei::log::verify(&log, None, &mut |_| ()).await.unwrap();
    log.close().await;
}
