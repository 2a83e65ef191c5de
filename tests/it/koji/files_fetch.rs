//! Fetches one file from a server that does everything wrong that a server can.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koschei::koji::files::{FetchError, FetchSettings, Fetcher, FileEvent, Trouble};
use koschei::model::{Class, Classified as _};
use koschei::repodata::{Checksum, ChecksumKind};
use rstest::rstest;
use tempfile::{TempDir, tempdir};

use crate::files_server::{Fault, FileServer, Tags};

const MIB: usize = 1 << 20;

/// Several attempts, but hardly any pauses.
pub(crate) fn settings() -> FetchSettings {
    FetchSettings {
        attempts: 4,
        pause_first: Duration::from_millis(1),
        pause_max: Duration::from_millis(2),
        retry_after_max: Duration::from_millis(2),
        ..FetchSettings::default()
    }
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i * 7 + i / 251) % 251).unwrap()).collect()
}

struct World {
    dir: TempDir,
    server: FileServer,
    fetcher: Fetcher,
    bytes: Vec<u8>,
}

impl World {
    async fn new(length: usize) -> Self {
        Self::with(length, Tags::Strong, settings()).await
    }

    async fn with(length: usize, tags: Tags, settings: FetchSettings) -> Self {
        let dir = tempdir().unwrap();
        let bytes = body(length);
        std::fs::create_dir(dir.path().join("served")).unwrap();
        std::fs::write(dir.path().join("served/file"), &bytes).unwrap();
        let server = FileServer::tagged(&dir.path().join("served"), tags).await;
        Self { dir, server, fetcher: Fetcher::new(settings).unwrap(), bytes }
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("got")
    }

    fn sum(&self) -> Option<Checksum> {
        Some(Checksum { kind: "sha256".to_owned(), hex: ChecksumKind::Sha256.digest(&self.bytes) })
    }

    /// Fetches without checksum or size, so that nothing can detect a wrong file.
    async fn plain(&self) -> Result<u64, FetchError> {
        self.fetcher.file(&self.server.at("file"), &self.to(), None, None).await
    }

    async fn summed(&self) -> Result<u64, FetchError> {
        let size = self.bytes.len() as u64;
        self.fetcher.file(&self.server.at("file"), &self.to(), self.sum(), Some(size)).await
    }

    /// Asserts that the file is complete and is the only one.
    fn assert_whole(&self) {
        assert!(std::fs::read(self.to()).unwrap() == self.bytes);
        self.assert_files(&["got"]);
    }

    fn assert_files(&self, expected: &[&str]) {
        let names = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "served").collect();
        names.sort();
        assert_eq!(names, expected);
    }

    fn ranges(&self) -> Vec<(Option<String>, bool, u16)> {
        self.server.seen().into_iter().map(|s| (s.range, s.if_range.is_some(), s.status)).collect()
    }
}

fn range(from: usize) -> Option<String> {
    Some(format!("bytes={from}-"))
}

#[tokio::test]
async fn a_file_comes_whole() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut w = World::new(3 * MIB + 17).await;
    let events = Arc::clone(&seen);
    w.fetcher = Fetcher::observed(settings(), Arc::new(move |event| events.lock().unwrap().push(event))).unwrap();
    assert_eq!(w.plain().await.unwrap(), w.bytes.len() as u64);
    w.assert_whole();
    let counts = w.fetcher.counts();
    assert_eq!((counts.requests, counts.retries, counts.running, counts.running_max), (1, 0, 0, 1));
    assert_eq!(counts.bytes, w.bytes.len() as u64);
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], FileEvent::Request { status: Some(200) });
    let bytes = seen.iter().map(|e| if let FileEvent::Received { bytes } = e { *bytes } else { 0 }).sum::<u64>();
    assert_eq!(bytes, w.bytes.len() as u64);
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let w = World::new(0).await;
    assert_eq!(w.plain().await.unwrap(), 0);
    assert_eq!(w.summed().await.unwrap(), 0);
    w.assert_whole();
}

