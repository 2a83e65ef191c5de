//! Operators' words: each is one event that holds from now on.
//!
//! A word is checked against the state and put into the inbox. The process that works on the log
//! appends it. [`Checked`] is the only way in, for every interface.

pub mod groups;
mod saying;

use std::time::Duration;

pub use groups::Maintainers;
pub use saying::{Checked, Reception, SayError};
use serde::{Deserialize, Serialize};

use crate::event::{
    CollectionSettings, Event, PackageArchOverrideSet, PackageHoldSet, findings, hub_facts, observations,
    package_settings,
};
use crate::fold::{Collection, State};
use crate::log::{Incoming, PAYLOAD_BYTES_MAX};
use crate::model::arch::ArchOverride;
use crate::model::nearest::did_you_mean;
use crate::model::{Name, PersonId, Timestamp};

/// Topic of operators' words. Their source is [`SOURCE`].
pub const TOPIC: &str = "koschei.operator";
/// Topic of a request to retry messages that were set aside. Its source is [`SOURCE`] too.
pub const RETRY_TOPIC: &str = "koschei.operator.retry";
/// Most messages named in one retry request.
pub const RETRIES_MAX: usize = 500;
/// Name of the source in the inbox.
pub const SOURCE: &str = "operator";
/// Longest interval at which the process that works on a log reads operators' words. A word thus
/// takes effect within a second.
pub const HEAR_EVERY: Duration = Duration::from_millis(250);
/// Longest message, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Longest message about a group, in bytes: it may name all its packages.
const GROUP_MAX_BYTES: usize = PAYLOAD_BYTES_MAX;

/// An operator's word as it is put into the inbox.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Word {
    /// The event that holds from now on.
    pub event: Event,
    /// Name of the operator. The log gets a stand-in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Persons that a word about a group names.
    #[serde(default, skip_serializing_if = "Maintainers::is_empty")]
    pub maintainers: Maintainers,
}

impl Word {
    /// Makes a word that names nobody but the operator.
    pub fn new(event: impl Into<Event>, by: Option<String>) -> Self {
        Self { event: event.into(), by, maintainers: Maintainers::default() }
    }
}

/// A request to retry messages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Retry {
    /// Ids of the messages, at most [`RETRIES_MAX`].
    pub messages: Vec<String>,
}

/// Returns the inbox message for a retry request.
pub fn retry_message(retry: &Retry, now: Timestamp) -> Incoming {
    Incoming {
        topic: RETRY_TOPIC.to_owned(),
        body: serde_json::to_vec(retry).expect("texts are JSON"),
        ..message_of(Vec::new(), now)
    }
}

/// Reads a retry request.
///
/// # Errors
/// Returns a text that says why the body is no retry request.
pub fn read_retry(body: &[u8]) -> Result<Retry, String> {
    let retry: Retry = serde_json::from_slice(body).map_err(|e| format!("not a wish to try messages again: {e}"))?;
    match retry.messages.len() {
        n if n > RETRIES_MAX => Err(format!("{n} messages; at most {RETRIES_MAX} are tried again at a time")),
        _ => Ok(retry),
    }
}

/// Returns the inbox message for a word. Its id is random, because the same word may be said again.
pub fn message(word: &Word, now: Timestamp) -> Incoming {
    message_of(serde_json::to_vec(word).expect("words hold only what JSON can say"), now)
}

fn message_of(body: Vec<u8>, now: Timestamp) -> Incoming {
    Incoming {
        id: format!("operator-{:032x}", rand::random::<u128>()),
        source: SOURCE.to_owned(),
        topic: TOPIC.to_owned(),
        received_at: now,
        body,
    }
}

/// Reads an operator's word.
///
/// # Errors
/// Returns a text that says why the body is no word of an operator.
pub fn read(body: &[u8]) -> Result<Word, String> {
    let within = |most: usize| match body.len() > most {
        true => Err(format!("{} bytes; an operator's message has at most {most}", body.len())),
        false => Ok(()),
    };
    within(GROUP_MAX_BYTES)?;
    let word: Word = serde_json::from_slice(body).map_err(|e| format!("not an operator's message: {e}"))?;
    if !word.event.is_of_group() {
        within(MAX_BYTES)?;
    }
    Ok(word)
}

/// Checks whether an operator may say a word, and whether it makes sense in this state.
///
/// # Errors
/// Returns a text that says why not.
pub fn check_word(state: &State, word: &Word) -> Result<(), String> {
    check(state, &word.event)?;
    if !word.maintainers.is_empty() && !matches!(word.event, Event::GroupMade(_) | Event::GroupChanged(_)) {
        return Err("only a group has maintainers".to_owned());
    }
    word.maintainers.check()?;
    match &word.event {
        Event::GroupMade(e) if !e.maintainers.is_empty() => Err(groups::BY_NAME.to_owned()),
        Event::GroupChanged(e) if !e.maintainers_added.is_empty() || !e.maintainers_removed.is_empty() => {
            Err(groups::BY_NAME.to_owned())
        }
        Event::GroupChanged(e) if e.is_empty() && word.maintainers.is_empty() => Err(groups::nothing_changes(e)),
        _ => Ok(()),
    }
}

