//! Sends one HTTP request and reads its answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use rustls::{AlertDescription, CertificateError};
use tokio::time::Instant;

use super::error::{At, HubError, Wait};
use super::observer::CallOutcome;
use super::settings::{Auth, HubSettings, SettingsError};
use super::{HubClient, tls};
use crate::koji::xmlrpc::{Fault, Value, decode_response};
use crate::model::{Class, Classified};

/// Maximum length of an excerpt of an unusable answer, in bytes.
const MAX_EXCERPT: usize = 200;

/// Maximum number of bytes read of an unusable answer. This is enough to find text between HTML
/// tags.
const MAX_ERROR_BODY: usize = 4096;

/// Answers larger than this, in bytes, are decoded on a separate thread.
const LARGE: usize = 256 << 10;

/// How long an unused connection is kept. This is shorter than usual for web servers (Apache: 5 s),
/// so that few requests meet a closed connection.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// A hub's answer.
pub(crate) struct Answer {
    /// The value or fault.
    pub(crate) value: Result<Value, Fault>,
    /// The token of `WWW-Authenticate: Negotiate`.
    pub(crate) negotiate: Option<String>,
}

/// A request.
pub(crate) struct Request {
    /// The call, for errors and counting.
    pub(crate) at: At,
    /// The address.
    pub(crate) url: Url,
    /// Additional headers.
    pub(crate) headers: HeaderMap,
    /// The request's body.
    pub(crate) body: reqwest::Body,
    /// Maximum time for the whole request.
    pub(crate) limit: Duration,
}

/// Which connection a request uses.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// A connection of a pool.
    Pool(&'a Client),
    /// A connection of its own, on which the server may ask for the client certificate after it has
    /// seen the request.
    #[cfg(feature = "openssl")]
    Renegotiating,
}

/// Returns a pool of connections.
///
/// # Errors
/// Returns a [`SettingsError`] (rejected) if the certificates cannot be used.
pub(crate) fn connections(settings: &HubSettings, auth: &Auth) -> Result<Client, SettingsError> {
    let config = tls::client_config(settings.serverca.as_deref(), auth)?;
    Client::builder()
        .tls_backend_preconfigured(config)
        .user_agent(&settings.user_agent)
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(KEEP_ALIVE)
        .build()
        .map_err(|error| SettingsError::Tls { problem: root(&error) })
}

/// Returns the innermost cause of an error, which has the most useful text.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

impl HubClient {
    /// Sends a request once, and reads the answer.
    pub(crate) async fn exchange(&self, way: Way<'_>, request: Request) -> Result<Answer, HubError> {
        if let Some(pace) = &self.inner.pace {
            pace.turn().await;
        }
        let (at, limit) = (request.at.clone(), request.limit);
        self.inner.requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let began = Instant::now();
        let sent = tokio::time::timeout(limit, self.send(way, request)).await;
        let answer = sent.unwrap_or_else(|_| Err(HubError::Timeout { at: at.clone(), wait: Wait::Answer, limit }));
        self.inner.observer.on_call(&at.method, CallOutcome::of(&answer), began.elapsed().as_secs_f64());
        answer
    }

    async fn send(&self, way: Way<'_>, mut request: Request) -> Result<Answer, HubError> {
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
        let at = request.at.clone();
        let response = match way {
            Way::Pool(http) => {
                let Request { url, headers, body, .. } = request;
                let sent = http.post(url).headers(headers).body(body).send().await;
                sent.map_err(|error| self.broken(&at, &error))?
            }
            #[cfg(feature = "openssl")]
            Way::Renegotiating => self.post_renegotiating(request).await?,
        };
        if let Some(version) = response.headers().get("koji-version").and_then(|version| version.to_str().ok()) {
            self.inner.note_version(version);
        }
        match response.status() {
            StatusCode::OK => {}
            status => return Err(self.refused(at, status, response).await),
        }
        let negotiate = negotiate(response.headers());
        let body = self.body(&at, response).await?;
        let value = self.decode(at, body).await?;
        Ok(Answer { value, negotiate })
    }

