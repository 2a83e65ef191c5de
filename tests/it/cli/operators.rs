//! What operators do to logs: export and import, other policies, other hubs, interrupted and
//! duplicate work.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use sqlx::Connection;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).current_dir(self.0.path()).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(
            out.status.success(),
            "{args:?}: {}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    fn ingest(&self, from: &Path, db: &str, more: &[&str]) -> Value {
        let mut args = vec!["ingest", "--from", from.to_str().unwrap(), "--db", db, "--json"];
        args.extend(more);
        self.json(&args)
    }
}

fn lines(range: std::ops::Range<usize>) -> String {
    let text = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    text.lines().skip(range.start).take(range.len()).map(|l| format!("{l}\n")).collect()
}

#[test]
fn an_imported_log_goes_on_where_it_ended() {
    let desk = Desk::new();
    let (first, all) = (desk.write("first.jsonl", lines(0..400)), desk.write("all.jsonl", lines(0..593)));
    let archive = ["--archive", DATA];
    let before = desk.ingest(&first, "a.db", &archive);
    desk.ok(&["log", "export", "--db", "a.db", "--to", "export.jsonl"]);
    desk.ok(&["log", "import", "--from", "export.jsonl", "--db", "b.db"]);
    // Import again, and onto a log that has the beginning: existing events are left alone.
    desk.ok(&["log", "import", "--from", "export.jsonl", "--db", "b.db"]);
    desk.ok(&["log", "verify", "--db", "b.db"]);
    let replayed = desk.json(&["replay", "--db", "b.db", "--json"]);
    assert_eq!(replayed["log_digest"], before["log_digest"]);
    // Its inbox is empty, so every message is new to it. The facts of the messages are not new.
    let whole = desk.ingest(&all, "a.db", &archive);
    let onward = desk.ingest(&all, "b.db", &archive);
    assert_eq!(onward["log_digest"], whole["log_digest"], "as if it had never been moved");
    assert_eq!(onward["inbox_pending"].as_u64(), Some(0));
    desk.ok(&["log", "verify", "--db", "b.db"]);
    desk.ok(&["log", "audit", "--db", "b.db"]);
    // Another log's export does not fit.
    desk.ingest(&desk.write("other.jsonl", lines(100..120)), "c.db", &[]);
    let out = desk.run(&["log", "import", "--from", "export.jsonl", "--db", "c.db"]);
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn other_rules_are_adopted_before_they_decide() {
    let desk = Desk::new();
    let all = desk.write("all.jsonl", lines(0..593));
    desk.ingest(&all, "a.db", &["--archive", DATA]);
    let rules = desk.write("rules.toml", "[policy]\nbuild_threshold = 2\nnewly_added = 0\n");
    // All messages are duplicates. The policy is adopted all the same.
    let again = desk.ingest(&all, "a.db", &["--archive", DATA, "--config", rules.to_str().unwrap()]);
    assert_eq!(again["duplicates"].as_u64(), Some(593));
    let adopted = desk.ok(&["history", "--db", "a.db", "--kind", "policy_adopted", "--json"]);
    assert_eq!(adopted.lines().count(), 2);
    desk.ok(&["log", "audit", "--db", "a.db"]);
}

/// The configuration's statements about packages go into the log once. If one of them changes, only
/// that one goes in again.
#[test]
fn a_configuration_is_adopted_once() {
    let desk = Desk::new();
    let says = |untrack: &str, points: u32, arches: &str, skip: bool| {
        format!(
            "[[collection]]\nname = 'f99'\nbuild_tag = 'f99-build'\ndest_tag = 'f99'\ntrack = ['curl', 'zlib']\n\
             untrack = ['{untrack}']\n\
             [[collection.package]]\nname = 'curl'\nstatic_priority = {points}\narch_override = '{arches}'\n\
             skip_resolution = {skip}\n"
        )
    };
    let all = desk.write("all.jsonl", lines(0..200));
    let words = ["tracked", "untracked", "priority_set", "arch_override_set", "skip_resolution_set"];
    let kinds = words.map(|w| format!("package_{w}")).join(",");
    let mut before: Vec<String> = Vec::new();
    for (config, new) in [
        (
            says("bash", 5, "x86_64", true),
            &[
                "package_tracked",
                "package_tracked",
                "package_untracked",
                "package_priority_set",
                "package_arch_override_set",
                "package_skip_resolution_set",
            ][..],
        ),
        (says("bash", 5, "x86_64", true), &[]),
        (says("bash", 6, "x86_64", true), &["package_priority_set"]),
        (says("bash", 6, "^aarch64", true), &["package_arch_override_set"]),
        (says("bash", 6, "^aarch64", false), &["package_skip_resolution_set"]),
        (says("make", 6, "^aarch64", false), &["package_untracked"]),
        (says("make", 6, "^aarch64", false), &[]),
    ] {
        desk.ingest(&all, "a.db", &["--config", desk.write("k.toml", &config).to_str().unwrap()]);
        let history = desk.ok(&["history", "--db", "a.db", "--json", "--limit", "10000", "--kind", &kinds]);
        let kind = |l: &str| serde_json::from_str::<Value>(l).unwrap()["type"].as_str().unwrap().to_owned();
        let said: Vec<String> = history.lines().map(kind).collect();
        let added: Vec<&str> = said[before.len()..].iter().map(|k| k.rsplit('.').nth(1).unwrap()).collect();
        assert_eq!(added, new, "{config}");
        before = said;
    }
}

#[test]
fn a_collection_that_moves_to_another_hub_folds_like_its_snapshot() {
    let desk = Desk::new();
    let config = |hub: &str| {
        let hub = if hub.is_empty() { String::new() } else { format!("hub = '{hub}'\n") };
        format!("[[collection]]\nname = 'f99'\nbuild_tag = 'f99-build'\ndest_tag = 'f99'\ntrack_all = true\n{hub}")
    };
    let (here, there) = (desk.write("here.toml", config("")), desk.write("there.toml", config("arm")));
    desk.ingest(&desk.write("1.jsonl", lines(0..150)), "a.db", &["--config", here.to_str().unwrap()]);
    desk.ingest(&desk.write("2.jsonl", lines(150..300)), "a.db", &["--config", there.to_str().unwrap()]);
    desk.ok(&["log", "snapshot", "--db", "a.db"]);
    desk.ingest(&desk.write("3.jsonl", lines(300..593)), "a.db", &["--config", there.to_str().unwrap()]);
    let folded = desk.json(&["replay", "--db", "a.db", "--json"]);
    let snapped = desk.json(&["replay", "--db", "a.db", "--json", "--from-snapshot"]);
    assert_eq!(folded["log_digest"], snapped["log_digest"]);
    desk.ok(&["log", "audit", "--db", "a.db"]);
    // Back on the first hub: everything that hub said meanwhile counts.
    desk.ingest(&desk.write("4.jsonl", lines(0..593)), "a.db", &["--config", here.to_str().unwrap()]);
    let home = desk.json(&["status", "--db", "a.db", "--json"]);
    let curl = home["packages"].as_array().unwrap().iter().find(|p| p["package"] == "curl").unwrap();
    assert_eq!(curl["latest"], "curl-8.9.1-1.fc99");
    desk.ok(&["log", "audit", "--db", "a.db"]);
}

#[test]
fn a_forgotten_person_leaves_the_log_as_it_was() {
    let desk = Desk::new();
    let before = desk.ingest(&desk.write("all.jsonl", lines(0..593)), "a.db", &[]);
    desk.ok(&["admin", "forget-person", "alice", "--db", "a.db"]);
    desk.ok(&["log", "verify", "--db", "a.db"]);
    assert_eq!(desk.json(&["replay", "--db", "a.db", "--json"])["log_digest"], before["log_digest"]);
    let file = std::fs::read(desk.0.path().join("a.db")).unwrap();
    assert!(!file.windows(5).any(|w| w == b"alice"), "the name is nowhere in the database any more");
    let again = desk.ok(&["admin", "forget-person", "alice", "--db", "a.db"]);
    assert!(again.starts_with("the log knows nobody as `alice`\n0 raw messages deleted"), "{again}");
    assert_eq!(desk.run(&["admin", "forget-person", "", "--db", "a.db"]).status.code(), Some(3));
}

#[test]
fn two_at_once_lose_nothing() {
    let desk = Desk::new();
    let all = desk.write("all.jsonl", lines(0..593));
    let whole = desk.ingest(&all, "whole.db", &[]);
    let spawn = || {
        Command::new(env!("CARGO_BIN_EXE_koschei"))
            .args(["ingest", "--from", all.to_str().unwrap(), "--db", "a.db", "--batch", "20"])
            .current_dir(desk.0.path())
            .output()
    };
    std::thread::scope(|s| {
        let other = s.spawn(spawn);
        drop(spawn());
        drop(other.join());
    });
    // The losing process said so. Everything that either process had received is handled now.
    let after = desk.ingest(&all, "a.db", &[]);
    assert_eq!(after["inbox_pending"].as_u64(), Some(0));
    assert_eq!(after["facts_digest"], whole["facts_digest"]);
    desk.ok(&["log", "verify", "--db", "a.db"]);
}

#[test]
fn messages_that_overtake_each_other_do_not_undo() {
    let desk = Desk::new();
    let build = |id: &str, old: &str, new: u8| {
        let body =
            format!(r#""build_id":1,"name":"p","version":"1","release":"1","task_id":5,"old":{old},"new":{new}"#);
        format!(r#"{{"topic":"a.buildsys.build.state.change","id":"{id}","body":{{{body}}}}}"#)
    };
    let task = |id: &str, new: &str| {
        let info = r#"{"method":"build","request":["p-1-1.src.rpm","f1",{"scratch":true}]}"#;
        let body = format!(r#""id":9,"new":"{new}","owner":"koschei","srpm":"p-1-1.src.rpm","info":{info}"#);
        format!(r#"{{"topic":"a.buildsys.task.state.change","id":"{id}","body":{{{body}}}}}"#)
    };
    let repo = r#"{"topic":"a.buildsys.repo.done","id":"r","body":{"tag":"f1-build","repo_id":1}}"#.to_owned();
    let text = [repo, build("b", "0", 1), build("a", "null", 0), task("d", "CLOSED"), task("c", "OPEN")].join("\n");
    desk.ingest(&desk.write("late.jsonl", text + "\n"), "a.db", &[]);
    let facts = desk.ok(&["replay", "--db", "a.db", "--facts"]);
    assert!(facts.contains("build 1 p-1-1 Complete"), "{facts}");
    let status = desk.json(&["status", "--db", "a.db", "--json"]);
    assert_eq!(status["packages"][0]["last_builds"][0]["koji_state"], "CLOSED");
    assert_eq!(status["collections"][0]["running"], 0);
}

#[test]
fn one_absurd_time_does_not_move_the_clock() {
    let desk = Desk::new();
    let mut text = lines(0..3);
    text.push_str(&lines(3..4).replacen("\"seen_at\": 1795", "\"seen_at\": 4102", 1));
    text.push_str(&lines(4..10));
    assert!(text.contains("\"seen_at\": 4102"));
    desk.ingest(&desk.write("odd.jsonl", text), "a.db", &[]);
    let replayed = desk.json(&["replay", "--db", "a.db", "--json"]);
    assert!(replayed["recorded_at"].as_str().unwrap().starts_with("2026-11-20"), "{replayed}");
}

#[test]
fn every_verb_says_what_it_is_for_with_an_example() {
    let desk = Desk::new();
    let mut open = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = desk.ok(&args);
        seen += 1;
        assert!(help.contains("Example:"), "`koschei {}` has no example", args.join(" "));
        assert!(
            help.lines().next().is_some_and(|l| l.len() > 20),
            "`koschei {}` does not say what it is for",
            args.join(" ")
        );
        let verbs = help.split("Commands:\n").nth(1).map_or("", |c| c.split("\n\n").next().unwrap());
        for verb in verbs.lines().filter_map(|l| l.split_whitespace().next()).filter(|v| *v != "help") {
            // Only lines that begin a verb are indented by two.
            if verbs.contains(&format!("\n  {verb} ")) || verbs.starts_with(&format!("  {verb} ")) {
                open.push(path.iter().cloned().chain([verb.to_owned()]).collect());
            }
        }
    }
    assert!(seen > 20, "only {seen} verbs were found");
}

/// Words that operators say while nobody works on the log are handled by the next process that
/// works on it.
#[test]
fn words_wait_for_whoever_comes_next() {
    let desk = Desk::new();
    let (first, all) = (desk.write("first.jsonl", lines(0..400)), desk.write("all.jsonl", lines(0..593)));
    desk.ingest(&first, "a.db", &["--archive", DATA]);
    let said = desk.ok(&["admin", "pause", "--reason", "mass rebuild", "--db", "a.db", "--no-wait"]);
    assert!(said.contains("`ingest`"), "{said}");
    let done = desk.ingest(&all, "a.db", &["--archive", DATA]);
    assert_eq!(done["parked"], desk.ingest(&all, "b.db", &["--archive", DATA])["parked"], "the word is not set aside");
    let paused = desk.ok(&["history", "--db", "a.db", "--kind", "submissions_paused", "--json"]);
    assert!(paused.contains("mass rebuild"), "{paused}");
}

/// Everything that folds the log finds a missing event, and names it.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_event_is_named_by_everybody() {
    let desk = Desk::new();
    let from = desk.write("first.jsonl", lines(0..200));
    desk.ingest(&from, "a.db", &[]);
    let path = desk.0.path().join("a.db");
    let mut database = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    for statement in ["DROP TRIGGER events_no_delete", "DELETE FROM events WHERE seq = 100", "DELETE FROM snapshots"] {
        sqlx::query(statement).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
    let verbs: [&[&str]; 4] = [&["log", "audit"], &["status"], &["replay"], &["web", "--listen", "127.0.0.1:0"]];
    for verb in verbs {
        let out = desk.run(&[verb, &["--db", "a.db"]].concat());
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{verb:?}: {text}");
        assert!(text.contains("event 100: it is missing") && !text.contains("panicked"), "{verb:?}: {text}");
    }
}

/// A user who asks for help shows their configuration.
#[test]
fn passwords_are_not_printed() {
    let desk = Desk::new();
    desk.write("k.toml", "[bus]\namqp_url = \"amqps://koschei:se-cret@mq.example.org/%2Fkoji\"\n");
    for args in [&["check-config", "k.toml"][..], &["check-config", "k.toml", "--json"]] {
        let text = desk.ok(args);
        assert!(text.contains("amqps://koschei@mq.example.org/%2Fkoji") && !text.contains("se-cret"), "{text}");
    }
}

/// `serve` reports local errors before it waits for a hub.
#[test]
fn serve_says_at_once_what_is_wrong_here() {
    let desk = Desk::new();
    let hub =
        "[[hub]]\nname = \"primary\"\nserver = \"https://127.0.0.1:1/kojihub\"\ntopurl = \"https://127.0.0.1:1/\"\n";
    for (bus, more, says) in [
        ("amqp_url = \"nonsense\"", "", "use the bus"),
        ("fedora_messaging = \"/nobody/has/this.toml\"", "", "/nobody/has/this.toml"),
        ("", "auth = \"gssapi\"\nkeytab = \"/nobody/has/this.keytab\"", "read keytab /nobody/has/this.keytab"),
    ] {
        desk.write("k.toml", format!("[serve]\ncache_dir = \"cache\"\n[bus]\n{bus}\n{hub}{more}\n"));
        let out = desk.run(&["serve", "--config", "k.toml", "--db", "a.db"]);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(3), "{text}");
        assert!(text.contains(says) && !text.contains('\u{1b}'), "{text}");
    }
}

/// An address used by another process may become free, so a supervisor retries. An invalid host
/// name never becomes valid.
#[test]
fn what_may_pass_and_what_will_not() {
    let desk = Desk::new();
    let from = desk.write("first.jsonl", lines(0..200));
    desk.ingest(&from, "a.db", &[]);
    let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = theirs.local_addr().unwrap().to_string();
    let out = desk.run(&["web", "--db", "a.db", "--listen", &at]);
    assert_eq!(out.status.code(), Some(4), "{}", String::from_utf8_lossy(&out.stderr));
    for name in ["", "bad/name x"] {
        let args = [
            "admin",
            "create-collection",
            name,
            "--target",
            "f99",
            "--build-tag",
            "b",
            "--dest-tag",
            "d",
            "--db",
            "a.db",
        ];
        let out = desk.run(&args);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(3) && text.contains("is no name for a collection"), "{text}");
    }
}

/// If no message is from Koji, the command says so, and loses none.
#[test]
fn a_recording_that_is_none_is_said_to_be() {
    let desk = Desk::new();
    let other = |id: &str| format!("{{\"id\":\"{id}\",\"topic\":\"org.x.buildsys.tag\",\"body\":{{\"tag\":7}}}}\n");
    desk.write("other.jsonl", other("r1") + &other("r2"));
    let out = desk.run(&["ingest", "--from", "other.jsonl", "--db", "a.db"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("no message of other.jsonl was understood") && text.contains("log import"), "{text}");
    assert_eq!(desk.json(&["log", "stats", "--db", "a.db", "--json"])["inbox_parked"], 2);
    let good = desk.write("good.jsonl", lines(0..20));
    let out = desk.run(&["ingest", "--from", good.to_str().unwrap(), "--db", "a.db"]);
    assert!(!String::from_utf8_lossy(&out.stderr).contains("was understood"));
}
