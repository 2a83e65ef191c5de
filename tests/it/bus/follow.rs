//! The whole way on a live bus: messages from JetStream, acknowledged after the inbox commit, and
//! commands to another subject.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use async_nats::jetstream;
use futures_util::StreamExt;
use sqlx::{Connection, SqliteConnection};

use crate::nats_server::NatsServer;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

fn koschei() -> Command {
    Command::new(env!("CARGO_BIN_EXE_koschei"))
}

/// Runs the program to its end. Returns standard output.
fn output(args: &[&str]) -> String {
    let out = koschei().args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn member(json: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value[name].as_str().unwrap().to_owned()
}

async fn publish(server: &NatsServer) -> usize {
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config =
        jetstream::stream::Config { name: "KOJI".into(), subjects: vec!["koji.>".into()], ..Default::default() };
    context.create_stream(config).await.unwrap();
    let text = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    let mut acks = Vec::new();
    for line in text.lines() {
        acks.push(context.publish("koji.buildsys", line.to_owned().into()).await.unwrap());
    }
    let n = acks.len();
    for ack in acks {
        ack.await.unwrap();
    }
    n
}

/// Returns the lines of the recording in the order in which they are in an inbox. Each must be
/// there once.
async fn as_they_came(db: &str) -> String {
    let mut lines: HashMap<String, String> = std::fs::read_to_string(format!("{DATA}/events.jsonl"))
        .unwrap()
        .lines()
        .map(|line| (member(line, "id"), format!("{line}\n")))
        .collect();
    let mut database = SqliteConnection::connect(&format!("sqlite:{db}?mode=ro")).await.unwrap();
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM inbox ORDER BY position").fetch_all(&mut database).await.unwrap();
    database.close().await.unwrap();
    let came = ids.iter().map(|id| lines.remove(id).unwrap_or_else(|| panic!("nobody published {id}"))).collect();
    assert!(lines.is_empty(), "{} did not come", lines.len());
    came
}

/// Returns the commands that reached the receiver, in order.
pub(crate) async fn received(server: &NatsServer) -> Vec<serde_json::Value> {
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut stream = context.get_stream("KOSCHEI").await.unwrap();
    let n = usize::try_from(stream.info().await.unwrap().state.messages).unwrap();
    let config = jetstream::consumer::pull::OrderedConfig::default();
    let messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    messages
        .take(n)
        .map(|m| {
            let value: serde_json::Value = serde_json::from_slice(&m.unwrap().payload).unwrap();
            assert!(value["cause"]["sequence"].as_u64().is_some(), "a command says its cause: {value}");
            value
        })
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_the_facts_of_the_recording_and_commands_go_to_another_subject() {
    let server = NatsServer::start().await;
    let published = publish(&server).await;
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("live.db");
    let db = db.to_str().unwrap();
    let url = server.url();
    let args = [
        "follow",
        "--nats",
        &url,
        "--stream",
        "KOJI",
        "--subject",
        "koji.>",
        "--commands-stream",
        "KOSCHEI",
        "--commands-subject",
        "koschei.commands",
        "--archive",
        DATA,
        "--db",
        db,
        "--until-idle",
        "--batch",
        "50",
        // The messages that the killed process had fetched come again after this time.
        "--ack-wait",
        "10",
        "--listen",
        "127.0.0.1:0",
    ];
    // Killed in the middle: when builds are being tagged, or a little later.
    let mut child = koschei().args(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap().strip_suffix("/metrics").unwrap().to_owned();
    // A fast program on an idle machine may reach the end of the stream and end before this
    // request.
    let mut ended = || child.try_wait().unwrap().is_some();
    assert!(get(&address, "/alive").contains("200 OK") || ended());
    let settled = || -> f64 {
        let text = get(&address, "/metrics");
        let lines = text.lines().filter(|line| line.starts_with("koschei_inbox_settled_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    while settled() < 100.0 && !ended() {
        std::thread::yield_now();
    }
    drop(child.kill());
    child.wait().unwrap();
    // Twice more: the rest is taken in, and nothing comes twice.
    output(&args);
    output(&args);

    let live = output(&["replay", "--db", db, "--json"]);
    // The messages that the killed process had fetched come after those it had not. Without a hub,
    // the order of messages about one package in one tag matters. So the comparison uses a
    // recording in the order of arrival.
    let (file, events) = (dir.path().join("file.db"), dir.path().join("events.jsonl"));
    std::fs::write(&events, as_they_came(db).await).unwrap();
    let (file, events) = (file.to_str().unwrap(), events.to_str().unwrap());
    let recorded = output(&["ingest", "--from", events, "--archive", DATA, "--db", file, "--json"]);
    assert_eq!(member(&live, "facts_digest"), member(&recorded, "facts_digest"));
    let stats: serde_json::Value = serde_json::from_str(&output(&["log", "stats", "--db", db, "--json"])).unwrap();
    assert_eq!(stats["inbox_total"].as_u64(), Some(published as u64), "each message stands in the inbox once");
    assert_eq!(stats["inbox_pending"].as_u64(), Some(0));
    assert_eq!(stats["outbox_pending"].as_u64(), Some(0));

    let commands = received(&server).await;
    let ids: Vec<&str> = commands.iter().map(|c| c["id"].as_str().unwrap()).collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "no command reached the receiver twice");
    let decided = stats["kinds"]["rebuild_requested.v1"]["events"].as_u64().unwrap();
    assert_eq!(ids.len() as u64, decided, "every decided rebuild reached the receiver");
    assert!(!ids.is_empty());
}

/// Sends one HTTP request. Returns the whole response.
pub(crate) fn get(address: &str, path: &str) -> String {
    // The server may be killed after it accepted the connection. The response is then empty.
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut text = String::new();
    if stream.write_all(request.as_bytes()).is_ok() {
        drop(stream.read_to_string(&mut text));
    }
    text
}

#[test]
fn a_bus_that_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("x.db");
    let out = koschei()
        .args(["follow", "--nats", "nats://127.0.0.1:1", "--stream", "S", "--subject", "s.>", "--until-idle", "--db"])
        .arg(Path::new(&db))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(4), "unavailable");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("127.0.0.1:1"), "{said}");
}
