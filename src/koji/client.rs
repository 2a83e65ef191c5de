//! The client that asks a hub.
//!
//! [`HubClient`] is cheap to clone, and everything that asks one hub shares it. It limits
//! concurrent calls and requests per second. It retries requests that did not get through, and
//! reports errors clearly. Everything can be read without a login. A call that changes something
//! needs a [`Session`](super::Session), which makes one call at a time.

mod error;
mod observer;
mod pace;
mod retry;
mod settings;
mod tls;
mod transport;

pub use error::{At, HubError, Wait};
pub use observer::{CallObserver, CallOutcome};
pub use settings::{Auth, HubSettings, SettingsError};
pub use tls::{client_config, install_provider};

pub(crate) use retry::Attempts;
#[cfg(feature = "openssl")]
pub(crate) use tls::read_pem;
pub(crate) use transport::{Request, Way, connections};

use std::fmt;
#[cfg(feature = "openssl")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::{StreamExt as _, stream};
use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use tokio::sync::Semaphore;

use self::pace::Pace;
use super::calls::{Batch, Query};
use super::xmlrpc::{self, Call, Fault, Value, multi};

/// Maximum length of a hub's version that is kept, in bytes.
const MAX_VERSION: usize = 64;

/// A client for one hub. Clones share everything.
#[derive(Clone)]
pub struct HubClient {
    inner: Arc<Inner>,
}

struct Inner {
    settings: HubSettings,
    /// The hub's address, for errors.
    name: Arc<str>,
    /// Address of the XML-RPC interface.
    url: Url,
    /// Connections without a client certificate.
    http: Client,
    pace: Option<Pace>,
    /// Limits concurrent calls without a session.
    slots: Semaphore,
    requests: AtomicU64,
    answered: AtomicU64,
    observer: Arc<dyn CallObserver>,
    version: Mutex<Option<String>>,
    /// Whether the web server asks for certificates only after it has seen the request.
    #[cfg(feature = "openssl")]
    renegotiates: AtomicBool,
}

impl fmt::Debug for HubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubClient").field("hub", &self.inner.name).field("requests", &self.requests()).finish()
    }
}

impl Inner {
    fn note_version(&self, version: &str) {
        let mut known = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != Some(version) && version.len() <= MAX_VERSION {
            *known = Some(version.to_owned());
        }
    }
}

impl HubClient {
    /// Returns a client. Sends no request yet, but reads the files that the settings name.
    ///
    /// # Errors
    /// Returns [`HubError::Settings`] (rejected) if the settings cannot be used.
    pub fn new(settings: HubSettings) -> Result<Self, HubError> {
        Self::with_observer(settings, Arc::new(()))
    }

