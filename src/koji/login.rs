//! Logs in to a hub.
//!
//! Both kinds of login use the same call: `sslLogin` to `…/ssllogin`, a path that the web server
//! protects. With a client certificate, the TLS connection proves who we are. With Kerberos, a
//! header does. The hub answers with a session.

#[cfg(feature = "gssapi")]
mod gssapi;
#[cfg(feature = "openssl")]
mod renegotiation;

use std::fmt;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Url};

use super::calls::{LOGIN, ssl_login};
use super::client::{Attempts, Auth, Body, HubClient, HubError, Request, SettingsError, Way, connections};
use super::faults::FaultKind;
#[cfg(feature = "gssapi")]
use super::gss::GssError;
use super::records::SessionGrant;
use super::shape::ShapeError;
use super::xmlrpc::Value;

/// A session of the hub.
pub(crate) struct Login {
    /// Number of the session.
    pub(crate) id: i64,
    /// The key that proves that the session is ours.
    pub(crate) key: HeaderValue,
    /// Connections for the session, with the client certificate if that is the login.
    pub(crate) http: Client,
    next: i64,
}

impl fmt::Debug for Login {
    /// Leaves out the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("id", &self.id).field("next", &self.next).finish()
    }
}

impl Login {
    /// Returns the number for the next call.
    pub(crate) const fn next_number(&mut self) -> i64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

/// Returns the environment variables that the process needs for a login with Kerberos. Empty if it
/// needs none. The system's library reads these settings only from the environment, and a running
/// process cannot change its environment safely.
///
/// `KRB5_CLIENT_KTNAME` is the keytab that tickets are obtained and renewed from. `KRB5CCNAME` is
/// where tickets are stored.
pub fn gssapi_environment(auth: &Auth) -> Vec<(&'static str, String)> {
    let Auth::Gssapi { keytab, ccache, .. } = auth else { return Vec::new() };
    let keytab = keytab.as_ref().map(|path| ("KRB5_CLIENT_KTNAME", path.display().to_string()));
    let ccache = ccache.as_ref().map(|place| ("KRB5CCNAME", place.clone()));
    keytab.into_iter().chain(ccache).collect()
}

/// Checks whether the environment has the variables that are needed.
fn check_environment(auth: &Auth, get: impl Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
    let place = |text: &str| text.strip_prefix("FILE:").unwrap_or(text).to_owned();
    for (name, wanted) in gssapi_environment(auth) {
        if get(name).map(|is| place(&is)) != Some(place(&wanted)) {
            return Err(SettingsError::Environment { name, wanted });
        }
    }
    Ok(())
}

/// Returns the address for sessions. It uses TLS, because a session sends its secret key. Plain
/// HTTP is allowed only on the same machine.
fn secure(url: &Url) -> Url {
    let loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        None => false,
    };
    let mut url = url.clone();
    if url.scheme() == "http" && !loopback && url.set_scheme("https").is_err() {
        tracing::warn!("{url} cannot be reached by TLS");
    }
    url
}

/// Checks whether a login was refused in the way of a server that has not seen a certificate.
#[cfg(feature = "openssl")]
const fn without_certificate(error: &HubError) -> bool {
    matches!(error, HubError::Handshake { .. } | HubError::Denied { .. } | HubError::Status { status: 403, .. })
}

/// Returns how the server refused a login if it never asked for a certificate. `None` if it may
/// have refused for another reason.
#[cfg(feature = "openssl")]
fn unseen_certificate(error: &HubError) -> Option<String> {
    match error {
        HubError::Status { status: 403, .. } => Some("HTTP 403".to_owned()),
        // Koji's error for a connection without a certificate.
        HubError::Denied { fault, .. } if fault.message.contains("NONE") => Some(fault.message.clone()),
        _ => None,
    }
}

impl HubClient {
    /// Returns the address for sessions.
    pub(crate) fn session_url(&self) -> Url {
        secure(self.url())
    }

