//! `follow` on a NATS server that requires a login, or on which somebody deletes and changes our
//! stream and consumer.

use std::process::{Command, Output};
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::stream::Config;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::bus::follow_trouble::{Running, publish, stream};
use crate::nats_server::NatsServer;

const EVENTS: &str = include_str!("../../data/koji/events.jsonl");

fn follow(url: &str, db: &str, more: &[&str]) -> Output {
    let args = ["follow", "--nats", url, "--stream", "KOJI", "--subject", "koji.>", "--until-idle", "--db", db];
    Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).args(more).output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Puts three messages into the stream. Each way to log in gets one run, and the first run takes
/// the messages.
async fn takes_three(server: &NatsServer, ways: &[(String, Vec<String>)]) {
    let context = stream(server).await;
    publish(&context, EVENTS.lines().take(3)).await;
    for (url, more) in ways {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("x.db");
        let consumer = format!("c{}", ways.iter().position(|w| &w.0 == url && &w.1 == more).unwrap());
        let mut more: Vec<&str> = more.iter().map(String::as_str).collect();
        more.extend(["--consumer", &consumer]);
        let out = follow(url, db.to_str().unwrap(), &more);
        assert!(out.status.success() && said(&out).contains("3 messages taken in"), "{more:?}: {}", said(&out));
    }
}

fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_logs_in_with_user_and_password() {
    let dir = tempfile::tempdir().unwrap();
    let login = ConnectOptions::with_user_and_password("me".into(), "p@ss:word".into());
    let config = r#"authorization { user: "me", password: "p@ss:word" }"#;
    let server = NatsServer::start_with(config, login).await;
    let password = file(&dir, "password", "p@ss:word\n");
    let by_file = ["--nats-user", "me", "--nats-password-file", &password].map(str::to_owned).to_vec();
    takes_three(&server, &[(server.url_with("me:p%40ss%3Aword"), vec![]), (server.url(), by_file)]).await;

    let db = dir.path().join("x.db");
    for (url, more) in [
        (server.url(), &[][..]),
        (server.url_with("me:secret"), &[]),
        (server.url_with("me:secret"), &["--nats-user", "me", "--nats-password-file", password.as_str()]),
    ] {
        let out = follow(&url, db.to_str().unwrap(), more);
        assert_eq!(out.status.code(), Some(3), "waiting does not help: {}", said(&out));
        assert!(said(&out).contains("log in to NATS") && !said(&out).contains("secret"), "{}", said(&out));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_logs_in_with_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let login = ConnectOptions::with_token("s3cret".into());
    let server = NatsServer::start_with(r#"authorization { token: "s3cret" }"#, login).await;
    let token = file(&dir, "token", "s3cret\n");
    let by_file = ["--nats-token-file", &token].map(str::to_owned).to_vec();
    takes_three(&server, &[(server.url_with("s3cret"), vec![]), (server.url(), by_file)]).await;
}

/// Returns a signed NATS claim.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: Value) -> String {
    let text = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    let head = text(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = text(&json!({
        "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": name,
        "nats": nats,
    }));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(format!("{head}.{body}").as_bytes()).unwrap());
    format!("{head}.{body}.{signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_logs_in_with_a_credentials_file() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let system = KeyPair::new_account();
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of = |key: &KeyPair, name: &str, limits: Value| {
        jwt(&operator, key, name, json!({ "type": "account", "version": 2, "limits": limits }))
    };
    let plain = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1
    });
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}\n",
        jwt(&operator, &operator, "operator", json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        account.public_key(),
        of(&account, "koschei", limits),
        system.public_key(),
        of(&system, "system", plain),
    );
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY \
            SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(&account, &user, "koschei", claims),
        user.seed().unwrap(),
    );
    let server = NatsServer::start_with(&config, ConnectOptions::with_credentials(&credentials).unwrap()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "koschei.creds", &credentials);
    takes_three(&server, &[(server.url(), vec!["--nats-credentials".into(), path])]).await;

    let out =
        follow(&server.url(), dir.path().join("x.db").to_str().unwrap(), &["--nats-credentials", "/none/x.creds"]);
    assert!(out.status.code() == Some(3) && said(&out).contains("read login /none/x.creds"), "{}", said(&out));
}

