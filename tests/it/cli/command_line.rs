//! The command line from a user's view: what it lists, what it says about mistakes, what it keeps.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

/// The recording, ingested once.
static RECORDED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let from = format!("{DATA}/events.jsonl");
    let db = dir.path().join("k.db");
    let out = koschei(&["ingest", "--from", &from, "--archive", DATA, "--db", db.to_str().unwrap()]);
    assert!(out.status.success(), "{}", stderr(&out));
    dir
});

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    command.args(args).env_remove("COLUMNS").env_remove("KOSCHEI_DB");
    command
}

fn koschei(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Runs a command on the recorded log.
fn ask(args: &[&str]) -> Output {
    let db = RECORDED.path().join("k.db");
    command(args).args(["--db", db.to_str().unwrap()]).output().unwrap()
}

fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

fn ok(args: &[&str]) -> String {
    let out = ask(args);
    assert!(out.status.success(), "{args:?}: {}", stderr(&out));
    stdout(&out)
}

fn refused(args: &[&str], said: &str) {
    let out = ask(args);
    assert_eq!((out.status.code(), stdout(&out)), (Some(3), String::new()), "{args:?}");
    assert!(stderr(&out).contains(said), "{args:?}: {}", stderr(&out));
}

/// Returns the sequence numbers of CloudEvents, one event a line.
fn sequences(text: &str) -> Vec<u64> {
    let sequence = |l: &str| {
        let event: serde_json::Value = serde_json::from_str(l).unwrap();
        event["sequence"].as_str().unwrap().parse().unwrap()
    };
    text.lines().map(sequence).collect()
}

fn head() -> u64 {
    serde_json::from_str::<serde_json::Value>(&ok(&["log", "stats", "--json"])).unwrap()["events"].as_u64().unwrap()
}

#[test]
fn history_shows_the_newest_and_says_how_many_there_are() {
    let head = head();
    let text = ok(&["history", "--limit", "3"]);
    let (events, said) = text.trim_end().rsplit_once('\n').unwrap();
    let numbers: Vec<u64> = events.lines().map(|l| l.split_whitespace().next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, [head - 2, head - 1, head]);
    assert!(said.starts_with(&format!("the newest 3 of {head} events; ")), "{said}");
    let out = ask(&["history", "--limit", "3", "--json"]);
    assert_eq!(sequences(&stdout(&out)), [head - 2, head - 1, head]);
    assert!(stderr(&out).contains(&format!("the newest 3 of {head} events")), "{}", stderr(&out));

    // For one subject or kind: its newest events.
    let all = sequences(&ok(&["history", "--subject", "primary/package/curl", "--json"]));
    assert!(all.len() > 3 && all.is_sorted(), "{all:?}");
    let newest = sequences(&ok(&["history", "--subject", "primary/package/curl", "--limit", "2", "--json"]));
    assert_eq!(newest, all[all.len() - 2..]);
    let text = ok(&["history", "--subject", "primary/package/curl"]);
    assert!(text.ends_with(&format!("\n{} events\n", all.len())), "{text}");
    let kind = sequences(&ok(&["history", "--kind", "repo_ready", "--json"]));
    let text = ok(&["history", "--kind", "repo_ready", "--limit", "1"]);
    assert!(text.contains(&format!("the newest 1 of {} events", kind.len())), "{text}");
    assert!(text.trim_start().starts_with(&kind.last().unwrap().to_string()), "{text}");

    // After a point: the events that follow it.
    let (first, second) = (all[0].to_string(), all[1]);
    let text = ok(&["history", "--subject", "primary/package/curl", "--after", &first, "--limit", "1"]);
    assert!(text.trim_start().starts_with(&second.to_string()), "{text}");
    let said = format!("the first 1 of {} events after that; continue with --after {second}\n", all.len() - 1);
    assert!(text.ends_with(&said), "{text}");
    let beyond = head.to_string();
    assert_eq!(ok(&["history", "--after", &beyond]), "no event after that\n");
    // The subject is known, but it has no event of that kind.
    assert_eq!(ok(&["history", "--subject", "primary/package/curl", "--kind", "tick"]), "no event\n");
}

#[test]
fn names_nobody_knows_are_refused_with_the_nearest() {
    refused(&["history", "--subject", "primary/package/crul"], "did you mean `primary/package/curl`?");
    refused(&["history", "--subject", "crul"], "`collection/f99-build/curl` or `primary/package/curl`?");
    refused(&["history", "--subject", "collection/f99-biuld"], "did you mean `collection/f99-build`?");
    refused(&["history", "--under", "primary/pakcage/"], "begin with `primary/pakcage/`");
    refused(&["history", "--kind", "repo_raedy"], "did you mean `repo_ready`?");
    refused(&["why", "crul"], "find package `crul` in any collection; did you mean `curl`?");
    refused(&["why", "curl", "--collection", "f99-biuld"], "did you mean `f99-build`?");
    refused(
        &["why", "crul", "--collection", "f99-build"],
        "find package `crul` in collection `f99-build`; did you mean",
    );
    refused(&["status", "--collection", "f99-biuld"], "did you mean `f99-build`?");
    refused(&["broken", "--collection", "f99-biuld"], "did you mean `f99-build`?");
}

#[test]
fn a_point_in_a_log_is_a_day_or_so_long_ago() {
    let last = serde_json::from_str::<serde_json::Value>(ok(&["history", "--limit", "1", "--json"]).trim()).unwrap();
    let day = last["time"].as_str().unwrap().split('T').next().unwrap().to_owned();
    let out = ask(&["status", "--json", "--as-of", &day]);
    assert!(stderr(&out).contains(&format!("as of the end of that day (UTC), {day}T23:59:59")), "{}", stderr(&out));
    let then: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
    assert_eq!(then["seq"], head());
    // For `--after`, a day means its first moment.
    let out = ask(&["history", "--json", "--limit", "1", "--after", &day]);
    assert_eq!(sequences(&stdout(&out)), [1]);
    assert!(stderr(&out).contains(&format!("that day begins at {day}T00:00:00")), "{}", stderr(&out));
    // The log ended long ago, so times like "30 seconds ago" count from its end.
    let out = ask(&["status", "--json", "--as-of", "30 seconds ago"]);
    assert!(stderr(&out).contains("counted back from its end, that is "), "{}", stderr(&out));
    let chosen = stderr(&out).trim().rsplit(' ').next().unwrap().to_owned();
    let span: serde_json::Value = serde_json::from_str(&stdout(&out)).unwrap();
    assert!(span["seq"].as_u64().unwrap() < head() && span["seq"].as_u64() > Some(0), "{span}");
    let same: serde_json::Value = serde_json::from_str(&ok(&["status", "--json", "--as-of", &chosen])).unwrap();
    assert_eq!(span, same);
    let out = ask(&["status", "--as-of", "last tuesday"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("1 hour ago"), "{}", stderr(&out));
}

#[test]
fn status_fits_and_says_since_when() {
    let run = |columns: &str| {
        let db = RECORDED.path().join("k.db");
        let out = command(&["status", "--db", db.to_str().unwrap()]).env("COLUMNS", columns).output().unwrap();
        stdout(&out)
    };
    let changed =
        ok(&["history", "--subject", "collection/f99-build/curl", "--kind", "package_state_changed", "--json"]);
    let changed: serde_json::Value = serde_json::from_str(changed.lines().last().unwrap()).unwrap();
    let recorded: i64 = changed["recordedtime"].as_str().unwrap().parse().unwrap();
    let since = koschei::model::Timestamp(recorded).to_string().replace('T', " ").chars().take(16).collect::<String>();
    for columns in ["80", "100", "200"] {
        let text = run(columns);
        let table = text.lines().filter(|l| l.starts_with("  ") && !l.starts_with("   ") && !l.contains(": "));
        assert!(table.clone().count() > 5, "{text}");
        let widest =
            text.lines().filter(|l| l.contains(" ok ") || l.contains(" failing ")).map(|l| l.chars().count()).max();
        assert!(widest <= columns.parse().ok(), "{columns}: {text}");
        assert!(text.contains("  curl-") && text.contains(&since), "{columns}, {since}: {text}");
    }
    // Without a known width, as in a file, nothing is cut.
    assert!(ok(&["status"]).lines().any(|l| l.contains("changed since")));
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        command(args).current_dir(self.0.path()).output().unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.0.path().join(name).exists()
    }
}

#[test]
fn what_is_no_recording_is_told_at_once() {
    let dir = Dir::new();
    let export = ok(&["log", "export"]);
    let database = std::fs::read(RECORDED.path().join("k.db")).unwrap();
    let page = "<html>\n".repeat(100);
    for (bytes, said) in [
        (export.as_bytes(), "koschei log import"),
        (&database, "an SQLite database"),
        (page.as_bytes(), "XML or HTML"),
        (b"Name: curl\nVersion: 8\n", "text that is no JSON"),
        (b"{\n  \"topic\": 1\n}\n", "jq -c ."),
    ] {
        dir.write("file", bytes);
        let out = dir.run(&["ingest", "--from", "file", "--db", "k.db"]);
        assert_eq!(out.status.code(), Some(3), "{said}");
        assert!(stderr(&out).contains(said) && stderr(&out).contains("nothing was ingested"), "{}", stderr(&out));
        assert!(!dir.has("k.db"), "{said}: it leaves no log");
    }
    // One of the first lines is a message, so the file is a recording. Other lines are set aside.
    let recording = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    dir.write("file", format!("x\ny\n{}\n", recording.lines().next().unwrap()));
    let out = dir.run(&["ingest", "--from", "file", "--db", "k.db", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["read"], &report["parked"]), (&3.into(), &2.into()));
}

#[test]
fn an_archive_without_anything_in_it_is_refused() {
    let dir = Dir::new();
    std::fs::create_dir_all(dir.0.path().join("empty/repos")).unwrap();
    let from = format!("{DATA}/events.jsonl");
    for args in
        [&["ingest", "--from", &from][..], &["broken"], &["follow", "--amqp", "amqp://127.0.0.1:1", "--queue", "q"]]
    {
        let out = dir.run(&[args, &["--archive", "empty", "--db", "k.db"]].concat());
        // `broken` opens the log first.
        let said = stderr(&out);
        assert_eq!(out.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("buildrequires.jsonl") || args[0] == "broken", "{args:?}: {said}");
        assert!(!dir.has("k.db"));
    }
    let empty = dir.0.path().join("empty");
    refused(&["broken", "--archive", empty.to_str().unwrap()], "it has neither repos/TAG/ID");
}

fn piped(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn ctrl_c_says_what_was_kept() {
    let dir = Dir::new();
    let recording = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    let lines: Vec<&str> = recording.lines().collect();
    let mut ingest = command(&["ingest", "--from", "-", "--db", "k.db", "--json", "--batch", "50"]);
    ingest.current_dir(dir.0.path());
    let mut child = piped(ingest);
    let mut input = child.stdin.take().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    for line in &lines[..120] {
        writeln!(input, "{line}").unwrap();
    }
    input.flush().unwrap();
    // It reads on, so it has started. Before that, a signal would end it, because it does not
    // handle signals yet.
    while !dir.has("k.db") {
        assert!(child.try_wait().unwrap().is_none());
    }
    let reads = || ask_file(&dir.0.path().join("k.db"), &["log", "stats", "--json"]);
    while reads().is_none_or(|s| s["inbox_total"].as_u64() < Some(50)) {
        assert!(child.try_wait().unwrap().is_none());
    }
    signal(&child, "INT");
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("stopping after the messages at hand"), "{line}");
    // If the program waits for a line, this line is its last. If it was between two lines, it has
    // ended.
    drop(writeln!(input, "{}", lines[120]));
    let rest: Vec<String> = said.lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let last = rest.iter().find_map(|l| l.strip_prefix("koschei: interrupted: ")).unwrap_or_else(|| panic!("{rest:?}"));
    let (kept, _) = last.split_once(" messages of - were ingested").unwrap();
    let kept: u64 = kept.parse().unwrap();
    assert!((50..=121).contains(&kept), "{last}");
    assert_eq!(reads().unwrap()["inbox_total"].as_u64(), Some(kept));
    drop(input);
    // The same recording again gives the same result as an uninterrupted run.
    let from = dir.write("all.jsonl", &recording);
    let report = |db: &str| -> serde_json::Value {
        let out = dir.run(&["ingest", "--from", from.to_str().unwrap(), "--db", db, "--json"]);
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let (onward, whole) = (report("k.db"), report("whole.db"));
    assert!(onward["duplicates"].as_u64() >= Some(kept));
    assert_eq!(onward["log_digest"], whole["log_digest"]);
}

fn ask_file(db: &Path, args: &[&str]) -> Option<serde_json::Value> {
    let out = command(args).args(["--db", db.to_str().unwrap()]).output().unwrap();
    serde_json::from_slice(&out.stdout).ok()
}

#[test]
fn a_damaged_export_leaves_nothing() {
    let dir = Dir::new();
    let export = ok(&["log", "export"]);
    let lines: Vec<&str> = export.lines().collect();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    let last_event = lines.iter().rposition(|l| l.contains("\"specversion\"")).unwrap();
    let changed = lines[last_event].replacen("\"data\":{", "\"data\":{\"added\":1,", 1);
    assert_ne!(changed, lines[last_event]);
    let attachment = lines.iter().rposition(|l| l.contains("koschei_attachment")).unwrap();
    let other = lines[attachment].replacen("\"content\":\"", "\"content\":\" ", 1);
    let cases = [
        ("cut within a line", export.chars().take(export.chars().count() - 20).collect()),
        ("an event changed", join(&[&lines[..last_event], &[changed.as_str()], &lines[last_event + 1..]].concat())),
        ("an event left out", join(&[&lines[..last_event - 1], &lines[last_event..]].concat())),
        ("an attachment changed", join(&[&lines[..attachment], &[other.as_str()], &lines[attachment + 1..]].concat())),
        ("a beginning left out", join(&lines[last_event - 3..])),
        ("no export", "x\n".to_owned()),
    ];
    // A log that has the beginning of the export stays unchanged.
    dir.write("beginning.jsonl", join(&lines[..last_event / 2]));
    let begun = dir.run(&["log", "import", "--from", "beginning.jsonl", "--db", "begun.db"]);
    assert!(begun.status.success(), "{}", stderr(&begun));
    let stats = || stdout(&dir.run(&["log", "stats", "--json", "--db", "begun.db"]));
    let before = stats();
    for (what, text) in cases {
        let damaged = dir.write("damaged.jsonl", &text);
        let out = dir.run(&["log", "import", "--from", "damaged.jsonl", "--db", "new.db"]);
        assert_eq!(out.status.code(), Some(3), "{what}: {}", stderr(&out));
        assert!(stderr(&out).contains("line ") && stderr(&out).contains("nothing was imported"), "{}", stderr(&out));
        assert!(!dir.has("new.db"), "{what}: no log is made");
        let out = dir.run(&["log", "import", "--from", "damaged.jsonl", "--db", "begun.db"]);
        assert_eq!((out.status.code(), stats()), (Some(3), before.clone()), "{what}");
        let mut import = command(&["log", "import", "--from", "-", "--db", "new.db"]);
        import.current_dir(dir.0.path()).stdin(std::fs::File::open(&damaged).unwrap());
        assert_eq!(import.output().unwrap().status.code(), Some(3), "{what}");
        assert!(!dir.has("new.db"), "{what}: no log is made");
    }
    // The whole export continues from there, also from a pipe.
    let mut import = command(&["log", "import", "--from", "-", "--db", "begun.db"]);
    import.current_dir(dir.0.path());
    let mut child = piped(import);
    child.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(stdout(&dir.run(&["log", "export", "--db", "begun.db"])), export);
}

#[test]
fn listening_takes_a_name_or_a_port() {
    let db = RECORDED.path().join("k.db");
    for at in ["localhost:0", "0", ":0"] {
        let mut child = piped(command(&["web", "--db", db.to_str().unwrap(), "--listen", at]));
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.starts_with("koschei: pages at http://127.0.0.1:"), "{at}: {line}");
    }
    let out = koschei(&["web", "--listen", "nowhere"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("localhost:8080"), "{}", stderr(&out));
}
