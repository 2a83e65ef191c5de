//! Logging in and out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, Response};
use maud::html;
use serde::Deserialize;

use super::form::{cookie, go, is_of_session, is_ours, within};
use super::oidc::Attempt;
use super::who::{By, COOKIE, Identity, NAME_BYTES_MAX, TEAMS_MAX};
use crate::base::clock;
use crate::base::secret::{self, Secret};
use crate::log::{Credential, CredentialKind, Credentials as _, LogError};
use crate::model::Timestamp;
use crate::web::parts::AsOf;
use crate::web::refusal::Refusal;
use crate::web::reply::{Asked, Content, refuse, reply};
use crate::web::{Site, links};

/// Name of the cookie that ties an attempt to a browser.
const ATTEMPT_COOKIE: &str = "koschei_login";
/// How long an attempt may take, in seconds.
const ATTEMPT_SECS: i64 = 600;
/// Most attempts at a time. The oldest go first.
const ATTEMPTS_MAX: usize = 1_000;

/// Logins that were begun at the provider, by the hash of the browser's cookie. Each can be ended
/// once.
#[derive(Debug, Default)]
pub(super) struct Begun(Mutex<HashMap<String, BegunLogin>>);

#[derive(Debug)]
struct BegunLogin {
    attempt: Attempt,
    next: String,
    at: Timestamp,
}

impl Begun {
    fn put(&self, hash: String, attempt: Attempt, next: String, now: Timestamp) {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|_, b| now < b.at.plus_secs(ATTEMPT_SECS));
        if begun.len() >= ATTEMPTS_MAX {
            let oldest = begun.iter().min_by_key(|(_, b)| b.at).map(|(hash, _)| hash.clone());
            oldest.map(|hash| begun.remove(&hash));
        }
        begun.insert(hash, BegunLogin { attempt, next, at: now });
    }

    fn take(&self, hash: &str, now: Timestamp) -> Option<(Attempt, String)> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hash)?;
        (now < found.at.plus_secs(ATTEMPT_SECS)).then_some((found.attempt, found.next))
    }
}

/// Where to go on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Next {
    next: String,
}

/// `/login`: the ways to log in.
pub(super) async fn page(
    State(site): State<Site>,
    asked: Asked,
    who: Identity,
    query: Result<Query<Next>, QueryRejection>,
) -> Response<Body> {
    let made = reply(&site, &asked, async {
        asked.only(&["next"])?;
        let next = within(&query?.0.next);
        let status = site.follower.status();
        let (provider, proxy) = (site.people.oidc().is_some(), site.people.settings().proxy.is_some());
        let body = html! {
            h1 { "Log in" }
            @if let Some(person) = who.person() {
                p { "You are logged in as " (person.name) ". " a href="/account" { "Your account" } }
            }
            p { "Reading needs no login." }
            @if !site.people.opens() { p { "Nobody can log in here: these pages only show a log." } }
            @if provider {
                p {
                    a href=(links::with_query("/login/start", &[("next", &next)])) {
                        "Log in with the provider of this site"
                    }
                }
            }
            @if proxy { p { "A proxy in front of this site logs people in. It has its own page for that." } }
            @if site.people.opens() {
                h2 { "With a token" }
                p { "The operator makes one with " code { "koschei admin token make NAME" } "." }
                form method="post" action="/login/token" {
                    input type="hidden" name="next" value=(next);
                    label { "Token " input type="password" name="token" maxlength="200" autocomplete="off" required; }
                    button { "Log in" }
                }
            }
        };
        Ok((AsOf { seq: status.seq, at: status.recorded_at }, Content::Html { title: "Log in".to_owned(), body }))
    });
    private(made.await)
}

/// Keeps a page that is for one person out of caches.
pub(super) fn private(mut response: Response<Body>) -> Response<Body> {
    use axum::http::{HeaderValue, header};
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(header::ETAG);
    response
}

/// Returns a response, or says why there is none. Neither is for caches.
pub(super) async fn answer(
    site: &Site,
    asked: &Asked,
    made: impl Future<Output = Result<Response<Body>, Refusal>>,
) -> Response<Body> {
    made.await.unwrap_or_else(|refusal| private(refuse(&site.follower.status(), asked, refusal)))
}

/// What the form with a token has.
#[derive(Deserialize)]
pub(super) struct TokenForm {
    token: String,
    #[serde(default)]
    next: String,
}

