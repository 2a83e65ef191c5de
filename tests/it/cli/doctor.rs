//! `koschei doctor`: each check with everything right, and with something wrong.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use koschei::bus::amqp::{AmqpSettings, AmqpSource};
use koschei::event::{NewEvent, Source, Tick};
use koschei::log::EventLog;
use koschei::model::PackageState;
use serde_json::Value;

use crate::hub::{FileLie, Pki};
use crate::live::Live;
use crate::log_place::{chain, commit};
use crate::rabbitmq_server::{RabbitServer, unique};
use crate::serve::first::{COLLECTION, small};
use crate::serve::secondary::two_hubs;

/// The doctor's output.
#[derive(Debug)]
struct Said {
    status: i32,
    out: Value,
}

impl Said {
    /// Returns the finding of a check: status, what was found, and advice.
    fn of(&self, check: &str) -> (&str, &str, &str) {
        let all = self.out["checks"].as_array().unwrap();
        let one = all.iter().find(|c| c["check"] == check).unwrap_or_else(|| panic!("no {check} in {:#}", self.out));
        (one["status"].as_str().unwrap(), one["found"].as_str().unwrap(), one["advice"].as_str().unwrap_or_default())
    }

    fn status(&self, check: &str) -> &str {
        self.of(check).0
    }

    /// Asserts that a check failed with a reason and an advice, and so the whole command.
    fn failed(&self, check: &str, why: &str) {
        let (status, found, advice) = self.of(check);
        assert_eq!(status, "failed", "{check}: {found}");
        assert!(found.contains(why), "`{why}` is not in: {found}");
        assert!(!advice.is_empty(), "{check} does not say what to do");
        assert_eq!(self.status, 5);
    }

    fn warned(&self, check: &str, why: &str) {
        let (status, found, advice) = self.of(check);
        assert_eq!(status, "warning", "{check}: {found}");
        assert!(found.contains(why), "`{why}` is not in: {found}");
        assert!(!advice.is_empty(), "{check} does not say what to do");
    }

    /// Asserts that all other checks are ok. The check of this machine's free space may give any
    /// result.
    fn others_are_well(&self, but: &[&str]) {
        for c in self.out["checks"].as_array().unwrap() {
            let check = c["check"].as_str().unwrap();
            let known = but.contains(&check) || check == "cache";
            assert!(known || c["status"] == "ok", "{c:#}");
        }
    }
}

/// Makes a hub with a working collection.
fn place() -> Live {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    live
}