#[rstest]
#[case::unavailable(&[(503, "")], 2)]
#[case::several(&[(500, ""), (502, ""), (504, "")], 4)]
#[case::asked_to_wait(&[(429, "Retry-After: 3600\r\n")], 2)]
#[case::asked_to_wait_until(&[(503, "Date: Wed, 21 Oct 2015 07:27:30 GMT\r\nRetry-After: Wed, 21 Oct 2015 08:28:00 \
    GMT\r\n")], 2)]
#[tokio::test]
async fn a_server_that_cannot_now_is_asked_again(#[case] faults: &[(u16, &'static str)], #[case] requests: usize) {
    let w = World::new(1000).await;
    w.server.fault("file", faults.iter().map(|(status, more)| Fault::Status(*status, more)));
    w.plain().await.unwrap();
    w.assert_whole();
    assert_eq!(w.server.asked("file"), requests);
    assert_eq!(w.fetcher.counts().retries, requests as u64 - 1);
}

#[tokio::test]
async fn the_attempts_come_to_an_end() {
    let w = World::new(1000).await;
    w.server.always("file", || Fault::Status(500, ""));
    let error = w.plain().await.unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { attempts: 4, source: Trouble::Status(500), .. }), "{error:?}");
    assert_eq!((error.class(), w.server.asked("file")), (Class::Unavailable, 4));
    w.assert_files(&[]);
}

#[rstest]
#[case(404, true)]
#[case(410, true)]
#[case(403, false)]
#[case(401, false)]
#[case(400, false)]
#[tokio::test]
async fn what_will_not_change_is_not_asked_again(#[case] status: u16, #[case] not_found: bool) {
    let w = World::new(1000).await;
    w.server.fault("file", [Fault::Status(status, "")]);
    let error = w.plain().await.unwrap_err();
    assert_eq!((error.class(), error.is_not_found()), (Class::Rejected, not_found), "{error}");
    assert_eq!(matches!(error, FetchError::Refused { status: s, .. } if s == status), !not_found);
    assert!(error.to_string().contains(&w.server.at("file")), "{error}");
    assert_eq!(w.server.asked("file"), 1);
}

#[tokio::test]
async fn nobody_there() {
    let w = World::new(1).await;
    let url = w.server.at("file");
    drop(w.server);
    let error = w.fetcher.file(&url, &w.dir.path().join("got"), None, None).await.unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { attempts: 4, source: Trouble::Connection(_), .. }), "{error:?}");
}

/// With an entity tag, the fetcher requests the rest of the file, and only if it is the same file.
#[tokio::test]
async fn a_cut_file_is_gone_on_with() {
    let w = World::new(MIB).await;
    w.server.fault("file", [Fault::Cut(300_000), Fault::Cut(300_000)]);
    w.plain().await.unwrap();
    w.assert_whole();
    let all = [(None, false, 200), (range(300_000), true, 206), (range(600_000), true, 206)];
    assert_eq!(w.ranges(), all);
    assert_eq!(w.fetcher.counts().bytes, MIB as u64, "nothing came twice");
}

#[tokio::test]
async fn a_server_without_ranges_gives_all_again() {
    let w = World::new(MIB).await;
    w.server.fault("file", [Fault::Cut(300_000), Fault::NoRange]);
    w.plain().await.unwrap();
    w.assert_whole();
    assert_eq!(w.ranges(), [(None, false, 200), (range(300_000), true, 200)]);
}

/// Without a checksum or a strong tag nobody can tell whether the file is the same. So nothing is
/// resumed.
#[rstest]
#[case::weak(Tags::Weak)]
#[case::none(Tags::None)]
#[tokio::test]
async fn what_cannot_be_told_to_be_the_same_is_fetched_afresh(#[case] tags: Tags) {
    let w = World::with(MIB, tags, settings()).await;
    w.server.fault("file", [Fault::Cut(300_000)]);
    w.plain().await.unwrap();
    w.assert_whole();
    assert_eq!(w.ranges(), [(None, false, 200), (None, false, 200)]);
    // A checksum can tell.
    w.server.forget_seen();
    w.server.fault("file", [Fault::Cut(300_000)]);
    w.summed().await.unwrap();
    w.assert_whole();
    assert_eq!(w.ranges(), [(None, false, 200), (range(300_000), false, 206)]);
}

