//! A service without a login: what is in the work queue, and which results it believes.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::{StreamExt as _, TryStreamExt as _};
use koschei::decide::command::RebuildCommand;
use koschei::event::Event;
use koschei::log::EventLog;
use koschei::message::RESULT_TOPIC;
use koschei::model::TaskId;
use serde_json::{Value, json};

use crate::cli::words::{koschei, say};
use crate::executor;
use crate::hub::NewTask;
use crate::hub::value::row;
use crate::live::{Live, PATIENCE};
use crate::nats_server::NatsServer;
use crate::serve::first::{COLLECTION, small};
use crate::serve::kill::cancel;

/// Number of rebuilds decided on the small hub.
const DECIDED: usize = 4;

/// A service without a login on the small hub.
async fn without_login() -> (Live, NatsServer) {
    let nats = NatsServer::start().await;
    let mut live = Live::new();
    small(&live.hub);
    live.auth = "none";
    live.of_hub = executor::OUTSIDE;
    live.tables = COLLECTION.to_owned() + &executor::table(&nats);
    live.start();
    (live, nats)
}

/// Returns the subjects of the queue, which end with the commands' ids.
async fn queued(nats: &NatsServer) -> BTreeSet<String> {
    let Ok(stream) = nats.jetstream().await.get_stream("KOSCHEI_COMMANDS").await else { return BTreeSet::new() };
    let subjects = stream.info_with_subjects("koschei.commands.>").await.unwrap();
    subjects.map_ok(|(subject, _)| subject).try_collect().await.unwrap()
}

async fn until_queued(live: &Live, nats: &NatsServer, what: &str, so: impl Fn(&BTreeSet<String>) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !so(&queued(nats).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}; it said:\n{}", live.said());
}

/// Takes a command, as an executor does.
async fn take(nats: &NatsServer) -> (RebuildCommand, jetstream::Message) {
    let stream = nats.jetstream().await.get_stream("KOSCHEI_COMMANDS").await.unwrap();
    let consumer: PullConsumer = stream.get_consumer("executor-primary").await.unwrap();
    let mut messages = consumer.batch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
    let message = messages.next().await.unwrap().unwrap();
    let command: RebuildCommand = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(message.subject.as_str(), format!("koschei.commands.primary.{}", command.id));
    assert_eq!(message.headers.as_ref().unwrap().get("Koschei-Command").unwrap().as_str(), command.id);
    (command, message)
}

async fn result(nats: &NatsServer, id: &str, topic: &str, body: Value) {
    let text = json!({ "id": id, "topic": topic, "body": body }).to_string();
    nats.jetstream().await.publish("koschei.results", text.into()).await.unwrap().await.unwrap();
}

/// Makes the task of a command, as an executor's call would.
fn build(live: &Live, user: &str, command: &RebuildCommand) -> TaskId {
    let ours = row! { "koschei" => row! { "decision" => command.id.as_str() } };
    let opts = row! { "scratch" => true, "custom_user_metadata" => ours };
    let request = vec![command.source.as_str().into(), command.target.as_str().into(), opts];
    TaskId(live.hub.change_as(user, |tx| {
        let owner = tx.logged_in()?;
        Ok(tx.make_task(NewTask { owner, ..NewTask::new("build", request) }))
    }))
}

