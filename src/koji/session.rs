//! Sessions: calls that change something on a hub.
//!
//! The calls of a session are numbered. The hub stores the number with every call that commits. If
//! an answer is lost, the session sends the call again **with the same number**. If the hub has
//! executed the call before, it says so (fault 1009). If not, it executes the call now. Numbers
//! only grow, also after a call that was given up. A session that is too old is not renewed. A new
//! session replaces it, and its numbers begin again.
//!
//! This protection ends with the session. If a session is replaced while it is unknown whether a
//! call was executed, the call is not sent again. The caller gets [`HubError::Uncertain`].

use std::fmt;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::calls::{Query, logout};
use super::client::{Attempts, Auth, Body, HubClient, HubError, Request, SettingsError, Way};
use super::faults::FaultKind;
use super::login::Login;
use super::xmlrpc::{Call, Value};

const SESSION_ID: HeaderName = HeaderName::from_static("koji-session-id");
const SESSION_KEY: HeaderName = HeaderName::from_static("koji-session-key");
const CALLNUM: HeaderName = HeaderName::from_static("koji-session-callnum");

/// Maximum number of logins during one call.
const MAX_LOGINS: u32 = 2;

/// One login for one worker. Calls are made one after the other. The session logs in when it is
/// first used, and again when the hub no longer knows it. A call that is dropped half-way may have
/// been executed, like a call whose answer was lost.
pub struct Session {
    hub: HubClient,
    login: Option<Login>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("hub", &self.hub).field("login", &self.login).finish()
    }
}

impl Session {
    pub(super) const fn new(hub: HubClient) -> Self {
        Self { hub, login: None }
    }

    /// Returns the hub's client.
    pub const fn hub(&self) -> &HubClient {
        &self.hub
    }

    /// Returns Koji's number of the session. `None` before the first login.
    pub fn id(&self) -> Option<i64> {
        self.login.as_ref().map(|login| login.id)
    }

    /// Logs in, unless there is a session already.
    ///
    /// # Errors
    /// Returns a [`HubError`] if the login fails.
    pub async fn login(&mut self) -> Result<(), HubError> {
        let hub = self.hub.clone();
        self.ensure(&mut Attempts::new(hub.settings(), true)).await
    }

    /// Ends the session, if there is one. The session is forgotten even if the hub does not answer.
    ///
    /// # Errors
    /// Returns a [`HubError`] if the call fails.
    pub async fn logout(&mut self) -> Result<(), HubError> {
        let Some(mut login) = self.login.take() else { return Ok(()) };
        let call = logout().call;
        let body: Body = self.hub.encode(&call)?.into();
        let number = login.next_number();
        let limit = self.hub.settings().auth_timeout;
        let answer =
            self.hub.exchange(Way::Pool(&login.http), self.request(&login, &call, &body, number, limit)).await?;
        answer.value.map(|_| ()).map_err(|fault| HubError::from_fault(self.hub.at(&call.method), fault))
    }

    /// Makes a call: asks a question, or changes something.
    ///
    /// # Errors
    /// Returns a [`HubError`] if the call fails, [`HubError::Shape`] if the answer is unreadable.
    /// If [`HubError::may_have_happened`] is true, look at the hub before repeating a call that
    /// creates something.
    pub async fn ask<T>(&mut self, query: Query<T>) -> Result<T, HubError> {
        self.ask_while(&|| true, query).await
    }

    /// Like [`ask`](Self::ask), but calls `go` right before every attempt, and gives up when it
    /// returns false.
    ///
    /// # Errors
    /// Fails in the same cases as [`ask`](Self::ask). Returns [`HubError::Withheld`] if `go`
    /// returned false. It is wrapped in [`HubError::Uncertain`] if an earlier attempt may have been
    /// executed.
    pub async fn ask_while<T>(&mut self, go: &(dyn Fn() -> bool + Sync), query: Query<T>) -> Result<T, HubError> {
        let answer = self.run(&query.call, go).await?;
        self.hub.read(&query, &answer)
    }

    async fn ensure(&mut self, attempts: &mut Attempts<'_>) -> Result<(), HubError> {
        if self.login.is_none() {
            self.login = Some(self.hub.log_in(attempts).await?);
        }
        Ok(())
    }

    async fn run(&mut self, call: &Call, go: &(dyn Fn() -> bool + Sync)) -> Result<Value, HubError> {
        let hub = self.hub.clone();
        if hub.settings().auth == Auth::Anonymous {
            return Err(SettingsError::NoLogin { server: hub.settings().server.clone() }.into());
        }
        let at = hub.at(&call.method);
        let body: Body = hub.encode(call)?.into();
        let mut attempts = Attempts::new(hub.settings(), true);
        // Whether an attempt may have been executed, the number of all attempts in this session,
        // and the number of logins.
        let (mut lost, mut number, mut logins) = (false, None, 0);
        let failed = |lost: bool, error: HubError| {
            if lost { HubError::Uncertain { at: at.clone(), source: Box::new(error) } } else { error }
        };
        loop {
            if self.login.is_none() {
                logins += 1;
                number = None;
                self.ensure(&mut attempts).await.map_err(|error| failed(lost, error))?;
            }
            let Some(login) = self.login.as_mut() else { continue };
            if !go() {
                return Err(failed(lost, HubError::Withheld { at: at.clone() }));
            }
            // The number is taken before the request is sent. If this future is dropped, no other
            // call gets the number.
            let number = *number.get_or_insert_with(|| login.next_number());
            let limit = attempts.limit(hub.settings().request_timeout);
            let Some(login) = self.login.as_ref() else { continue };
            let request = self.request(login, call, &body, number, limit);
            let error = match hub.exchange(Way::Pool(&login.http), request).await {
                Ok(answer) => match answer.value {
                    Ok(value) => return Ok(value),
                    Err(fault) => match fault.kind() {
                        FaultKind::SessionExpired | FaultKind::Sequence | FaultKind::Auth => {
                            self.login = None;
                            let error = HubError::Fault { at: at.clone(), fault };
                            if lost || logins >= MAX_LOGINS {
                                return Err(failed(lost, error));
                            }
                            tracing::debug!("{error}; logging in again");
                            continue;
                        }
                        _ => HubError::from_fault(at.clone(), fault),
                    },
                },
                Err(error) => {
                    lost |= error.may_have_happened();
                    error
                }
            };
            if matches!(error, HubError::ResultLost { .. }) {
                return Err(error);
            }
            if !attempts.again(&error).await {
                // A fault shows that no earlier attempt with this number was executed.
                let known = error.fault().is_some() && !error.is_offline();
                return Err(failed(lost && !known, error));
            }
        }
    }

    fn request(&self, login: &Login, call: &Call, body: &Body, number: i64, limit: std::time::Duration) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION_ID, HeaderValue::from(login.id));
        headers.insert(SESSION_KEY, login.key.clone());
        headers.insert(CALLNUM, HeaderValue::from(number));
        Request { at: self.hub.at(&call.method), url: self.hub.session_url(), headers, body: body.to_request(), limit }
    }
}

impl HubClient {
    /// Returns a new session. It logs in when it is first used.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }
}
