//! Finds out who asks.
//!
//! A token counts before a session, a session before the proxy. A wrong token or session is nobody:
//! it never falls back to something weaker than what was claimed.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::super::Site;
use crate::base::clock;
use crate::base::listen::Peer;
use crate::base::secret;
use crate::log::{Credential, CredentialKind, Credentials as _};
use crate::model::causes::with_causes;

/// Name of the cookie with a session's secret.
pub(super) const COOKIE: &str = "koschei_session";
/// Longest name of a person, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 200;
/// Most teams of a person that count.
pub(super) const TEAMS_MAX: usize = 500;
/// Purpose of the mark that forms of a session carry.
const FORM: &str = "koschei 2026-12-01 form of a session";

/// How a person is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::web) enum By {
    /// A session: its id, and the mark that its forms carry.
    Session { id: String, form: String },
    /// A token: what it may be used for.
    Token { scopes: Vec<String> },
    /// The proxy.
    Proxy,
}

/// A person who is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::web) struct Person {
    pub(in crate::web) name: String,
    pub(in crate::web) teams: Vec<String>,
    pub(in crate::web) is_admin: bool,
    pub(in crate::web) by: By,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::web) enum Identity {
    /// Somebody who is not known.
    Unknown,
    /// A person.
    Person(Arc<Person>),
}

impl Identity {
    /// Returns the person, if one is known.
    pub(in crate::web) fn person(&self) -> Option<&Person> {
        match self {
            Self::Unknown => None,
            Self::Person(person) => Some(person),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or(Self::Unknown))
    }
}

/// Finds out who asks, before anything else looks at the request.
pub(in crate::web) async fn known(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let identity = of(&site, request.headers(), peer).await;
    request.extensions_mut().insert(identity);
    next.run(request).await
}

async fn of(site: &Site, headers: &HeaderMap, peer: Option<Peer>) -> Identity {
    if let Some(token) = bearer(headers) {
        return by_credential(site, CredentialKind::Token, token).await;
    }
    if let Some(session) = cookie(headers, COOKIE) {
        return by_credential(site, CredentialKind::Session, session).await;
    }
    by_proxy(site, headers, peer)
}

/// Returns the token that a request carries.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns the value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|v| v.to_str().ok());
    let pairs = all.flat_map(|v| v.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(of, _)| *of == name).map(|(_, value)| value).find(|value| !value.is_empty())
}

/// Returns the mark that the forms of a session carry.
pub(super) fn form_mark(session: &str) -> String {
    secret::derived(session, FORM)
}

async fn by_credential(site: &Site, kind: CredentialKind, text: &str) -> Identity {
    match site.log.credential(kind, &secret::hash(text), clock::now()).await {
        Ok(Some(found)) => Identity::Person(Arc::new(person(site, found, text))),
        Ok(None) => Identity::Unknown,
        Err(error) => {
            tracing::warn!(error = %with_causes(&error), "who asks could not be found out, so it counts as nobody");
            Identity::Unknown
        }
    }
}

fn person(site: &Site, found: Credential, text: &str) -> Person {
    let by = match found.kind {
        CredentialKind::Session => By::Session { id: found.id, form: form_mark(text) },
        CredentialKind::Token => By::Token { scopes: found.scopes },
    };
    let is_admin = site.people.settings().is_admin(&found.person, &found.teams);
    Person { name: found.person, teams: found.teams, is_admin, by }
}

fn by_proxy(site: &Site, headers: &HeaderMap, peer: Option<Peer>) -> Identity {
    let settings = site.people.settings();
    let Some(proxy) = &settings.proxy else { return Identity::Unknown };
    if !peer.is_some_and(|Peer(address)| proxy.addresses.contains(&address)) {
        return Identity::Unknown;
    }
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let name = text(&proxy.header).trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Identity::Unknown;
    }
    let teams = proxy.teams_header.as_ref().map(text).unwrap_or_default();
    let teams: Vec<String> =
        teams.split(',').map(str::trim).filter(|t| !t.is_empty()).take(TEAMS_MAX).map(str::to_owned).collect();
    let is_admin = settings.is_admin(name, &teams);
    Identity::Person(Arc::new(Person { name: name.to_owned(), teams, is_admin, by: By::Proxy }))
}
