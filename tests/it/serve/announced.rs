//! What `koschei serve` announces, heard by the Python packages of Fedora: each change of the log,
//! and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;

use koschei::event::{Event, Record};
use koschei::fold::State;
use koschei::log::{Announcements, EventLog};
use koschei::model::{BuildrootState, PackageState};

use crate::hub::{NewWorld, Outcome as Ends};
use crate::live::{Live, PATIENCE, REBUILD_ALL};
use crate::log_place::read_all;
use crate::rabbitmq_server::{RabbitServer, unique};
use crate::recorded::koschei;
use crate::serve::first::{libfoo, small};
use crate::subscriber::{Heard, heard, subscribe};

const PREFIX: &str = "org.example.prod";
const SITE: &str = "https://koschei.example.org";

/// Returns the table of a configuration that announces everything at once.
pub(crate) fn table(exchange: &str, url: &str) -> String {
    format!(
        "[announce]\nenabled = true\nexchange = '{exchange}'\ntopic_prefix = '{PREFIX}'\namqp_url = '{url}'\n\
         no_queue = 'wait'\nhold_back_secs = 0\nweb_url = '{SITE}'\n"
    )
}

/// Waits until the broker has confirmed every announcement.
pub(crate) async fn all_are_sent(live: &Live) {
    let log = live.log().await;
    let waited = tokio::time::timeout(PATIENCE, async {
        while log.announcement_counts().await.unwrap().waiting > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "some are never sent:\n{}", live.said());
    log.close().await;
}

/// The word of koschei-messages.
fn word(state: PackageState) -> &'static str {
    match state.as_str() {
        "ok" => "ok",
        "failing" => "failing",
        "unresolved" => "unresolved",
        _ => "ignored",
    }
}

/// The changes of each subject, in their order: `old -> new`.
type Changes = BTreeMap<String, Vec<String>>;

/// What the log says that subscribers must hear.
#[derive(Default)]
struct Expected {
    changes: Changes,
    /// The rebuilds of each package: what their messages say, in their order.
    rebuilds: Changes,
}

fn expected(records: &[Record]) -> Expected {
    let mut all = Expected::default();
    let mut filled = HashMap::new();
    for record in records {
        let event = record.decode().unwrap().event;
        let mut rebuild = |collection: &str, package: &str, said: String| {
            all.rebuilds.entry(format!("{collection}/{package}")).or_default().push(said);
        };
        match &event {
            Event::PackageStateChanged(e) => {
                // What follows from the first look at a buildroot is no news.
                if filled.get(&e.collection).is_none_or(|at| *at == record.recorded_at) {
                    continue;
                }
                let subject = format!("{}/{}", e.collection, e.package);
                let first = matches!(e.old, None | Some(PackageState::Unknown)) && !all.changes.contains_key(&subject);
                let (old, new) = (word(e.old.unwrap_or(PackageState::Unknown)), word(e.new));
                if !first && old != new {
                    all.changes.entry(subject).or_default().push(format!("{old} -> {new}"));
                }
            }
            Event::CollectionStateChanged(e) => {
                assert_ne!(e.new, BuildrootState::Unknown);
                filled.entry(e.collection.clone()).or_insert(record.recorded_at);
                all.changes.entry(e.collection.to_string()).or_default().push(format!("{} -> {}", e.old, e.new));
            }
            Event::RebuildRequested(e) => rebuild(&e.collection, &e.nvr.name, format!("decided {}", record.seq)),
            Event::RebuildSubmitted(e) => rebuild(&e.collection, &e.package, format!("submitted {}", e.task_id)),
            Event::RebuildFinished(e) => {
                rebuild(&e.collection, &e.package, format!("ended {} {}", e.task_id, e.outcome.key()));
            }
            Event::RebuildRefused(e) => rebuild(&e.collection, &e.package, "ended refused".to_owned()),
            Event::RebuildNotSubmitted(e) => rebuild(&e.collection, &e.package, "ended not_submitted".to_owned()),
            _ => {}
        }
    }
    all
}

fn text<'a>(h: &'a Heard, name: &str) -> &'a str {
    h.body[name].as_str().unwrap_or_default()
}

