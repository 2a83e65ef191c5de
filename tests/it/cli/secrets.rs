//! Passwords are never shown, files we make are private, and text from outside cannot act on a
//! terminal or a page.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use koschei::log::{Options, open};

use crate::nats_server::NatsServer;
use crate::rabbitmq_server::RabbitServer;
use crate::web_site::Pages;

/// Only letters and digits, so that it is not escaped in an address.
const SECRET: &str = "s3crets3cret";
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

fn koschei(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
    command.args(args);
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// No password is shown, however it is given and whatever goes wrong.
#[test]
fn no_password_of_a_database_is_shown() {
    let by_query = format!("postgres://127.0.0.1:1/koschei?user=k&password={SECRET}");
    let by_login = format!("postgres://k:{SECRET}@127.0.0.1:1/koschei");
    let not_one = format!("postgres:k:{SECRET}@127.0.0.1:1/koschei");
    let port = format!("postgres://k:{SECRET}@127.0.0.1:ab/koschei");
    for url in [by_query, by_login, not_one, port] {
        let given = koschei(&["status", "--db", &url]).env("KOSCHEI_LOG", "trace,sqlx=trace").output().unwrap();
        assert!(!given.status.success());
        assert!(!said(&given).contains(SECRET), "{url}: {}", said(&given));
        assert!(said(&given).contains("an argument contains a password"), "{url}: {}", said(&given));
        let kept = koschei(&["status"]).env("KOSCHEI_DB", &url).output().unwrap();
        assert!(
            !said(&kept).contains("an argument contains a password") && !said(&kept).contains(SECRET),
            "{}",
            said(&kept)
        );
        let help = koschei(&["status", "--help"]).env("KOSCHEI_DB", &url).output().unwrap();
        assert!(said(&help).contains("KOSCHEI_DB") && !said(&help).contains(SECRET), "{}", said(&help));
    }
}

#[test]
fn no_line_of_a_configuration_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("koschei.toml");
    for text in [
        format!("[bus]\namqp_url = 'amqps://k:{SECRET}@mq"),
        format!("[bus]\namqp_url = 'amqps://k:{SECRET}@mq' x\n"),
        format!("[bus]\namqp_url = ['amqps://k:{SECRET}@mq']\n"),
        format!("[announce]\namqp_url = ['amqps://k:{SECRET}@mq']\n"),
        format!("[serve]\nlisten = 'amqps://k:{SECRET}@mq'\n"),
        format!("[serve]\nrepos_kept = '{SECRET}'\n"),
        format!("[[hub]]\nserver = 'https://h/kojihub'\ntopurl = '/t'\nweburl = 'ftp://k:{SECRET}@h'\n"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let output = koschei(&["check-config", file.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{text}: {}", said(&output));
        assert!(!said(&output).contains(SECRET), "{}", said(&output));
        assert!(said(&output).contains("line ") || said(&output).contains("weburl"), "{}", said(&output));
    }
    // The same holds if nothing is wrong.
    let whole = format!(
        "[bus]\namqp_url = 'amqps://k:{SECRET}@mq/x'\n[announce]\namqp_url = 'amqps://k:{SECRET}@mq/x'\n[[hub]]\n\
         server = 'https://k:{SECRET}@h/kojihub'\ntopurl = '/t'\n"
    );
    std::fs::write(&file, whole).unwrap();
    for json in [&[][..], &["--json"]] {
        let output = koschei(&["check-config", file.to_str().unwrap()]).args(json).output().unwrap();
        assert!(output.status.success() && !said(&output).contains(SECRET), "{}", said(&output));
    }
}

/// No login is shown at any log level, even if it is sent to the server.
#[tokio::test]
async fn no_login_of_a_bus_is_shown() {
    let server = NatsServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("a.db");
    let nats = server.url().replace("nats://", &format!("nats://k:{SECRET}@"));
    let amqp = RabbitServer::shared().await.url_for(&format!("k:{SECRET}"), "/");
    assert!(nats.contains(SECRET) && amqp.contains(SECRET), "{nats} {amqp}");
    let nowhere = format!("amqp://k:{SECRET}@127.0.0.1:1/");
    let follow = |args: &[&str]| {
        let mut command = koschei(&["follow", "--until-idle", "--db", db.to_str().unwrap()]);
        command.args(args).env("KOSCHEI_LOG", "trace,async_nats=trace,lapin=trace,tokio_rustls=trace");
        command
    };
    let bus = ["--stream", "KOJI", "--subject", "koji.>"];
    let there = follow(&bus).env("KOSCHEI_NATS", &nats).output().unwrap();
    assert!(there.status.success(), "{}", said(&there));
    assert!(said(&there).contains("async_nats"), "the library speaks: {}", said(&there));
    let away = follow(&bus).env("KOSCHEI_NATS", format!("nats://k:{SECRET}@127.0.0.1:1")).output().unwrap();
    assert!(said(&away).contains("nats://127.0.0.1:1"), "the address is said: {}", said(&away));
    let refused = follow(&[]).env("KOSCHEI_AMQP", &amqp).output().unwrap();
    assert!(said(&refused).contains("lapin"), "the library speaks: {}", said(&refused));
    let other = follow(&[]).env("KOSCHEI_AMQP", &nowhere).output().unwrap();
    for output in [&refused, &other] {
        assert!(said(output).contains("amqp://127.0.0.1:"), "the address is said: {}", said(output));
    }
    let help = follow(&["--help"]).env("KOSCHEI_AMQP", &amqp).env("KOSCHEI_NATS", &nats).output().unwrap();
    for output in [there, away, refused, other, help] {
        assert!(!said(&output).contains(SECRET), "{}", said(&output));
    }
    let warned = follow(&["--amqp", &nowhere]).output().unwrap();
    assert!(said(&warned).contains("an argument contains a password") && !said(&warned).contains(SECRET));
}

/// Returns the files with more permissions than read and write for us and read for our group.
fn open_files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        // A file that is gone is open to nobody.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        let allowed = if path.is_dir() { 0o750 } else { 0o640 };
        if mode & !allowed != 0 {
            found.push(format!("{} {mode:o}", path.display()));
        }
        if path.is_dir() {
            found.extend(open_files(&path));
        }
    }
    found
}

#[tokio::test]
async fn what_we_make_is_not_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    std::fs::create_dir(&made).unwrap();
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o750)).unwrap();
    let run = |args: &[&str]| {
        let output = koschei(args).current_dir(&made).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    };
    let events = format!("{DATA}/events.jsonl");
    run(&["ingest", "--from", &events, "--archive", DATA, "--db", "a.db", "--commands", "commands.jsonl"]);
    run(&["log", "export", "--db", "a.db", "--to", "export.jsonl"]);
    let server = NatsServer::start().await;
    let url = server.url();
    let args = ["follow", "--nats", &url, "--stream", "KOJI", "--subject", "koji.>", "--db", "b.db"];
    let mut follow = koschei(&args).current_dir(&made).stderr(Stdio::null()).spawn().unwrap();
    while !made.join("b.db-wal").exists() || !made.join("b.db-shm").exists() {
        std::thread::yield_now();
    }
    assert_eq!(open_files(&made), [""; 0]);
    for file in ["a.db", "commands.jsonl", "export.jsonl", "b.db", "b.db-wal", "b.db-shm"] {
        assert!(made.join(file).exists(), "{file}");
    }
    follow.kill().unwrap();
    follow.wait().unwrap();
}

