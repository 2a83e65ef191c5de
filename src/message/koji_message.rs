//! What a Koji message claims, as facts: a pure function from bytes to events.
//!
//! Source of the shapes: the message plugin `koji-fedoramessaging` and what it was seen to send. Messages are routed by
//! the end of their topic: the beginning is configuration of the publisher, and the schema header says `base.message`
//! whenever a body does not validate. Bodies are read leniently: only ids, names and the new state are required,
//! numbers may be text and the other way round, and members nobody knows are passed over.
//!
//! A message is only a hint; here, without a hub to ask, it is taken at its word, and [`Context::source`] says so in
//! every fact. Names of people leave only through the `persons` argument and come back as ids.

use serde_json::Value;

use super::entry::{Wire, time};
use crate::event::{Event, FactId, MessageTimeReplaced, NewEvent, Source, facts};
use crate::model::koji::{self, BuildState, TaskState};
use crate::model::nevra::without_draft;
use crate::model::{BuildId, Hub, Name, Nvr, PersonId, RepoId, TagId, TaskId, Timestamp};

mod fields;
mod topics;

pub use topics::{TOPICS, Topic};

use fields::{Fields, Reason};

/// Most steps of one task that are kept. A build has one per architecture and one for its source package.
const MAX_CHILDREN: usize = 64;

/// Most architectures a build can be limited to.
const MAX_ARCHES: usize = 64;

/// Longest decision id, in bytes; ours have 36.
const MAX_DECISION: usize = 128;

/// What interpretation needs to know of the installation.
#[derive(Clone, Debug)]
pub struct Context {
    /// Koji user whose scratch builds are ours.
    pub service_user: String,
    /// Hub instance of messages that name none.
    pub default_hub: Hub,
    /// What the facts say of where they come from: [`Source::Recording`] or [`Source::Bus`].
    pub source: Source,
    /// How far a publisher's time may be from when the message was sent as far as we know, in seconds.
    pub clock_tolerance_secs: u32,
}

/// [`Context::clock_tolerance_secs`] where nothing else is configured: machines that build keep time, a queue does not.
pub const CLOCK_TOLERANCE_SECS: u32 = 3_600;

/// How long before the message about it a task may have been made, in microseconds: a month. Koji gives up a task after
/// days.
const TASK_AGE_MAX: i64 = 31 * 86_400 * 1_000_000;

/// A stored message.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Its identity, as in [`super::Message::id`].
    pub id: &'a str,
    /// Its JSON text.
    pub raw: &'a [u8],
    /// When it was sent as far as we know ([`super::times`]): what the message says counts where it is not far from
    /// that.
    pub sent_at: Timestamp,
}

