//! The hub's HTTP server: calls, logins, files.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use futures_util::stream::{self, StreamExt as _};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use koschei::koji::xmlrpc::{Call, Value, decode_request};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::calls;
use super::fault::Fault;
use super::pki::{Pki, common_name};
use super::session::Claim;
use super::state::{Core, Logged};
use super::trouble::{Lie, take};
use super::tx::Tx;
use super::value::{V, fault_response, response, row};

/// A GSSAPI acceptor's answer to a token: the principal, and the token to send back.
pub type Negotiate = Arc<dyn Fn(&[u8]) -> Option<(String, Option<Vec<u8>>)> + Send + Sync>;

/// How users log in.
#[derive(Clone)]
pub enum Login {
    /// Plain HTTP. The header `Koji-Test-User` or the settings name the user.
    Trusted,
    /// TLS with client certificates.
    Certificate(Pki),
    /// `ssllogin` requires Kerberos, with or without TLS.
    Negotiate(Option<Pki>, Negotiate),
}

impl Login {
    fn pki(&self) -> Option<&Pki> {
        match self {
            Self::Trusted | Self::Negotiate(None, _) => None,
            Self::Certificate(pki) | Self::Negotiate(Some(pki), _) => Some(pki),
        }
    }
}

/// The thread pool and the listening socket.
pub struct Server {
    runtime: Option<Runtime>,
    core: Arc<Core>,
    login: Login,
    address: SocketAddr,
    stopper: Mutex<Option<(tokio::sync::oneshot::Sender<()>, mpsc::Receiver<()>)>>,
}

impl Server {
    pub fn start(core: Arc<Core>, login: Login) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_name("hub").enable_all().build().unwrap();
        let mut server = Self {
            runtime: Some(runtime),
            core,
            login,
            address: ([127, 0, 0, 1], 0).into(),
            stopper: Mutex::new(None),
        };
        server.address = server.listen();
        server
    }

    pub fn base(&self) -> String {
        let (scheme, host) = if self.login.pki().is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        format!("{scheme}://{host}:{}", self.address.port())
    }

    fn listen(&self) -> SocketAddr {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let (ended, wait) = mpsc::channel();
        let std_listener = bind(self.address);
        std_listener.set_nonblocking(true).unwrap();
        let address = std_listener.local_addr().unwrap();
        let (core, login) = (Arc::clone(&self.core), self.login.clone());
        let acceptor = login.pki().map(|pki| tokio_rustls::TlsAcceptor::from(pki.server_config()));
        self.runtime.as_ref().unwrap().spawn(async move {
            let listener = TcpListener::from_std(std_listener).unwrap();
            let mut connections = JoinSet::new();
            loop {
                let stream = tokio::select! {
                    _ = &mut stopped => break,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = stream else { continue };
                let (core, login, acceptor) = (Arc::clone(&core), login.clone(), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => connection(core, login, None, TokioIo::new(stream)).await,
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
                            let name = certificate.and_then(|c| common_name(c));
                            connection(core, login, name, TokioIo::new(stream)).await;
                        }
                    }
                });
                while connections.try_join_next().is_some() {}
            }
            drop(listener);
            connections.shutdown().await;
            ended.send(()).ok();
        });
        *self.stopper.lock().unwrap() = Some((stop, wait));
        address
    }

    pub fn stop(&self) {
        if let Some((stop, ended)) = self.stopper.lock().unwrap().take() {
            stop.send(()).ok();
            ended.recv_timeout(Duration::from_secs(300)).unwrap();
        }
    }

    pub fn resume(&self) {
        if self.stopper.lock().unwrap().is_none() {
            self.listen();
        }
    }
}

/// Binds the port. Retries if an outgoing connection got the port meanwhile.
fn bind(address: SocketAddr) -> std::net::TcpListener {
    for _ in 0..6_000 {
        match std::net::TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    std::net::TcpListener::bind(address).unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connection<S>(core: Arc<Core>, login: Login, name: Option<String>, io: TokioIo<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (core, login, name) = (Arc::clone(&core), login.clone(), name.clone());
        async move { handle(&core, &login, name, request).await.map(|response| dated(&core, response)) }
    });
    // A broken connection is the client's business, or the test broke it.
    hyper::server::conn::http1::Builder::new().serve_connection(io, service).await.ok();
}

