//! The format a request wants, and the reply it gets: a page, JSON, "not modified", or a refusal.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use maud::{Markup, html};

use super::follower::Status;
use super::parts::{AsOf, Moment, layout};
use super::refusal::{Refusal, short};
use super::view::View;
use super::{Site, links};
use crate::base::clock;
use crate::model::Seq;
use crate::model::nearest::did_you_mean;
use crate::view::text::capitalised;

/// Longest query of an address, in bytes.
const QUERY_BYTES_MAX: usize = 2_000;

/// What pages may load: our stylesheet and our icon. No script is allowed.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// How a request asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Whether it asks for JSON: with `?json=1`, or because it accepts JSON and not HTML.
    pub(super) json: bool,
    known: Option<String>,
    too_long: bool,
    /// Names of the parameters, as written.
    names: Vec<String>,
    /// The value of `json` if it is neither 1 nor absent.
    odd_json: Option<String>,
    /// As of when, as written.
    pub(super) as_of: Option<String>,
    /// The address without `as_of`.
    pub(super) here: String,
}

impl Asked {
    /// Checks that there are no parameters but these and `json=1`. A parameter that is silently
    /// ignored would look as if it had worked.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        if let Some(odd) = &self.odd_json {
            return Err(Refusal::BadRequest(format!("`json` must be 1 or absent, not `{}`", short(odd))));
        }
        let mut all = known.to_vec();
        all.push("json");
        if links::shows_state(&self.here) {
            all.push("as_of");
        }
        let Some(unknown) = self.names.iter().find(|n| !all.contains(&n.as_str())) else { return Ok(()) };
        let hint = did_you_mean(unknown, all.iter().copied());
        let names = if all.len() == 1 { "only json=1".to_owned() } else { all.join(", ") };
        Err(Refusal::BadRequest(format!("there is no parameter `{}`: this page takes {names}{hint}", short(unknown))))
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = |name: HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let accepted = text(header::ACCEPT);
        let parameters = || query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")));
        let others = parameters().filter(|(name, _)| *name != "as_of").map(|(name, value)| format!("{name}={value}"));
        let others = others.collect::<Vec<_>>().join("&");
        let path = parts.uri.path();
        Ok(Self {
            json: query.split('&').any(|p| p == "json=1")
                || (accepted.contains("application/json") && !accepted.contains("text/html")),
            known: Some(text(header::IF_NONE_MATCH).to_owned()).filter(|k| !k.is_empty()),
            too_long: query.len() > QUERY_BYTES_MAX,
            names: parameters().map(|(name, _)| name.to_owned()).collect(),
            odd_json: parameters().find(|(n, v)| *n == "json" && *v != "1").map(|(_, v)| v.to_owned()),
            as_of: moment(&parts.uri),
            here: if others.is_empty() { path.to_owned() } else { format!("{path}?{others}") },
        })
    }
}

/// Returns the value of `as_of` in an address.
fn moment(uri: &Uri) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct AsOfOnly {
        as_of: String,
    }
    let written = uri.query()?.split('&').find(|part| part.split('=').next() == Some("as_of"))?;
    let alone: Uri = format!("/?{written}").parse().ok()?;
    // What is not text is no moment, and is refused as one.
    let read = Query::<AsOfOnly>::try_from_uri(&alone).map(|Query(only)| only.as_of);
    Some(read.unwrap_or_else(|_| written.to_owned()))
}

impl Site {
    /// Makes something from the state as of the moment that a request asks for.
    pub(super) async fn look_as_of<T: Send + 'static>(
        &self,
        asked: &Asked,
        look: impl FnOnce(&View) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let moment = self.moment(asked.as_of.as_deref()).await?;
        self.look_at(moment, look).await
    }
}

/// The content of a reply.
pub(super) enum Content {
    Html { title: String, body: Markup },
    Json(String),
}

impl Content {
    pub(super) fn json(value: &impl serde::Serialize) -> Self {
        Self::Json(serde_json::to_string(value).expect("a reply is valid JSON"))
    }
}