async fn parked(live: &Live, n: u64) {
    let log = live.log().await;
    let waited = tokio::time::timeout(PATIENCE, async {
        while log.counts().await.unwrap().inbox_parked < n {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{n} should be set aside; it said:\n{}", live.said());
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_believed_as_far_as_the_hub_confirms_them() {
    let (mut live, nats) = without_login().await;
    until_queued(&live, &nats, "all is decided", |ids| ids.len() == DECIDED).await;
    let (command, message) = take(&nats).await;
    let id = command.id.as_str();
    let other_log = id.replacen(id.split(':').next().unwrap(), &"0".repeat(32), 1);
    let tick = {
        let log = live.log().await;
        let info = log.info().await.unwrap();
        let records = log.read(None, 1000).await.unwrap();
        let tick = records.iter().find(|r| r.kind == "tick").unwrap();
        log.close().await;
        format!("{}:{}:{}", info.log_id, tick.seq, tick.hash)
    };
    // What makes no sense is set aside.
    let nonsense = [
        (RESULT_TOPIC, json!({ "command": id, "result": "maybe" })),
        (RESULT_TOPIC, json!({ "command": id, "result": "submitted", "task_id": 0 })),
        (RESULT_TOPIC, json!({ "command": id, "result": "done" })),
        (RESULT_TOPIC, json!({ "command": other_log, "result": "refused", "reason": "no" })),
        (RESULT_TOPIC, json!({ "command": id.replace(':', "."), "result": "refused", "reason": "no" })),
        (RESULT_TOPIC, json!({ "command": tick, "result": "refused", "reason": "no" })),
        ("org.fedoraproject.prod.buildsys.tag", json!({ "command": id, "result": "refused", "reason": "no" })),
    ];
    for (n, (topic, body)) in nonsense.iter().enumerate() {
        result(&nats, &format!("nonsense {n}"), topic, body.clone()).await;
    }
    nats.jetstream().await.publish("koschei.results", "[]".into()).await.unwrap().await.unwrap();
    parked(&live, nonsense.len() as u64 + 1).await;
    // Tried again, they make no more sense. The log says whether they can be read.
    let mut tried = koschei(&["log", "retry-parked", "nonsense 0", "nonsense 2", "--wait", "120", "--db", &live.db]);
    assert!(tried.output().unwrap().status.success());
    parked(&live, nonsense.len() as u64 + 1).await;
    // A task that somebody else made, and one that nobody made, do not become ours.
    let theirs = build(&live, "alice", &command);
    for (n, task) in [theirs.0, theirs.0 + 1000].into_iter().enumerate() {
        result(
            &nats,
            &format!("lie {n}"),
            RESULT_TOPIC,
            json!({ "command": id, "result": "submitted", "task_id": task }),
        )
        .await;
    }
    // The one that our user made does.
    let ours = build(&live, "koschei", &command);
    let body = json!({ "command": id, "result": "submitted", "task_id": ours });
    result(&nats, "true", RESULT_TOPIC, body.clone()).await;
    message.double_ack().await.unwrap();
    let is_ours = |s: &koschei::fold::State| {
        s.rebuilds.get(&command.rebuild()).and_then(|open| open.task.as_ref()).is_some_and(|(_, task)| *task == ours)
    };
    live.wait("the task is known", is_ours).await;
    // Said again under another id, and a refusal when there is a task: nothing happens.
    result(&nats, "again", RESULT_TOPIC, body).await;
    result(&nats, "too late", RESULT_TOPIC, json!({ "command": id, "result": "refused", "reason": "no" })).await;
    // A refusal of the next command closes it.
    let (refused, message) = take(&nats).await;
    let body = json!({ "command": refused.id, "result": "refused", "reason": "the policy says no" });
    result(&nats, "refusal", RESULT_TOPIC, body).await;
    message.double_ack().await.unwrap();
    live.wait("it is closed", |s| !s.rebuilds.contains_key(&refused.rebuild())).await;
    let log = live.log().await;
    let waited = tokio::time::timeout(PATIENCE, async {
        while log.counts().await.unwrap().inbox_pending > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap();
    let events: Vec<Event> = log.read(None, 10_000).await.unwrap().iter().map(|r| r.decode().unwrap().event).collect();
    assert_eq!(log.counts().await.unwrap().inbox_parked, nonsense.len() as u64 + 1);
    log.close().await;
    let retried = events.iter().filter_map(|e| match e {
        Event::MessageRetried(r) => Some((r.message.as_str(), r.understood)),
        _ => None,
    });
    assert_eq!(retried.collect::<Vec<_>>(), [("nonsense 0", false), ("nonsense 2", true)]);
    let refusals: Vec<_> =
        events.iter().filter_map(|e| if let Event::RebuildRefused(r) = e { Some(r) } else { None }).collect();
    assert_eq!(refusals.len(), 1);
    assert_eq!((refusals[0].rebuild, refusals[0].reason.as_str()), (refused.rebuild(), "the policy says no"));
    assert!(is_ours(&live.state().await));
    live.stop();
}

/// The queue follows pauses, cancellations and kills. No command is in it twice.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_has_what_may_be_carried_out() {
    let (mut live, mut nats) = without_login().await;
    let state = live.wait("all is decided", |s| s.rebuilds.len() == DECIDED).await;
    until_queued(&live, &nats, "all is there", |ids| ids.len() == DECIDED).await;
    assert!(say(&live.db, &["pause", "--reason", "something is wrong"]).status.success());
    until_queued(&live, &nats, "all is taken out", BTreeSet::is_empty).await;
    live.kill();
    live.start();
    assert!(say(&live.db, &["resume"]).status.success());
    until_queued(&live, &nats, "all is back", |ids| ids.len() == DECIDED).await;
    let (rebuild, open) = state.rebuilds.iter().next().unwrap();
    cancel(&live, rebuild.0, &open.package).await;
    let of = format!(":{}:", rebuild.0);
    until_queued(&live, &nats, "it is taken out", |ids| {
        ids.len() == DECIDED - 1 && !ids.iter().any(|id| id.contains(&of))
    })
    .await;
    // Somebody deletes the stream: the commands come back, and so does the consumer.
    nats.jetstream().await.delete_stream("KOSCHEI_COMMANDS").await.unwrap();
    until_queued(&live, &nats, "all is there again", |ids| ids.len() == DECIDED - 1).await;
    // Each is there once, over a restart of the server, and of the service.
    nats.stop();
    nats.restart().await;
    live.kill();
    live.start();
    live.says("pages at").await;
    let mut taken = BTreeSet::new();
    for _ in 1..DECIDED {
        let (command, message) = take(&nats).await;
        assert!(taken.insert(command.id.clone()), "{} came twice", command.id);
        let task = build(&live, "koschei", &command);
        let body = json!({ "command": command.id, "result": "submitted", "task_id": task });
        result(&nats, &command.id, RESULT_TOPIC, body).await;
        message.double_ack().await.unwrap();
    }
    let log = live.log().await;
    let waited = tokio::time::timeout(PATIENCE, async {
        while log.counts().await.unwrap().outbox_pending > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "commands wait though their tasks are known; it said:\n{}", live.said());
    log.close().await;
    // One that was taken while the service was away may have come back for a moment.
    until_queued(&live, &nats, "nothing is left", BTreeSet::is_empty).await;
    live.stop();
}

/// Certificates are the login, for events, commands and results alike. `doctor` says what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_certificates() {
    let mut live = Live::new();
    let (server, ca, ours) = (live.pki.server(), live.pki.ca(), live.pki.user("client"));
    let tls = format!("tls {{ cert_file: {server:?}, key_file: {server:?}, ca_file: {ca:?}, verify: true }}");
    let login = ConnectOptions::new().add_root_certificates(ca.clone()).require_tls(true);
    let nats = NatsServer::start_with(&tls, login.add_client_certificate(ours.clone(), ours.clone())).await;
    small(&live.hub);
    live.auth = "none";
    live.of_hub = executor::OUTSIDE;
    let keys = format!("ca_cert = {ca:?}\ncert = {ours:?}\nkey = {ours:?}\n");
    live.tables = COLLECTION.to_owned() + &executor::table(&nats) + &keys;
    let doctor = |live: &Live| {
        let config = live.config().to_str().unwrap().to_owned();
        let out = koschei(&["doctor", "--config", &config, "--db", &live.db, "--json"]).output().unwrap();
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        let of = |check: &str| {
            let finding = report["checks"].as_array().unwrap().iter().find(|f| f["check"] == check).unwrap();
            finding["found"].as_str().unwrap().to_owned()
        };
        [of("login"), of("jetstream")]
    };
    let [login, streams] = doctor(&live);
    assert!(login.contains("none is needed: other programs carry out the commands"), "{login}");
    assert!(
        ["EVENTS", "COMMANDS", "RESULTS"].iter().all(|s| streams.contains(&format!("KOSCHEI_{s} will be made"))),
        "{streams}"
    );
    live.start();
    until_queued(&live, &nats, "all is decided", |ids| ids.len() == DECIDED).await;
    let published = nats.jetstream().await.get_stream("KOSCHEI_EVENTS").await.unwrap().cached_info().state.messages;
    assert!(published > 0);
    let (command, message) = take(&nats).await;
    let body = json!({ "command": command.id, "result": "refused", "reason": "no" });
    result(&nats, "refusal", RESULT_TOPIC, body).await;
    message.double_ack().await.unwrap();
    live.wait("it is closed", |s| !s.rebuilds.contains_key(&command.rebuild())).await;
    let [_, streams] = doctor(&live);
    assert!(
        ["EVENTS", "COMMANDS", "RESULTS"].iter().all(|s| streams.contains(&format!("KOSCHEI_{s} fits"))),
        "{streams}"
    );
    live.stop();
    live.tables = COLLECTION.to_owned() + &executor::table(&nats) + &format!("ca_cert = {ca:?}\n");
    let [_, refused] = doctor(&live);
    assert!(refused.contains("connect to NATS"), "{refused}");
}
