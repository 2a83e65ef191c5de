//! The output of commands about a log, for people and for programs, and their error messages.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::Value;

use super::help::commands;
use super::steady::{koschei, world};
use super::{Family, file_name, unfolded};
use crate::live::Live;
use crate::serve::first::{COLLECTION, small};

/// The command lines. Each runs on the original logs ([`world`]). Services that run until they are
/// stopped get lines with which they cannot start. Their pages are tested in [`super::pages`].
const TYPED: &[&str] = &[
    "status",
    "status --json --collection f99-build --state failing,unresolved",
    "status --collection f99-build-side-7",
    "status --as-of 2026-11-20T08:45:00Z --state unresolved,failing",
    "status --state sate",
    "status --db none.db",
    "why appbar",
    "why appbar --json --collection f99-build",
    "why appbar --as-of 2026-11-20T08:45:00Z",
    "why nope",
    "why bash --collection f99-build-side-7",
    "why apbar",
    "broken",
    "broken --archive recording",
    "broken --now",
    "broken --json",
    "broken --as-of 2026-11-20T08:45:00Z --archive recording",
    "causes",
    "causes --all",
    "causes --all --json",
    "causes --as-of 2026-11-20T08:45:00Z",
    "causes --collection none",
    "cause 18cb3e88a7",
    "cause f8 --json",
    "cause none",
    "announcements",
    "announcements --topic koschei.cause --hold-back 0",
    "announcements --topic koschei.cause.opened --hold-back 0 --json",
    "announcements --topic koschei.cuase",
    "announcements --set-aside",
    "suspects",
    "suspects appfoo --all",
    "suspects appfoo --all --json",
    "suspects appfo",
    "history --limit 40",
    "history --limit 6 --json",
    "history --under collection/f99-build/ --kind package_state_changed --limit 20",
    "history --subject f99-build --limit 3",
    "history --kind tick,evaluation_made --after 400",
    "history --kind tikc",
    "commands --table --last 10",
    "commands --peek --last 2",
    "commands --to delivered.jsonl",
    "replay",
    "replay --json",
    "replay --facts",
    "replay --until 481",
    "ingest --from events.jsonl --archive recording --db new.db",
    "ingest --from events.jsonl --archive recording --json --db new.db",
    "ingest --from events.jsonl --db new.db",
    "ingest --from events.jsonl --archive recording",
    "ingest --from none.jsonl",
    "resolve --repo REPOS/26/x86_64 --buildrequires REQUIRES",
    "resolve --repo REPOS/26/x86_64 --buildrequires REQUIRES --packages bash-5.2.32-2.fc99,appbar-7-1.fc99 --jsonl",
    "resolve --repo REPOS/26/x86_64 --buildrequires REQUIRES --jsonl --digest --distances --mode joint",
    "resolve --repo REPOS/4/aarch64 --buildrequires REQUIRES --explain appbar-7-1.fc99",
    "resolve --repo REPOS/4/x86_64 --buildrequires REQUIRES --who-needs zlib",
    "resolve --repo REPOS/5/x86_64 --against REPOS/4/x86_64 --buildrequires REQUIRES",
    "resolve --repo none --buildrequires REQUIRES",
    "log verify",
    "log verify --json",
    "log verify --head 1372:0000000000000000000000000000000000000000000000000000000000000000",
    "log audit",
    "log audit --json",
    "log tail",
    "log tail -n 3 --json",
    "log export --no-attachments",
    "log export",
    "log import --from none.jsonl --db new.db",
    "log parked",
    "log parked --json",
    "log retry-parked --by alice --no-wait",
    "log retry-parked --by alice --no-wait --json",
    "log retry-parked x --by alice --no-wait",
    "log dismiss-parked --all --reason nobody --by alice --no-wait",
    "log stats",
    "log stats --json",
    "log snapshot",
    "log prune --days 0",
    "log prune --days 0 --json",
    "admin forget-person alice",
    "admin forget-person nobody",
    "admin token list",
    "admin token list --json --person nobody",
    "admin token revoke 0123456789abcdef",
    "admin token make alice --scope all",
    "admin token make alice --days 0",
    "admin track -c f99-build curl zlib --by alice --no-wait",
    "admin track -c f99-biuld curl --by alice --no-wait",
    "admin untrack -c f99-build curl --by alice --no-wait",
    "admin set-priority -c f99-build --points 300 curl --by alice --no-wait",
    "admin set-arch-override -c f99-build --arches ^s390x gcc --by alice --no-wait",
    "admin set-skip-resolution -c f99-build --skip yes glibc --by alice --no-wait",
    "admin hold -c f99-build --until 2099-02-01T08:00 --reason bootstrap glibc --by alice --no-wait",
    "admin hold -c f99-build --until 2001-02-01 glibc --by alice --no-wait",
    "admin unhold -c f99-build glibc --by alice --no-wait",
    "admin create-collection f97 --target f97 --build-tag f97-build --dest-tag f97 --by alice --no-wait",
    "admin edit-collection f99-build --max-builds 5 --by alice --no-wait",
    "admin group net --add curl zlib --maintainer alice --reason why --by alice --no-wait",
    "admin group net --add crul --reason why --by alice --no-wait",
    "admin group net --remove curl --reason why --by alice --no-wait",
    "admin group a/b --add curl --reason why --by alice --no-wait",
    "admin group net --delete --reason why --by alice --no-wait --json",
    "status --group net",
    "admin pause --reason why --by alice --no-wait",
    "admin pause --by alice --no-wait --json",
    "admin resume --by alice --no-wait",
    "admin cancel 9 --by alice --no-wait",
    "admin cancel 9 --by alice --no-wait --db running.db",
    "check-config",
    "check-config --json",
    "check-config example.toml",
    "check-config wrong.toml",
    "doctor --config none.toml --db none.db",
    "serve --config none.toml",
    "follow",
    "web --db none.db",
    "",
    "statsu",
];

