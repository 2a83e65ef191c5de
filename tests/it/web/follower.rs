//! How pages follow a log that grows, answers slowly, or goes away.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use koschei::event::{CollectionCreated, CollectionSettings, Event, Tick};
use koschei::log::{EventLog, Options, folding};
use koschei::model::{Hub, Seq, Timestamp};

use crate::feed;
use crate::servers::{postgres_bin, start_postgres};
use crate::web_site::{Pages, append, ingested};

/// A process that ends when this value is dropped, even if the test fails.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn tick(at: i64) -> Event {
    Tick { now: Timestamp::from_secs(at) }.into()
}

fn collection(name: &str) -> Event {
    let settings = CollectionSettings {
        display_name: name.to_owned(),
        hub: Hub::new("primary"),
        target: name.into(),
        build_tag: format!("{name}-build").into(),
        dest_tag: name.into(),
        build_group: "build".into(),
        coefficient: 1000,
        arches: Vec::new(),
        track_all: true,
        max_builds: Some(5),
        found: false,
        builds_on: None,
    };
    CollectionCreated { collection: name.into(), settings }.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_log_is_read_nothing_is_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let mut pages = Pages::idle(&log).await;
    for path in ["/", "/packages", "/package/docfoo", "/event/5"] {
        let answer = pages.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.body.contains("events are read"), "{}", answer.body);
        assert_eq!((answer.headers["retry-after"].as_str(), answer.headers["refresh"].as_str()), ("2", "2"));
    }
    assert_eq!(pages.get("/alive").await.status, 200);
    assert_eq!(pages.get("/ready").await.status, 503);
    pages.readiness.ready();
    assert_eq!(pages.get("/ready").await.status, 200);
    pages.follow(&log, None);
    pages.follower.caught_up().await;
    pages.page("/").await;
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_what_came_after_it_make_the_same_pages() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let folded = Pages::over(&log).await;
    let half = folding::state(&log, Seq::new(1_000), &mut |_| {}).await.unwrap();
    folding::keep(&log, &half).await.unwrap();
    let snapped = Pages::over(&log).await;
    let whole = folding::state(&log, None, &mut |_| {}).await.unwrap();
    folding::keep(&log, &whole).await.unwrap();
    // This snapshot is at the end of the log.
    let ended = Pages::over(&log).await;
    for path in ["/", "/packages?collection=f99-build", "/package/sqlite", "/collection/f99-build"] {
        let expected = folded.page(path).await;
        assert_eq!(snapped.page(path).await, expected, "{path}");
        assert_eq!(ended.page(path).await, expected, "{path}");
    }
    assert_eq!(ended.follower.status().seq, whole.seq);
    for pages in [folded, snapped, ended] {
        pages.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_what_another_process_appends() {
    let dir = tempfile::tempdir().unwrap();
    let log = feed::sqlite(dir.path(), "grows.db").await;
    let reader = Options { create: false, read_only: true, ..Options::default() };
    let read = koschei::log::open(dir.path().join("grows.db").to_str().unwrap(), &reader).await.unwrap();
    let pages = Pages::over(&read).await;
    assert!(pages.page("/").await.contains("The log is empty"));
    for n in 1..=3 {
        let seq = append(&log, vec![collection(&format!("f{n}")), tick(n)]).await;
        pages.follower.when(|s| s.seq == Some(seq)).await;
        let page = pages.page("/").await;
        assert!(page.contains(&format!("event {seq}")) && page.contains(&format!("/collection/f{n}")));
    }
    let metrics = pages.page("/metrics").await;
    assert!(metrics.contains("koschei_web_lag_events 0"), "{metrics}");
    assert!(metrics.contains("koschei_loop_last_seconds{loop=\"web\"}"));
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_while_the_database_is_away_and_catch_up_when_it_is_back() {
    let bin = postgres_bin();
    let server = start_postgres(&bin, "-c fsync=off");
    let (data, socket) = (server.dir.join("data"), server.dir.display().to_string());
    let control = |args: &[&str]| {
        let as_user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
        let mut command = if as_user {
            let mut c = Command::new("setpriv");
            c.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(bin.join("pg_ctl"));
            c
        } else {
            Command::new(bin.join("pg_ctl"))
        };
        command.arg("-D").arg(&data).args(["-w", "-t", "120"]).args(args).current_dir(&server.dir);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{args:?}");
    };
    let url = format!("postgres://koschei@localhost/postgres?host={socket}");
    let log = koschei::log::open(&url, &Options::default()).await.unwrap();
    let seq = append(&log, vec![collection("before"), tick(1)]).await;
    let pages = Pages::over(&log).await;
    control(&["-m", "immediate", "stop"]);
    pages.follower.when(|s| s.trouble.is_some()).await;
    let page = pages.page("/").await;
    assert!(page.contains("The log has not answered since") && page.contains("/collection/before"), "{page}");
    // Parts that need the log itself say so. Parts from the state are still shown.
    assert_eq!(pages.get("/event/1").await.status, 503);
    assert!(pages.page("/collection/before").await.contains("its events cannot be shown now"));
    control(&["-l", "server.log", "-o", &format!("-k {socket} -c listen_addresses='' -c fsync=off"), "start"]);
    pages.follower.when(|s| s.trouble.is_none()).await;
    let later = append(&log, vec![collection("after")]).await;
    assert_eq!(later, seq.next());
    pages.follower.when(|s| s.seq == Some(later)).await;
    let page = pages.page("/").await;
    assert!(page.contains("/collection/after") && !page.contains("has not answered"));
    assert_eq!(pages.page("/event/1").await.matches("collection before created").count(), 1);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verb_serves_a_log_and_ends_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let then = log.seq_at("2026-11-20T08:45:00Z".parse().unwrap()).await.unwrap().unwrap().get();
    let end = log.head().await.unwrap().seq.unwrap().get();
    log.close().await;
    let db = dir.path().join("pages.db");
    let start = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        command.args(["web", "--listen", "127.0.0.1:0", "--db"]).arg(&db).args(more);
        Running(command.stderr(Stdio::piped()).spawn().unwrap())
    };
    for (as_of, seq) in
        [(&[][..], end), (&["--as-of", "467"][..], 467), (&["--as-of", "2026-11-20T08:45:00Z"][..], then)]
    {
        let mut child = start(as_of);
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let said = lines.next().unwrap().unwrap();
        let address = said.rsplit("http://").next().unwrap().trim_end_matches('/').to_owned();
        assert!(lines.next().unwrap().unwrap().contains("events are folded"));
        let get = |path: &str| {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let page = get("/");
        assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains(&format!("event {seq}")), "{page}");
        assert!(get("/ready").contains("200 OK"));
        assert!(get("/metrics").contains("koschei_web_lag_events 0"));
        assert!(Command::new("kill").args(["-TERM", &child.0.id().to_string()]).status().unwrap().success());
        assert!(child.0.wait().unwrap().success(), "told to end, it ends well");
    }
    for (args, said) in [
        (&["--as-of", "9999"][..], "a point that it does not reach"),
        (&["--weburl", "javascript:alert(1)"][..], "as the address of Koji's web pages"),
        (&["--listen", "203.0.113.1:80"][..], "listen on 203.0.113.1:80"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        let out = command.args(["web", "--db"]).arg(&db).args(args).output().unwrap();
        assert_eq!(out.status.code(), Some(3), "{args:?}");
        assert!(String::from_utf8_lossy(&out.stderr).contains(said), "{}", String::from_utf8_lossy(&out.stderr));
    }
}
