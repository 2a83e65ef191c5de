//! Events of the log: one by one, page by page, and newest first about a package or a collection.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::collections::CollectionPath;
use super::cursor::{Limit, List, PageQuery, mark, place};
use super::operation::{Nothing, Operation, Reads, Topic};
use super::package::InCollection;
use crate::event::kinds::collection_subject;
use crate::event::{Record, cloudevents};
use crate::log::{EventLog, LogError, Subjects, trail};
use crate::model::Seq;
use crate::web::refusal::{Refusal, short};
use crate::web::{Site, params};

/// Most events that are read for one page.
const READ_MAX: usize = 20_000;
/// Number of events that are read at once.
const READ: usize = 1_000;
/// Largest size of a page's payloads, in bytes. A page has one event at least.
const BYTES_MAX: usize = 4 << 20;

/// An event of the log as a CloudEvent.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct CloudEvent(Box<RawValue>);

impl JsonSchema for CloudEvent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CloudEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = cloudevents::schema();
        schema.remove("$schema");
        schema
    }
}

impl From<&Record> for CloudEvent {
    fn from(record: &Record) -> Self {
        Self(RawValue::from_string(cloudevents::to_json(record)).expect("a CloudEvent is JSON"))
    }
}

/// Which events are wanted.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Empty: all.
    kinds: Vec<String>,
    subject: Option<String>,
}

impl Filter {
    /// Checks what a request wants. `kinds` has commas between them.
    ///
    /// # Errors
    /// Refuses a kind that this program does not know.
    pub(super) fn of(kinds: &str, subject: Option<String>) -> Result<Self, Refusal> {
        let kinds: Vec<String> =
            kinds.split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        match kinds.iter().find(|kind| !crate::event::kinds::KINDS.iter().any(|known| known.name == kind.as_str())) {
            Some(unknown) => Err(Refusal::BadRequest(format!("there is no kind of events `{}`", short(unknown)))),
            None => Ok(Self { kinds, subject }),
        }
    }

    fn has_kind(&self, record: &Record) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&record.kind)
    }

    /// Reads the next events after `after`, at most `limit` of the log, and keeps those that are wanted.
    /// Returns them, the last event that was read, and whether that was the end.
    ///
    /// # Errors
    /// Returns a [`LogError`] if the log cannot be read.
    pub(super) async fn next(
        &self,
        log: &impl EventLog,
        after: Option<Seq>,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<Seq>, bool), LogError> {
        let mut page = match &self.subject {
            Some(subject) => log.read_subject(Subjects::Exactly(subject), after, limit).await?,
            None => log.read(after, limit).await?,
        };
        let (last, is_end) = (page.last().map(|r| r.seq).or(after), page.len() < limit);
        page.retain(|r| self.has_kind(r));
        Ok((page, last, is_end))
    }
}

/// Which events are wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Only events after this one. 0: from the first.
    #[serde(default)]
    after: u64,
    /// Only these kinds, with commas between them.
    #[serde(default)]
    #[schemars(extend("examples" = ["package_state_changed,causes_found"]))]
    kind: String,
    /// Only about exactly this.
    #[serde(default)]
    #[schemars(extend("examples" = ["collection/f43/curl"]))]
    subject: Option<String>,
    /// Number of items on a page. A page may have fewer, if few of the events fit.
    #[serde(default)]
    limit: Limit,
    /// Where to go on: the `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

pub(super) struct Events;

impl Operation for Events {
    const ID: &'static str = "listEvents";
    const ADDRESS: &'static str = "/api/v2/events";
    const TOPIC: Topic = Topic::Events;
    const SUMMARY: &'static str = "Events of the log, oldest first";
    const ABOUT: &'static str = "As CloudEvents. A page without `next` reaches the end of the log. Use the stream to \
        follow the log.";
    type Path = Nothing;
    type Query = EventsQuery;
    type Answer<'a> = List<CloudEvent>;
}

impl Reads for Events {
    async fn answer(site: &Site, _: Nothing, query: EventsQuery) -> Result<List<CloudEvent>, Refusal> {
        let (limit, filter) = (query.limit.get()?, Filter::of(&query.kind, query.subject)?);
        let from = query.cursor.as_deref().map(place::<u64>).transpose()?.unwrap_or(query.after);
        let mut at = sequence_after(from)?;
        let (mut items, mut read, mut bytes) = (Vec::new(), 0, 0);
        loop {
            // Nothing is read twice: no page of the log is larger than what is left of this one.
            let left = (limit - items.len()).min(READ);
            let (found, last, is_end) = filter.next(&site.log, at, left).await?;
            read += left;
            for record in found {
                bytes += record.payload.len();
                if bytes > BYTES_MAX && !items.is_empty() {
                    return Ok(List { items, next: at.map(|at| mark(&at.get())), matching: None });
                }
                at = Some(record.seq);
                items.push(CloudEvent::from(&record));
            }
            at = last;
            if is_end {
                return Ok(List { items, next: None, matching: None });
            }
            if items.len() >= limit || read >= READ_MAX {
                return Ok(List { items, next: at.map(|at| mark(&at.get())), matching: None });
            }
        }
    }
}