#[tokio::test]
async fn a_file_that_changed_in_the_middle_is_fetched_afresh() {
    let mut w = World::new(MIB).await;
    let (path, other) = (w.dir.path().join("served/file"), vec![7; MIB]);
    let new = other.clone();
    w.server.fault("file", [Fault::Cut(300_000), Fault::Before(Box::new(move || std::fs::write(path, new).unwrap()))]);
    w.plain().await.unwrap();
    w.bytes = other;
    w.assert_whole();
    assert_eq!(w.ranges(), [(None, false, 200), (range(300_000), true, 200)]);
}

/// The beginning of a file from an earlier run is used if it still belongs to the file.
#[rstest]
#[case::the_same(false, &[206])]
#[case::of_another_file(true, &[206, 200])]
#[tokio::test]
async fn what_an_earlier_run_left_is_gone_on_with(#[case] other: bool, #[case] statuses: &[u16]) {
    let w = World::new(MIB).await;
    let mut begun = w.bytes[..400_000].to_vec();
    begun[0] ^= u8::from(other);
    std::fs::write(w.dir.path().join("got.part"), begun).unwrap();
    w.summed().await.unwrap();
    w.assert_whole();
    assert_eq!(w.ranges().iter().map(|r| r.2).collect::<Vec<_>>(), statuses);
    // Without a checksum, nothing of an earlier run is used.
    std::fs::write(w.dir.path().join("got.part"), vec![0; 400_000]).unwrap();
    w.plain().await.unwrap();
    w.assert_whole();
}

#[rstest]
#[case::complete(0, &[])]
#[case::more(1, &[200])]
#[tokio::test]
async fn an_earlier_run_that_had_all(#[case] more: usize, #[case] statuses: &[u16]) {
    let w = World::new(1000).await;
    std::fs::write(w.dir.path().join("got.part"), [w.bytes.clone(), vec![0; more]].concat()).unwrap();
    w.summed().await.unwrap();
    w.assert_whole();
    assert_eq!(w.ranges().iter().map(|r| r.2).collect::<Vec<_>>(), statuses);
}

/// The length is unknown, so the server is asked, and answers that there is no more.
#[tokio::test]
async fn nothing_more_to_be_had() {
    let w = World::new(1000).await;
    std::fs::write(w.dir.path().join("got.part"), &w.bytes).unwrap();
    w.fetcher.file(&w.server.at("file"), &w.to(), w.sum(), None).await.unwrap();
    w.assert_whole();
    assert_eq!(w.ranges(), [(range(1000), false, 416)]);
}

#[tokio::test]
async fn a_wrong_checksum_is_an_error_and_nothing_stays() {
    let w = World::new(MIB).await;
    w.server.fault("file", [Fault::Garbled]);
    let error = w.summed().await.unwrap_err();
    let FetchError::Checksum { expected, found, kind: "sha256", .. } = &error else { panic!("{error:?}") };
    assert_eq!(*expected, w.sum().unwrap().hex);
    assert_ne!(expected, found);
    assert_eq!((error.class(), w.server.asked("file")), (Class::Unavailable, 1));
    w.assert_files(&[]);
    w.summed().await.unwrap();
    w.assert_whole();
}

/// The wrong half may be the one we already have.
#[tokio::test]
async fn a_wrong_checksum_of_two_halves_is_one_more_attempt() {
    let w = World::new(MIB).await;
    w.server.fault("file", [Fault::Cut(300_000), Fault::Garbled]);
    w.summed().await.unwrap();
    w.assert_whole();
    assert_eq!(w.ranges().iter().map(|r| r.2).collect::<Vec<_>>(), [200, 206, 200]);
}

