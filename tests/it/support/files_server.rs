//! A file server that misbehaves on demand. It gives one response per connection, so that each
//! fault happens exactly once.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// A wrong behaviour instead of the right response.
pub(crate) enum Fault {
    /// Sends this status, with these further header lines.
    Status(u16, &'static str),
    /// Sends the right head and this many bytes of the body, then closes the connection.
    Cut(usize),
    /// Sends this many bytes of the body, then nothing as long as the server lives.
    Stall(usize),
    /// Sends nothing, not even a head.
    Silence,
    /// Sends the whole file, whatever range was requested.
    NoRange,
    /// Sends neither length nor chunks: the file ends when the connection ends, and that is after
    /// this many bytes.
    NoLength(usize),
    /// Sends other bytes of the same length.
    Garbled,
    /// Sends bytes without end.
    Endless,
    /// Redirects to another address.
    Redirect(String),
    /// Calls this first, then sends the right response.
    Before(Box<dyn FnOnce() + Send>),
}

/// Kind of the entity tags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tags {
    /// A strong tag of the content.
    Strong,
    /// A weak tag of the content.
    Weak,
    /// No tag.
    None,
}

/// A request, and the status of its response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) status: u16,
}

/// A fault for all requests whose path ends with this text.
type Always = (String, fn() -> Fault);

struct State {
    root: PathBuf,
    tags: Tags,
    faults: Mutex<Vec<(String, VecDeque<Fault>)>>,
    always: Mutex<Vec<Always>>,
    seen: Mutex<Vec<Seen>>,
    running: watch::Sender<usize>,
    running_max: AtomicUsize,
    /// Responses wait here for a permit.
    gate: Semaphore,
}

/// Serves a directory until it is dropped.
pub(crate) struct FileServer {
    pub(crate) url: String,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FileServer {
    pub(crate) async fn start(root: &Path) -> Self {
        Self::with(root, Tags::Strong, None, true).await
    }

    pub(crate) async fn tagged(root: &Path, tags: Tags) -> Self {
        Self::with(root, tags, None, true).await
    }

    /// Starts a server that holds back every response until [`Self::open`] is called.
    pub(crate) async fn gated(root: &Path) -> Self {
        Self::with(root, Tags::Strong, None, false).await
    }

    pub(crate) async fn tls(root: &Path, acceptor: TlsAcceptor) -> Self {
        Self::with(root, Tags::Strong, Some(acceptor), true).await
    }

    async fn with(root: &Path, tags: Tags, tls: Option<TlsAcceptor>, open: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let state = Arc::new(State {
            root: root.to_owned(),
            tags,
            faults: Mutex::default(),
            always: Mutex::default(),
            seen: Mutex::default(),
            running: watch::channel(0).0,
            running_max: AtomicUsize::new(0),
            gate: Semaphore::new(if open { Semaphore::MAX_PERMITS } else { 0 }),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                connections.spawn(async move {
                    // A client that hangs up is no error.
                    match tls {
                        None => drop(state.answer(stream).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drop(state.answer(stream).await);
                            }
                        }
                    }
                });
            }
        });
        Self { url, state, task }
    }

    /// Returns the URL of a file.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Applies these faults to the next requests whose path ends with `path`, one each.
    pub(crate) fn fault(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state.faults.lock().unwrap().push((path.to_owned(), faults.into_iter().collect()));
    }

    /// Applies this fault to all requests whose path ends with `path`.
    pub(crate) fn always(&self, path: &str, fault: fn() -> Fault) {
        self.state.always.lock().unwrap().push((path.to_owned(), fault));
    }

    pub(crate) fn heal(&self) {
        self.state.faults.lock().unwrap().clear();
        self.state.always.lock().unwrap().clear();
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn forget_seen(&self) {
        self.state.seen.lock().unwrap().clear();
    }

    /// Returns the number of requests whose path ends with `path`.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.seen().iter().filter(|s| s.path.ends_with(path)).count()
    }

    /// Lets this many more responses out.
    pub(crate) fn open(&self, answers: usize) {
        self.state.gate.add_permits(answers);
    }

    /// Waits until this many requests are waiting or being answered.
    pub(crate) async fn until_running(&self, requests: usize) {
        self.state.running.subscribe().wait_for(|n| *n >= requests).await.unwrap();
    }

    /// Returns the largest number of requests that ran at once.
    pub(crate) fn running_max(&self) -> usize {
        self.state.running_max.load(Ordering::SeqCst)
    }
}

struct Running<'a>(&'a State);

