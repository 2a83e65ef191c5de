//! The content of pages, for people and for programs, for every address that is served.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::steady::{koschei, world};
use super::{Family, file_name, repository, unfolded, unfolded_html};

/// The addresses requested at the end of the log, in addition to one event of each kind.
const ASKED: &[&str] = &[
    "/",
    "/?json=1",
    "/packages",
    "/packages?collection=f99-build&state=failing&json=1",
    "/packages?q=lib&rows=3&page=2",
    "/packages?sate=failing",
    "/packages?state=unresolved",
    "/package/appbar",
    "/package/appbar?collection=f99-build&json=1",
    "/package/nope",
    "/package/apbar",
    "/package/apbar?json=1",
    "/collection/f99-build",
    "/collection/f99-build?json=1",
    "/collection/f99-build-side-7",
    "/collection/f99-biuld",
    "/groups",
    "/groups?json=1",
    "/groups/nope",
    "/packages?group=nope",
    "/causes",
    "/causes?collection=f99-build&json=1",
    "/causes?collection=f99-biuld",
    "/cause/0123456789",
    "/update/libfoo-2.0-1.fc99",
    "/update/nothing",
    "/event/99999",
    "/api/v1/packages?name=appbar&name=libfoo&collection=f99-build&untracked=1",
    "/api/v1/packages?collection=f99-biuld",
    "/api/v1/collections/diff/f99-build/f99-build-side-7",
    "/api/v1/collections/diff/f99-build/nope",
    "/api/v2",
    "/api/v2/collections",
    "/api/v2/packages?state=failing&limit=1",
    "/api/v2/collections/f99-build/packages/appbar",
    "/api/v2/collections/f99-build/packages/apbar",
    "/api/v2/packages/appbar",
    "/api/v2/packages?sate=failing",
    "/api/v2/changes",
    "/api/v2/collections/f99-build",
    "/api/v2/collections/f99-build/repositories?limit=2",
    "/api/v2/collections/f99-build/compared-with/f99-build-side-7?limit=2",
    "/api/v2/collections/f99-build/events?limit=1",
    "/api/v2/collections/f99-build/packages/appbar/events?limit=1",
    "/api/v2/groups",
    "/api/v2/groups/nope",
    "/api/v2/causes?as_of=2026-11-20T08:45:00Z",
    "/api/v2/causes/0123456789",
    "/api/v2/updates/libfoo-2.0-1.fc99",
    "/api/v2/rebuilds/running",
    "/api/v2/rebuilds/queue?limit=2",
    "/api/v2/events?limit=1",
    "/api/v2/events/3",
    "/api/v2/events/stream?after=0&kind=collection_created&follow=false",
    "/login?next=/causes",
    "/login/start",
    "/login/callback?code=x&state=y",
    "/account",
    "/user/alice",
    "/packages?owner=alice",
    "/style.css",
    "/icon.svg",
    "/robots.txt",
    "/metrics",
    "/alive",
    "/ready",
    "/nothing-here",
];

/// The addresses requested as of a time when packages were broken.
const ASKED_THEN: &[&str] = &[
    "/",
    "/packages?collection=f99-build&state=unresolved",
    "/package/appbar",
    "/causes",
    "/causes?json=1",
    "/cause/18cb3e88a7",
    "/cause/18cb3e88a7?json=1",
    "/update/libfoo-2.0-1.fc99",
    "/update/libfoo-2.0-1.fc99?json=1",
];
/// The addresses requested for the log of a service that worked with a hub.
const ASKED_OF_STORY: &[&str] =
    &["/", "/collection/f98", "/package/app108", "/packages?state=failing,unresolved&rows=5"];
const THEN: &str = "2026-11-20T08:45:00Z";

/// A process that serves pages, until it is dropped.
struct Web {
    child: Child,
    address: String,
}