    /// Logs in and returns the session.
    pub(crate) async fn log_in(&self, attempts: &mut Attempts<'_>) -> Result<Login, HubError> {
        let settings = self.settings();
        let http = match &settings.auth {
            Auth::Anonymous => return Err(SettingsError::NoLogin { server: settings.server.clone() }.into()),
            Auth::Certificate { .. } => connections(settings, &settings.auth)?,
            Auth::Gssapi { .. } => {
                check_environment(&settings.auth, |name| std::env::var(name).ok())?;
                self.http().clone()
            }
        };
        let body: Body = self.encode(&ssl_login().call)?.into();
        loop {
            let error = match self.log_in_either_way(&http, &body, attempts).await {
                Ok(grant) => return self.granted(grant, http),
                Err(error) => error,
            };
            if !attempts.again(&error).await {
                return Err(error);
            }
        }
    }

    /// Sends one login. Many web servers ask for a certificate only after they have seen that the
    /// request is a login, which needs `Way::Renegotiating`. So if the usual way is refused,
    /// tries that way, too.
    async fn log_in_either_way(
        &self,
        http: &Client,
        body: &Body,
        attempts: &Attempts<'_>,
    ) -> Result<SessionGrant, HubError> {
        #[cfg(feature = "openssl")]
        if matches!(self.settings().auth, Auth::Certificate { .. }) && self.session_url().scheme() == "https" {
            if self.renegotiates() {
                return self.log_in_once(Way::Renegotiating, body, attempts).await;
            }
            let refused = match self.log_in_once(Way::Pool(http), body, attempts).await {
                Err(error) if without_certificate(&error) => error,
                other => return other,
            };
            return match self.log_in_once(Way::Renegotiating, body, attempts).await {
                Ok(grant) => {
                    self.note_renegotiation();
                    Ok(grant)
                }
                // The hub itself answered, so its fault counts.
                Err(error) if error.fault().is_some() => Err(error),
                Err(HubError::PostHandshake { at, .. }) if unseen_certificate(&refused).is_some() => {
                    Err(HubError::PostHandshake { at, refused: unseen_certificate(&refused).unwrap_or_default() })
                }
                Err(_) => Err(refused),
            };
        }
        self.log_in_once(Way::Pool(http), body, attempts).await
    }

    async fn log_in_once(&self, way: Way<'_>, body: &Body, attempts: &Attempts<'_>) -> Result<SessionGrant, HubError> {
        let settings = self.settings();
        let mut url = self.session_url();
        url.set_path(&format!("{}/ssllogin", url.path()));
        let mut headers = HeaderMap::new();
        let negotiation = match &settings.auth {
            Auth::Gssapi { principal, .. } => Some(self.negotiate(principal.as_deref(), &url).await?),
            Auth::Anonymous | Auth::Certificate { .. } => None,
        };
        if let Some((token, _)) = &negotiation {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let limit = attempts.limit(settings.auth_timeout);
        let request = Request { at: self.at(LOGIN), url, headers, body: body.to_request(), limit };
        let answer = self.exchange(way, request).await?;
        let value = answer.value.map_err(|fault| {
            let at = self.at(LOGIN);
            match fault.kind() {
                FaultKind::Auth | FaultKind::AuthLock | FaultKind::Gssapi => {
                    HubError::Denied { at, fault, hint: self.login_hint() }
                }
                _ => HubError::from_fault(at, fault),
            }
        })?;
        if let (Some((_, negotiation)), Some(token)) = (negotiation, answer.negotiate) {
            self.check_server(negotiation, token).await?;
        }
        self.read(&ssl_login(), &value)
    }

    fn granted(&self, grant: SessionGrant, http: Client) -> Result<Login, HubError> {
        let mut key = HeaderValue::from_str(&grant.key).map_err(|_| {
            let error = ShapeError::new("a key that fits into a header", &Value::Text(String::new()));
            self.strange(error.in_member("session-key"))
        })?;
        key.set_sensitive(true);
        if !grant.header_auth {
            let lacks = "its sessions are not carried by headers, which Koji can since 1.31";
            return Err(HubError::TooOld { at: self.at(LOGIN), lacks });
        }
        Ok(Login { id: grant.id, key, http, next: 0 })
    }

    fn strange(&self, error: ShapeError) -> HubError {
        HubError::Shape { at: self.at(LOGIN), source: error.in_answer_to(LOGIN) }
    }
}

#[cfg(feature = "gssapi")]
impl HubClient {
    /// Returns the header that proves who we are, and the state to check who the server is.
    async fn negotiate(
        &self,
        principal: Option<&str>,
        url: &Url,
    ) -> Result<(HeaderValue, gssapi::Negotiation), HubError> {
        let principal = principal.map(str::to_owned);
        let host = url.host_str().unwrap_or_default().to_owned();
        let begun = tokio::task::spawn_blocking(move || gssapi::Negotiation::begin(principal.as_deref(), &host)).await;
        let (token, negotiation) = self.kerberos(begun)?;
        let mut header = HeaderValue::from_str(&format!("Negotiate {token}"))
            .map_err(|_| self.kerberos_trouble(GssError::new("the token does not fit into a header")))?;
        header.set_sensitive(true);
        Ok((header, negotiation))
    }

