//! The log as a stream that goes on: server-sent events for browsers, JSON lines for others.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, Uri, header};
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::answer::{for_all, refused};
use super::events::{CloudEvent, Filter};
use super::operation::{Described, Nothing, Operation, Topic, query_of};
use crate::event::{Record, cloudevents};
use crate::log::{AnyLog, EventLog, LogError};
use crate::model::Seq;
use crate::web::refusal::Refusal;
use crate::web::{Site, page};

/// Most streams at a time.
pub(in crate::web) const STREAMS_MAX: usize = 64;
/// Number of events that are read at a time.
const READ: usize = 256;
/// Longest silence of server-sent events. A sign of life tells a reader that nothing is broken.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Media types of the stream.
const SENT_EVENTS: &str = "text/event-stream";
const LINES: &str = "application/jsonl";

/// Which events are wanted, and from where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    /// Only events after this one. 0: from the first. Default: only what happens from now on.
    #[serde(default)]
    after: Option<u64>,
    /// Only these kinds, with commas between them.
    #[serde(default)]
    #[schemars(extend("examples" = ["package_state_changed,causes_found"]))]
    kind: String,
    /// Only about exactly this.
    #[serde(default)]
    #[schemars(extend("examples" = ["collection/f43/curl"]))]
    subject: Option<String>,
    /// Whether to wait for more at the end of the log.
    #[serde(default = "yes")]
    follow: bool,
}

fn yes() -> bool {
    true
}

pub(super) struct Stream;

impl Operation for Stream {
    const ID: &'static str = "streamEvents";
    const ADDRESS: &'static str = "/api/v2/events/stream";
    const TOPIC: Topic = Topic::Events;
    const SUMMARY: &'static str = "Events as a stream";
    const ABOUT: &'static str = "Each event as a CloudEvent, as soon as it is in the log. As server-sent events if \
        `Accept` says `text/event-stream`, each with its number as `id` and its kind as `event`; a browser goes on \
        by itself where it was cut off (`Last-Event-ID`). Otherwise as JSON lines.";
    type Path = Nothing;
    type Query = StreamQuery;
    type Answer<'a> = CloudEvent;
}

impl Stream {
    pub(super) const DESCRIBED: Described =
        Described { kinds: &[LINES, SENT_EVENTS], ..Described::of::<Self>(|site| page(Self::ADDRESS, site, follow)) };
}

/// A stream to one reader.
struct Following {
    log: AnyLog,
    filter: Filter,
    after: Option<Seq>,
    follow: bool,
    sent_events: bool,
    waiting: VecDeque<Record>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

async fn follow(State(site): State<Site>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    match begin(&site, &uri, &headers).await {
        Ok(following) => {
            let kind = if following.sent_events { SENT_EVENTS } else { LINES };
            let parts = stream::unfold(following, |mut following| async move {
                let part = following.next().await?;
                Some((part, following))
            });
            let mut response = Response::new(Body::from_stream(parts));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            for_all(&mut response);
            response
        }
        Err(refusal) => refused(&site.follower.status(), refusal),
    }
}

async fn begin(site: &Site, uri: &Uri, headers: &HeaderMap) -> Result<Following, Refusal> {
    let query: StreamQuery = query_of(uri)?;
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).unwrap_or_default();
    let sent_events = text("accept").contains(SENT_EVENTS);
    let last = text("last-event-id").parse().ok().filter(|_| sent_events);
    let after = match last.or(query.after) {
        Some(after) if i64::try_from(after).is_ok() => Seq::new(after),
        Some(_) => return Err(Refusal::BadRequest("`after` is larger than any event's number".to_owned())),
        None => site.log.head().await.map_err(LogError::from)?.seq,
    };
    let Ok(place) = site.streams.clone().try_acquire_owned() else {
        return Err(Refusal::Unavailable(format!("there are {STREAMS_MAX} streams already")));
    };
    Ok(Following {
        log: site.log.clone(),
        filter: Filter::of(&query.kind, query.subject)?,
        after,
        follow: query.follow,
        sent_events,
        waiting: VecDeque::new(),
        stop: site.stop.clone(),
        _place: place,
    })
}

impl Following {
    /// Returns the next part of the stream. `None` ends it. An error cuts it off, so that the reader
    /// knows that it is not at an end.
    async fn next(&mut self) -> Option<Result<Bytes, LogError>> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            part = self.part() => part.transpose(),
        }
    }

    async fn part(&mut self) -> Result<Option<Bytes>, LogError> {
        loop {
            if let Some(record) = self.waiting.pop_front() {
                return Ok(Some(self.written(&record)));
            }
            // The end is asked for first: what is appended during the reading comes after it, and ends the
            // wait at once.
            let head = self.log.head().await?.seq;
            let (found, last, is_end) = self.filter.next(&self.log, self.after, READ).await?;
            self.waiting.extend(found);
            // Events about other subjects are passed over, so that they are not looked through again.
            self.after = if is_end { last.max(head) } else { last };
            if !self.waiting.is_empty() || !is_end {
                continue;
            }
            if !self.follow {
                return Ok(None);
            }
            match tokio::time::timeout(SILENCE_MAX, self.log.changed(self.after)).await {
                Ok(changed) => drop(changed?),
                Err(_) if self.sent_events => return Ok(Some(Bytes::from_static(b": nothing new\n\n"))),
                Err(_) => {}
            }
        }
    }

    fn written(&self, record: &Record) -> Bytes {
        let event = cloudevents::to_json(record);
        match self.sent_events {
            true => format!("id: {}\nevent: {}\ndata: {event}\n\n", record.seq, record.kind).into(),
            false => (event + "\n").into(),
        }
    }
}