    /// Like [`HubClient::new`], but reports every request to `observer`.
    ///
    /// # Errors
    /// Returns [`HubError::Settings`] (rejected) if the settings cannot be used.
    pub fn with_observer(settings: HubSettings, observer: Arc<dyn CallObserver>) -> Result<Self, HubError> {
        let bad =
            |problem: &str| SettingsError::Server { server: settings.server.clone(), problem: problem.to_owned() };
        let url = Url::parse(settings.server.trim_end_matches('/')).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad("an http or https URL is needed").into());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(bad("user names, queries and fragments do not belong into it").into());
        }
        // A certificate is read again at each login, so that a renewed one is used. Here it is only
        // checked whether it can be used at all.
        client_config(settings.serverca.as_deref(), &settings.auth)?;
        let inner = Inner {
            name: url.as_str().into(),
            http: connections(&settings, &Auth::Anonymous)?,
            pace: settings.requests_per_second.map(Pace::per_second),
            slots: Semaphore::new(settings.max_concurrent.clamp(1, Semaphore::MAX_PERMITS)),
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            version: Mutex::new(None),
            #[cfg(feature = "openssl")]
            renegotiates: AtomicBool::default(),
            observer,
            url,
            settings,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the settings of this hub.
    pub fn settings(&self) -> &HubSettings {
        &self.inner.settings
    }

    /// Returns the number of requests made so far. Includes those of sessions and retries.
    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }

    /// Returns the number of batches that were answered so far.
    pub fn answered(&self) -> u64 {
        self.inner.answered.load(Ordering::Relaxed)
    }

    /// Returns the hub's version, as it was last sent. Hubs from 1.35 on send it with every answer.
    pub fn hub_version(&self) -> Option<String> {
        self.inner.version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns an empty batch, to ask several questions together.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Asks one question.
    ///
    /// # Errors
    /// Returns a [`HubError`] if the call fails, [`HubError::Shape`] if the answer is unreadable.
    pub async fn ask<T>(&self, query: Query<T>) -> Result<T, HubError> {
        let answer = self.send_anonymous(&self.at(&query.call.method), self.encode(&query.call)?).await?;
        self.read(&query, &answer)
    }

    /// Calls several methods, in as few requests as the settings allow. Returns the answers in the
    /// order of the calls. A fault concerns only its own call. If the hub does not answer, sends no
    /// more requests.
    pub(crate) async fn multi(&self, calls: Vec<Call>) -> Result<Vec<Result<Value, Fault>>, HubError> {
        let mut answers = Vec::with_capacity(calls.len());
        for answered in self.batches(calls).await {
            answers.extend(answered?);
        }
        if !answers.is_empty() {
            self.inner.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answers)
    }

    /// Splits calls into requests of the configured size, and sends several requests at a time.
    async fn batches(&self, calls: Vec<Call>) -> Vec<Result<Vec<Result<Value, Fault>>, HubError>> {
        let size = self.inner.settings.batch.max(1);
        let mut batches = Vec::new();
        let mut calls = calls.into_iter().peekable();
        while calls.peek().is_some() {
            batches.push(calls.by_ref().take(size).collect::<Vec<_>>());
        }
        let gave_up: OnceLock<HubError> = OnceLock::new();
        let gave_up = &gave_up;
        let ask = |batch: Vec<Call>| async move {
            if let Some(error) = gave_up.get() {
                return Err(error.clone());
            }
            let answers = self.joined(batch).await;
            if let Err(error) = &answers
                && crate::model::Classified::class(error) == crate::model::Class::Unavailable
            {
                gave_up.get_or_init(|| error.clone());
            }
            answers
        };
        let at_a_time = self.inner.settings.max_concurrent.max(1);
        stream::iter(batches.into_iter().map(ask)).buffered(at_a_time).collect().await
    }

    /// Puts several calls into one request. Uses more requests if one would be larger than the hub
    /// accepts.
    async fn joined(&self, calls: Vec<Call>) -> Result<Vec<Result<Value, Fault>>, HubError> {
        let (mut answers, mut open) = (Vec::with_capacity(calls.len()), vec![calls]);
        while let Some(mut calls) = open.pop() {
            let at = self.at(multi::METHOD);
            let joined = multi::join(&calls).map_err(|source| HubError::Request { at: at.clone(), source })?;
            let body = match self.encode(&joined) {
                Err(HubError::RequestTooLarge { .. }) if calls.len() > 1 => {
                    let second = calls.split_off(calls.len() / 2);
                    open.extend([second, calls]);
                    continue;
                }
                body => body?,
            };
            let answer = self.send_anonymous(&at, body).await?;
            let shape = |element: Option<usize>| {
                let error = super::shape::ShapeError {
                    path: element.map(|n| format!("[{n}]")).unwrap_or_default(),
                    expected: "an answer or a fault for each call",
                    found: "something else".to_owned(),
                };
                HubError::Shape { at: at.clone(), source: error.in_answer_to(multi::METHOD) }
            };
            let some = multi::split_answers(answer).map_err(shape)?;
            if some.len() != calls.len() {
                return Err(shape(Some(some.len())));
            }
            answers.extend(some);
        }
        Ok(answers)
    }

    /// Sends a call without a session. Retries until there is an answer.
    async fn send_anonymous(&self, at: &At, body: Vec<u8>) -> Result<Value, HubError> {
        let settings = &self.inner.settings;
        let body: Body = body.into();
        let _slot = self.inner.slots.acquire().await.ok();
        let mut attempts = Attempts::new(settings, settings.anon_retry);
        loop {
            let request = Request {
                at: at.clone(),
                url: self.inner.url.clone(),
                headers: HeaderMap::new(),
                body: body.to_request(),
                limit: attempts.limit(settings.request_timeout),
            };
            let error = match self.exchange(Way::Pool(&self.inner.http), request).await {
                Ok(answer) => match answer.value {
                    Ok(value) => return Ok(value),
                    Err(fault) => HubError::from_fault(at.clone(), fault),
                },
                Err(error) => error,
            };
            if !attempts.again(&error).await {
                return Err(error);
            }
        }
    }

    pub(crate) fn at(&self, method: &str) -> At {
        At { method: method.into(), hub: Arc::clone(&self.inner.name) }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.inner.url
    }

    /// Returns the connections without a client certificate.
    pub(crate) fn http(&self) -> &Client {
        &self.inner.http
    }

    /// Notes that the web server asks for certificates only after it has seen the request.
    #[cfg(feature = "openssl")]
    pub(crate) fn note_renegotiation(&self) {
        self.inner.renegotiates.store(true, Ordering::Relaxed);
    }

    #[cfg(feature = "openssl")]
    pub(crate) fn renegotiates(&self) -> bool {
        self.inner.renegotiates.load(Ordering::Relaxed)
    }

    pub(crate) fn encode(&self, call: &Call) -> Result<Vec<u8>, HubError> {
        let body =
            xmlrpc::encode_request(call).map_err(|source| HubError::Request { at: self.at(&call.method), source })?;
        let limit = self.inner.settings.max_request;
        if body.len() > limit {
            return Err(HubError::RequestTooLarge { at: self.at(&call.method), bytes: body.len(), limit });
        }
        Ok(body)
    }

    pub(crate) fn read<T>(&self, query: &Query<T>, answer: &Value) -> Result<T, HubError> {
        query.read(answer).map_err(|source| HubError::Shape { at: self.at(&query.call.method), source })
    }
}

/// The body of a request. It can be sent several times.
#[derive(Clone)]
pub(crate) struct Body(Arc<[u8]>);

impl From<Vec<u8>> for Body {
    fn from(body: Vec<u8>) -> Self {
        Self(body.into())
    }
}

impl Body {
    pub(crate) fn to_request(&self) -> reqwest::Body {
        reqwest::Body::from(self.0.to_vec())
    }
}
