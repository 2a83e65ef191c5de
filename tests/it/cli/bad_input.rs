//! Bad input of every sort, given to the program. It gives a clear error or parks the message.
//! Nothing committed is lost. The result is right once the input is right.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).current_dir(self.dir.path()).output().unwrap()
    }

    fn ingest(&self, from: &Path, archive: Option<&Path>) -> Output {
        let mut args = vec!["ingest", "--from", from.to_str().unwrap(), "--db", "k.db", "--json"];
        if let Some(archive) = archive {
            args.extend(["--archive", archive.to_str().unwrap()]);
        }
        self.run(&args)
    }

    fn json(&self, args: &[&str]) -> Value {
        let out = self.run(args);
        assert!(out.status.success(), "{}", stderr(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn report(out: &Output) -> Value {
    assert!(out.status.success(), "{}", stderr(out));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn recording() -> Vec<u8> {
    fs::read(format!("{DATA}/events.jsonl")).unwrap()
}

/// Returns the report of the whole recording, ingested without an archive.
fn whole() -> Value {
    let bench = Bench::new();
    let path = bench.write("events.jsonl", recording());
    report(&bench.ingest(&path, None))
}

#[test]
fn a_truncated_recording_keeps_what_was_whole() {
    let whole = whole();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&recording()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&recording()[..], 1).unwrap();
    let plain = recording();
    for (name, bytes) in [("cut.jsonl", plain), ("cut.jsonl.gz", gzip), ("cut.jsonl.zst", zstd)] {
        let bench = Bench::new();
        let cut = bench.write(name, &bytes[..bytes.len() * 2 / 3]);
        let out = bench.ingest(&cut, None);
        assert_eq!(out.status.code(), Some(3), "{name}: {}", stderr(&out));
        assert!(stderr(&out).contains(name), "the error names the file: {}", stderr(&out));
        let kept = bench.json(&["log", "stats", "--db", "k.db", "--json"]);
        let n = kept["inbox_total"].as_u64().unwrap();
        assert!(n > 100, "{name}: what was whole is kept, here {n} messages");
        assert_eq!(kept["inbox_pending"].as_u64(), Some(0));
        assert!(bench.run(&["log", "verify", "--db", "k.db"]).status.success());
        let path = bench.write("events.jsonl", recording());
        let again = report(&bench.ingest(&path, None));
        assert_eq!(again["log_digest"], whole["log_digest"], "{name}: as if it had never been cut");
        assert_eq!(again["duplicates"].as_u64(), Some(n));
    }
}

#[test]
fn what_is_not_a_message_is_parked_and_the_rest_goes_on() {
    let whole = whole();
    let bench = Bench::new();
    let mut bytes =
        b"this is not JSON\n[1,2,3]\n{\"topic\":\"org.x.buildsys.tag\",\"id\":\"broken\",\"body\":{\"tag\":7}}\n"
            .to_vec();
    bytes.extend(recording());
    let path = bench.write("events.jsonl", &bytes);
    let out = report(&bench.ingest(&path, None));
    assert_eq!(out["parked"].as_u64(), Some(3));
    assert_eq!(out["facts_digest"], whole["facts_digest"]);
    let parked = bench.run(&["log", "parked", "--db", "k.db", "--json"]);
    let lines: Vec<Value> =
        String::from_utf8(parked.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|l| !l["reason"].as_str().unwrap().is_empty()));
    assert!(lines[0]["reason"].as_str().unwrap().contains("line 1"), "{}", lines[0]);
    // A retry without an upgrade changes nothing, but is recorded.
    assert!(bench.run(&["log", "retry-parked", "broken", "--no-wait", "--db", "k.db"]).status.success());
    report(&bench.ingest(&path, None));
    let stats = bench.json(&["log", "stats", "--db", "k.db", "--json"]);
    assert_eq!(stats["inbox_parked"].as_u64(), Some(3));
    assert_eq!(stats["kinds"]["message_retried.v1"]["events"].as_u64(), Some(1));
    let unknown = bench.run(&["log", "retry-parked", "nobody", "--db", "k.db"]);
    assert_eq!(unknown.status.code(), Some(3));
    // The same recording again: parked messages are not parked twice.
    let again = report(&bench.ingest(&path, None));
    assert_eq!(again["inbox_parked"].as_u64(), Some(3));
}

#[test]
fn messages_with_nothing_but_what_is_needed_are_understood() {
    let bench = Bench::new();
    let lines = [
        r#"{"topic":"a.buildsys.package.list.change","id":"1","body":{"tag":"f1","package":"p","action":"add"}}"#,
        concat!(
            r#"{"topic":"a.buildsys.build.state.change","id":"2","#,
            r#""body":{"build_id":1,"name":"p","version":"1","release":"1","new":1}}"#
        ),
        concat!(
            r#"{"topic":"a.buildsys.tag","id":"3","#,
            r#""body":{"tag":"f1","build_id":1,"name":"p","version":"1","release":"1"}}"#
        ),
        r#"{"topic":"a.buildsys.repo.init","id":"4","body":{"tag":"f1-build","repo_id":1}}"#,
        r#"{"topic":"a.buildsys.repo.done","id":"5","body":{"tag":"f1-build","repo_id":1}}"#,
        concat!(
            r#"{"topic":"a.buildsys.task.state.change","id":"6","body":{"id":9,"new":"OPEN","owner":"koschei","#,
            r#""srpm":"p-1-1.src.rpm","info":{"method":"build","request":["p-1-1.src.rpm","f1",{"scratch":true}]}}}"#
        ),
        concat!(
            r#"{"topic":"a.buildsys.untag","id":"7","#,
            r#""body":{"tag":"f1","build_id":1,"name":"p","version":"1","release":"1"}}"#
        ),
    ];
    let path = bench.write("events.jsonl", lines.join("\n") + "\n");
    let out = report(&bench.ingest(&path, None));
    assert_eq!((out["handled"].as_u64(), out["parked"].as_u64()), (Some(7), Some(0)));
    let status = bench.json(&["status", "--db", "k.db", "--json"]);
    assert_eq!(status["packages"][0]["package"], "p");
    assert_eq!(status["packages"][0]["last_builds"][0]["task_id"], 9);
}

#[test]
fn a_line_of_fifty_megabytes_is_parked() {
    let whole = whole();
    let bench = Bench::new();
    let mut bytes = recording();
    bytes.extend(
        format!("{{\"id\":\"huge\",\"topic\":\"x.buildsys.tag\",\"body\":\"{}\"}}\n", "x".repeat(50 << 20))
            .into_bytes(),
    );
    let path = bench.write("events.jsonl", bytes);
    let out = report(&bench.ingest(&path, None));
    assert_eq!(out["parked"].as_u64(), Some(1));
    assert_eq!(out["facts_digest"], whole["facts_digest"]);
    let parked = String::from_utf8(bench.run(&["log", "parked", "--db", "k.db"]).stdout).unwrap();
    assert!(parked.contains("line 594"), "{parked}");
    assert!(fs::metadata(bench.path("k.db")).unwrap().len() < 20 << 20, "and not kept whole");
}

#[test]
fn a_bomb_of_a_recording_ends_with_an_error_and_not_with_the_machine() {
    let bench = Bench::new();
    let zeros = vec![b' '; 128 << 20];
    let bomb = bench.write("bomb.zst", zstd::encode_all(&zeros[..], 1).unwrap());
    let out = bench.ingest(&bomb, None);
    assert_ne!(out.status.code(), Some(0));
    assert!(stderr(&out).contains("bomb.zst"), "{}", stderr(&out));
}

/// Returns a copy of the archive with one repository's `x86_64` metadata changed.
fn archive_with(bench: &Bench, change: impl FnOnce(&Path)) -> PathBuf {
    let archive = bench.path("archive");
    let repo = archive.join("repos/f99-build/26");
    fs::create_dir_all(&archive).unwrap();
    fs::copy(format!("{DATA}/buildrequires.jsonl"), archive.join("buildrequires.jsonl")).unwrap();
    copy(Path::new(&format!("{DATA}/repos/f99-build/26")), &repo);
    change(&repo.join("x86_64/repodata"));
    archive
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn primary(repodata: &Path) -> PathBuf {
    fs::read_dir(repodata)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.to_str().unwrap().ends_with("primary.xml.gz"))
        .unwrap()
}

/// Replaces the content of primary, with the right checksum.
fn replace_primary(repodata: &Path, name: &str, bytes: &[u8]) {
    use sha2::{Digest, Sha256};
    let old = primary(repodata);
    let repomd = repodata.join("repomd.xml");
    let text = fs::read_to_string(&repomd).unwrap();
    let old_name = old.file_name().unwrap().to_str().unwrap();
    let old_sum = old_name.split('-').next().unwrap();
    let text = text.replace(old_name, name).replace(old_sum, &hex::encode(Sha256::digest(bytes)));
    fs::write(&repomd, text).unwrap();
    fs::write(repodata.join(name), bytes).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = GzEncoder::new(Vec::new(), Compression::best());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

#[test]
fn a_repository_that_cannot_be_read_leaves_verdicts_standing() {
    type Change = Box<dyn Fn(&Path)>;
    let bombs: [(&str, Change, &str); 5] = [
        ("wrong checksum", Box::new(|d| fs::write(primary(d), gzip(b"<metadata/>")).unwrap()), "its sha256 is"),
        ("not XML", Box::new(|d| replace_primary(d, "p-primary.xml.gz", &gzip(b"hello"))), "p-primary.xml.gz"),
        (
            "XML nested without end",
            Box::new(|d| replace_primary(d, "p-primary.xml.gz", &gzip("<a>".repeat(1_000_000).as_bytes()))),
            "p-primary.xml.gz",
        ),
        (
            "zstd bomb",
            Box::new(|d| {
                let zeros = vec![b' '; 1 << 20];
                let mut e = zstd::Encoder::new(Vec::new(), 1).unwrap();
                for _ in 0..6_000 {
                    e.write_all(&zeros).unwrap();
                }
                replace_primary(d, "p-primary.xml.zst", &e.finish().unwrap());
            }),
            "p-primary.xml.zst",
        ),
        ("metadata gone", Box::new(|d| fs::remove_file(primary(d)).unwrap()), "primary"),
    ];
    for (what, change, word) in bombs {
        let bench = Bench::new();
        let archive = archive_with(&bench, |d| change(d));
        let path = bench.write("events.jsonl", recording());
        let out = bench.ingest(&path, Some(&archive));
        report(&out);
        let text =
            String::from_utf8(bench.run(&["history", "--db", "k.db", "--kind", "repo_not_resolved", "--json"]).stdout)
                .unwrap();
        let said = text.lines().filter(|l| l.contains(r#""repo_id":26"#) && l.contains(word)).count();
        assert!(said > 0, "{what}: the log says why repository 26 was not resolved, with `{word}`");
        assert!(!text.contains(archive.to_str().unwrap()), "{what}: where the archive lies does not enter the log");
        let status = bench.json(&["status", "--db", "k.db", "--collection", "f99-build", "--json"]);
        assert!(status["collections"][0]["stale"].is_string(), "{what}: marked stale");
        // The other architecture is complete and was resolved.
        assert_eq!(status["collections"][0]["resolved"]["aarch64"], 26, "{what}");
        assert_eq!(status["collections"][0]["resolved"]["x86_64"], Value::Null, "{what}");
    }
}

#[test]
fn a_database_that_cannot_be_written_is_said() {
    let bench = Bench::new();
    bench.write("file", "x");
    let path = bench.write("events.jsonl", recording());
    for db in ["file/k.db", "no/such/dir/k.db", "."] {
        assert!(!bench.path("k.db").exists());
        let out = bench.run(&["ingest", "--from", path.to_str().unwrap(), "--db", db]);
        assert!(matches!(out.status.code(), Some(3 | 4)), "{db}: {:?}", out.status);
        let said = stderr(&out);
        assert!(said.starts_with("koschei: failed to") && said.contains(db), "{db}: {said}");
    }
    let out = bench.run(&["ingest", "--from", path.to_str().unwrap(), "--db", "file"]);
    assert_ne!(out.status.code(), Some(0), "a file that is no database");
    assert_eq!(fs::read(bench.path("file")).unwrap(), b"x", "and stays as it was");
    let out = bench.run(&["status", "--db", "absent.db"]);
    assert_ne!(out.status.code(), Some(0));
    assert!(!bench.path("absent.db").exists(), "looking does not make a log");
}

#[test]
fn a_corrupted_log_is_found_and_nothing_is_appended_to_it() {
    let bench = Bench::new();
    let text = String::from_utf8(recording()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let half = bench.write("half.jsonl", lines[..300].join("\n") + "\n");
    report(&bench.ingest(&half, None));
    let head = bench.json(&["log", "verify", "--db", "k.db", "--json"]);
    assert_eq!(head["ok"], true);
    let head = head["head"].as_str().unwrap().to_owned();
    // Change one word in the file, as a failing disk would.
    let mut bytes = fs::read(bench.path("k.db")).unwrap();
    let word = b"libxml2";
    let places: Vec<usize> = bytes.windows(word.len()).enumerate().filter(|(_, w)| w == word).map(|(i, _)| i).collect();
    for at in places {
        bytes[at] = b'L';
    }
    fs::write(bench.path("k.db"), bytes).unwrap();
    let out = bench.run(&["log", "verify", "--db", "k.db", "--head", &head]);
    assert_eq!(out.status.code(), Some(5), "{}{}", String::from_utf8_lossy(&out.stdout), stderr(&out));
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("damaged at event"), "{said}");
    // A trusted head of another log is refused too.
    let other = format!("1:{}", "0".repeat(64));
    assert_eq!(bench.run(&["log", "verify", "--db", "k.db", "--head", &other]).status.code(), Some(5));
    assert_eq!(bench.run(&["log", "verify", "--db", "k.db", "--head", "nonsense"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_committed() {
    use koschei::buildroot::NoResolver;
    use koschei::bus::Recording;
    use koschei::config::Config;
    use koschei::event::Source;
    use koschei::intake::recording;
    use koschei::log::{self, EventLog, Options};
    use koschei::model::{Class, Classified};
    use koschei::telemetry::Metrics;

    let whole = whole();
    let bench = Bench::new();
    let db = bench.path("k.db");
    let db = db.to_str().unwrap();
    let file = PathBuf::from(format!("{DATA}/events.jsonl"));
    let settings = || Config::default().settings(Source::Recording);

    let small = Options { max_pages: Some(100), ..Options::default() };
    let log = log::open(db, &small).await.unwrap();
    let mut writer = koschei::writer::Writer::open(&log, settings(), NoResolver, Metrics::new()).await.unwrap();
    let recording = Recording::open(&file).unwrap();
    let error = recording::feed(&mut writer, recording, 10, &mut |_, _| {}).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    assert!(error.to_string().contains("full") || format!("{error:?}").contains("Full"), "{error:?}");
    let committed = log.head().await.unwrap();
    assert!(committed.seq.is_some(), "something was committed before");
    log.close().await;

    // With space again, the committed events are there and the rest follows.
    let log = log::open(db, &Options::default()).await.unwrap();
    assert_eq!(log.head().await.unwrap(), committed);
    log::verify(&log, committed.seq.map(|s| (s, committed.hash)), &mut |_| {}).await.unwrap();
    let mut writer = koschei::writer::Writer::open(&log, settings(), NoResolver, Metrics::new()).await.unwrap();
    let recording = Recording::open(&file).unwrap();
    recording::feed(&mut writer, recording, 10, &mut |_, _| {}).await.unwrap();
    assert_eq!(writer.state().digest(), whole["log_digest"]);
    log.close().await;
}