/// What a message says.
#[derive(Clone, PartialEq, Debug)]
pub enum Interpretation {
    /// Facts, without a cause: that is the appender's to add.
    Facts(Vec<NewEvent>),
    /// Nothing for us; the text says why.
    Ignored(&'static str),
    /// Not understood; to be parked with the reason.
    Rejected(String),
}

/// Says what a message claims. Total: any bytes give an answer, never a panic. Cost: one parse of the text.
///
/// `persons` gives the stand-in for a Koji user name, always the same for the same name. It is not asked for the
/// service user, who is not a person.
pub fn interpret(
    message: Incoming<'_>,
    context: &Context,
    persons: &mut dyn FnMut(&str) -> PersonId,
) -> Interpretation {
    let wire: Wire<Value> = match Wire::parse(message.raw) {
        Ok(wire) => wire,
        Err(reason) => return Interpretation::Rejected(reason),
    };
    let Some(key) = wire.topic() else { return Interpretation::Rejected("no topic".to_owned()) };
    let Some(topic) = Topic::of(key) else {
        let koji = key.split('.').any(|word| word == "buildsys");
        return Interpretation::Ignored(if koji { "a Koji topic nothing depends on" } else { "not a Koji topic" });
    };
    let Some(body) = wire.body.as_object().map(Fields) else {
        return Interpretation::Rejected("body is not an object".to_owned());
    };
    let hub = match body.optional_name("instance") {
        Some(instance) => Hub::new(instance),
        None => context.default_hub.clone(),
    };
    let tolerance = i64::from(context.clock_tolerance_secs) * 1_000_000;
    let mut reading = Reading { body, hub, context, persons, sent_at: message.sent_at, tolerance, doubted: None };
    match (topic.read)(&mut reading) {
        Ok(ReadOutcome::Nothing(why)) => Interpretation::Ignored(why),
        Ok(ReadOutcome::Fact(event, time)) => {
            let said = wire.sent_at().or_else(|| wire.seen_at());
            let near = said.filter(|said| (-tolerance..=tolerance).contains(&said.since(message.sent_at)));
            let doubted = said.filter(|_| near.is_none()).or(reading.doubted);
            let id = |what: &str| FactId::of(&format!("{}/message/{}/{what}", reading.hub, message.id));
            let fact = |event, occurred_at, source, what| NewEvent {
                event,
                occurred_at,
                source,
                fact: Some(id(what)),
                koji_event: None,
                causation: None,
                correlation: None,
            };
            let mut facts = vec![fact(*event, time.or(near).unwrap_or(message.sent_at), context.source, "0")];
            if let Some(said) = doubted {
                let event = MessageTimeReplaced { message: message.id.to_owned(), said, taken: message.sent_at };
                facts.push(fact(event.into(), message.sent_at, Source::Engine, "time"));
            }
            Interpretation::Facts(facts)
        }
        Err(Reason(reason)) => Interpretation::Rejected(reason),
    }
}

/// Outcome of one reader: at most one fact, and when it happened, where the body tells.
enum ReadOutcome {
    Fact(Box<Event>, Option<Timestamp>),
    Nothing(&'static str),
}

/// One message being read.
struct Reading<'a, 'p> {
    body: Fields<'a>,
    hub: Hub,
    context: &'a Context,
    persons: &'p mut dyn FnMut(&str) -> PersonId,
    sent_at: Timestamp,
    /// Microseconds.
    tolerance: i64,
    /// The first time in the body that cannot be.
    doubted: Option<Timestamp>,
}

impl Reading<'_, '_> {
    fn person(&mut self, key: &str) -> Option<PersonId> {
        let name = self.body.optional_name(key)?;
        (name != self.context.service_user).then(|| (self.persons)(&name))
    }

    /// Whether the message is about another attribute than the state. Koji sends no others today.
    fn other_attribute(&self) -> bool {
        self.body.given("attribute").is_some_and(|a| a.as_str() != Some("state"))
    }

    /// A time in the body, unless it is later than the message: what happened later cannot have been told.
    fn moment(&mut self, value: Option<&Value>) -> Option<Timestamp> {
        let said = time(value?)?;
        if said.since(self.sent_at) <= self.tolerance {
            return Some(said);
        }
        self.doubted.get_or_insert(said);
        None
    }

    /// A time of a task, which cannot be long ago either. By its beginning a task is given up, so a wrong clock would
    /// end it.
    fn task_moment(&mut self, value: Option<&Value>) -> Option<Timestamp> {
        let said = self.moment(value)?;
        if self.sent_at.since(said) <= TASK_AGE_MAX {
            return Some(said);
        }
        self.doubted.get_or_insert(said);
        None
    }

    fn build(&mut self) -> Result<ReadOutcome, Reason> {
        if self.other_attribute() {
            return Ok(ReadOutcome::Nothing("not a change of state"));
        }
        let b = self.body;
        let state = build_state(b.required("new")?).ok_or_else(|| Reason::of("new", "a build state"))?;
        let completed_at = self.moment(b.given("completion_time"));
        let created_at = self.moment(b.given("creation_time"));
        let occurred_at = match state {
            BuildState::Building => created_at,
            BuildState::Complete | BuildState::Failed | BuildState::Canceled => completed_at,
            // The body has only the times of the build, not that of its deletion.
            BuildState::Deleted | BuildState::Unknown(_) => None,
        };
        let event = facts::BuildChanged {
            hub: self.hub.clone(),
            build_id: BuildId(b.integer("build_id")?),
            name: b.name("name")?,
            epoch: b.optional_integer("epoch").and_then(|e| u32::try_from(e).ok()).filter(|e| *e != 0),
            version: b.name("version")?,
            release: b.name("release")?,
            old: b.given("old").and_then(build_state),
            state,
            task_id: b.optional_integer("task_id").map(TaskId),
            created_at,
            completed_at,
            by: self.person("owner"),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), occurred_at))
    }