fn html(status: u16) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap();
    let reason = status.canonical_reason().unwrap_or_default();
    let page = format!(
        "<!DOCTYPE html>\n<html><head>\n<title>{status}</title>\n</head><body>\n<h1>{reason}</h1>\n</body></html>\n"
    );
    reply(status, "text/html; charset=iso-8859-1", page)
}

pub fn reply(status: StatusCode, kind: &str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_str(kind).unwrap());
    response
}

async fn handle(
    core: &Arc<Core>,
    login: &Login,
    name: Option<String>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if let Some(file) = path.strip_prefix("/kojifiles/") {
        return super::files::serve(core, &parts.method, &parts.headers, file).await;
    }
    let (ssllogin, hub) = (path == "/kojihub/ssllogin", path.trim_end_matches('/') == "/kojihub");
    if !ssllogin && !hub {
        return Ok(html(404));
    }
    core.lock().http_requests += 1;
    core.notify();
    let limit = core.lock().settings.max_request;
    if parts.method != Method::POST {
        let text = "Method Not Allowed\nThis is an XML-RPC server. Only POST requests are accepted.\n";
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", text);
        response.headers_mut().insert("allow", HeaderValue::from_static("POST"));
        return Ok(versioned(core, response));
    }
    let Ok(body) = to_bytes(Body::new(body), limit).await else {
        return Ok(versioned(core, reply(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "Request too long\n")));
    };
    let mut who = Who { name, authtype: 2, claim: claim(&parts.headers, parts.uri.query(), core) };
    let mut token = None;
    if let (true, Login::Negotiate(_, accept)) = (ssllogin, login) {
        match negotiate(&parts.headers, accept) {
            Some((principal, back)) => {
                who.name = Some(principal);
                who.authtype = 3;
                token = back;
            }
            None => {
                let mut response = html(401);
                response.headers_mut().insert("www-authenticate", HeaderValue::from_static("Negotiate"));
                return Ok(response);
            }
        }
    } else if !ssllogin {
        // The web server checks certificates only at the login.
        who.name = None;
    } else if let Login::Trusted = login {
        let given = parts.headers.get("koji-test-user").and_then(|v| v.to_str().ok()).map(str::to_owned);
        who.name = given.or_else(|| core.lock().settings.trusted_user.clone());
    }
    let uploading = parts.uri.query().is_some_and(|q| q.contains("filename="));
    let mut response = if uploading {
        super::files::upload(core, &who, parts.uri.query().unwrap_or_default(), &body)
    } else {
        rpc(core, &who, &body).await?
    };
    if let Some(token) = token {
        use base64::Engine as _;
        let text = format!("Negotiate {}", base64::engine::general_purpose::STANDARD.encode(token));
        response.headers_mut().insert("www-authenticate", HeaderValue::from_str(&text).unwrap());
    }
    Ok(response)
}

/// The caller, according to the web server and the headers.
pub struct Who {
    name: Option<String>,
    authtype: i64,
    claim: Option<Claim>,
}

fn negotiate(headers: &HeaderMap, accept: &Negotiate) -> Option<(String, Option<Vec<u8>>)> {
    use base64::Engine as _;
    let text = headers.get("authorization")?.to_str().ok()?.strip_prefix("Negotiate ")?;
    accept(&base64::engine::general_purpose::STANDARD.decode(text.trim()).ok()?)
}

/// Returns the session that a request claims: in headers, or in the URL for old clients.
fn claim(headers: &HeaderMap, query: Option<&str>, core: &Core) -> Option<Claim> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    if let (Some(id), Some(key)) = (header("koji-session-id"), header("koji-session-key")) {
        return Some(Claim {
            id: id.parse().ok()?,
            key,
            callnum: header("koji-session-callnum").and_then(|n| n.parse().ok()),
        });
    }
    if !core.lock().settings.url_sessions {
        return None;
    }
    let find = |name: &str| query?.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    let (id, key) = (find("session-id")?.parse().ok()?, find("session-key")?);
    Some(Claim { id, key, callnum: find("callnum").and_then(|n| n.parse().ok()) })
}

/// Adds the version header, like hubs from 1.35 on.
fn versioned(core: &Core, mut response: Response<Body>) -> Response<Body> {
    let inner = core.lock();
    if inner.settings.has_repo_calls() {
        response.headers_mut().insert("koji-version", HeaderValue::from_str(&inner.settings.version).unwrap());
    }
    response
}