/// Splits a line into words.
fn words(typed: &str) -> Vec<String> {
    let whole =
        typed.replace("REPOS", "recording/repos/f99-build").replace("REQUIRES", "recording/buildrequires.jsonl");
    whole.split_whitespace().map(str::to_owned).collect()
}

/// Returns a name for the output of a line: the line without its usual options.
fn named(typed: &str) -> String {
    let without = ["--buildrequires REQUIRES", "REPOS", "--by alice", "--no-wait"];
    let short = without.iter().fold(typed.to_owned(), |text, more| text.replace(more, ""));
    let short = short.replace(&"0".repeat(64), "other");
    if typed.is_empty() { "nothing".to_owned() } else { file_name(&short) }
}

/// Returns the output, with the exit status at the end.
fn shown(typed: &str, out: &Output) -> String {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines()
            .map(|l| if l.starts_with(['{', '[']) { unfolded(l) } else { l.to_owned() } + "\n")
            .collect::<String>()
    };
    let mut shown = format!("$ koschei {typed}\n{}", text(&out.stdout));
    if !out.stderr.is_empty() {
        shown += &format!("-- on standard error:\n{}", text(&out.stderr));
    }
    shown += &format!("-- exit status {}\n", out.status.code().unwrap());
    // Hide how long it took.
    shown
        .lines()
        .map(|l| {
            if l.trim_start().starts_with("\"seconds\":") { " \"seconds\":…\n".to_owned() } else { format!("{l}\n") }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_prints_what_it_printed() {
    let mut family = Family::new("output");
    let mut left: BTreeSet<String> =
        commands().into_iter().filter(|(_, more)| !more).map(|(path, _)| path.join(" ")).collect();
    for typed in TYPED {
        let dir = world().await;
        let out = koschei(dir.path(), words(typed));
        family.is(&named(typed), &shown(typed, &out));
        left.retain(|command| *typed != command && !typed.starts_with(&format!("{command} ")));
    }
    // An export can be imported again.
    let dir = world().await;
    for typed in ["log export --to koschei.jsonl", "log import --from koschei.jsonl --db other.db"] {
        let out = koschei(dir.path(), words(typed));
        family.is(&named(typed), &shown(typed, &out));
    }
    let (human, json) = doctor();
    family.is("doctor", &human);
    family.is("doctor-json", &json);
    family.done();
    assert!(left.is_empty(), "nothing is kept of what these print: {left:?}");
}

/// Returns the doctor's output with a hub, for people and for programs. Numbers are hidden, because
/// they are ports, sizes and times. The free space depends on the machine.
fn doctor() -> (String, String) {
    let mut live = Live::new();
    small(&live.hub);
    live.tables = COLLECTION.to_owned();
    let (dir, config) = (live.dir.path(), live.config());
    let run = |more: &[&str]| {
        let config = config.to_str().unwrap();
        let out =
            koschei(dir, [&["doctor", "--config", config, "--db", "koschei.db", "--timeout", "120"], more].concat());
        let text = String::from_utf8(out.stdout).unwrap().replace(dir.to_str().unwrap(), "DIR");
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        (text, out.status.code())
    };
    let (human, _) = run(&[]);
    let human: String = human.lines().filter(|l| !l.contains("cache")).map(|l| format!("{}\n", numbers(l))).collect();
    let (json, _) = run(&["--json"]);
    let mut json: Value = serde_json::from_str(&json).unwrap();
    json["checks"].as_array_mut().unwrap().retain(|c| c["check"] != "cache");
    (human, numbers(&unfolded(&json.to_string())))
}

/// Replaces each number by `#`.
fn numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}