/// The consumer, then the whole stream, are deleted: once while nobody publishes, once while a
/// message is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_or_stream_that_is_gone_is_made_again() {
    let server = NatsServer::start().await;
    let context = stream(&server).await;
    let dir = tempfile::tempdir().unwrap();
    let (db, url) = (dir.path().join("x.db"), server.url());
    let mut follow =
        Running::start(&["--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--db", db.to_str().unwrap()]);
    publish(&context, EVENTS.lines().take(10)).await;
    follow.until("the first ten are handled", |f| f.settled() == 10).await;

    let made = |f: &Running| f.said().matches("consumer of messages is created again").count();
    context.delete_consumer_from_stream("koschei", "KOJI").await.unwrap();
    follow.says("the consumer or its stream was deleted").await;
    follow.until("it is created again", |f| made(f) == 1).await;
    publish(&context, EVENTS.lines().skip(10).take(10)).await;
    follow.until("twenty are handled", |f| f.settled() == 20).await;

    context.delete_stream("KOJI").await.unwrap();
    follow.until("it is not ready", |f| f.get("/ready").contains("waiting for the source of messages")).await;
    follow.until("both are made again", |f| made(f) == 2).await;
    publish(&context, EVENTS.lines().skip(20).take(10)).await;
    follow.until("thirty are handled", |f| f.settled() == 30).await;
    follow.ready().await;

    // Somebody makes a consumer of that name that acknowledges by itself. Nothing may be taken from
    // it.
    let other = async_nats::jetstream::consumer::pull::Config {
        durable_name: Some("koschei".into()),
        ack_policy: async_nats::jetstream::consumer::AckPolicy::None,
        ..Default::default()
    };
    let koji = context.get_stream("KOJI").await.unwrap();
    while !follow.said().contains("its acknowledgement is None") {
        drop(context.delete_consumer_from_stream("koschei", "KOJI").await);
        drop(koji.create_consumer(other.clone()).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    follow.until("it is not ready", |f| f.get("/ready").contains("waiting for the source of messages")).await;
    context.delete_consumer_from_stream("koschei", "KOJI").await.unwrap();
    follow.ready().await;
    follow.terminate();

    let log = koschei::log::open(db.to_str().unwrap(), &koschei::log::Options::default()).await.unwrap();
    assert_eq!(koschei::log::EventLog::counts(&log).await.unwrap().inbox_total, 30, "each stands in the inbox once");
}

/// By default a stream forgets command ids after two minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_commands_that_forgets_too_soon_is_refused() {
    let server = NatsServer::start().await;
    let context = stream(&server).await;
    let config = |window: u64| Config {
        name: "KOSCHEI".into(),
        subjects: vec!["koschei.>".into()],
        duplicate_window: Duration::from_secs(window),
        ..Default::default()
    };
    context.create_stream(config(120)).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (db, url) = (dir.path().join("x.db"), server.url());
    let commands = ["--commands-stream", "KOSCHEI", "--commands-subject", "koschei.commands"];
    let out = self::follow(&url, db.to_str().unwrap(), &commands);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("120s") && said(&out).contains("--dupe-window=24h"), "{}", said(&out));

    // A window of a day is accepted. If it is shortened or the stream deleted, that is noticed at
    // the next command.
    context.update_stream(config(86_400)).await.unwrap();
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");
    let mut args = vec![
        "--nats",
        &url,
        "--stream",
        "KOJI",
        "--subject",
        "koji.>",
        "--db",
        db.to_str().unwrap(),
        "--archive",
        archive,
    ];
    args.extend(commands);
    let mut follow = Running::start(&args);
    follow.ready().await;
    context.update_stream(config(120)).await.unwrap();
    publish(&context, EVENTS.lines()).await;
    follow.says("it forgets their ids").await;
    follow.until("it is not ready", |f| f.get("/ready").contains("waiting for the receiver of commands")).await;
    context.delete_stream("KOSCHEI").await.unwrap();
    follow.says("the stream of commands was deleted and is created again").await;
    follow.ready().await;
    let lines = EVENTS.lines().count();
    follow.until("all is handled", |f| f.settled() == lines).await;
    follow.until("all commands have left", |f| f.get("/metrics").contains("koschei_outbox_pending_commands 0")).await;
    follow.terminate();
    let mut made = context.get_stream("KOSCHEI").await.unwrap();
    let log = koschei::log::open(db.to_str().unwrap(), &koschei::log::Options::default()).await.unwrap();
    let decided = koschei::log::EventLog::read(&log, None, 100_000).await.unwrap();
    let decided = decided.iter().filter(|r| r.kind == "rebuild_requested").count();
    assert!(decided > 0);
    assert_eq!(made.info().await.unwrap().state.messages, decided as u64, "counted at the receiver");
    assert_eq!(made.cached_info().config.duplicate_window, Duration::from_hours(24));
}

/// Two logs share one consumer: each gets half of the messages.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_consumer_is_noticed() {
    let server = NatsServer::start().await;
    stream(&server).await;
    let dir = tempfile::tempdir().unwrap();
    let url = server.url();
    let start = |name: &str| {
        let db = dir.path().join(name);
        Running::start(&["--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--db", db.to_str().unwrap()])
    };
    let (mut one, mut two) = (start("one.db"), start("two.db"));
    one.says("another process takes messages of our consumer").await;
    two.says("another process takes messages of our consumer").await;
}
