//! Accepts HTTP connections within bounds: one listener for pages and monitoring.
//!
//! A peer must send its request in time and read the response in time. The number of connections is
//! bounded, in total and per peer. A connection beyond the bounds waits in a short line. Its
//! request is still read, within a few seconds: monitoring requests are answered, all others are
//! refused. When the line is full, the oldest connection in it is closed. So stalled readers,
//! however many, cannot block a health check.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long running requests may take after we are told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Pause after accepting failed. Too many files are open then, and other connections will close
/// some.
const PAUSE: Duration = Duration::from_millis(500);
/// Most connections in the line at a time.
const IN_LINE_MAX: usize = 64;
/// Longest time for a connection in the line to send its request, and to read the response.
const IN_LINE: Duration = Duration::from_secs(5);

/// Where a request comes from: the address at the other end of its connection. Every request that
/// `serve` answers has it as an extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(pub IpAddr);

/// Bounds for connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most connections at a time.
    pub connections: usize,
    /// Most connections of one peer: an IPv4 address, or the /64 network of an IPv6 address.
    pub per_peer: usize,
    /// Longest time until the head of a request is complete, also between two requests of a
    /// connection.
    pub idle: Duration,
    /// Longest time a peer may take to read what was written to it.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 512, per_peer: 128, idle: Duration::from_secs(20), write: Duration::from_secs(30) }
    }
}

/// Serves until told to stop. Then it accepts no new connections and finishes the running requests.
/// `all` answers connections within the bounds, `monitoring` answers the others.
pub async fn serve(listener: TcpListener, all: Router, monitoring: Router, limits: Limits, stop: CancellationToken) {
    let places = Places { taken: Arc::default(), limits };
    let monitoring = monitoring.fallback(no_place);
    let mut in_line: VecDeque<AbortHandle> = VecDeque::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // Removes ended connections as they end.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener) => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %crate::model::causes::with_causes(&error), "a connection could not be \
                    accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let stop = stop.clone();
        let source = Peer(from.ip().to_canonical());
        match places.take(peer(from)) {
            Some(place) => {
                let app = all.clone();
                connections.spawn(async move {
                    answer((stream, source), app, limits.idle, limits.write, true, stop).await;
                    drop(place);
                });
            }
            None => {
                in_line.retain(|other| !other.is_finished());
                if in_line.len() >= IN_LINE_MAX
                    && let Some(longest) = in_line.pop_front()
                {
                    longest.abort();
                }
                let (idle, write) = (limits.idle.min(IN_LINE), limits.write.min(IN_LINE));
                in_line.push_back(connections.spawn(answer(
                    (stream, source),
                    monitoring.clone(),
                    idle,
                    write,
                    false,
                    stop,
                )));
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_ANSWERS, all).await.is_err() {
        tracing::warn!("some requests were not answered to their end");
    }
}

async fn no_place() -> (StatusCode, [(header::HeaderName, &'static str); 1], &'static str) {
    let text = "There are too many connections, from everywhere or from your address; try again in a moment.\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], text)
}

/// Serves one connection until it ends.
async fn answer(
    (stream, source): (TcpStream, Peer),
    app: Router,
    idle: Duration,
    write: Duration,
    keep_alive: bool,
    stop: CancellationToken,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(HEAD_BYTES_MAX).keep_alive(keep_alive);
    let io = TokioIo::new(Patient { stream, write, due: None });
    let app = TowerToHyperService::new(app);
    let answering = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(source);
        hyper::service::Service::call(&app, request)
    });
    let mut connection = std::pin::pin!(builder.serve_connection(io, answering));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %crate::model::causes::with_causes(&error), "a connection broke off");
    }
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, from) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, from))
}