/// Sets the `Date` header if the hub's clock is ahead. Otherwise the HTTP library sets it.
fn dated(core: &Core, mut response: Response<Body>) -> Response<Body> {
    let ahead = core.lock().settings.clock_ahead;
    if ahead != 0 {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        response.headers_mut().insert("date", HeaderValue::from_str(&date).unwrap());
    }
    response
}

pub fn fault(core: &Core, fault: &Fault) -> Response<Body> {
    versioned(core, reply(StatusCode::OK, "text/xml", fault_response(fault.code, &fault.message)))
}

/// Returns the fault of a hub that answers no calls at all.
pub fn outage(core: &Core) -> Option<Fault> {
    let inner = core.lock();
    match (&inner.settings.offline, inner.settings.database_down) {
        (Some(text), _) => Some(Fault::offline(text.as_str())),
        (None, true) => Some(Fault::offline("database outage")),
        (None, false) => None,
    }
}

async fn rpc(core: &Arc<Core>, who: &Who, body: &[u8]) -> io::Result<Response<Body>> {
    let decoded = decode_request(body);
    let method = decoded.as_ref().map_or("", |c| c.method.as_str()).to_owned();
    let lie = take(&mut core.lock().troubles, &method);
    match &lie {
        Some(Lie::Status(status)) => return Ok(html(*status)),
        Some(Lie::Redirect(to)) => {
            let mut response = html(302);
            response.headers_mut().insert("location", HeaderValue::from_str(to).unwrap());
            return Ok(response);
        }
        Some(Lie::Fault(code, text)) => return Ok(fault(core, &Fault { code: *code, message: text.clone() })),
        Some(Lie::CutBefore) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Lie::Delay(time)) => tokio::time::sleep(*time).await,
        Some(Lie::Gate(gate)) => {
            gate.arrive();
            core.notify();
            gate.pass().await;
        }
        _ => (),
    }
    if let Some(outage) = outage(core) {
        log(core, &method, &[], None, Some(outage.code));
        return Ok(fault(core, &outage));
    }
    let call = match decoded {
        Ok(call) => call,
        Err(error) => {
            let text = format!("Invalid request: {error}\n");
            return Ok(versioned(core, reply(StatusCode::BAD_REQUEST, "text/plain", text)));
        }
    };
    let spoil = matches!(lie, Some(Lie::DatabaseDies | Lie::Rollback500));
    let answer = execute(core, who, &call, spoil);
    core.notify();
    let text = match &answer {
        Ok(value) => response(value),
        Err(fault) => fault_response(fault.code, &fault.message),
    };
    let ok = |body: Body| versioned(core, reply(StatusCode::OK, "text/xml", body));
    Ok(match lie {
        Some(Lie::DatabaseDies) => {
            core.lock().settings.database_down = true;
            html(500)
        }
        Some(Lie::Rollback500 | Lie::Commit500) => html(500),
        Some(Lie::GateAfter(gate)) => {
            gate.arrive();
            core.notify();
            gate.pass().await;
            ok(text.into())
        }
        Some(Lie::CutAfter) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Lie::Answer(value)) => ok(response(&value).into()),
        Some(Lie::Raw(bytes)) => ok(bytes.into()),
        Some(Lie::Truncate(at)) => {
            let length = text.len();
            let mut response = ok(broken(text.into_bytes(), at));
            response.headers_mut().insert("content-length", HeaderValue::from(length));
            response
        }
        Some(Lie::Huge(size)) => ok(huge(size)),
        Some(Lie::Drip(pause)) => ok(drip(text.into_bytes(), 1, pause)),
        _ => ok(text.into()),
    })
}

/// Returns a body that begins like `bytes` and then breaks the connection.
pub fn broken(mut bytes: Vec<u8>, at: usize) -> Body {
    bytes.truncate(at);
    let parts = [Ok(Bytes::from(bytes)), Err(io::Error::from(io::ErrorKind::ConnectionAborted))];
    Body::from_stream(stream::iter(parts))
}

/// Returns a body that is sent piece by piece.
pub fn drip(bytes: Vec<u8>, piece: usize, pause: Duration) -> Body {
    let pieces: Vec<Bytes> = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
    Body::from_stream(stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, Infallible>(piece)
    }))
}