    /// Reads the body piece by piece, up to the limit.
    async fn body(&self, at: &At, mut response: Response) -> Result<Vec<u8>, HubError> {
        let limit = self.inner.settings.max_response;
        let too_large = || HubError::TooLarge { at: at.clone(), limit };
        let announced = response.content_length().map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
        if announced > limit {
            return Err(too_large());
        }
        let mut body = Vec::with_capacity(announced.min(LARGE));
        while let Some(piece) = self.piece(at, &mut response).await? {
            let piece = piece.as_ref();
            if body.len().saturating_add(piece.len()) > limit {
                return Err(too_large());
            }
            body.extend_from_slice(piece);
        }
        Ok(body)
    }

    async fn piece(&self, at: &At, response: &mut Response) -> Result<Option<impl AsRef<[u8]> + use<>>, HubError> {
        let limit = self.inner.settings.idle_timeout;
        match tokio::time::timeout(limit, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(self.broken(at, &error)),
            Err(_) => Err(HubError::Timeout { at: at.clone(), wait: Wait::Piece, limit }),
        }
    }

    async fn decode(&self, at: At, body: Vec<u8>) -> Result<Result<Value, Fault>, HubError> {
        let trimmed = body.trim_ascii();
        let begins_right = trimmed.starts_with(b"<?xml") || trimmed.starts_with(b"<methodResponse");
        // XHTML also begins with an XML declaration.
        if !begins_right || !contains(trimmed.get(..MAX_ERROR_BODY).unwrap_or(trimmed), b"<methodResponse") {
            // An answer that was cut off within its first element looks like the beginning of a
            // real one.
            if begins_right && trimmed.len() < MAX_EXCERPT && !contains(trimmed, b"<!DOCTYPE") {
                return Err(HubError::CutOff { at, bytes: body.len() });
            }
            return Err(HubError::NotAHub { at, excerpt: excerpt(trimmed) });
        }
        if !trimmed.ends_with(b"</methodResponse>") {
            return Err(HubError::CutOff { at, bytes: body.len() });
        }
        let decoded = if body.len() > LARGE {
            match tokio::task::spawn_blocking(move || decode_response(&body)).await {
                Ok(decoded) => decoded,
                Err(stopped) => return Err(HubError::Lost { at, cause: stopped.to_string() }),
            }
        } else {
            decode_response(&body)
        };
        decoded.map_err(|source| HubError::Malformed { at, source: Arc::new(source) })
    }

    /// Turns an HTTP status other than 200 into an error.
    async fn refused(&self, at: At, status: StatusCode, mut response: Response) -> HubError {
        let header = |name| {
            let value = response.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            String::from_utf8_lossy(value).chars().take(MAX_EXCERPT).collect::<String>()
        };
        if status.is_redirection() {
            return HubError::Redirect { at, status: status.as_u16(), to: header(LOCATION) };
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = header(WWW_AUTHENTICATE);
            return HubError::Unauthorized { at, scheme, hint: self.login_hint() };
        }
        let mut body = Vec::new();
        // If the body cannot be read, the excerpt just stays short.
        while body.len() < MAX_ERROR_BODY
            && let Ok(Some(piece)) = self.piece(&at, &mut response).await
        {
            let piece = piece.as_ref();
            body.extend_from_slice(piece.get(..MAX_ERROR_BODY).unwrap_or(piece));
        }
        HubError::Status { at, status: status.as_u16(), excerpt: excerpt(&body) }
    }

    /// Turns a missing answer into an error.
    fn broken(&self, at: &At, error: &reqwest::Error) -> HubError {
        let (at, cause) = (at.clone(), root(error));
        if let Some(complaint) = tls::complaint(error) {
            let cause = complaint.to_string();
            match complaint {
                rustls::Error::InvalidCertificate(reason) => {
                    return HubError::Untrusted { at, cause, hint: self.trust_hint(reason) };
                }
                rustls::Error::AlertReceived(
                    AlertDescription::CertificateRequired
                    | AlertDescription::HandshakeFailure
                    | AlertDescription::BadCertificate
                    | AlertDescription::CertificateExpired
                    | AlertDescription::CertificateRevoked
                    | AlertDescription::CertificateUnknown
                    | AlertDescription::UnknownCA
                    | AlertDescription::UnsupportedCertificate
                    | AlertDescription::DecryptError
                    | AlertDescription::AccessDenied
                    | AlertDescription::NoRenegotiation,
                ) => return HubError::Handshake { at, cause, hint: self.login_hint() },
                _ => {}
            }
        }
        if error.is_connect() {
            return if error.is_timeout() {
                HubError::Timeout { at, wait: Wait::Connection, limit: self.inner.settings.connect_timeout }
            } else {
                HubError::Connect { at, cause }
            };
        }
        HubError::Lost { at, cause }
    }