    /// Checks whether the server has proved its identity.
    async fn check_server(&self, negotiation: gssapi::Negotiation, token: String) -> Result<(), HubError> {
        let checked = tokio::task::spawn_blocking(move || negotiation.finish(&token)).await;
        self.kerberos(checked)
    }

    fn kerberos<T>(&self, done: Result<Result<T, GssError>, tokio::task::JoinError>) -> Result<T, HubError> {
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.kerberos_trouble(error)),
            Err(stopped) => Err(self.kerberos_trouble(GssError::new(&stopped.to_string()))),
        }
    }

    fn kerberos_trouble(&self, error: GssError) -> HubError {
        let (problem, unreachable) = (error.to_string(), error.no_kdc());
        HubError::Kerberos { at: self.at(LOGIN), problem, hint: self.login_hint(), unreachable }
    }
}

#[cfg(not(feature = "gssapi"))]
impl HubClient {
    async fn negotiate(&self, _: Option<&str>, _: &Url) -> Result<(HeaderValue, ()), HubError> {
        Err(SettingsError::NoGssapi.into())
    }

    async fn check_server(&self, (): (), _: String) -> Result<(), HubError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::far("http://koji.example.org/kojihub", "https://koji.example.org/kojihub")]
    #[case::already("https://koji.example.org/kojihub", "https://koji.example.org/kojihub")]
    #[case::port("http://koji.example.org:8080/kojihub", "https://koji.example.org:8080/kojihub")]
    #[case::here("http://localhost:8080/kojihub", "http://localhost:8080/kojihub")]
    #[case::here_by_number("http://127.0.0.1:8080/kojihub", "http://127.0.0.1:8080/kojihub")]
    #[case::here_by_long_number("http://[::1]:8080/kojihub", "http://[::1]:8080/kojihub")]
    fn sessions_are_not_spoken_in_the_open(#[case] server: &str, #[case] expected: &str) {
        assert_eq!(secure(&Url::parse(server).unwrap()).as_str(), expected);
    }

    #[test]
    fn the_environment_must_name_the_files() {
        let auth = Auth::Gssapi {
            principal: None,
            keytab: Some("/etc/koschei.keytab".into()),
            ccache: Some("FILE:/run/cc".to_owned()),
        };
        let environment = |keytab: &'static str, ccache: &'static str| {
            move |name: &str| match name {
                "KRB5_CLIENT_KTNAME" => Some(keytab.to_owned()),
                "KRB5CCNAME" => Some(ccache.to_owned()),
                _ => None,
            }
        };
        assert!(check_environment(&auth, environment("FILE:/etc/koschei.keytab", "/run/cc")).is_ok());
        let error = check_environment(&auth, environment("/etc/krb5.keytab", "/run/cc")).unwrap_err();
        let expected =
            "log in with Kerberos: start the program with KRB5_CLIENT_KTNAME=/etc/koschei.keytab in its environment";
        assert_eq!(error.to_string(), expected);
        assert!(check_environment(&auth, |_| None).is_err());
        assert!(check_environment(&Auth::Anonymous, |_| None).is_ok());
        let default = Auth::Gssapi { principal: None, keytab: None, ccache: None };
        assert!(check_environment(&default, |_| None).is_ok(), "what is not set is left to the system");
    }
}
