//! An HTTP server with scripted answers: right ones, wrong ones, or none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koschei::koji::calls::Query;
use koschei::koji::xmlrpc::{Call, Fault, Value, decode_request, encode_response};
use koschei::koji::{Auth, HubSettings};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Makes a query of any method that returns the answer unparsed.
pub(crate) fn raw(method: &str, args: Vec<Value>) -> Query<Value> {
    Query::new(method, args)
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) call: Call,
    /// The client's certificate, if it sent one.
    pub(crate) peer: Option<Vec<u8>>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn callnum(&self) -> Option<i64> {
        self.header("Koji-Session-Callnum").map(|n| n.parse().unwrap())
    }

    pub(crate) fn session(&self) -> Option<i64> {
        self.header("Koji-Session-Id").map(|n| n.parse().unwrap())
    }

    pub(crate) fn is_login(&self) -> bool {
        self.path.ends_with("/ssllogin") && self.call.method == "sslLogin"
    }
}

/// How the server answers a request.
#[derive(Clone)]
pub(crate) enum Reply {
    Answer(Result<Value, Fault>),
    /// Sends this status, these headers and this body.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Sends exactly these bytes, then closes the connection.
    Raw(Vec<u8>),
    /// Sends nothing and closes the connection.
    Break,
    /// Sends these bytes, then nothing for ever.
    Silence(Vec<u8>),
    /// Sends these bytes, then one more every few milliseconds for ever.
    Trickle(Vec<u8>),
    /// Sends the head of a good response, then an endless text as fast as possible.
    Endless,
}

impl Reply {
    pub(crate) fn value(value: impl Into<Value>) -> Self {
        Self::Answer(Ok(value.into()))
    }

    pub(crate) fn fault(code: i64, message: &str) -> Self {
        Self::Answer(Err(Fault { code, message: message.to_owned() }))
    }

    /// A session, as the answer to a login.
    pub(crate) fn session(id: i64) -> Self {
        let members = [("session-id", Value::Int(id)), ("session-key", "3-key".into()), ("header-auth", true.into())];
        Self::value(Value::Struct(members.map(|(k, v)| (k.to_owned(), v)).into()))
    }

    pub(crate) fn page(status: u16, body: &str) -> Self {
        Self::Http(status, vec![("Content-Type", "text/html; charset=iso-8859-1".to_owned())], body.into())
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// The server. It stops when it is dropped.
pub(crate) struct Stub {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    written: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    /// Starts a plain HTTP server on a free port.
    pub(crate) async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(None, script).await
    }

    /// Starts a TLS server for `localhost`.
    pub(crate) async fn start_tls(
        config: rustls::ServerConfig,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(TlsAcceptor::from(Arc::new(config))), script).await
    }

    async fn serve(tls: Option<TlsAcceptor>, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (seen, written) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let shared = Shared { script: Arc::new(script), seen: seen.clone(), written: written.clone() };
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let (shared, tls) = (shared.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => shared.connection(stream, None).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let peer = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
                            shared.connection(stream, peer).await;
                        }
                    }
                });
            }
        });
        Self { url: format!("{scheme}://localhost:{port}/kojihub"), seen, written, connections: count, task }
    }

    /// Returns all requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the number of connections so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns how many bytes of endless answers the client has read.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns client settings for this server, with short waits.
    pub(crate) fn settings(&self) -> HubSettings {
        quick(&self.url)
    }

    /// Like [`Stub::settings`], but with a login. This server accepts any login.
    pub(crate) fn settings_with_login(&self, pem: &std::path::Path) -> HubSettings {
        let auth = Auth::Certificate { cert: pem.to_owned(), key: None };
        HubSettings { auth, ..self.settings() }
    }
}

/// Returns client settings with waits of a few milliseconds instead of seconds. The timeout for an
/// answer is the usual one.
pub(crate) fn quick(url: &str) -> HubSettings {
    HubSettings {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(2),
        offline_wait: Duration::from_millis(1),
        requests_per_second: None,
        ..HubSettings::new(url)
    }
}

#[derive(Clone)]
struct Shared {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
    written: Arc<AtomicU64>,
}

impl Shared {
    async fn connection(self, mut stream: impl AsyncRead + AsyncWrite + Unpin, peer: Option<Vec<u8>>) {
        let mut buffer = Vec::new();
        while let Some(seen) = request(&mut stream, &mut buffer, &peer).await {
            self.seen.lock().unwrap().push(seen.clone());
            if !self.reply((self.script)(&seen), &mut stream).await {
                // Closes with a notice, like a proper server. It does not matter if the client is
                // gone.
                stream.shutdown().await.ok();
                return;
            }
        }
    }

    /// Sends a reply. Returns `false` if the connection must end.
    async fn reply(&self, reply: Reply, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
        let document = |answer: &Result<Value, Fault>| encode_response(answer).unwrap();
        match reply {
            Reply::Answer(answer) => {
                let headers = vec![("Content-Type", "text/xml".to_owned()), ("Koji-Version", "1.35.3".to_owned())];
                stream.write_all(&http(200, &headers, &document(&answer))).await.is_ok()
            }
            Reply::Http(status, headers, body) => stream.write_all(&http(status, &headers, &body)).await.is_ok(),
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).await.ok();
                false
            }
            Reply::Break => false,
            Reply::Silence(bytes) => {
                stream.write_all(&bytes).await.ok();
                stream.flush().await.ok();
                // Waits until the client disconnects.
                stream.read_exact(&mut [0]).await.ok();
                false
            }
            Reply::Trickle(bytes) => {
                stream.write_all(&bytes).await.ok();
                while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                false
            }
            Reply::Endless => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<?xml version='1.0'?>\n\
                            <methodResponse><params><param><value><string>";
                let piece = vec![b'x'; 64 << 10];
                let mut left = stream.write_all(head.as_bytes()).await;
                while left.is_ok() {
                    self.written.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    left = stream.write_all(&piece).await;
                }
                false
            }
        }
    }
}

/// Returns an HTTP response with its length.
pub(crate) fn http(status: u16, headers: &[(&'static str, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Reads one request. `None` at the end of the connection.
async fn request(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>, peer: &Option<Vec<u8>>) -> Option<Seen> {
    let mut more = async |buffer: &mut Vec<u8>| stream.read_buf(buffer).await.ok().filter(|n| *n > 0);
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        more(buffer).await?;
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: Vec<(String, String)> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let length = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("content-length")).unwrap();
    let length: usize = length.1.parse().unwrap();
    while buffer.len() < end + length {
        more(buffer).await?;
    }
    let rest = buffer.split_off(end + length);
    let body = std::mem::replace(buffer, rest).split_off(end);
    Some(Seen { path, headers, call: decode_request(&body).unwrap(), peer: peer.clone() })
}