/// `/login/token`: makes a session for the person of a token.
pub(super) async fn token(
    State(site): State<Site>,
    asked: Asked,
    headers: HeaderMap,
    form: Result<Form<TokenForm>, FormRejection>,
) -> Response<Body> {
    answer(&site, &asked, async {
        is_ours(&headers, site.people.settings())?;
        if !site.people.opens() {
            return Err(Refusal::Forbidden("nobody can log in here: these pages only show a log".to_owned()));
        }
        let form = form?.0;
        let found = site.log.credential(CredentialKind::Token, &secret::hash(form.token.trim()), clock::now()).await;
        let Some(token) = found.map_err(LogError::from)? else {
            return Err(Refusal::Forbidden("there is no such token, or it has ended".to_owned()));
        };
        if !token.scopes.iter().any(|scope| scope == crate::log::credentials::Scope::Admin.as_str()) {
            let why = "the token has not the scope `admin`, which a login needs: it may do everything its person may";
            return Err(Refusal::Forbidden(why.to_owned()));
        }
        let session = begin(&site, token.person, token.teams).await?;
        Ok(go(&within(&form.next), &[session]))
    })
    .await
}

/// Makes a session, always a new one, and returns its cookie.
async fn begin(site: &Site, person: String, teams: Vec<String>) -> Result<String, Refusal> {
    let (settings, now, secret) = (site.people.settings(), clock::now(), Secret::draw());
    let session = Credential {
        id: secret.id.clone(),
        kind: CredentialKind::Session,
        person,
        label: String::new(),
        teams,
        scopes: Vec::new(),
        made_at: now,
        expires_at: now.plus_secs(settings.session_secs),
    };
    site.log.put_credential(&session, &secret.hash).await.map_err(LogError::from)?;
    tracing::info!(session = %session.id, "a login began");
    Ok(cookie(COOKIE, Some(&secret.text), settings.session_secs, settings))
}

/// `/login/start`: sends the browser to the provider.
pub(super) async fn start(
    State(site): State<Site>,
    asked: Asked,
    query: Result<Query<Next>, QueryRejection>,
) -> Response<Body> {
    answer(&site, &asked, async {
        let settings = site.people.settings();
        let (next, oidc) = (within(&query?.0.next), site.people.oidc());
        let oidc = oidc.ok_or_else(|| Refusal::not_found("this site has no provider of logins"))?;
        let (address, attempt) = oidc.begin().await?;
        let browser = Secret::draw();
        site.people.begun().put(browser.hash, attempt, next, clock::now());
        Ok(go(&address, &[cookie(ATTEMPT_COOKIE, Some(&browser.text), ATTEMPT_SECS, settings)]))
    })
    .await
}

/// What the provider sends back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Returned {
    code: String,
    state: String,
    error: String,
    error_description: String,
}

/// `/login/callback`: where the provider sends the browser back to.
pub(super) async fn callback(
    State(site): State<Site>,
    asked: Asked,
    headers: HeaderMap,
    query: Result<Query<Returned>, QueryRejection>,
) -> Response<Body> {
    answer(&site, &asked, async {
        let (settings, returned) = (site.people.settings(), query?.0);
        let oidc = site.people.oidc().ok_or_else(|| Refusal::not_found("this site has no provider of logins"))?;
        let browser = super::who::cookie(&headers, ATTEMPT_COOKIE).unwrap_or_default();
        let begun = site.people.begun().take(&secret::hash(browser), clock::now());
        let again = "the login was not begun in this browser, took longer than ten minutes, or was ended before; log \
            in again";
        let (attempt, next) = begun.ok_or_else(|| Refusal::Forbidden(again.to_owned()))?;
        if !secret::same(attempt.state(), &returned.state) {
            return Err(Refusal::Forbidden(again.to_owned()));
        }
        if !returned.error.is_empty() {
            let why = crate::view::text::one_line(&format!("{} {}", returned.error, returned.error_description), 200);
            return Err(Refusal::Forbidden(format!("the provider does not let you in: {why}")));
        }
        let known = oidc.end(attempt, returned.code).await?;
        let name = known.name;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(Refusal::Forbidden("the provider names you in a way that cannot be used here".to_owned()));
        }
        let teams = known.teams.into_iter().filter(|team| team.len() <= NAME_BYTES_MAX).take(TEAMS_MAX).collect();
        let session = begin(&site, name, teams).await?;
        Ok(go(&next, &[session, cookie(ATTEMPT_COOKIE, None, 0, settings)]))
    })
    .await
}

/// The mark of a form.
#[derive(Deserialize)]
pub(super) struct Marked {
    form: String,
}

/// `/logout`: ends the session.
pub(super) async fn logout(
    State(site): State<Site>,
    asked: Asked,
    who: Identity,
    headers: HeaderMap,
    form: Result<Form<Marked>, FormRejection>,
) -> Response<Body> {
    answer(&site, &asked, async {
        is_ours(&headers, site.people.settings())?;
        is_of_session(&who, &form?.0.form)?;
        if let Some(person) = who.person()
            && let By::Session { id, .. } = &person.by
        {
            site.log.revoke(id, Some(&person.name)).await.map_err(LogError::from)?;
        }
        Ok(go("/login", &[cookie(COOKIE, None, 0, site.people.settings())]))
    })
    .await
}

impl From<FormRejection> for Refusal {
    fn from(rejection: FormRejection) -> Self {
        Self::BadRequest(format!("the form is not understood: {}", rejection.body_text()))
    }
}