/// A name that reverses the text after it, and a message whose id would clear the screen.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_shown_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (db, from) = (dir.path().join("a.db"), dir.path().join("events.jsonl"));
    let text = std::fs::read_to_string(format!("{DATA}/events.jsonl")).unwrap();
    let named = |line: usize, name: &str| {
        text.lines().nth(line).unwrap().replace(r#""package": "filesystem""#, &format!(r#""package": "{name}""#))
    };
    let id = r#""id": "9c778e5f-224a-4dec-b1d4-152a45db1176""#;
    let no_name = named(1, "a b").replace(id, r#""id": "\u001b[2J\u009b31m""#);
    std::fs::write(&from, format!("{}\n{no_name}\n", named(0, r"gpj\u202e"))).unwrap();
    let db = db.to_str().unwrap();
    let output = koschei(&["ingest", "--from", from.to_str().unwrap(), "--db", db]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    for (verb, hostile) in [(&["history"][..], r"gpj\u202e"), (&["log", "parked"], r"\u001b[2J\u009b31m")] {
        for json in [&[][..], &["--json"]] {
            let shown = said(&koschei(verb).args(["--db", db]).args(json).output().unwrap());
            assert!(shown.contains(hostile), "{shown}");
            assert!(!shown.contains(['\u{202e}', '\u{1b}', '\u{9b}']), "{shown:?}");
        }
    }
    let log = open(db, &Options::default()).await.unwrap();
    let pages = Pages::over(&log).await;
    let page = pages.get("/event/3").await.body;
    pages.stop().await;
    assert!(page.contains("<bdi>") && page.contains("gpj\u{202e}"), "{page}");
    // The text between the end of one element and the beginning of the next, and outside of tags.
    let outside = page.split("<bdi>").map(|part| part.rsplit("</bdi>").next().unwrap_or_default());
    let shown = outside.flat_map(|part| part.split('<').map(|p| p.rsplit('>').next().unwrap_or_default()));
    assert_eq!(shown.filter(|text| text.contains('\u{202e}')).collect::<Vec<_>>(), [""; 0], "{page}");
}