/// Returns the event after which to read. No log has more events than a signed number can count.
fn sequence_after(after: u64) -> Result<Option<Seq>, Refusal> {
    match i64::try_from(after) {
        Ok(_) => Ok(Seq::new(after)),
        Err(_) => Err(Refusal::BadRequest("`after` is larger than any event's number".to_owned())),
    }
}

/// An event's number in an address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct EventPath {
    /// Number of the event.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,17}$"), example = &"1")]
    seq: String,
}

/// One event.
#[derive(Serialize, JsonSchema)]
pub(super) struct OneEventAnswer {
    event: CloudEvent,
    /// What it says, in a few words.
    words: String,
}

pub(super) struct OneEvent;

impl Operation for OneEvent {
    const ID: &'static str = "getEvent";
    const ADDRESS: &'static str = "/api/v2/events/{seq}";
    const TOPIC: Topic = Topic::Events;
    const SUMMARY: &'static str = "An event";
    const ABOUT: &'static str = "As a CloudEvent, as it is stored, with its hash.";
    type Path = EventPath;
    type Query = Nothing;
    type Answer<'a> = OneEventAnswer;
}

impl Reads for OneEvent {
    async fn answer(site: &Site, path: EventPath, _: Nothing) -> Result<OneEventAnswer, Refusal> {
        let seq = params::sequence(&path.seq)?;
        sequence_after(seq.get())?;
        let Some(record) = trail::event(&site.log, seq).await? else {
            let end = site.follower.status().head.map_or(0, Seq::get);
            return Err(Refusal::not_found(format!("there is no event {seq}; the log ends at {end}")));
        };
        Ok(OneEventAnswer { event: CloudEvent::from(&record), words: crate::web::events::words(&record) })
    }
}

/// Returns the events about a subject, newest first.
async fn trail_of(site: &Site, subject: &str, query: PageQuery) -> Result<List<CloudEvent>, Refusal> {
    let limit = query.limit.get()?;
    let before = query.cursor.as_deref().map(place::<u64>).transpose()?;
    let before = before.map(sequence_after).transpose()?.flatten();
    let found = trail::newest(&site.log, subject, before, limit + 1).await?;
    let mut bytes = 0;
    let mut fits = |(at, r): &(usize, &Record)| {
        bytes += r.payload.len();
        *at == 0 || (*at < limit && bytes <= BYTES_MAX)
    };
    let shown: Vec<&Record> = found.iter().enumerate().take_while(|r| fits(r)).map(|(_, r)| r).collect();
    let next = shown.last().filter(|_| shown.len() < found.len()).map(|last| mark(&last.seq.get()));
    Ok(List { items: shown.into_iter().map(CloudEvent::from).collect(), next, matching: None })
}

pub(super) struct EventsOfPackage;

impl Operation for EventsOfPackage {
    const ID: &'static str = "listEventsOfPackage";
    const ADDRESS: &'static str = "/api/v2/collections/{collection}/packages/{package}/events";
    const TOPIC: Topic = Topic::Events;
    const SUMMARY: &'static str = "Events about a package, newest first";
    const ABOUT: &'static str = "What happened to the package in the collection, as CloudEvents. Empty if nothing did.";
    type Path = InCollection;
    type Query = PageQuery;
    type Answer<'a> = List<CloudEvent>;
}

impl Reads for EventsOfPackage {
    async fn answer(site: &Site, path: InCollection, query: PageQuery) -> Result<List<CloudEvent>, Refusal> {
        trail_of(site, &collection_subject(&path.collection, Some(&path.package)), query).await
    }
}

pub(super) struct EventsOfCollection;

impl Operation for EventsOfCollection {
    const ID: &'static str = "listEventsOfCollection";
    const ADDRESS: &'static str = "/api/v2/collections/{collection}/events";
    const TOPIC: Topic = Topic::Events;
    const SUMMARY: &'static str = "Events about a collection, newest first";
    const ABOUT: &'static str = "What happened to the collection as a whole, as CloudEvents. Empty if nothing did.";
    type Path = CollectionPath;
    type Query = PageQuery;
    type Answer<'a> = List<CloudEvent>;
}

impl Reads for EventsOfCollection {
    async fn answer(site: &Site, path: CollectionPath, query: PageQuery) -> Result<List<CloudEvent>, Refusal> {
        trail_of(site, &collection_subject(&path.collection, None), query).await
    }
}