/// Takes everything that a subscriber heard, and checks it against the log, and the log itself.
/// Returns the changes of each subject, the owners that our own messages about them name, and how
/// many messages came twice.
pub(crate) async fn hears_what_the_log_says(
    server: &RabbitServer,
    queue: &str,
    live: &Live,
) -> (Changes, Changes, usize) {
    let log = live.log().await;
    let records = read_all(&log, 1000).await;
    log.close().await;
    let (mut changes, mut ours, mut rebuilds) = (Changes::new(), Changes::new(), Changes::new());
    let mut owners = Changes::new();
    let (mut known, mut twice) = (HashMap::new(), 0);
    for h in heard(server, queue).await {
        if let Some(before) = known.insert(h.id.clone(), h.clone()) {
            assert_eq!(before, h, "the same id with another content");
            twice += 1;
            continue;
        }
        let change = format!("{} -> {}", text(&h, "old"), text(&h, "new"));
        let (collection, package) = (text(&h, "collection"), text(&h, "package"));
        let of_package = format!("{collection}/{package}");
        let task = h.body["task_id"].as_i64().map(|task| format!(" {task}")).unwrap_or_default();
        match h.class.as_str() {
            "PackageStateChange" => {
                check(&h);
                changes.entry(format!("{collection}/{}", text(&h, "name"))).or_default().push(change);
            }
            "CollectionStateChange" => {
                check(&h);
                changes.entry(collection.to_owned()).or_default().push(change);
            }
            "PackageChangedV1" => {
                owners.entry(of_package.clone()).or_default().push(h.usernames.join(" "));
                ours.entry(of_package).or_default().push(change);
            }
            "BuildrootChangedV1" => ours.entry(collection.to_owned()).or_default().push(change),
            "RebuildDecidedV1" => {
                rebuilds.entry(of_package).or_default().push(format!("decided {}", h.body["rebuild"]));
            }
            "RebuildSubmittedV1" => rebuilds.entry(of_package).or_default().push(format!("submitted{task}")),
            "RebuildEndedV1" => {
                rebuilds.entry(of_package).or_default().push(format!("ended{task} {}", text(&h, "outcome")));
            }
            class => assert!(class.starts_with("Cause"), "{class}"),
        }
        if h.body["event"].is_u64() {
            check_ours(&h);
        }
    }
    let expected = expected(&records);
    assert_eq!(changes, expected.changes);
    assert_eq!(ours, expected.changes, "our own messages say the same");
    assert_eq!(rebuilds, expected.rebuilds);
    let said = checked(&live.db);
    for line in ["announcements belong to their events", "announcements derived again"] {
        assert!(said.contains(&format!("{} {line}", known.len())), "{said}");
    }
    (changes, owners, twice)
}

/// Checks what the classes say of one message.
fn check(h: &Heard) {
    let (name, old, new, collection) = (text(h, "name"), text(h, "old"), text(h, "new"), text(h, "collection"));
    let url = "https://koschei.fedoraproject.org";
    assert_eq!((text(h, "koji_instance"), h.usernames.len(), h.groups.len(), h.severity), ("primary", 0, 0, 20));
    if h.class == "CollectionStateChange" {
        assert_eq!(h.topic, "org.example.prod.koschei.collection.state.change");
        assert!(text(h, "repo_id").parse::<u64>().is_ok());
        let summary = match (old, new) {
            ("unknown", "ok") => "added to Koschei",
            (_, "ok") => "buildroot was fixed",
            _ => "buildroot was broken",
        };
        assert_eq!(h.summary, format!("{} {summary}", text(h, "collection_name")));
        assert_eq!(h.url, format!("{url}/collection/{collection}"));
        return;
    }
    assert_eq!(h.topic, "org.example.prod.koschei.package.state.change");
    assert_eq!((h.class.as_str(), h.packages.as_slice()), ("PackageStateChange", [name.to_owned()].as_slice()));
    assert_eq!(h.headers[&format!("fedora_messaging_rpm_{name}")], true);
    let users = h.headers.keys().filter(|header| header.starts_with("fedora_messaging_user_"));
    assert!(users.count() <= 1, "its owner, whom the class does not name");
    let summary = match (old, new) {
        ("ignored", "ok") => " added to Koschei",
        (_, "ok") => "'s builds are back to normal",
        (_, "failing") => "'s builds started to fail",
        (_, "unresolved") => "'s dependencies failed to resolve",
        _ => " became retired or ignored",
    };
    assert_eq!(h.summary, format!("{name}{summary} in {collection}"));
    assert_eq!(h.url, format!("{url}/package/{name}?collection={collection}"));
}