fn run(live: &Live, change: impl FnOnce(String) -> String, args: &[&str]) -> std::process::Output {
    let path = live.dir.path().join("doctor.toml");
    let text = std::fs::read_to_string(live.config()).unwrap();
    std::fs::write(&path, change(text)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    command.arg("doctor").arg("--config").arg(path).args(args);
    command.env_remove("KOSCHEI_DB").output().unwrap()
}

/// Runs the doctor on a changed configuration and this log.
fn asked(live: &Live, db: &str, change: impl FnOnce(String) -> String) -> Said {
    // Nothing here takes long unless the machine is busy.
    let output = run(live, change, &["--db", db, "--json", "--timeout", "120"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let out = serde_json::from_str(&text).unwrap_or_else(|e| {
        panic!("{e}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    Said { status: output.status.code().unwrap(), out }
}

fn doctor(live: &Live) -> Said {
    asked(live, &live.db, |text| text)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_beside_a_service_that_has_built_something() {
    let mut live = place();
    live.start();
    let builders = live.hub.start_builders(Duration::from_millis(20));
    live.wait("everything is rebuilt", |s| {
        let of = |name: &str| Some(s.package("f99", name)?.state(true));
        ["bash", "make", "libfoo", "app"].iter().all(|p| of(p) == Some(PackageState::Ok))
    })
    .await;
    drop(builders);
    let said = doctor(&live);
    said.others_are_well(&[]);
    assert_eq!(said.status, 0, "{:#}", said.out);
    assert!(said.of("permissions").1.contains("task"), "{:#}", said.out);
    assert!(said.of("database").1.contains("sqlite, schema"), "{:#}", said.out);
    assert!(said.of("repository").1.contains("aarch64"), "{:#}", said.out);
    live.stop();
}

/// A collection that is built on another hub. Its own hub needs neither login nor target. The other
/// hub needs a target with usable tags.
#[test]
fn watched_on_one_hub_and_built_on_another() {
    let (live, watched) = two_hubs();
    let said = doctor(&live);
    said.others_are_well(&["permissions", "database"]);
    assert!(
        said.of("building").1.contains("target f99-riscv on primary, build tag f99-riscv-build, x86_64, aarch64"),
        "{said:?}"
    );
    let logins: Vec<&Value> = said.out["checks"].as_array().unwrap().iter().filter(|c| c["check"] == "login").collect();
    assert!(logins.iter().any(|c| c["found"].as_str().unwrap().contains("none is needed")), "{logins:?}");
    live.hub.change(|tx| tx.delete_target("f99-riscv"));
    doctor(&live).failed("building", "there is no target `f99-riscv` on primary");
    live.hub.change(|tx| tx.create_target("f99-riscv", "f99", "f99"));
    doctor(&live).failed("building", "it has no architectures");
    watched.change(|tx| tx.delete_target("f99"));
    let tags = "target = \"f99\"\nbuild_tag = \"f99-build\"\ndest_tag = \"f99\"\ntrack_all";
    let said = asked(&live, &live.db, |text| text.replace("target = \"f99\"\ntrack_all", tags));
    assert_eq!(said.status("tags"), "ok", "{said:?}");
}

/// A log written while a clock was ahead stands still. Without this check nobody would see why.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_ahead_of_our_clock() {
    let mut live = place();
    let log = live.log().await;
    let now = koschei::base::clock::now();
    let tick = |at| NewEvent {
        event: Tick { now: at }.into(),
        occurred_at: at,
        source: Source::Engine,
        fact: None,
        koji_event: None,
        causation: None,
        correlation: None,
    };
    let head = log.head().await.unwrap();
    let head = log.append(None, &commit(chain(head, now, [tick(now)]))).await.unwrap();
    assert_eq!(doctor(&live).status("database"), "ok");
    let later = now.plus_secs(5 * 3_600);
    log.append(head.seq, &commit(chain(head, later, [tick(later)]))).await.unwrap();
    log.close().await;
    let said = doctor(&live);
    said.failed("database", "ahead of this machine's clock; 0 messages wait");
    assert!(said.of("database").2.contains("set this machine's clock if it is behind"), "{said:?}");
    live.start();
    // By then the loop has completed many rounds.
    live.wait("it lives", |s| s.hubs.values().any(|h| h.reconciled_through.is_some())).await;
    live.says("compared hub and log completely").await;
    live.stop();
    let said = live.said();
    assert_eq!(said.matches("the end of the log is ahead of this machine's clock").count(), 1, "{said}");
}

#[test]
fn before_the_first_start() {
    let live = place();
    let said = doctor(&live);
    said.others_are_well(&["permissions", "database"]);
    said.warned("permissions", "open to every user");
    said.warned("database", "does not exist yet");
    // A database file made by hand, and empty.
    std::fs::write(&live.db, "").unwrap();
    let empty = doctor(&live);
    empty.warned("database", "the database is empty");
    assert!(!format!("{empty:?}").contains("backup"), "{empty:?}");
    std::fs::remove_file(&live.db).unwrap();
    assert_eq!(said.status, 0, "warnings are no failure");
    assert!(!std::path::Path::new(&live.db).exists(), "nothing was made");
    assert!(!live.dir.path().join("cache").exists(), "nothing was made");
}

#[test]
fn people_read_it_without_colours_where_there_is_no_terminal() {
    let live = place();
    live.hub.change(|tx| tx.delete_target("f99"));
    let output = run(&live, |text| text, &["--db", &live.db, "--timeout", "120"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("failed     tags f99: ") && text.contains("           what to do: "), "{text}");
    // This machine's free space may add one more warning.
    let count = |status: &str| text.lines().filter(|l| l.starts_with(status)).count();
    let (failed, warnings) = (count("failed "), count("warning "));
    assert!(failed >= 1 && warnings >= 2, "{text}");
    assert!(text.contains(&format!(" checks: {failed} failed, {warnings} warnings")), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_configuration_that_cannot_be_used() {
    let live = place();
    let said = asked(&live, &live.db, |text| text.replace("cert =", "certt ="));
    said.failed("configuration", "certt");
    assert_eq!(said.out["checks"].as_array().unwrap().len(), 2, "only the log can be looked at: {:#}", said.out);
    let said = asked(&live, &live.db, |text| text.replace("cert =", "profile = \"nobody-has-this\"\ncert ="));
    said.failed("settings", "nobody-has-this");
    assert_eq!(said.status("tags"), "unchecked");
}

#[test]
fn a_certificate_of_another_authority() {
    let live = place();
    let others = Pki::new(&live.dir.path().join("others"));
    let theirs = others.user("koschei").display().to_string();
    let ours = live.pki.user("koschei").display().to_string();
    let said = asked(&live, &live.db, |text| text.replace(&ours, &theirs));
    said.failed("login", "TLS handshake was refused");
    said.others_are_well(&["login", "permissions", "database"]);
    assert_eq!(said.status("permissions"), "unchecked");
}

#[test]
fn a_certificate_that_is_not_there() {
    let live = place();
    let said = asked(&live, &live.db, |text| text.replace("koschei.pem", "nobody.pem"));
    said.failed("settings", "nobody.pem");
    assert_eq!((said.status("hub"), said.status("tags")), ("ok", "ok"), "the rest can be looked at without a login");
}

#[test]
fn a_certificate_of_another_user() {
    let live = place();
    let (ours, theirs) = (live.pki.user("koschei"), live.pki.user("alice"));
    let said = asked(&live, &live.db, |text| text.replace(&*ours.to_string_lossy(), &theirs.to_string_lossy()));
    said.failed("login", "the login is `alice`");
    assert!(said.of("login").2.contains("service_user = \"alice\""), "{:#}", said.out);
}

#[test]
fn no_login() {
    let live = place();
    let said = asked(&live, &live.db, |text| text.replace("\"certificate\"", "\"none\""));
    said.warned("login", "submits nothing");
    assert_eq!(said.status, 0);
}

#[test]
fn an_administrator() {
    let live = place();
    live.hub.change(|tx| tx.grant("koschei", "admin"));
    doctor(&live).warned("permissions", "admin");
}

#[test]
fn a_hub_that_is_closed() {
    let live = place();
    live.hub.settings(|s| s.database_down = true);
    let said = doctor(&live);
    said.failed("hub", "offline");
    for check in ["clock", "login", "permissions", "tags", "repository"] {
        assert_eq!(said.status(check), "unchecked");
    }
}

#[test]
fn a_hub_that_is_not_there() {
    let live = place();
    live.hub.stop();
    doctor(&live).failed("hub", "cannot connect");
}

#[test]
fn a_certificate_of_the_hub_that_is_not_trusted() {
    let live = place();
    let others = Pki::new(&live.dir.path().join("others"));
    let (ours, theirs) = (live.pki.ca().display().to_string(), others.ca().display().to_string());
    let said = asked(&live, &live.db, |text| text.replace(&ours, &theirs));
    said.failed("hub", "certificate is not trusted");
}

#[test]
fn old_hubs() {
    let live = place();
    live.hub.settings(|s| s.version = "1.34.1".to_owned());
    let said = doctor(&live);
    said.warned("hub", "only the newest repository");
    said.others_are_well(&["hub", "permissions", "database"]);
    live.hub.settings(|s| s.version = "1.30.0".to_owned());
    doctor(&live).failed("hub", "a login will not work");
}

#[test]
fn clocks_that_differ() {
    let live = place();
    live.hub.settings(|s| s.clock_ahead = 3600);
    doctor(&live).failed("clock", "ahead of ours");
    live.hub.settings(|s| s.clock_ahead = -200);
    doctor(&live).warned("clock", "behind ours");
}

#[test]
fn a_target_that_is_not_there() {
    let live = place();
    live.hub.change(|tx| tx.delete_target("f99"));
    let said = doctor(&live);
    said.failed("tags", "there is no target `f99`");
    assert_eq!(said.status("repository"), "unchecked");
    // If the configuration names the tags, the repositories can be checked.
    let tags = "build_tag = \"f99-build\"\ndest_tag = \"f98\"\n";
    let said = asked(&live, &live.db, |text| format!("{text}\n{tags}"));
    said.failed("tags", "there is no dest tag `f98`");
    assert_eq!(said.status("repository"), "ok");
}

#[test]
fn tags_that_nothing_can_be_built_in() {
    let live = place();
    live.hub.change(|tx| tx.edit_tag_arches("f99-build", ""));
    doctor(&live).failed("tags", "no architectures");
    live.hub.change(|tx| tx.edit_tag_arches("f99-build", "x86_64"));
    let said = asked(&live, &live.db, |text| format!("{text}\narches = [\"s390x\"]\n"));
    said.warned("tags", "s390x");
    let over = "[[collection.package]]\nname = \"app\"\narch_override = \"^s390x i686\"\n";
    let said = asked(&live, &live.db, |text| format!("{text}\n{over}"));
    said.warned("tags", "`arch_override` of package `app` names s390x, i686, which `f99-build` does not have");
    let said = asked(&live, &live.db, |text| format!("{text}\nbuild_group = \"nobodys\"\n"));
    said.failed("tags", "no group `nobodys`");
}

#[test]
fn repositories_that_are_not_there() {
    let live = place();
    live.hub.misbehave_files("aarch64/repodata/repomd.xml", FileLie::Status(404), 1);
    doctor(&live).failed("repository", "aarch64: ");
    live.hub.misbehave_files("repomd.xml", FileLie::Truncate(100), 9);
    doctor(&live).failed("repository", "x86_64: ");
    live.hub.behave();
    let repo = live.hub.see(|w| w.repos.last().unwrap().id);
    live.hub.change(|tx| tx.expire_repo(repo));
    doctor(&live).failed("repository", "no repository that is ready");
    let asks = |text: String| text.replace("poll_secs", "request_repo_after_secs = 600\npoll_secs");
    asked(&live, &live.db, asks).warned("repository", "no repository that is ready");
}

#[test]
fn repositories_on_a_disk() {
    let live = place();
    let (url, dir) = (live.hub.topurl(), live.dir.path().join("koji").display().to_string());
    let said = asked(&live, &live.db, |text| text.replace(&url, &dir));
    assert_eq!(said.status("repository"), "ok", "{:#}", said.out);
    let said = asked(&live, &live.db, |text| text.replace(&url, "/nobody/has/this"));
    said.failed("repository", "No such file");
}

#[test]
fn databases_that_cannot_be_used() {
    let live = place();
    let file = |name: &str| live.dir.path().join(name).display().to_string();
    let nonsense = file("nonsense");
    std::fs::write(&nonsense, "this is no database, and long enough to be looked at").unwrap();
    asked(&live, &nonsense, |text| text).failed("database", "open log");
    asked(&live, &file("no/such/directory/x.db"), |text| text).failed("database", "cannot be written to");
    asked(&live, "postgres://koschei@127.0.0.1:1/koschei", |text| text).failed("database", "open log");
}

#[test]
fn a_cache_that_cannot_be_written() {
    let live = place();
    let file = live.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let cache = live.dir.path().join("cache").display().to_string();
    let said = asked(&live, &live.db, |text| text.replace(&cache, &file.join("x").display().to_string()));
    said.failed("cache", "is not a directory");
}

#[test]
fn an_address_that_somebody_has() {
    let live = place();
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = somebody.local_addr().unwrap().to_string();
    // Accepts connections and hangs up without an answer.
    std::thread::spawn(move || {
        while let Ok((connection, _)) = somebody.accept() {
            drop(connection);
        }
    });
    let said = asked(&live, &live.db, |text| text.replace("127.0.0.1:0", &address));
    said.failed("pages", &address);
}

/// Returns a configuration change that adds a bus.
fn with_bus(url: &str, queue: &str) -> impl FnOnce(String) -> String {
    let bus = format!("[bus]\namqp_url = \"{url}\"\nqueue = \"{queue}\"\n");
    move |text| format!("{text}\n{bus}")
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers() {
    let live = place();
    let server = RabbitServer::shared().await;
    let queue = unique("doctor");
    let said = asked(&live, &live.db, with_bus(&server.url(), &queue));
    said.warned("bus", "does not exist yet");
    let settings = AmqpSettings::new(&server.url(), &queue);
    let listener = AmqpSource::open(settings).await.unwrap();
    let said = asked(&live, &live.db, with_bus(&server.url(), &queue));
    assert_eq!(said.status("bus"), "ok", "{:#}", said.out);
    assert!(said.of("bus").1.contains("consumers: 1"), "{:#}", said.out);
    drop(listener);
    let wrong = server.url_for("guest:secret", "/");
    let said = asked(&live, &live.db, with_bus(&wrong, &queue));
    said.failed("bus", "check user and password");
    assert!(!said.out.to_string().contains("secret"));
    // A user who may not bind the queue.
    let said = asked(&live, &live.db, with_bus(&server.url_for("limited:limited", "/"), &queue));
    said.failed("bus", "refused");
}

#[test]
fn a_broker_that_is_not_there() {
    let live = place();
    asked(&live, &live.db, with_bus("amqp://127.0.0.1:1", "q")).failed("bus", "Connection refused");
    let file = PathBuf::from("/nobody/has/this.toml");
    let named = format!("[bus]\nfedora_messaging = \"{}\"\n", file.display());
    asked(&live, &live.db, |text| format!("{text}\n{named}")).failed("bus", "this.toml");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_changes_are_announced() {
    let live = place();
    let server = RabbitServer::shared().await;
    let announce = |line: &str| {
        let text = format!("[announce]\nenabled = true\namqp_url = \"{}\"\n{line}\n", server.url());
        asked(&live, &live.db, move |before| format!("{before}\n{text}"))
    };
    let said = announce("");
    assert_eq!(said.status("announcements"), "ok", "{:#}", said.out);
    assert!(said.of("announcements").1.contains("exchange amq.topic exists"), "{:#}", said.out);
    announce("exchange = 'nowhere'").failed("announcements", "check `exchange` in `[announce]`");
    announce("topic_prefix = 'org.'").failed("announcements", "topic_prefix");
    announce("cert = 'c.pem'").failed("announcements", "`cert` and `key` go together");
    let nothing = |before: String| format!("{before}\n[announce]\nenabled = true\n");
    asked(&live, &live.db, nothing).failed("announcements", "give the broker's address");
}
