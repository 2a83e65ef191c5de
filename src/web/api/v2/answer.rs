//! The form of answers: JSON with the moment it is about, and problems by RFC 9457.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Seq, Timestamp};
use crate::web::follower::Status;
use crate::web::parts::AsOf;
use crate::web::refusal::Refusal;
use crate::web::reply::{fault, progress};

/// Media type of a problem.
pub(super) const PROBLEM: &str = "application/problem+json";

/// A time in UTC by RFC 3339, such as `2026-11-20T08:45:00Z`.
#[derive(Serialize, JsonSchema, Clone, PartialEq, Eq, Debug)]
#[serde(transparent)]
pub(super) struct Time(#[schemars(extend("format" = "date-time"))] String);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at.to_string())
    }
}

/// The moment that an answer is about: everything up to this event counts.
#[derive(Serialize, JsonSchema)]
pub(super) struct Moment {
    /// The last event that counts. 0 if there is none.
    seq: u64,
    /// When it was recorded.
    time: Time,
}

/// Why there is no answer (RFC 9457).
#[derive(Serialize, JsonSchema)]
pub(super) struct Problem {
    /// Names the kind of problem; an address in the description of the API.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem in words.
    title: String,
    /// The status of the response.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: String,
}

/// An answer, written.
pub(super) struct Answered {
    /// The whole answer.
    body: String,
    /// Names the answer without its moment.
    tag: String,
}

impl Answered {
    /// Writes an answer. It is the same for browsers and caches as long as only its moment changes.
    pub(super) fn of(as_of: AsOf, answer: &impl Serialize) -> Self {
        let answer = serde_json::to_string(answer).expect("an answer is valid JSON");
        let moment = Moment { seq: as_of.seq.map_or(0, Seq::get), time: as_of.at.into() };
        let moment = serde_json::to_string(&moment).expect("a moment is valid JSON");
        let hash: String = blake3::hash(answer.as_bytes()).to_hex().chars().take(24).collect();
        let members = answer.strip_prefix('{').unwrap_or("}");
        let comma = if members.starts_with('}') { "" } else { "," };
        Self { body: format!("{{\"as_of\":{moment}{comma}{members}\n"), tag: format!("W/\"{hash}\"") }
    }
}

/// Makes the response. `known` are the answers that the client has.
pub(super) fn answered(answer: Answered, known: Option<&str>) -> Response<Body> {
    let is_known = known.is_some_and(|k| k.split(',').any(|k| k.trim() == answer.tag));
    let mut response = Response::new(if is_known { Body::empty() } else { Body::from(answer.body) });
    let headers = response.headers_mut();
    if !is_known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&answer.tag) {
        headers.insert(header::ETAG, tag);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    for_all(&mut response);
    response
}

/// Makes the response for a request without an answer.
pub(in crate::web) fn refused(status: &Status, refusal: Refusal) -> Response<Body> {
    let (code, kind, detail) = match refusal {
        Refusal::BadRequest(why) => (StatusCode::BAD_REQUEST, "bad-request", why),
        Refusal::Forbidden(why) => (StatusCode::FORBIDDEN, "forbidden", why),
        Refusal::NotFound(what, near) => {
            let names: Vec<&str> = near.iter().map(|(name, _)| name.as_str()).collect();
            let hint = if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) };
            (StatusCode::NOT_FOUND, "not-found", what + &hint)
        }
        Refusal::NotYet => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", progress(status)),
        Refusal::Unavailable(what) => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{what}; try again in a moment"))
        }
        Refusal::Broken(why) => (StatusCode::INTERNAL_SERVER_ERROR, "broken", fault(&why)),
    };
    let problem = Problem {
        kind: format!("/api/v2#{kind}"),
        title: code.canonical_reason().unwrap_or_default().to_owned(),
        status: code.as_u16(),
        detail,
    };
    let text = serde_json::to_string(&problem).expect("a problem is valid JSON") + "\n";
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if code == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    for_all(&mut response);
    response
}

/// Lets scripts of all sites read a response. It says the same to everybody.
pub(super) fn for_all(response: &mut Response<Body>) {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}