impl<'a> Running<'a> {
    fn start(state: &'a State) -> Self {
        state.running.send_modify(|n| {
            *n += 1;
            state.running_max.fetch_max(*n, Ordering::SeqCst);
        });
        Self(state)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.send_modify(|n| *n -= 1);
    }
}

struct Request {
    path: String,
    range: Option<String>,
    if_range: Option<String>,
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    Ok(Request { path, range: header("range"), if_range: header("if-range") })
}

impl State {
    fn fault(&self, path: &str) -> Option<Fault> {
        for (suffix, faults) in self.faults.lock().unwrap().iter_mut() {
            if path.ends_with(suffix.as_str())
                && let Some(fault) = faults.pop_front()
            {
                return Some(fault);
            }
        }
        let always = self.always.lock().unwrap();
        always.iter().find(|(suffix, _)| path.ends_with(suffix)).map(|(_, fault)| fault())
    }

    fn saw(&self, request: &Request, status: u16) {
        let Request { path, range, if_range } = request;
        let seen = Seen { path: path.clone(), range: range.clone(), if_range: if_range.clone(), status };
        self.seen.lock().unwrap().push(seen);
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        let request = request(&mut stream).await?;
        let _running = Running::start(self);
        self.gate.acquire().await.unwrap().forget();
        let mut fault = self.fault(&request.path);
        if let Some(Fault::Before(act)) = fault {
            act();
            fault = None;
        }
        let head = |status: u16, more: &str| format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{more}\r\n");
        match &fault {
            Some(Fault::Status(status, more)) => {
                self.saw(&request, *status);
                let more = format!("Content-Length: 0\r\n{more}");
                return stream.write_all(head(*status, &more).as_bytes()).await;
            }
            Some(Fault::Redirect(to)) => {
                self.saw(&request, 302);
                let more = format!("Content-Length: 0\r\nLocation: {to}\r\n");
                return stream.write_all(head(302, &more).as_bytes()).await;
            }
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Endless) => {
                self.saw(&request, 200);
                stream.write_all(head(200, "Transfer-Encoding: chunked\r\n").as_bytes()).await?;
                loop {
                    stream.write_all(b"8\r\nendless \r\n").await?;
                }
            }
            _ => {}
        }
        let path = request.path.replace("%5E", "^");
        let Ok(mut body) = std::fs::read(self.root.join(path.trim_start_matches('/'))) else {
            self.saw(&request, 404);
            return stream.write_all(head(404, "Content-Length: 0\r\n").as_bytes()).await;
        };
        let digest = blake3::hash(&body).to_hex();
        let tag = match self.tags {
            Tags::Strong => Some(format!("\"{digest}\"")),
            Tags::Weak => Some(format!("W/\"{digest}\"")),
            Tags::None => None,
        };
        let mut more = tag.as_ref().map_or(String::new(), |tag| format!("ETag: {tag}\r\n"));
        let mut status = 200;
        // RFC 9110: a weak tag never matches in If-Range.
        let unchanged = request.if_range.is_none() || (request.if_range == tag && self.tags == Tags::Strong);
        let whole = matches!(fault, Some(Fault::NoRange | Fault::NoLength(_)));
        if let Some(range) = request.range.as_ref().filter(|_| unchanged && !whole) {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let (first, total) = (first.parse::<usize>().unwrap(), body.len());
            let end = if last.is_empty() { total } else { total.min(last.parse::<usize>().unwrap() + 1) };
            if first >= end {
                self.saw(&request, 416);
                let more = format!("Content-Length: 0\r\nContent-Range: bytes */{total}\r\n");
                return stream.write_all(head(416, &more).as_bytes()).await;
            }
            status = 206;
            more += &format!("Content-Range: bytes {first}-{}/{total}\r\n", end - 1);
            body = body[first..end].to_vec();
        }
        self.saw(&request, status);
        if !matches!(fault, Some(Fault::NoLength(_))) {
            more += &format!("Content-Length: {}\r\n", body.len());
        }
        stream.write_all(head(status, &more).as_bytes()).await?;
        match fault {
            Some(Fault::Cut(bytes) | Fault::NoLength(bytes)) => body.truncate(bytes),
            Some(Fault::Stall(bytes)) => {
                stream.write_all(&body[..bytes.min(body.len())]).await?;
                stream.flush().await?;
                std::future::pending::<()>().await;
            }
            Some(Fault::Garbled) => body.iter_mut().for_each(|byte| *byte ^= 1),
            _ => {}
        }
        stream.write_all(&body).await?;
        stream.shutdown().await
    }
}

/// Copies a directory.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_dir(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}