/// Returns the peer that an address belongs to. The owner of one IPv6 address has 2⁶⁴ of them, so
/// the /64 network counts.
fn peer(from: SocketAddr) -> IpAddr {
    match from.ip().to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Places for connections within the bounds.
struct Places {
    taken: Arc<Mutex<Taken>>,
    limits: Limits,
}

#[derive(Default)]
struct Taken {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// A place. Dropping it frees it.
struct Place {
    taken: Arc<Mutex<Taken>>,
    peer: IpAddr,
}

impl Places {
    fn take(&self, peer: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of = taken.of.get(&peer).copied().unwrap_or(0);
        if taken.all >= self.limits.connections || of >= self.limits.per_peer {
            return None;
        }
        taken.all += 1;
        taken.of.insert(peer, of + 1);
        Some(Place { taken: Arc::clone(&self.taken), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of) = taken.of.get_mut(&self.peer) {
            *of -= 1;
            if *of == 0 {
                taken.of.remove(&self.peer);
            }
        }
    }
}

/// A stream that ends if the peer does not read in time. The time begins when the peer lets us
/// wait. It ends when the peer has read everything we had. A byte now and then does not extend it.
struct Patient {
    stream: TcpStream,
    write: Duration,
    due: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// Checks the deadline while the peer lets us wait, or has read less than we had.
    fn timed(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>, all: usize) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(n)) if n == all) {
            self.due = None;
            return written;
        }
        let write = self.write;
        let due = self.due.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + write)));
        match (due.as_mut().poll(cx), written) {
            (Poll::Ready(()), _) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            (Poll::Pending, written) => written,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timed(cx, written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.timed(cx, written, parts.iter().map(|part| part.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    const LARGE: usize = 64 << 20;
    const MINUTE: Duration = Duration::from_secs(60);

    async fn listening(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let monitoring = Router::new().route("/alive", get(|| async { "alive" }));
        let all = Router::new()
            .route("/small", get(|| async { "small" }))
            .route("/large", get(|| async { vec![b'x'; LARGE] }))
            .merge(monitoring.clone());
        tokio::spawn(serve(listener, all, monitoring, limits, CancellationToken::new()));
        at
    }

    async fn from(peer: &str, at: SocketAddr, path: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{peer}:0").parse().unwrap()).unwrap();
        let mut stream = socket.connect(at).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn status(peer: &str, at: SocketAddr, path: &str) -> u16 {
        let mut answer = Vec::new();
        from(peer, at, path).await.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap().split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn whoever_has_no_place_gets_monitoring_only() {
        let at = listening(Limits { per_peer: 1, idle: MINUTE, write: MINUTE, ..Limits::default() }).await;
        // The place is taken once there is a response.
        let mut holds = TcpStream::connect(at).await.unwrap();
        holds.write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        holds.read_u8().await.unwrap();
        assert_eq!(status("127.0.0.1", at, "/small").await, 503);
        assert_eq!(status("127.0.0.1", at, "/alive").await, 200);
        assert_eq!(status("127.0.0.2", at, "/small").await, 200, "another peer has places of its own");
        drop(holds);
        let free = async { while status("127.0.0.1", at, "/small").await != 200 {} };
        tokio::time::timeout(MINUTE, free).await.expect("the place is free again");
    }

    /// A byte now and then does not help the slow peer.
    #[tokio::test]
    async fn whoever_does_not_take_the_answer_in_time_is_cut() {
        let limits = Limits { connections: 1, per_peer: 1, idle: MINUTE, write: Duration::from_millis(100) };
        let at = listening(limits).await;
        let mut slow = from("127.0.0.1", at, "/large").await;
        let mut taken = 0;
        let cut = async {
            while taken == 0 || status("127.0.0.1", at, "/small").await != 200 {
                slow.read_u8().await.unwrap();
                taken += 1;
            }
        };
        tokio::time::timeout(MINUTE, cut).await.expect("its place is free");
        let mut rest = Vec::new();
        // Bytes in transit may still come, or the connection is reset.
        drop(slow.read_to_end(&mut rest).await);
        assert!(taken + rest.len() < LARGE, "{taken} and {}", rest.len());
    }

    #[tokio::test]
    async fn whoever_does_not_ask_in_time_is_cut() {
        let at = listening(Limits { idle: Duration::from_millis(50), write: MINUTE, ..Limits::default() }).await;
        for said in ["", "GET /small HTTP/1.1\r\nHost:"] {
            let mut stream = TcpStream::connect(at).await.unwrap();
            // The connection may be cut before or during this write. Both count as cut in time.
            drop(stream.write_all(said.as_bytes()).await);
            let mut answer = Vec::new();
            drop(tokio::time::timeout(MINUTE, stream.read_to_end(&mut answer)).await.expect("it ends"));
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "{said}");
        }
    }

    #[test]
    fn a_peer_is_an_address_or_a_network() {
        let of = |text: &str| peer(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7:1"), "192.0.2.7");
        assert_eq!(of("[::ffff:192.0.2.7]:1"), "192.0.2.7");
        assert_eq!(of("[2001:db8:1:2:3:4:5:6]:1"), of("[2001:db8:1:2::9]:1"));
        assert_ne!(of("[2001:db8:1:2::9]:1"), of("[2001:db8:1:3::9]:1"));
    }
}
