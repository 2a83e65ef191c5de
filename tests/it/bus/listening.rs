//! Stalled readers do not block health checks.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use koschei::log::{EventLog, Options, open};
use tokio::sync::Mutex;

use crate::bus::follow::get;
use crate::nats_server::NatsServer;

/// More than the places and the line together.
const STALLED: usize = 600;

/// Runs these tests one at a time. Both together need more open files than a process may have by
/// default.
static STALLING: Mutex<()> = Mutex::const_new(());

fn start(args: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    (child, stderr)
}

/// Returns the address that a process prints.
fn address(stderr: &mut impl BufRead) -> String {
    let mut line = String::new();
    while !line.contains("http://") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it says where it listens");
    }
    line.trim().rsplit("http://").next().unwrap().split('/').next().unwrap().to_owned()
}

/// Opens connections that request a page and do not read it, that stop in the middle of the
/// request, or that say nothing.
fn stall(address: &str) -> Vec<TcpStream> {
    let said = ["GET /packages HTTP/1.1\r\nHost: x\r\n\r\n", "GET /packages HTTP/1.1\r\nHo", ""];
    let one = |i: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        // A connection that was already pushed out of the line does not accept more bytes.
        drop(stream.write_all(said[i % said.len()].as_bytes()));
        stream
    };
    (0..STALLED).map(one).collect()
}

fn monitoring_answers(address: &str) {
    for (path, text) in [("/alive", "alive"), ("/metrics", "koschei_"), ("/ready", "")] {
        let answer = get(address, path);
        assert!(answer.contains(text) && answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
    }
    assert!(get(address, "/alive").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(address, "/metrics").starts_with("HTTP/1.1 200 OK\r\n"));
}

/// Waits until pages are answered.
fn answers_pages(address: &str) {
    while !get(address, "/").starts_with("HTTP/1.1 200 OK\r\n") {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn pages_do_not_starve_monitoring() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("a.db").to_str().unwrap().to_owned();
    open(&db, &Options::default()).await.unwrap().close().await;
    let (mut web, mut stderr) = start(&["web", "--db", &db, "--listen", "127.0.0.1:0"]);
    let address = address(&mut stderr);
    answers_pages(&address);
    let _alone = STALLING.lock().await;
    let stalled = stall(&address);
    monitoring_answers(&address);
    let refused = get(&address, "/");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("too many connections"), "{refused}");
    drop(stalled);
    answers_pages(&address);
    web.kill().unwrap();
    web.wait().unwrap();
}

#[tokio::test]
async fn follow_listens_in_the_same_way() {
    let server = NatsServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (db, url) = (dir.path().join("a.db"), server.url());
    let bus = ["--nats", &url, "--stream", "KOJI", "--subject", "koji.>"];
    let args = ["follow", "--db", db.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let (mut follow, mut stderr) = start(&[&args[..], &bus[..]].concat());
    let address = address(&mut stderr);
    let _alone = STALLING.lock().await;
    let stalled = stall(&address);
    monitoring_answers(&address);
    drop(stalled);
    follow.kill().unwrap();
    follow.wait().unwrap();
}