#[tokio::test]
async fn unknown_checksums_are_refused_before_anything_is_asked() {
    let w = World::new(10).await;
    let unknown = Some(Checksum { kind: "crc32".to_owned(), hex: String::new() });
    let error = w.fetcher.file(&w.server.at("file"), &w.to(), unknown, None).await.unwrap_err();
    assert!(error.to_string().contains("`crc32` is not supported"), "{error}");
    assert_eq!(w.server.seen().len(), 0);
}

/// A body that ends with the connection: only a length or a checksum can tell whether it is
/// complete.
#[tokio::test]
async fn a_body_without_length() {
    let w = World::new(1000).await;
    w.server.fault("file", [Fault::NoLength(1000)]);
    w.summed().await.unwrap();
    w.assert_whole();
    w.server.fault("file", [Fault::NoLength(999)]);
    w.summed().await.unwrap();
    w.assert_whole();
    w.server.always("file", || Fault::NoLength(999));
    let error = w.plain().await.unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { source: Trouble::NoLength, .. }), "{error:?}");
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let w = World::with(10, Tags::Strong, FetchSettings { file_bytes_max: 100_000, ..settings() }).await;
    w.server.always("file", || Fault::Endless);
    let error = w.plain().await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 100_000, .. }), "{error:?}");
    let error = w.summed().await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 10, .. }), "{error:?}");
    w.assert_files(&[]);
    assert!(w.fetcher.counts().bytes < MIB as u64);
}

/// The header says that the file is too large: nothing is read.
#[tokio::test]
async fn a_body_announced_too_large_is_not_read() {
    let w = World::with(10 * MIB, Tags::Strong, FetchSettings { file_bytes_max: 100_000, ..settings() }).await;
    let error = w.plain().await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 100_000, .. }), "{error:?}");
    assert_eq!((error.class(), w.fetcher.counts().bytes), (Class::Rejected, 0));
}

#[rstest]
#[case::in_the_body(|| Fault::Stall(100), false)]
#[case::before_the_head(|| Fault::Silence, false)]
#[case::altogether(|| Fault::Stall(500), true)]
#[tokio::test]
async fn a_server_that_falls_silent(#[case] fault: fn() -> Fault, #[case] altogether: bool) {
    let short = Duration::from_millis(200);
    let settings = match altogether {
        true => FetchSettings { total_timeout: short, ..settings() },
        // Connecting gets more time, because this test is not about connecting.
        false => FetchSettings { idle_timeout: short, connect_timeout: 5 * short, attempts: 2, ..settings() },
    };
    let w = World::with(1000, Tags::Strong, settings).await;
    w.server.always("file", fault);
    let error = w.plain().await.unwrap_err();
    let FetchError::Unavailable { attempts, source, .. } = &error else { panic!("{error:?}") };
    match (source, altogether) {
        (Trouble::Total(_), true) => assert_eq!(*attempts, 1),
        (Trouble::Idle(_), false) => assert_eq!(*attempts, 2),
        other => panic!("{other:?}"),
    }
    assert!(!w.to().exists());
    w.server.heal();
}

#[tokio::test]
async fn redirections_are_followed_five_times() {
    let w = World::new(1000).await;
    let hop = |n: usize| Fault::Redirect(format!("/hop{n}"));
    w.server.fault("start", [hop(1), hop(1)]);
    for n in 1..5 {
        w.server.fault(&format!("hop{n}"), [hop(n + 1), hop(n + 1)]);
    }
    w.server.fault("hop5", [Fault::Redirect("/file".to_owned())]);
    let start = w.server.at("start");
    let error = w.fetcher.file(&start, &w.to(), None, None).await.unwrap_err();
    assert!(matches!(&error, FetchError::Redirected { problem, .. } if problem.contains("more than 5")), "{error:?}");
    w.server.heal();
    w.server.fault("start", [hop(2)]);
    for n in 2..5 {
        w.server.fault(&format!("hop{n}"), [hop(n + 1)]);
    }
    w.server.fault("hop5", [Fault::Redirect("/file".to_owned())]);
    w.fetcher.file(&start, &w.to(), None, None).await.unwrap();
    w.assert_whole();
}