/// Checks whether an operator may say this event, and whether it makes sense in this state.
///
/// # Errors
/// Returns a text that says why not.
pub fn check(state: &State, event: &Event) -> Result<(), String> {
    let collection = |name: &str| match state.collections.contains_key(name) {
        true => Ok(()),
        false => {
            let near = did_you_mean(name, state.collections.keys().map(Name::as_str));
            Err(format!("there is no collection `{name}`{near}"))
        }
    };
    if let Some((name, _)) = event.setting_of() {
        collection(name)?;
    }
    match event {
        Event::CollectionCreated(c) if c.collection.is_empty() || c.collection.contains(['/', ' ', '\t', '\n']) => {
            Err(format!("`{}` is no name for a collection: no spaces and slashes, and not nothing", c.collection))
        }
        Event::CollectionCreated(c) => match state.collections.contains_key(&c.collection) {
            false => builds_on(state, &c.settings),
            true => Err(format!("there is a collection `{}` already; edit it instead", c.collection)),
        },
        Event::CollectionEdited(c) => collection(&c.collection).and_then(|()| builds_on(state, &c.settings)),
        Event::PackageArchOverrideSet(PackageArchOverrideSet { collection, arches: Some(arches), .. }) => {
            let known = state.collections.get(collection).map(Collection::known_arches).unwrap_or_default();
            arches.parse::<ArchOverride>().and_then(|o| o.check(&known)).map_err(|e| e.to_string())
        }
        Event::PackageHoldSet(PackageHoldSet { until: Some(until), .. }) if *until <= state.recorded_at => {
            Err(format!("it would be held until {until}, and it is {} already", state.recorded_at))
        }
        package_settings!() => Ok(()),
        // Only the inbox knows whether the message is set aside.
        Event::MessageDismissed(d) => reason(&d.reason).map(drop),
        Event::SubmissionsPaused(p) => p.collection.as_deref().map_or(Ok(()), collection),
        Event::SubmissionsResumed(p) => p.collection.as_deref().map_or(Ok(()), collection),
        Event::GroupMade(_) | Event::GroupChanged(_) | Event::GroupDeleted(_) => groups::check(state, event),
        Event::RebuildCancelRequested(c) => {
            let Some(id) = c.task_id else {
                let open = c.rebuild.is_some_and(|r| state.rebuilds.contains_key(&r));
                return if open { Ok(()) } else { Err("no such rebuild is open".to_owned()) };
            };
            match state.hubs.get(&c.hub).and_then(|h| h.tasks.get(&id)) {
                None if state.submitted_as(&c.hub, id).is_some() => Ok(()),
                None => Err(format!("no task {id} of ours is known on {}", c.hub)),
                Some(t) if t.state.is_final() => Err(format!("task {id} has ended")),
                Some(_) => Ok(()),
            }
        }
        hub_facts!() | observations!() | findings!() => {
            Err(format!("`{}` is nothing an operator says", event.kind().name))
        }
    }
}

/// Trims a reason that will stay in the log.
///
/// # Errors
/// Returns a text that asks for a reason if there is none.
pub fn reason(text: &str) -> Result<&str, String> {
    match text.trim() {
        "" => Err("say why with --reason".to_owned()),
        said => Ok(said),
    }
}

/// Checks whether a collection can be built on the hub it names.
fn builds_on(state: &State, settings: &CollectionSettings) -> Result<(), String> {
    let Some(b) = &settings.builds_on else { return Ok(()) };
    b.check(&settings.hub)?;
    match state.hubs.contains_key(&b.hub) {
        true => Ok(()),
        false => Err(format!(
            "it builds on `{0}`, and no hub `{0}` is known here: configure a `[[hub]]` of that name first",
            b.hub
        )),
    }
}

/// Puts the stand-in of a person into an event.
pub fn sign(event: &mut Event, person: PersonId) {
    let by = match event {
        Event::RebuildCancelRequested(e) => Some(&mut e.by),
        Event::SubmissionsPaused(e) => Some(&mut e.by),
        Event::SubmissionsResumed(e) => Some(&mut e.by),
        Event::MessageDismissed(e) => Some(&mut e.by),
        Event::GroupMade(e) => Some(&mut e.by),
        Event::GroupChanged(e) => Some(&mut e.by),
        Event::GroupDeleted(e) => Some(&mut e.by),
        package_settings!() => package_settings!(event, set => &mut set.by),
        Event::CollectionCreated(_) | Event::CollectionEdited(_) | hub_facts!() | observations!() | findings!() => None,
    };
    if let Some(by) = by {
        *by = Some(person);
    }
}