/// Checks what our own classes say of one message.
fn check_ours(h: &Heard) {
    let collection = text(h, "collection");
    let topic = h.topic.strip_prefix("org.example.prod.").unwrap();
    assert_eq!(h.headers["fedora_messaging_schema"], topic);
    let packages: Vec<&str> = match topic.split('.').nth(1).unwrap() {
        "cause" => {
            let about = if h.body["cause"]["kind"] == "target" { "buil" } else { "break" };
            assert!(h.summary.contains(about), "{}", h.summary);
            assert_eq!(h.url, format!("{SITE}/cause/{}", text_of(&h.body["cause"]["id"])));
            h.body["packages"].as_array().unwrap().iter().map(text_of).filter(|name| *name != "*").collect()
        }
        "buildroot" => {
            assert_eq!(h.url, format!("{SITE}/collection/{collection}"));
            Vec::new()
        }
        _ => {
            let package = text(h, "package");
            assert_eq!(h.url, format!("{SITE}/package/{package}?collection={collection}"));
            assert!(h.summary.contains(package), "{}", h.summary);
            vec![package]
        }
    };
    assert_eq!(h.packages, packages);
    assert!(h.usernames.iter().all(|name| h.headers[&format!("fedora_messaging_user_{name}")] == true));
    assert!(packages.iter().all(|name| h.headers[&format!("fedora_messaging_rpm_{name}")] == true));
    let severity = match h.class.as_str() {
        "CauseOpenedV1" | "CauseGrewV1" | "BuildrootChangedV1" => 30,
        class => {
            if class.starts_with("Rebuild") {
                10
            } else {
                20
            }
        }
    };
    assert_eq!(h.severity, severity, "{}", h.class);
}