impl Web {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koschei"));
        command.args(["web", "--listen", "127.0.0.1:0", "--weburl", "https://koji.example.org/koji"]).args(more);
        command.current_dir(dir).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended");
        }
        let address = line.split("http://").nth(1).unwrap().trim_end_matches(['/', '\n']).to_owned();
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let web = Self { child, address };
        while !web.answer("/ready").starts_with("200 ") {
            std::thread::yield_now();
        }
        web
    }

    /// Returns status, headers without the date, and body.
    fn answer(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: koschei\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        let mut headers: Vec<String> = lines.map(str::to_lowercase).filter(|l| !l.starts_with("date:")).collect();
        headers.sort();
        let body = match headers.iter().find_map(|h| h.strip_prefix("content-type: ")).unwrap_or_default() {
            kind if kind.starts_with("text/html") => unfolded_html(body),
            "application/json" | "application/problem+json" => unfolded(body),
            // The names and help texts of metrics. The values depend on the time.
            _ if path == "/metrics" => body.lines().filter(|l| l.starts_with('#')).map(|l| format!("{l}\n")).collect(),
            _ => body.to_owned(),
        };
        if path == "/metrics" {
            headers.retain(|h| !h.starts_with("content-length:"));
        }
        format!("{status}\n{}\n\n{body}\n", headers.join("\n"))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the first event of each kind.
fn of_each_kind(dir: &Path, db: &str) -> BTreeMap<String, u64> {
    let out = koschei(dir, ["log", "export", "--no-attachments", "--db", db]);
    assert!(out.status.success(), "{out:?}");
    let mut first = BTreeMap::new();
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let kind = event["type"].as_str().unwrap().split('.').rev().nth(1).unwrap().to_owned();
        first.entry(kind).or_insert_with(|| event["sequence"].as_str().unwrap().parse().unwrap());
    }
    first
}

/// Checks whether an address belongs to a route. `{name}` stands for any text.
fn belongs(address: &str, route: &str) -> bool {
    let path = address.split('?').next().unwrap();
    let (path, route): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), route.split('/').collect());
    path.len() == route.len() && path.iter().zip(&route).all(|(p, r)| r.starts_with('{') || p == r)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_as_it_was() {
    let dir = world().await;
    let mut family = Family::new("pages");
    let web = Web::start(dir.path(), &[]);
    let named = |asked: &str| if asked == "/" { "overview".to_owned() } else { file_name(asked) };
    for asked in ASKED {
        family.is(&named(asked), &format!("GET {asked}\n{}", web.answer(asked)));
    }
    let kinds = of_each_kind(dir.path(), "koschei.db");
    assert!(kinds.len() > 15, "{kinds:?}");
    for (kind, seq) in &kinds {
        let (page, json) = (format!("/event/{seq}"), format!("/event/{seq}?json=1"));
        let text = format!("GET {page}\n{}\nGET {json}\n{}", web.answer(&page), web.answer(&json));
        family.is(&format!("event-{kind}"), &text);
    }
    drop(web);
    let then = Web::start(dir.path(), &["--as-of", THEN]);
    for asked in ASKED_THEN {
        family.is(&format!("then-{}", named(asked)), &format!("GET {asked} as of {THEN}\n{}", then.answer(asked)));
    }
    drop(then);
    // A service that worked with a hub has running rebuilds, and kinds of events that no recording
    // has.
    let text = super::hub_story::exported();
    assert!(super::hub_story::import(dir.path(), "new.db", &text), "the story is taken");
    let story = Web::start(dir.path(), &["--db", "new.db"]);
    for asked in ASKED_OF_STORY {
        family.is(&format!("story-{}", named(asked)), &format!("GET {asked} of the story\n{}", story.answer(asked)));
    }
    for (kind, seq) in of_each_kind(dir.path(), "new.db").into_iter().filter(|(kind, _)| !kinds.contains_key(kind)) {
        let page = format!("/event/{seq}");
        family.is(&format!("story-event-{kind}"), &format!("GET {page} of the story\n{}", story.answer(&page)));
    }
    family.done();
}

/// A new page needs an address in this test. The table of addresses is complete: every page is in
/// it.
#[test]
fn every_address_that_is_served_is_asked_for() {
    for route in koschei::web::addresses() {
        let asked = ASKED.iter().any(|asked| belongs(asked, route));
        // Events are asked for by kind. The answers of the others are compared in `web::api_v2`: they are long,
        // or differ between two logs.
        // Forms are sent in `web::people`.
        let forms = ["/login/token", "/logout", "/account/tokens", "/account/revoke"];
        let elsewhere = ["/event/{seq}", "/api/v2/openapi.json", "/api/v2/status"];
        assert!(asked || elsewhere.contains(&route) || forms.contains(&route), "nothing is asked of {route}");
    }
    let mut open = vec![repository("src")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&entry).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                assert!(!text.contains(".route(\""), "{}: a page that stands in no table", entry.display());
            }
        }
    }
}
