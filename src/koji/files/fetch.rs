//! Fetches files over HTTP, and limits how many at once, how long, how often and how large.
//!
//! [`Fetcher`] has what all requests share: one client, one limit of concurrent requests, and one
//! way to retry. An [`Attempt`] decides what to do with a response: write a file to disk
//! ([`super::download`]), or read only the beginning of a file ([`super::prefix`]).

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::error::{FetchError, Trouble};
use super::response::{is_untrusted, retry_after};
use super::tls;
use crate::base::backoff;
use crate::model::causes::with_causes;

/// Maximum number of redirections that one request follows.
pub const REDIRECTS_MAX: usize = 5;

/// An attempt that brings at least this many bytes does not count as failed. So a large file can
/// arrive piece by piece over a bad line.
const PROGRESS_BYTES: u64 = 1 << 20;

/// The total number of attempts is at most the configured number times this.
const PROGRESS_ATTEMPTS: u32 = 10;

/// Settings for fetching files.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// Maximum number of concurrent requests over all hosts and files. At least 1.
    pub at_once: usize,
    /// Maximum time to connect.
    pub connect_timeout: Duration,
    /// Maximum time without any data.
    pub idle_timeout: Duration,
    /// Maximum time for one file over all attempts, not counting pauses.
    pub total_timeout: Duration,
    /// Maximum number of attempts for one file that bring (almost) no data. At least 1.
    pub attempts: u32,
    /// Maximum pause after the first failure. It doubles with each failure. The real pause is
    /// random, between half of the maximum and the maximum.
    pub pause_first: Duration,
    /// Upper limit of the maximum pause.
    pub pause_max: Duration,
    /// Longest pause that a server may ask for (`Retry-After`). A longer one is cut to this.
    pub retry_after_max: Duration,
    /// Maximum size of a file, in bytes.
    pub file_bytes_max: u64,
    /// PEM file with certificates of additional certificate authorities.
    pub authorities: Option<PathBuf>,
    /// The `User-Agent` header.
    pub user_agent: String,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            at_once: 8,
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(30 * 60),
            attempts: 5,
            pause_first: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
            retry_after_max: Duration::from_secs(5 * 60),
            file_bytes_max: 4 << 30,
            authorities: None,
            user_agent: concat!("koschei/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// An event to count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FileEvent {
    /// A request was answered, or failed without an answer.
    Request {
        /// The HTTP status. `None`: there was no answer.
        status: Option<u16>,
    },
    /// Bytes were received.
    Received {
        /// Number of bytes.
        bytes: u64,
    },
    /// An attempt failed, and another one follows.
    Retry,
    /// A file was not fetched, because another repository has the same file.
    Reused {
        /// Length of the file.
        bytes: u64,
    },
}

/// Called for each event, from any thread. Must not block.
pub type Observer = Arc<dyn Fn(FileEvent) + Send + Sync>;

/// Counters of everything fetched so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FetchCounts {
    /// Number of requests.
    pub requests: u64,
    /// Number of attempts after a failed one.
    pub retries: u64,
    /// Number of bytes received in bodies.
    pub bytes: u64,
    /// Number of requests running now.
    pub running: u64,
    /// Highest number of requests that ran at the same time.
    pub running_max: u64,
    /// Number of files not fetched, because another repository has the same file.
    pub reused: u64,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    bytes: AtomicU64,
    running: AtomicU64,
    running_max: AtomicU64,
    reused: AtomicU64,
}

/// Fetches files. Clones share everything, including the limit of concurrent requests.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    settings: FetchSettings,
    permits: Semaphore,
    counters: Counters,
    observer: Option<Observer>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

/// How an attempt failed.
pub(super) enum Failure {
    /// Another attempt may succeed.
    Again {
        trouble: Trouble,
        /// The pause that the server asks for.
        after: Option<Duration>,
        /// Number of received bytes that were kept.
        kept: u64,
    },
    /// Another attempt will not succeed.
    Never(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Never(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Again { trouble, after: None, kept: 0 }
    }
}

/// Something that can be tried several times. If a run is dropped half-way, the next `run`
/// continues it.
pub(super) trait Attempt: Send {
    type Done: Send;
    fn url(&self) -> &Url;
    fn run(&mut self, fetcher: &Fetcher) -> impl Future<Output = Result<Self::Done, Failure>> + Send;
}

impl Fetcher {
    /// Returns a fetcher with its own connections.
    ///
    /// # Errors
    /// Returns [`FetchError::Authorities`] (rejected) if the certificates cannot be used.
    pub fn new(settings: FetchSettings) -> Result<Self, FetchError> {
        Self::with(settings, None)
    }