    fn trust_hint(&self, reason: &CertificateError) -> String {
        match (&self.inner.settings.serverca, reason) {
            (_, CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                "the hub needs a new one, or a clock is wrong".to_owned()
            }
            (_, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
                "is `server` the name the certificate was made for?".to_owned()
            }
            (Some(path), _) => format!("is the authority that signed it in {} (`serverca`)?", path.display()),
            (None, _) => {
                "set `serverca` to a PEM file with the authority that signed it, or have the system trust it".to_owned()
            }
        }
    }

    /// Returns a hint on what to check if a login fails.
    pub(crate) fn login_hint(&self) -> String {
        match &self.inner.settings.auth {
            Auth::Anonymous => "no login is configured (`authtype`)".to_owned(),
            Auth::Certificate { cert, .. } => {
                format!(
                    "is the certificate in {} valid, known to the hub, and taken by its web server?",
                    cert.display()
                )
            }
            Auth::Gssapi { principal, .. } => {
                let who = principal.as_deref().unwrap_or("the default principal");
                format!("is there a valid ticket or keytab for {who}, and does the hub know the principal?")
            }
        }
    }
}

/// Returns the token of `WWW-Authenticate: Negotiate …`.
fn negotiate(headers: &HeaderMap) -> Option<String> {
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("negotiate").then(|| token.trim().to_owned())
    })
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// Returns the beginning of a text on one line, without HTML tags.
fn excerpt(body: &[u8]) -> String {
    let (mut text, mut inside) = (String::new(), false);
    for c in String::from_utf8_lossy(body).chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            _ if inside => {}
            c => text.push(c),
        }
    }
    let mut excerpt = String::new();
    for word in text.split_whitespace() {
        if excerpt.len() + word.len() > MAX_EXCERPT {
            excerpt.push('…');
            break;
        }
        if !excerpt.is_empty() {
            excerpt.push(' ');
        }
        excerpt.extend(word.chars().filter(|c| !c.is_control()));
    }
    excerpt
}

impl CallOutcome {
    fn of(answer: &Result<Answer, HubError>) -> Self {
        match answer {
            Ok(Answer { value: Ok(_), .. }) => Self::Ok,
            Ok(Answer { value: Err(fault), .. }) if fault.kind() == crate::koji::FaultKind::Offline => Self::Offline,
            Ok(Answer { value: Err(_), .. }) => Self::Fault,
            Err(error) if error.class() == Class::Unavailable => Self::Unavailable,
            Err(_) => Self::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("unable to parse request\n", "unable to parse request")]
    #[case::page(
        "<html><head><title>503 Busy</title></head>\n<body><p>Come  back</p></body></html>",
        "503 Busy Come back"
    )]
    #[case::nothing("", "")]
    #[case::control("a\u{1b}[31mb", "a[31mb")]
    fn what_is_no_answer_is_shown_in_short(#[case] body: &str, #[case] expected: &str) {
        assert_eq!(excerpt(body.as_bytes()), expected);
        assert!(excerpt("word ".repeat(1000).as_bytes()).len() <= MAX_EXCERPT + 4);
        assert!(excerpt("x".repeat(1000).as_bytes()).len() <= MAX_EXCERPT + 4);
    }

    #[test]
    fn the_token_is_found_among_other_offers() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"x\""));
        assert_eq!(negotiate(&headers), None);
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("negotiate YII="));
        assert_eq!(negotiate(&headers).as_deref(), Some("YII="));
    }
}