    /// A draft got the name it was made for (Koji: `postBuildPromotion`). The record in the message may be that of
    /// before.
    fn promoted(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body.object("build").ok_or_else(|| Reason::missing("build"))?;
        let id = b.given("id").or_else(|| b.given("build_id")).ok_or_else(|| Reason::missing("build.id"))?;
        let release = match self.body.optional_name("target_release") {
            Some(release) => release,
            None => b.name("release").map(|r| without_draft(&r).into())?,
        };
        let event = facts::BuildChanged {
            hub: self.hub.clone(),
            build_id: BuildId(fields::integer("build.id", id)?),
            name: b
                .optional_name("name")
                .or_else(|| b.optional_name("package_name"))
                .ok_or_else(|| Reason::missing("build.name"))?,
            epoch: b.optional_integer("epoch").and_then(|e| u32::try_from(e).ok()).filter(|e| *e != 0),
            version: b.name("version")?,
            release,
            // Only a complete build can be promoted, and it stays complete.
            old: Some(BuildState::Complete),
            state: BuildState::Complete,
            task_id: b.optional_integer("task_id").map(TaskId),
            created_at: None,
            completed_at: None,
            by: None,
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    fn tagged(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body;
        let event = facts::BuildTagged {
            hub: self.hub.clone(),
            tag: b.name("tag")?,
            tag_id: b.optional_integer("tag_id").map(TagId),
            build_id: BuildId(b.integer("build_id")?),
            name: b.name("name")?,
            version: b.name("version")?,
            release: b.name("release")?,
            by: self.person("user"),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    fn untagged(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body;
        let event = facts::BuildUntagged {
            hub: self.hub.clone(),
            tag: b.name("tag")?,
            tag_id: b.optional_integer("tag_id").map(TagId),
            build_id: BuildId(b.integer("build_id")?),
            name: b.name("name")?,
            version: b.name("version")?,
            release: b.name("release")?,
            by: self.person("user"),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    fn package_list(&mut self) -> Result<ReadOutcome, Reason> {
        use facts::PackageListAction::{Add, Block, Remove, Unblock, Update};
        let b = self.body;
        let action = match b.name("action")?.as_str() {
            "add" => Add,
            "update" => Update,
            "block" => Block,
            "unblock" => Unblock,
            "remove" => Remove,
            _ => return Err(Reason::of("action", "add, update, block, unblock or remove")),
        };
        let event = facts::PackageListChanged {
            hub: self.hub.clone(),
            tag: b.name("tag")?,
            package: b.name("package")?,
            action,
            blocked: b.given("block").and_then(Value::as_bool),
            by: self.person("owner"),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    fn repo_init(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body;
        let event = facts::RepoInitialised {
            hub: self.hub.clone(),
            repo_id: RepoId(b.integer("repo_id")?),
            tag: b.name("tag")?,
            tag_id: b.optional_integer("tag_id").map(TagId),
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    fn repo_done(&mut self) -> Result<ReadOutcome, Reason> {
        let b = self.body;
        let event = facts::RepoReady {
            hub: self.hub.clone(),
            repo_id: RepoId(b.integer("repo_id")?),
            tag: b.name("tag")?,
            tag_id: b.optional_integer("tag_id").map(TagId),
            // Not in the message; whoever has the repository or the hub adds them.
            create_event: None,
            arches: None,
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), None))
    }

    fn task(&mut self) -> Result<ReadOutcome, Reason> {
        if self.other_attribute() {
            return Ok(ReadOutcome::Nothing("not a change of state"));
        }
        let b = self.body;
        let info = b.object("info");
        let find = |key| b.given(key).or_else(|| info?.given(key));
        if find("owner").and_then(Value::as_str) != Some(self.context.service_user.as_str()) {
            return Ok(ReadOutcome::Nothing("scratch build of somebody else"));
        }
        if find("method").is_some_and(|m| m.as_str() != Some("build")) {
            return Ok(ReadOutcome::Nothing("not a build task"));
        }
        let request = info.and_then(|i| i.given("request")).and_then(Value::as_array);
        let argument = |at: usize| request?.get(at).filter(|v| !v.is_null());
        let options = argument(2).and_then(Value::as_object).map(Fields);
        // Koji publishes this topic for scratch tasks only, so a message without its request is one too.
        if options.is_some_and(|o| o.given("scratch").is_none_or(|s| !fields::truth(s))) {
            return Ok(ReadOutcome::Nothing("not a scratch build"));
        }
        let state = task_state(b.required("new")?).ok_or_else(|| Reason::of("new", "a task state"))?;
        let sources = [b.given("srpm"), argument(0)].map(|s| s.and_then(Value::as_str));
        let nvr = sources.iter().flatten().find_map(|s| Nvr::parse_srpm(s)).filter(fields::is_nvr);
        let package = match &nvr {
            Some(nvr) => nvr.name.clone(),
            None => sources
                .iter()
                .flatten()
                .rev()
                .find_map(|s| repository_name(s))
                .ok_or_else(|| Reason::of("srpm", "the name of a source package"))?,
        };
        let mut moment = |key| self.task_moment(info?.given(key));
        let created_at = moment("create_time");
        let (started_at, finished_at) = (moment("start_time"), moment("completion_time"));
        let occurred_at = match state {
            state if state.is_final() => finished_at,
            TaskState::Open => started_at,
            // The body does not say when a task was given out or put back.
            _ => None,
        };
        let event = facts::TaskChanged {
            hub: self.hub.clone(),
            task_id: TaskId(find("id").ok_or_else(|| Reason::missing("id")).and_then(|id| fields::integer("id", id))?),
            state,
            package,
            nvr,
            target: argument(1).and_then(fields::name),
            repo_id: options.and_then(|o| o.optional_integer("repo_id")).map(RepoId),
            arches: options.and_then(|o| o.given("arch_override")).map(arches).unwrap_or_default(),
            decision: options.and_then(|o| o.given("custom_user_metadata")).and_then(decision),
            created_at,
            started_at,
            finished_at,
            children: match info.and_then(|i| i.given("children")).and_then(Value::as_array) {
                Some(children) if state.is_final() => children.iter().take(MAX_CHILDREN).filter_map(child).collect(),
                _ => Vec::new(),
            },
            // Messages do not say why a task failed.
            fault: None,
        };
        Ok(ReadOutcome::Fact(Box::new(event.into()), occurred_at))
    }
}

/// Build messages speak numbers; a name is understood, too.
fn build_state(value: &Value) -> Option<BuildState> {
    match value.as_str().and_then(BuildState::from_wire_name) {
        Some(state) => Some(state),
        None => fields::integer("", value).ok().map(BuildState::from),
    }
}

/// Task messages speak names, task records numbers.
fn task_state(value: &Value) -> Option<TaskState> {
    match value.as_str().and_then(TaskState::from_wire_name) {
        Some(state) => Some(state),
        None => fields::integer("", value).ok().map(TaskState::from),
    }
}

/// `arch_override`: architectures separated by spaces; Koji also takes commas, and a list is understood.
fn arches(value: &Value) -> Vec<Name> {
    let words: Vec<&str> = match value {
        Value::String(text) => koji::words(text).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    words.into_iter().filter_map(fields::checked).take(MAX_ARCHES).collect()
}

/// Our decision id in `custom_user_metadata`: `{"koschei": {"decision": ID}}`, or a text member `koschei_decision`.
/// Koji stores whatever a user puts there, so anything else is no decision of ours.
fn decision(metadata: &Value) -> Option<String> {
    let nested = metadata.get("koschei").and_then(|k| k.get("decision"));
    let id = nested.or_else(|| metadata.get("koschei_decision"))?.as_str()?;
    (!id.is_empty() && id.len() <= MAX_DECISION && !id.contains(char::is_control)).then(|| id.to_owned())
}

/// One entry of `info.children`; `None` when it has no id, as then nothing can be said about it.
fn child(value: &Value) -> Option<facts::ChildTask> {
    let c = value.as_object().map(Fields)?;
    Some(facts::ChildTask {
        task_id: TaskId(c.optional_integer("id")?),
        method: c.optional_name("method").unwrap_or_default(),
        label: c.optional_name("label").or_else(|| c.optional_name("arch")).unwrap_or_default(),
        state: task_state(c.given("state")?)?,
        arch: None,
        fault: None,
    })
}

/// Package name from a source repository, such as `git+https://src.example.org/rpms/foo.git#abc`: the last component of
/// its path. Our own builds are made of source packages; this is for ones a person submitted under our name.
fn repository_name(source: &str) -> Option<Name> {
    let (_, address) = source.split_once("://")?;
    let path = address.split(['#', '?']).next()?.trim_end_matches('/');
    let (_, last) = path.rsplit_once('/')?;
    fields::checked(last.strip_suffix(".git").unwrap_or(last))
}

#[cfg(test)]
mod tests;
