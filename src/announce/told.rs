//! What was said so far, as far as it matters for what is said next.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::richer::{self, Cause, CauseBody};
use super::{Word, koschei_messages};
use crate::model::{Name, Timestamp};

/// A cause that was told and is not over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaidCause {
    /// The collection.
    pub collection: Name,
    /// The cause, as it was last described.
    pub cause: Cause,
    /// The packages that messages about it named.
    pub named: BTreeSet<Name>,
    /// How many packages the last message said that it breaks.
    pub count: u32,
    /// How many messages said that it grew.
    pub growths: u32,
    /// Time of the last message.
    pub at: Timestamp,
}

/// What was last said of the state of a subject.
#[derive(Clone, Copy, Default, Debug)]
struct Words {
    theirs: Option<Word>,
    ours: Option<Word>,
}

/// What was said so far, by subject.
#[derive(Default, Debug)]
pub struct Said {
    states: HashMap<String, Words>,
    causes: BTreeMap<String, SaidCause>,
}

/// The field that messages about states have in common.
#[derive(serde::Deserialize)]
struct NewState {
    new: String,
}

impl Said {
    /// Takes a message into account. Messages must come in the order in which they were made. A body
    /// that is none of ours counts as not said.
    pub fn hear(&mut self, subject: &str, topic: &str, at: Timestamp, body: &str) {
        match topic {
            koschei_messages::PACKAGE | koschei_messages::COLLECTION => {
                let word = new_state(body);
                self.states.entry(subject.to_owned()).or_default().theirs = word;
            }
            richer::PACKAGE_CHANGED | richer::BUILDROOT_CHANGED => {
                let word = new_state(body);
                self.states.entry(subject.to_owned()).or_default().ours = word;
            }
            richer::CAUSE_CLOSED => drop(self.causes.remove(subject)),
            richer::CAUSE_OPENED | richer::CAUSE_GREW => {
                let Ok(body) = serde_json::from_str::<CauseBody>(body) else { return };
                let before = self.causes.remove(subject).filter(|_| topic == richer::CAUSE_GREW);
                let (mut named, growths) = before.map_or_else(Default::default, |b| (b.named, b.growths + 1));
                named.extend(body.packages);
                let (collection, cause, count) = (body.about.collection, body.cause, body.count);
                let said = SaidCause { collection, cause, named, count, growths, at };
                self.causes.insert(subject.to_owned(), said);
            }
            _ => {}
        }
    }

    /// Returns what the original's messages last said of a subject.
    pub fn theirs(&self, subject: &str) -> Option<Word> {
        self.states.get(subject).and_then(|words| words.theirs)
    }

    /// Returns what our own messages last said of a subject.
    pub fn ours(&self, subject: &str) -> Option<Word> {
        self.states.get(subject).and_then(|words| words.ours)
    }

    /// Returns a cause that was told and is not over.
    pub fn cause(&self, subject: &str) -> Option<&SaidCause> {
        self.causes.get(subject)
    }

    /// Returns all of them, by subject.
    pub fn causes(&self) -> &BTreeMap<String, SaidCause> {
        &self.causes
    }
}

fn new_state(body: &str) -> Option<Word> {
    Word::of(&serde_json::from_str::<NewState>(body).ok()?.new)
}
