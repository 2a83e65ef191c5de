//! The stream of events: what comes, in which form, and where it goes on.

use koschei::event::{Tick, cloudevents};
use koschei::log::EventLog;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::web_site::{Pages, append, ingested};

/// A response that is read part by part.
struct Reader {
    stream: BufReader<TcpStream>,
    head: String,
    text: String,
}

impl Reader {
    async fn open(pages: &Pages, path: &str, headers: &str) -> Self {
        let stream = TcpStream::connect(pages.address).await.unwrap();
        let mut reader = Self { stream: BufReader::new(stream), head: String::new(), text: String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: koschei\r\nConnection: close\r\n{headers}\r\n");
        reader.stream.write_all(request.as_bytes()).await.unwrap();
        while !reader.head.ends_with("\r\n\r\n") {
            assert_ne!(reader.stream.read_line(&mut reader.head).await.unwrap(), 0);
        }
        reader
    }

    fn is(&self, status: u16, kind: &str) -> bool {
        let head = self.head.to_lowercase();
        head.starts_with(&format!("http/1.1 {status} ")) && head.contains(&format!("content-type: {kind}\r\n"))
    }

    /// Reads one more chunk. Returns `false` at the proper end of the response.
    async fn chunk(&mut self) -> bool {
        let mut size = String::new();
        self.stream.read_line(&mut size).await.unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut bytes = vec![0; size + 2];
        self.stream.read_exact(&mut bytes).await.unwrap();
        self.text.push_str(std::str::from_utf8(&bytes[..size]).unwrap());
        size > 0
    }

    /// Reads until a text has come.
    async fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            assert!(self.chunk().await, "it ended without `{wanted}`");
        }
    }

    async fn whole(mut self) -> String {
        while self.chunk().await {}
        self.text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_comes_as_lines() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let records = log.read(None, 100_000).await.unwrap();
    let lines = |fits: &dyn Fn(&koschei::event::Record) -> bool| -> String {
        records.iter().filter(|r| fits(r)).map(|r| cloudevents::to_json(r) + "\n").collect()
    };
    let reader = Reader::open(&pages, "/api/v2/events/stream?after=0&follow=false", "").await;
    assert!(reader.is(200, "application/jsonl"), "{}", reader.head);
    assert_eq!(reader.whole().await, lines(&|_| true));
    let some = "/api/v2/events/stream?after=10&follow=false&kind=package_state_changed,tick";
    let expected = lines(&|r| r.seq.get() > 10 && ["package_state_changed", "tick"].contains(&r.kind.as_str()));
    assert_eq!(Reader::open(&pages, some, "").await.whole().await, expected);
    let subject = "collection/f99-build/appbar";
    let about = format!("/api/v2/events/stream?after=0&follow=false&subject={subject}");
    assert_eq!(Reader::open(&pages, &about, "").await.whole().await, lines(&|r| r.subject == subject));
    pages.stop().await;
}

/// A browser gets what is new as it comes, and goes on after the last event it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_follows_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let records = log.read(None, 100_000).await.unwrap();
    let last = records.last().unwrap();
    let mut reader = Reader::open(&pages, "/api/v2/events/stream", "Accept: text/event-stream\r\n").await;
    assert!(reader.is(200, "text/event-stream"), "{}", reader.head);
    let end = append(&log, vec![Tick { now: last.recorded_at }.into(), Tick { now: last.recorded_at }.into()]).await;
    reader.until(&format!("id: {end}\n")).await;
    reader.until("\n\n").await;
    assert!(reader.text.starts_with(&format!("id: {}\nevent: tick\ndata: {{", last.seq.next())), "{}", reader.text);
    assert_eq!(reader.text.matches("id: ").count(), 2, "nothing of before: {}", reader.text);
    let data = reader.text.lines().find_map(|l| l.strip_prefix("data: ")).unwrap();
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(event["sequence"], format!("{:020}", last.seq.next().get()));
    // It goes on where it was cut off, whatever its address says.
    let headers = format!("Accept: text/event-stream\r\nLast-Event-ID: {}\r\n", end.get() - 3);
    let address = "/api/v2/events/stream?after=1&follow=false";
    let again = Reader::open(&pages, address, &headers).await.whole().await;
    assert_eq!(again.matches("id: ").count(), 3, "{again}");
    // The service ends a stream properly when it stops.
    let reader = Reader::open(&pages, "/api/v2/events/stream", "").await;
    let (text, ()) = tokio::join!(reader.whole(), pages.stop());
    assert_eq!(text, "");
}

/// Events about other things do not end the wait, and do not come.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_its_subject() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let records = log.read(None, 100_000).await.unwrap();
    let now = records.last().unwrap().recorded_at;
    let seldom = records.iter().find(|r| r.kind == "package_state_changed").unwrap();
    let subject = format!("/api/v2/events/stream?subject={}", seldom.subject);
    let kind = format!("/api/v2/events/stream?kind={}", seldom.kind);
    let mut readers = [Reader::open(&pages, &subject, "").await, Reader::open(&pages, &kind, "").await];
    append(&log, vec![Tick { now }.into(), Tick { now }.into()]).await;
    let end = append(&log, vec![seldom.decode().unwrap().event]).await;
    for reader in &mut readers {
        reader.until("\n").await;
        let first: Value = serde_json::from_str(reader.text.lines().next().unwrap()).unwrap();
        assert_eq!(first["sequence"], format!("{:020}", end.get()));
    }
    drop(readers);
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::over(&log).await;
    let mut readers = Vec::new();
    for n in 0..64 {
        let reader = Reader::open(&pages, "/api/v2/events/stream", "").await;
        assert!(reader.is(200, "application/jsonl"), "{n}: {}", reader.head);
        readers.push(reader);
    }
    let refused = pages.get("/api/v2/events/stream").await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("there are 64 streams already"), "{}", refused.body);
    // Everything else is answered, and a place is free again when a reader goes away.
    assert_eq!(pages.get("/api/v2/collections").await.status, 200);
    readers.pop();
    while Reader::open(&pages, "/api/v2/events/stream", "").await.is(503, "application/problem+json") {
        tokio::task::yield_now().await;
    }
    drop(readers);
    pages.stop().await;
}