    /// Like [`Fetcher::new`], but reports events to `observer`.
    ///
    /// # Errors
    /// Fails in the same cases as [`Fetcher::new`].
    pub fn observed(settings: FetchSettings, observer: Observer) -> Result<Self, FetchError> {
        Self::with(settings, Some(observer))
    }

    fn with(mut settings: FetchSettings, observer: Option<Observer>) -> Result<Self, FetchError> {
        settings.at_once = settings.at_once.clamp(1, Semaphore::MAX_PERMITS);
        settings.attempts = settings.attempts.max(1);
        let client = Client::builder()
            .tls_backend_preconfigured(tls::config(settings.authorities.as_deref())?)
            .connect_timeout(settings.connect_timeout)
            .redirect(redirect::Policy::custom(follow))
            .user_agent(settings.user_agent.as_str())
            .build()
            .map_err(|error| FetchError::Client { problem: with_causes(&error) })?;
        let permits = Semaphore::new(settings.at_once);
        Ok(Self { inner: Arc::new(Inner { client, settings, permits, counters: Counters::default(), observer }) })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &FetchSettings {
        &self.inner.settings
    }

    /// Returns the counters.
    pub fn counts(&self) -> FetchCounts {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let c = &self.inner.counters;
        FetchCounts {
            requests: get(&c.requests),
            retries: get(&c.retries),
            bytes: get(&c.bytes),
            running: get(&c.running),
            running_max: get(&c.running_max),
            reused: get(&c.reused),
        }
    }

    /// Tries until the attempt succeeds, fails for good, or has failed too often.
    pub(super) async fn run<A: Attempt>(&self, mut attempt: A) -> Result<A::Done, FetchError> {
        let settings = &self.inner.settings;
        let (mut left, mut all, mut idle) = (settings.total_timeout, 0_u32, 0_u32);
        loop {
            let permit = self.inner.permits.acquire().await.expect("the semaphore is never closed");
            let running = Running::start(&self.inner.counters);
            let start = Instant::now();
            let result = timeout(left, attempt.run(self)).await;
            left = left.saturating_sub(start.elapsed());
            drop((running, permit));
            let (trouble, after, kept) = match result {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(Failure::Never(error))) => return Err(error),
                Ok(Err(Failure::Again { trouble, after, kept })) => (trouble, after, kept),
                Err(_) => (Trouble::Total(settings.total_timeout), None, 0),
            };
            all += 1;
            idle = if kept >= PROGRESS_BYTES { 0 } else { idle + 1 };
            let end = idle >= settings.attempts || all >= settings.attempts.saturating_mul(PROGRESS_ATTEMPTS);
            if end || left.is_zero() {
                let from = attempt.url().to_string();
                return Err(FetchError::Unavailable { from, attempts: all, source: trouble });
            }
            tracing::debug!(url = %attempt.url(), attempt = all, error = %with_causes(&trouble), "a request for a \
                file is repeated");
            self.event(FileEvent::Retry);
            tokio::time::sleep(self.pause(idle, after)).await;
        }
    }

    /// Returns how long to wait after this number of failures in a row.
    fn pause(&self, failures: u32, after: Option<Duration>) -> Duration {
        let settings = &self.inner.settings;
        let own = backoff::after(failures, settings.pause_first, settings.pause_max);
        own.max(after.unwrap_or_default().min(settings.retry_after_max))
    }

    pub(super) fn get(&self, url: &Url) -> RequestBuilder {
        // Lengths and ranges must be those of the file itself, so no compression.
        self.inner.client.get(url.clone()).header(ACCEPT_ENCODING, "identity")
    }

