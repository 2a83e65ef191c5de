//! Buildroot overrides of Bodhi: recorded with and without a hub, and shown beside a build that is
//! in the build tag only.

use koschei::event::Event;
use koschei::log::{EventLog, Incoming, PAGE_MAX};
use koschei::model::Timestamp;
use serde_json::{Value, json};

use crate::cli::words::{koschei, open};
use crate::hub::{Hub, NewBuild, NewWorld, Settings};
use crate::serve::facts::primary;
use crate::serve::inside::{Inside, ONE_COLLECTION};
use crate::web_site::Pages;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

/// A message of Bodhi, as text.
fn bodhi(id: &str, what: &str, body: &Value) -> String {
    let topic = format!("org.fedoraproject.prod.bodhi.buildroot_override.{what}");
    json!({
        "id": id, "topic": topic, "sent-at": "2026-11-20T08:54:00+00:00", "seen_at": 1_795_164_840, "headers": {},
        "body": body,
    })
    .to_string()
}

fn record(nvr: &str) -> Value {
    json!({"override": {
        "nvr": nvr, "notes": "for alice's rebuild", "submission_date": "2026-11-20 08:53:59",
        "expiration_date": "2099-11-27 00:00:00", "expired_date": null, "submitter": {"name": "alice"},
    }})
}

fn incoming(id: &str, what: &str, body: &Value) -> Incoming {
    Incoming {
        id: id.to_owned(),
        source: "amqp".to_owned(),
        topic: format!("org.fedoraproject.prod.bodhi.buildroot_override.{what}"),
        received_at: "2026-11-20T08:54:00Z".parse().unwrap(),
        body: bodhi(id, what, body).into_bytes(),
    }
}

/// Runs a command on a log, and returns what it prints.
fn run(db: &str, args: &[&str]) -> String {
    let out = koschei(args).args(["--db", db]).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Checks that a package's answers name the override, in words and as JSON.
fn shown(db: &str, package: &str, collection: &str, nvr: &str, tag: &str) -> bool {
    let args = ["why", package, "--collection", collection];
    let words =
        format!("{nvr} is in the build tag {tag} only, by a buildroot override, which expires at 2099-11-27T00:00:00Z");
    let said = run(db, &args);
    let json: Value = serde_json::from_str(&run(db, &[args.as_slice(), &["--json"]].concat())).unwrap();
    let overrides = &json["package"]["buildroot_overrides"];
    let expected = json!([{"nvr": nvr, "expires_at": "2099-11-27T00:00:00Z"}]);
    let (in_words, in_json) = (said.contains(&words), *overrides == expected);
    assert!(in_words == in_json && (in_json || overrides.is_null()), "{said}\n{json}");
    in_words
}

/// With a hub the message is no hint: nothing can be asked. What is not understood is set aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_hub_the_message_is_the_fact() {
    let dir = tempfile::tempdir().unwrap();
    let bash = |vr: &str| NewBuild::new(&format!("bash-{vr}")).binary("bash", &["x86_64"], &[]);
    let hub = Hub::start(Settings::new(dir.path().join("koji")));
    let world = NewWorld::on(&hub).release("f99", "x86_64", &["bash"]);
    let [_] = world.builds("f99", [bash("5-1")]).ready(["f99-build"]);
    let mut inside = Inside::new(hub.clone(), dir.path(), ONE_COLLECTION).await;
    inside.start();
    assert_eq!(inside.reconciled().await.err(), None);
    hub.change(|tx| tx.import_into("f99-build", &bash("5-2")));
    inside.deliver(&hub.take_messages()).await;
    let huge = json!({"override": {"nvr": format!("bash-5-{}", "2".repeat(300_000)), "submitter": {"name": "alice"}}});
    inside.put(&[incoming("o1", "tag", &record("bash-5-2")), incoming("o2", "tag", &huge)]).await;
    inside.looked().await;
    let state = inside.state().await;
    assert_eq!(state.hubs[&primary()].overrides["bash"][0].source, "5-2");
    let log = &inside.log;
    assert_eq!(log.counts().await.unwrap().inbox_parked, 1, "the huge one waits for somebody who looks");
    let records = log.read(None, PAGE_MAX).await.unwrap();
    let record_of = records.iter().find(|r| r.kind == "buildroot_override_changed").unwrap();
    assert_eq!((record_of.source.as_str(), record_of.subject.as_str()), ("bus", "primary/package/bash"));
    assert!(!records.iter().any(|r| r.payload.contains("alice")), "nobody is named");
    let db = dir.path().join("koschei.db").to_str().unwrap().to_owned();
    assert!(shown(&db, "bash", "f99", "bash-5-2", "f99-build"));
    // Its update came: it is no longer in the build tag only.
    hub.change(|tx| tx.import_into("f99", &bash("5-3")));
    inside.deliver(&hub.take_messages()).await;
    inside.put(&[incoming("o3", "tag", &record("bash-5-3"))]).await;
    inside.looked().await;
    assert!(shown(&db, "bash", "f99", "bash-5-2", "f99-build"), "and only that one");
    inside.put(&[incoming("o4", "untag", &record("bash-5-2"))]).await;
    inside.looked().await;
    assert!(!shown(&db, "bash", "f99", "bash-5-2", "f99-build"));
    inside.stop().await;
}