#[rstest]
#[case::itself("/file", "more than 5")]
#[case::a_file("file:///etc/passwd", "")]
#[case::ftp("ftp://127.0.0.1/x", "")]
#[tokio::test]
async fn redirections_that_are_not_followed(#[case] to: &'static str, #[case] why: &str) {
    let w = World::new(1000).await;
    w.server.fault("file", (0..20).map(|_| Fault::Redirect(to.to_owned())));
    let error = w.plain().await.unwrap_err();
    assert!(matches!(&error, FetchError::Redirected { problem, .. } if problem.contains(why)), "{error:?}");
    assert_eq!(error.class(), Class::Unavailable);
    assert!(w.server.seen().len() <= 6 && !w.to().exists());
}

#[tokio::test]
async fn no_more_at_once_than_allowed() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("file"), body(5000)).unwrap();
    let server = FileServer::gated(dir.path()).await;
    let fetcher = Fetcher::new(FetchSettings { at_once: 3, ..settings() }).unwrap();
    let (url, got) = (server.at("file"), tempdir().unwrap());
    let all: Vec<_> = (0..12)
        .map(|n| {
            let (fetcher, url, to) = (fetcher.clone(), url.clone(), got.path().join(n.to_string()));
            tokio::spawn(async move { fetcher.file(&url, &to, None, None).await })
        })
        .collect();
    for _ in 0..10 {
        server.until_running(3).await;
        assert_eq!(fetcher.counts().running, 3);
        server.open(1);
    }
    server.open(2);
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!((server.running_max(), fetcher.counts().running_max), (3, 3));
    assert_eq!(fetcher.counts().requests, 12);
}

/// A file that comes in more pieces than there are attempts.
#[tokio::test]
async fn progress_is_no_failure() {
    let w = World::new(9 * MIB).await;
    w.server.always("file", || Fault::Cut(MIB + 5));
    w.plain().await.unwrap();
    w.assert_whole();
    assert_eq!(w.server.asked("file"), 9);
}

/// Makes a certificate for localhost. Returns the acceptor and the path of its PEM.
fn certificate(dir: &Path) -> (tokio_rustls::TlsAcceptor, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = dir.join("ca.pem");
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config).into(), path)
}

#[tokio::test]
async fn certificates() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("file"), body(1000)).unwrap();
    let (acceptor, pem) = certificate(dir.path());
    let server = FileServer::tls(dir.path(), acceptor).await;
    let (url, to) = (server.at("file"), dir.path().join("got"));
    let error = Fetcher::new(settings()).unwrap().file(&url, &to, None, None).await.unwrap_err();
    assert!(matches!(error, FetchError::Untrusted { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Unavailable);
    let trusting = FetchSettings { authorities: Some(pem.clone()), ..settings() };
    let trusting = Fetcher::new(trusting).unwrap();
    trusting.file(&url, &to, None, None).await.unwrap();
    // A redirect from HTTPS to plain HTTP is not followed.
    let plain = FileServer::start(dir.path()).await;
    server.fault("file", [Fault::Redirect(plain.at("file"))]);
    let error = trusting.file(&url, &to, None, None).await.unwrap_err();
    assert!(matches!(&error, FetchError::Redirected { problem, .. } if problem.contains("HTTPS")), "{error:?}");
    assert_eq!(plain.seen().len(), 0);

    for (text, why) in
        [(None, "No such file"), (Some("no pem"), "no certificate"), (Some("-----BEGIN CERTIFICATE-----\n%\n"), "")]
    {
        std::fs::remove_file(&pem).ok();
        text.inspect(|text| std::fs::write(&pem, text).unwrap());
        let error = Fetcher::new(FetchSettings { authorities: Some(pem.clone()), ..settings() }).unwrap_err();
        assert!(matches!(error, FetchError::Authorities { .. }) && error.to_string().contains(why), "{error}");
        assert_eq!(error.class(), Class::Rejected);
    }
}