    /// Sends a request and waits for the head of the response. The response is a success, or status
    /// 416 if a range was asked for.
    pub(super) async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Response, Failure> {
        let settings = &self.inner.settings;
        let longest = settings.connect_timeout.saturating_add(settings.idle_timeout);
        let answer = timeout(longest, request.send()).await;
        let status = answer.as_ref().ok().and_then(|a| a.as_ref().ok()).map(|response| response.status().as_u16());
        self.event(FileEvent::Request { status });
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(no_answer(url, error)),
            Err(_) => return Err(Trouble::Idle(longest).into()),
        };
        let from = || url.to_string();
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::NotFound { from: from() }.into()),
            status if status.is_redirection() => {
                let problem = format!("with status {status} and without an address");
                Err(FetchError::Redirected { from: from(), problem }.into())
            }
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS) => {
                Err(not_now(status, response.headers()))
            }
            status if status.is_server_error() => Err(not_now(status, response.headers())),
            status => Err(FetchError::Refused { from: from(), status: status.as_u16() }.into()),
        }
    }

    /// Returns the next bytes of a body, or `None` at its end. `kept`: number of bytes kept if no
    /// more come.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
        kept: u64,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        let idle = self.inner.settings.idle_timeout;
        let again = |trouble| Failure::Again { trouble, after: None, kept };
        match timeout(idle, response.chunk()).await {
            Err(_) => Err(again(Trouble::Idle(idle))),
            Ok(Err(source)) => Err(again(Trouble::Broken { got: kept, source })),
            Ok(Ok(chunk)) => {
                if let Some(bytes) = &chunk {
                    self.event(FileEvent::Received { bytes: bytes.len() as u64 });
                }
                Ok(chunk)
            }
        }
    }

    pub(super) fn event(&self, event: FileEvent) {
        let c = &self.inner.counters;
        let (counter, by) = match event {
            FileEvent::Request { .. } => (&c.requests, 1),
            FileEvent::Received { bytes } => (&c.bytes, bytes),
            FileEvent::Retry => (&c.retries, 1),
            FileEvent::Reused { .. } => (&c.reused, 1),
        };
        counter.fetch_add(by, Ordering::Relaxed);
        if let Some(observer) = &self.inner.observer {
            observer(event);
        }
    }
}

/// Counts a request as running until dropped.
struct Running<'a>(&'a Counters);

impl<'a> Running<'a> {
    fn start(counters: &'a Counters) -> Self {
        let now = counters.running.fetch_add(1, Ordering::Relaxed) + 1;
        counters.running_max.fetch_max(now, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Follows a limited number of HTTP redirections. Never follows one from HTTPS to HTTP.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(format!("more than {REDIRECTS_MAX} times"));
    }
    match attempt.url().scheme() {
        "https" => attempt.follow(),
        "http" if attempt.previous().iter().all(|url| url.scheme() == "http") => attempt.follow(),
        "http" => {
            let to = format!("from HTTPS to {}", attempt.url());
            attempt.error(to)
        }
        _ => {
            let to = format!("to {}", attempt.url());
            attempt.error(to)
        }
    }
}

fn no_answer(url: &Url, error: reqwest::Error) -> Failure {
    let from = url.to_string();
    if error.is_redirect() {
        let problem = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        return FetchError::Redirected { from, problem }.into();
    }
    if is_untrusted(&error) {
        return FetchError::Untrusted { from, source: error }.into();
    }
    if error.is_builder() {
        return FetchError::Address { address: from, problem: with_causes(&error) }.into();
    }
    Trouble::Connection(error).into()
}

fn not_now(status: StatusCode, headers: &HeaderMap) -> Failure {
    Failure::Again { trouble: Trouble::Status(status.as_u16()), after: retry_after(headers), kept: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_bounds() {
        let settings = FetchSettings { pause_max: Duration::from_secs(5), ..FetchSettings::default() };
        let fetcher = Fetcher::new(settings).unwrap();
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (4, 5), (40, 5)] {
            let pause = fetcher.pause(failures, None);
            let longest = Duration::from_secs(longest);
            assert!(pause <= longest && pause >= longest / 2, "{failures}: {pause:?}");
        }
        assert_eq!(fetcher.pause(1, Some(Duration::from_secs(100))), Duration::from_secs(100));
        assert_eq!(fetcher.pause(1, Some(Duration::from_secs(1000))), Duration::from_secs(300));
    }
}
