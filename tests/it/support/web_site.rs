//! Pages over a log for one test: a follower, a server, and a client.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use koschei::base::listen::Limits;
use koschei::event::{ChainHash, Event, NewEvent, Record, Source};
use koschei::log::{AnyLog, Commit, EventLog};
use koschei::model::{Seq, Timestamp};
use koschei::telemetry::Metrics;
use koschei::telemetry::probe::Readiness;
use koschei::web::{Follower, KojiLinks, People, Serving, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Base address of links to Koji.
pub(crate) const KOJI: &str = "https://koji.example.org/koji";

pub(crate) struct Pages {
    pub(crate) follower: Follower,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    serving: Serving,
    following: Option<tokio::task::JoinHandle<()>>,
}

/// The response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Pages {
    /// Starts the server without following a log.
    pub(crate) async fn idle(log: &AnyLog) -> Self {
        Self::starting(log, "127.0.0.1:0".parse().unwrap(), People::default()).await
    }

    /// Serves the end of a log to people who can log in. `people` gets the address.
    pub(crate) async fn to_people(log: &AnyLog, people: impl FnOnce(SocketAddr) -> People) -> Self {
        // The address is free: a provider of logins must know it before anything listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = free.local_addr().unwrap();
        let people = people(at);
        drop(free);
        let mut pages = Self::starting(log, at, people).await;
        pages.follow(log, None);
        pages.follower.caught_up().await;
        pages
    }

    async fn starting(log: &AnyLog, at: SocketAddr, people: People) -> Self {
        let (metrics, readiness, stop) = (Metrics::new(), Readiness::default(), CancellationToken::new());
        let follower = Follower::new(metrics.clone());
        let mut koji = KojiLinks::default();
        koji.set(None, KOJI).unwrap();
        let site = Site::new(log.clone(), follower.clone(), metrics.clone(), koji);
        let site = site.with_people(people);
        let serving = koschei::web::serve(at, site, readiness.clone(), Limits::default(), stop.clone()).await.unwrap();
        let address = serving.address;
        Self { follower, metrics, readiness, address, stop, serving, following: None }
    }

    /// Begins to follow a log.
    pub(crate) fn follow(&mut self, log: &AnyLog, until: Option<Seq>) {
        let (follower, log, stop) = (self.follower.clone(), log.clone(), self.stop.clone());
        self.following = Some(tokio::spawn(async move { follower.run(&log, until, &stop).await.unwrap() }));
    }

    /// Serves the end of a log.
    pub(crate) async fn over(log: &AnyLog) -> Self {
        Self::up_to(log, None).await
    }

    /// Serves a log as it was after an event.
    pub(crate) async fn up_to(log: &AnyLog, until: Option<Seq>) -> Self {
        let mut pages = Self::idle(log).await;
        pages.follow(log, until);
        pages.follower.caught_up().await;
        pages
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(path, "").await
    }

    /// Sends a request with further headers, each ended by CR LF.
    pub(crate) async fn ask(&self, path: &str, headers: &str) -> Answer {
        let head = format!("GET {path} HTTP/1.1\r\nHost: koschei\r\nConnection: close\r\n{headers}\r\n");
        self.raw(head.as_bytes()).await
    }

    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.to_lowercase(), v.to_owned()));
        Answer { status, headers: headers.collect(), body: body.to_owned() }
    }

    /// Returns a page that must exist.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.ask(path, "Accept: application/json\r\n").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Stops the server, and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.serving.done.await.unwrap();
        if let Some(following) = self.following {
            following.await.unwrap();
        }
    }
}

/// Appends events, one second apart, each caused by the one before.
pub(crate) async fn append(log: &AnyLog, events: Vec<Event>) -> Seq {
    let head = log.head().await.unwrap();
    let (mut seq, mut hash) = (head.seq, head.hash);
    let mut records = Vec::new();
    for event in events {
        let next = Seq::after(seq);
        let at = Timestamp::from_secs(1_800_000_000 + i64::try_from(next.get()).unwrap());
        let new = NewEvent {
            event,
            occurred_at: at,
            source: Source::Engine,
            fact: None,
            koji_event: None,
            causation: seq,
            correlation: None,
        };
        let record = Record::new(next, at, &new, hash);
        (seq, hash) = (Some(next), record.hash);
        records.push(record);
    }
    assert_ne!(hash, ChainHash::GENESIS);
    log.append(head.seq, &Commit { records, ..Commit::default() }).await.unwrap().seq.unwrap()
}

/// Returns a log with an ingested recording that ships with the tests.
pub(crate) async fn ingested(dir: &std::path::Path) -> AnyLog {
    let log = crate::feed::sqlite(dir, "pages.db").await;
    let data = crate::feed::recorded("koji");
    let mut writer = crate::feed::awake(&log, crate::feed::archive(&data)).await;
    let lines = crate::feed::lines(&data.join("events.jsonl"));
    crate::feed::feed(&mut writer, &lines, 500).await;
    log
}
