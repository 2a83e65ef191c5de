//! A session: what changes something at a hub.
//!
//! Calls of a session are numbered, and the hub keeps the number with every call that commits. So a call whose answer
//! was lost is sent again **with the same number**: if it was executed, the hub says so (fault 1009), and if not, it is
//! executed now. Numbers only grow, also past a call that was given up; a session that is too old is not renewed but
//! replaced by another, whose numbers begin anew.
//!
//! One protection ends with the session: when it was replaced while it was unknown whether a call had been executed,
//! the call is not sent again, and the caller hears of it ([`HubError::Uncertain`]).

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

/// How often a call may make a new session.
const MAX_LOGINS: u32 = 2;

/// One login, used by one worker: its calls are serial. It logs in when it is first used, and anew when the hub does
/// not know the session any more. A call that is dropped half-way is as one whose answer was lost and that nobody asked
/// again.
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

    /// The hub.
    pub const fn hub(&self) -> &HubClient {
        &self.hub
    }

    /// Koji's number of the session; `None` before the first login.
    pub fn id(&self) -> Option<i64> {
        self.login.as_ref().map(|login| login.id)
    }

    /// Logs in, unless there is a session already.
    ///
    /// # Errors
    /// [`HubError`].
    pub async fn login(&mut self) -> Result<(), HubError> {
        let hub = self.hub.clone();
        self.ensure(&mut Attempts::new(hub.settings(), true)).await
    }

    /// Ends the session, if there is one. It is forgotten even if the hub does not answer.
    ///
    /// # Errors
    /// [`HubError`].
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

    /// Asks a question, or has something done.
    ///
    /// # Errors
    /// [`HubError`], [`HubError::Shape`] when the answer cannot be read. When [`HubError::may_have_happened`] says so,
    /// look before repeating a call that makes something.
    pub async fn ask<T>(&mut self, query: Query<T>) -> Result<T, HubError> {
        self.ask_while(&|| true, query).await
    }

    /// The same, as long as `go` says so: it is asked right before every attempt.
    ///
    /// # Errors
    /// As [`ask`](Self::ask); [`HubError::Withheld`] when `go` said no, [`HubError::Uncertain`] with it when an attempt
    /// may have been executed before.
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
        // Whether an attempt may have been executed, and the number all attempts in this session have.
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
            // Taken before it is sent: if this future is dropped, the number is never used for another call.
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
                // A fault tells what became of all attempts with this number: the call was not executed before.
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