/// Without a hub, in a recording.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_recording_the_message_is_the_fact() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let db = path("a.db");
    let mut text = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    let mut ingest = |more: &[String]| {
        more.iter().for_each(|line| text.extend([line, "\n"]));
        std::fs::write(path("all.jsonl"), &text).unwrap();
        run(&db, &["ingest", "--from", &path("all.jsonl"), "--archive", DATA])
    };
    let tagged = json!({
        "id": "t1", "topic": "org.example.buildsys.tag", "sent-at": "2026-11-20T08:54:00+00:00",
        "seen_at": 1_795_164_840, "headers": {}, "body": {
            "tag": "f99-build", "name": "curl", "version": "99", "release": "1.fc99", "build_id": 99_001,
        },
    });
    let odd = json!({"override": {"nvr": "curl-99-1.fc99", "expiration_date": "soon"}});
    ingest(&[
        tagged.to_string(),
        bodhi("o1", "tag", &record("curl-99-1.fc99")),
        bodhi("o2", "tag", &odd),
        bodhi("o3", "tag", &json!({})),
    ]);
    assert!(shown(&db, "curl", "f99-build", "curl-99-1.fc99", "f99-build"));
    let parked = run(&db, &["log", "parked"]);
    for why in ["`override.expiration_date` is not a time", "`override` is missing"] {
        assert!(parked.contains(why), "{parked}");
    }
    let status = run(&db, &["status", "--json", "--collection", "f99-build"]);
    assert!(status.contains("\"buildroot_overrides\""), "{status}");
    let log = open(&db).await;
    let facts: Vec<Event> = log.read(None, PAGE_MAX).await.unwrap().iter().map(|r| r.decode().unwrap().event).collect();
    let end: Timestamp = "2099-11-27T00:00:00Z".parse().unwrap();
    assert!(facts.iter().any(|e| matches!(e, Event::BuildrootOverrideChanged(o) if o.expires_at == Some(end))));
    let pages = Pages::over(&log).await;
    let page = pages.page("/package/curl?collection=f99-build").await;
    let words = "curl-99-1.fc99 is in the build tag f99-build only, by a buildroot override, which expires at";
    assert!(page.to_lowercase().contains(words), "{page}");
    assert!(page.contains("buildroot override of curl-99-1.fc99, expires at"), "{page}");
    let answer = pages.json("/package/curl?collection=f99-build&json=1").await;
    assert_eq!(answer["package"]["buildroot_overrides"][0]["nvr"], "curl-99-1.fc99");
    pages.stop().await;
    log.close().await;
    ingest(&[bodhi("o4", "untag", &record("curl-99-1.fc99"))]);
    assert!(!shown(&db, "curl", "f99-build", "curl-99-1.fc99", "f99-build"));
}