fn text_of(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Asks the program whether the log is whole and follows the rules.
fn checked(db: &str) -> String {
    let asked = ["verify", "audit"].map(|verb| {
        let out = koschei(&["log", verb, "--db", db]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(out.status.code(), Some(0), "{verb}: {text}");
        text
    });
    asked.concat()
}

/// A service that announces what happens on a small hub.
struct Scene {
    live: Live,
    server: &'static RabbitServer,
    queue: String,
    version: u32,
}

impl Scene {
    async fn begin() -> Self {
        let server = RabbitServer::shared().await;
        let (exchange, queue) = (unique("out"), unique("heard"));
        subscribe(server, &exchange, &queue, &["org.example.prod.koschei.#"], None).await;
        let mut live = Live::new();
        small(&live.hub);
        live.tables = format!("{}{REBUILD_ALL}display_name = 'Fedora 99'\n", table(&exchange, &server.url()));
        Self { live, server, queue, version: 0 }
    }

    /// Waits until packages have these states.
    async fn until(&mut self, expected: &[(&str, PackageState)]) {
        let is = |s: &State, (name, state): &(&str, PackageState)| {
            s.package("f99", name).is_some_and(|p| p.announced_state() == Some(*state))
        };
        self.live.wait("the states are so", |s| expected.iter().all(|one| is(s, one))).await;
    }

    /// Makes a new version of the library and a repository with it, so that its user is rebuilt.
    fn update(&mut self) {
        self.version += 1;
        let library = libfoo(&format!("1.{}", self.version));
        NewWorld::on(&self.live.hub).builds("f99", [library]).ready(["f99-build"]);
    }

    fn repository(&self) {
        NewWorld::on(&self.live.hub).ready(["f99-build"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_what_the_log_says() {
    use PackageState::{Blocked, Failing, Ok, Unresolved};
    let mut scene = Scene::begin().await;
    scene.live.start();
    let _builders = scene.live.hub.start_builders(std::time::Duration::from_millis(20));
    let all_ok = [("bash", Ok), ("make", Ok), ("libfoo", Ok), ("app", Ok), ("lone", Unresolved)];
    scene.until(&all_ok).await;
    // A build fails, and builds again.
    scene.live.hub.rule("app", None, Ends::FailBuild);
    scene.update();
    scene.until(&[("app", Failing)]).await;
    scene.live.hub.rule("app", None, Ends::Ok);
    scene.update();
    scene.until(&[("app", Ok)]).await;
    // A kill in between loses nothing.
    scene.live.kill();
    scene.live.start();
    // A package is blocked, and is not any more.
    scene.live.hub.change(|tx| tx.package_list_block("f99", "make"));
    scene.until(&[("make", Blocked)]).await;
    scene.live.hub.change(|tx| tx.package_list_unblock("f99", "make"));
    scene.until(&[("make", Ok)]).await;
    // Somebody else takes over.
    scene.live.hub.change(|tx| tx.package_list_add("f99", "app", "bob"));
    let owner = |s: &State| s.hubs[&koschei::model::Hub::new("primary")].owner(&["f99".into()], "app").cloned();
    let before = owner(&scene.live.state().await);
    scene.live.wait("the owner is known", |s| owner(s) != before).await;
    // A library goes, and comes back.
    let nvr = format!("libfoo-1.{}-1.fc99", scene.version);
    for version in 1..=scene.version {
        scene.live.hub.change(|tx| tx.untag_build("f99", &format!("libfoo-1.{version}-1.fc99")));
    }
    scene.live.hub.change(|tx| tx.untag_build("f99", "libfoo-1.0-1.fc99"));
    scene.repository();
    scene.until(&[("app", Unresolved)]).await;
    scene.live.hub.change(|tx| tx.tag_build("f99", &nvr, false));
    scene.repository();
    scene.until(&[("app", Ok)]).await;
    // The build group breaks, and is repaired.
    scene.live.hub.change(|tx| tx.untag_build("f99", "bash-5.2-1.fc99"));
    scene.repository();
    let buildroot = |s: &State, is| s.collections["f99"].announced == is;
    scene.live.wait("nothing can be built", |s| buildroot(s, BuildrootState::Unresolved)).await;
    scene.live.hub.change(|tx| tx.tag_build("f99", "bash-5.2-1.fc99", false));
    scene.repository();
    scene.live.wait("it can", |s| buildroot(s, BuildrootState::Ok)).await;
    all_are_sent(&scene.live).await;
    scene.live.stop();
    let (all, owners, twice) = hears_what_the_log_says(scene.server, &scene.queue, &scene.live).await;
    println!("{twice} came twice");
    assert_eq!(owners["f99/make"], ["alice", "alice"]);
    assert!(owners["f99/app"].starts_with(&["alice", "alice", "bob", "bob"].map(str::to_owned)), "{owners:?}");
    let of = |subject: &str| all[subject].join(", ");
    let app = "ok -> failing, failing -> ok, ok -> unresolved, unresolved -> ok";
    assert!(of("f99/app").starts_with(app), "{all:?}");
    assert!(of("f99/make").starts_with("ok -> ignored, ignored -> ok"), "{all:?}");
    assert!(!all.contains_key("f99/lone"), "its first state is no change");
    assert_eq!(of("f99"), "unknown -> ok, ok -> unresolved, unresolved -> ok");
}

/// A recording is of the past, and so is a log that is folded again or imported.
#[tokio::test]
async fn the_past_is_not_announced() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");
    let config = at("koschei.toml");
    std::fs::write(&config, "[announce]\nenabled = true\namqp_url = 'amqp://127.0.0.1:1'\n").unwrap();
    let (db, copy, export) = (at("koschei.db"), at("copy.db"), at("export"));
    let events = format!("{data}/events.jsonl");
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    run(&["ingest", "--from", &events, "--archive", data, "--config", &config, "--db", &db]);
    run(&["replay", "--db", &db]);
    run(&["log", "export", "--db", &db, "--to", &export]);
    run(&["log", "import", "--from", &export, "--db", &copy]);
    for db in [&db, &copy] {
        let log = koschei::log::open(db, &koschei::log::Options::default()).await.unwrap();
        let changed = read_all(&log, 1000).await.iter().filter(|r| r.kind == "package_state_changed").count();
        assert!(changed > 0 && Path::new(db).exists());
        assert_eq!(log.announcements(None, 9).await.unwrap(), []);
        log.close().await;
    }
}