/// Makes the reply. `content` is only awaited if the state is known and the client does not have
/// the result already.
pub(super) async fn reply(
    site: &Site,
    asked: &Asked,
    content: impl Future<Output = Result<(AsOf, Content), Refusal>>,
) -> Response<Body> {
    let status = site.follower.status();
    if asked.too_long {
        return refuse(
            &status,
            asked,
            Refusal::BadRequest(format!("the address is longer than {QUERY_BYTES_MAX} bytes")),
        );
    }
    if !status.caught_up {
        return refuse(&status, asked, Refusal::NotYet);
    }
    let now = AsOf { seq: status.seq, at: status.recorded_at };
    if asked.as_of.is_none()
        && asked.known.as_deref().is_some_and(|k| k.split(',').any(|k| k.trim() == tag(&status, asked, now)))
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        cache(&mut response, &tag(&status, asked, now));
        return response;
    }
    match content.await {
        Ok((as_of, content)) => {
            let mut response = match content {
                Content::Json(text) => body(StatusCode::OK, "application/json", text + "\n"),
                Content::Html { title, body: main } => {
                    let moment = Moment { as_of, here: &asked.here, is_past: asked.as_of.is_some() };
                    let page = layout(&title, &status, Some(moment), main).into_string();
                    body(StatusCode::OK, "text/html; charset=utf-8", page)
                }
            };
            cache(&mut response, &tag(&status, asked, as_of));
            response
        }
        Err(refusal) => refuse(&status, asked, refusal),
    }
}

/// Returns the entity tag of a page. It changes with the event, with the lag that the page shows,
/// and with the program.
fn tag(status: &Status, asked: &Asked, as_of: AsOf) -> String {
    let seq = as_of.seq.map_or(0, Seq::get);
    let behind = status.behind_seconds(clock::now());
    let kind = match (asked.json, asked.as_of.is_some()) {
        (true, false) => "j",
        (false, false) => "h",
        (true, true) => "jt",
        (false, true) => "ht",
    };
    let log = status.log_id.as_deref().unwrap_or_default();
    format!("W/\"{log}-{seq}-{behind}-{kind}-{}\"", super::STYLE_VERSION.as_str())
}

fn cache(response: &mut Response<Body>, tag: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
}

fn body(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn refuse(status: &Status, asked: &Asked, refusal: Refusal) -> Response<Body> {
    let (code, title, text, links) = match refusal {
        Refusal::BadRequest(why) => (StatusCode::BAD_REQUEST, "Invalid request", why, Vec::new()),
        Refusal::Forbidden(why) => (StatusCode::FORBIDDEN, "Not permitted", why, Vec::new()),
        Refusal::NotFound(what, links) => (StatusCode::NOT_FOUND, "Not found", what, links),
        Refusal::NotYet => (StatusCode::SERVICE_UNAVAILABLE, "Reading the log", progress(status), Vec::new()),
        Refusal::Unavailable(what) => {
            (StatusCode::SERVICE_UNAVAILABLE, "Not available now", format!("{what}; try again in a moment"), Vec::new())
        }
        Refusal::Broken(why) => (StatusCode::INTERNAL_SERVER_ERROR, "Something is broken", fault(&why), Vec::new()),
    };
    let mut response = if asked.json {
        body(code, "application/json", serde_json::json!({ "error": text }).to_string() + "\n")
    } else {
        let main = html! {
            h1 { (title) }
            p { (capitalised(&text)) "." }
            @if !links.is_empty() {
                p { "Did you mean:" } ul { @for (name, href) in &links { li { a href=(href) { (name) } } } }
            }
            p { a href="/" { "To the overview" } }
        };
        body(code, "text/html; charset=utf-8", layout(title, status, None, main).into_string())
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if code == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        if !asked.json {
            headers.insert(HeaderName::from_static("refresh"), HeaderValue::from_static("2"));
        }
    }
    response
}

/// Writes a fault of the service into the journal. Returns what readers are told about it.
pub(super) fn fault(why: &str) -> String {
    let id = format!("{:08x}", rand::random::<u32>());
    tracing::error!(id, why, "cannot make a page");
    format!("this is a fault of the service, not yours; its operator finds the details in the journal under {id}")
}

/// Says how much of the log is read.
pub(super) fn progress(status: &Status) -> String {
    let (done, all) = (status.seq.map_or(0, Seq::get), status.head.map_or(0, Seq::get));
    match &status.trouble {
        Some((_, why)) => format!("the log does not answer ({why}); this page tries again by itself"),
        None => format!("{done} of {all} events are read; this page reloads until all are"),
    }
}
