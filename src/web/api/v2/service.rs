//! The service itself, and the description of its API.

use axum::body::Body;
use axum::http::Response;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{Time, for_all};
use super::operation::{Described, Nothing, Operation, Reads, Topic};
use crate::base::clock;
use crate::model::Seq;
use crate::web::refusal::Refusal;
use crate::web::{Site, kept};

/// What this service is, and how far it has read its log.
#[derive(Serialize, JsonSchema)]
pub(super) struct StatusView {
    /// Version of the program.
    program: &'static str,
    /// Version of this API.
    api: &'static str,
    /// Names the log. It stays the same for the life of a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// The event at the end of the log.
    head: u64,
    /// Number of events that answers do not reflect yet.
    events_behind: u64,
    /// How long answers are behind the log.
    seconds_behind: i64,
    /// Since when the log does not answer, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_since: Option<Time>,
}

pub(super) struct Status;

impl Operation for Status {
    const ID: &'static str = "getStatus";
    const ADDRESS: &'static str = "/api/v2/status";
    const TOPIC: Topic = Topic::Service;
    const SUMMARY: &'static str = "The service";
    const ABOUT: &'static str = "Its version, and how far it has read its log.";
    type Path = Nothing;
    type Query = Nothing;
    type Answer<'a> = StatusView;
}

impl Reads for Status {
    async fn answer(site: &Site, _: Nothing, _: Nothing) -> Result<StatusView, Refusal> {
        let status = site.follower.status();
        Ok(StatusView {
            program: env!("CARGO_PKG_VERSION"),
            api: super::VERSION,
            log: status.log_id.as_deref().map(str::to_owned),
            head: status.head.map_or(0, Seq::get),
            events_behind: status.behind_events(),
            seconds_behind: status.behind_seconds(clock::now()),
            silent_since: status.trouble.as_ref().map(|(since, _)| (*since).into()),
        })
    }
}

/// An OpenAPI document.
#[derive(JsonSchema, Serialize)]
pub(super) struct DescriptionText {
    /// Version of OpenAPI.
    openapi: String,
}

pub(super) struct Description;

impl Operation for Description {
    const ID: &'static str = "getDescription";
    const ADDRESS: &'static str = "/api/v2/openapi.json";
    const TOPIC: Topic = Topic::Service;
    const SUMMARY: &'static str = "This description";
    const ABOUT: &'static str = "The API as an OpenAPI document, for programs that make clients.";
    type Path = Nothing;
    type Query = Nothing;
    type Answer<'a> = DescriptionText;
}

impl Description {
    pub(super) const DESCRIBED: Described =
        Described { kinds: &["application/json"], ..Described::of::<Self>(|_| get(described)) };
}

async fn described() -> Response<Body> {
    use axum::response::IntoResponse as _;
    let mut response = kept("application/json", super::openapi::written()).into_response();
    for_all(&mut response);
    response
}