fn huge(size: u64) -> Body {
    let head = Bytes::from_static(b"<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><string>");
    let piece = Bytes::from(vec![b'x'; 1 << 16]);
    let pieces = stream::iter(std::iter::once(head).chain((0..size >> 16).map(move |_| piece.clone())));
    Body::from_stream(pieces.map(Ok::<_, Infallible>))
}

fn log(core: &Core, method: &str, elements: &[String], user: Option<String>, fault: Option<i64>) {
    core.lock().log.push(Logged { method: method.to_owned(), elements: elements.to_vec(), user, fault });
}

/// Executes a call in a transaction. With `spoil` the transaction is rolled back in any case.
fn execute(core: &Core, who: &Who, call: &Call, spoil: bool) -> Result<V, Fault> {
    let elements: Vec<String> = match (call.method.as_str(), call.args.first()) {
        ("multiCall", Some(Value::Array(calls))) => {
            calls.iter().filter_map(|c| c.get("methodName").and_then(Value::as_str)).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    let mut inner = core.lock();
    let inner = &mut *inner;
    let now = inner.clock.now();
    let mut tx = Tx::new(&mut inner.world, &inner.settings, now, None);
    let authenticated = match &who.claim {
        Some(claim) => tx.authenticate(claim, &call.method),
        None => Ok(None),
    };
    // These calls check before they write. For all others the tables are saved.
    let careful =
        ["build", "resubmitTask", "cancelTask", "repo.request", "sslLogin", "logout"].contains(&call.method.as_str());
    let savepoint = (spoil || !careful).then(|| tx.w.clone());
    tx.wrote = false;
    let result = authenticated.and_then(|callnum| run(&mut tx, who, call).map(|value| (value, callnum)));
    let user = tx.user.and_then(|u| tx.w.user_name(u)).map(str::to_owned);
    let (messages, wrote, session, last) = (std::mem::take(&mut tx.messages), tx.wrote, tx.session, tx.now);
    inner.clock.passed(last);
    let fault = result.as_ref().err().map(|f| f.code);
    inner.log.push(Logged { method: call.method.clone(), elements, user, fault });
    match result {
        Ok((value, callnum)) if !spoil => {
            if wrote {
                // The number is stored only with a call that commits, and not with a renewal.
                // (Recorded: 0 is accepted after a renewal.)
                if let (Some(session), Some(callnum), false) = (session, callnum, call.method == "sslLogin") {
                    inner.world.session_mut(session).callnum = Some(callnum);
                }
                inner.publish(messages);
            }
            Ok(value)
        }
        other => {
            if let Some(savepoint) = savepoint {
                inner.world = savepoint;
            }
            other.map(|(value, _)| value)
        }
    }
}

fn run(tx: &mut Tx<'_>, who: &Who, call: &Call) -> Result<V, Fault> {
    let free = ["sslLogin", "login", "logout"].contains(&call.method.as_str());
    if tx.settings.lockout && !free && !tx.is_admin() {
        return Err(Fault::offline("Server disabled for maintenance"));
    }
    match call.method.as_str() {
        "sslLogin" => {
            let name = who.name.clone().ok_or_else(|| Fault::auth("could not verify client: NONE"))?;
            tx.login(&name, who.authtype, &calls::keywords(call))
        }
        "multiCall" => match call.args.first() {
            Some(Value::Array(elements)) => Ok(calls::multi(tx, elements, calls::element)),
            _ => Err(Fault::parameter("multiCall() missing 1 required positional argument: 'calls'")),
        },
        _ => calls::dispatch(tx, call),
    }
}

/// Checks the session of an upload.
pub fn uploader(core: &Core, who: &Who) -> Result<(), Fault> {
    let mut inner = core.lock();
    let inner = &mut *inner;
    let now = inner.clock.now();
    let mut tx = Tx::new(&mut inner.world, &inner.settings, now, None);
    match &who.claim {
        Some(claim) => tx.authenticate(claim, "uploadFile").map(|_| ()),
        None => Err(Fault::not_logged_in()),
    }
}

/// Returns the answer to an upload.
pub fn uploaded(size: usize, offset: i64, digest: &str) -> V {
    row! {
        "size" => i64::try_from(size).unwrap(), "fileverify" => "adler32", "offset" => offset, "hexdigest" => digest
    }
}
