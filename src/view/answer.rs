//! Answers why a package is in its state, and why it is or is not rebuilt. `why` and the pages show
//! this answer.

use std::sync::Arc;

use serde::Serialize;

use super::broken::Broken;
use super::package::{self as package_view, PackageView};
use crate::decide::causes::FailedBuild;
use crate::decide::load::ArchLoads;
use crate::decide::{Policy, Queue, Why};
use crate::event::DecodeError;
use crate::event::Record;
use crate::event::kinds::collection_subject;
use crate::fold::{Collection, State};
use crate::model::nearest::nearest;
use crate::model::{Name, Seq, Timestamp};

/// The sentence for a package that is chosen.
pub(crate) const CHOSEN: &str =
    "the next evaluation rebuilds it: its priority reaches the threshold and nothing holds it";

/// Number of events that are shown with an answer.
pub(crate) const STEPS: usize = 12;

/// An event of a package's trail.
#[derive(Serialize, Debug)]
pub(crate) struct Step {
    pub(crate) seq: u64,
    pub(crate) recorded_at: String,
    pub(crate) kind: String,
    pub(crate) what: String,
    /// Sequences of its causes, nearest first.
    pub(crate) causes: Vec<u64>,
}

/// The answer for one package in one collection.
#[derive(Serialize, Debug)]
pub(crate) struct Answer {
    pub(crate) seq: u64,
    pub(crate) now: String,
    /// The answer in one sentence.
    pub(crate) answer: String,
    pub(crate) why: Why,
    /// Why the newest repository could not be resolved, if the verdicts are of an older one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<String>,
    /// Why the hub refuses to bind its rebuilds to repositories, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unbound: Option<String>,
    pub(crate) package: PackageView,
    #[serde(flatten)]
    pub(crate) broken: Broken,
    /// Newest first.
    pub(crate) trail: Vec<Step>,
}

impl Answer {
    /// Returns the subject of the events about the package.
    pub(crate) fn subject(&self) -> String {
        collection_subject(&self.why.collection, Some(&self.why.package))
    }

    /// Adds the last events about the package, newest first, each with its causes, nearest first.
    ///
    /// # Errors
    /// Returns [`DecodeError`] if this program cannot read an event.
    pub(crate) fn with_trail(mut self, events: &[(Record, Vec<Seq>)]) -> Result<Self, DecodeError> {
        for (record, causes) in events {
            self.trail.push(Step {
                seq: record.seq.get(),
                recorded_at: record.recorded_at.to_string(),
                kind: record.kind.clone(),
                what: record.decode()?.event.to_string(),
                causes: causes.iter().map(|seq| seq.get()).collect(),
            });
        }
        Ok(self)
    }
}

/// Finds what is due as of a state, with the loads known there. Answers about its packages need it.
pub(crate) fn queue(state: &State, now: Timestamp, policy: &Policy) -> Queue {
    let load = state.load.as_ref().map(ArchLoads::from_recorded);
    Queue::of(state, now, policy, load.as_ref())
}

/// Returns the answer as of a state, without the trail. `queue` must be of this very state. For
/// `failed` see [`Broken::of`]. Returns `None` if the collection does not have the package.
pub(crate) fn answer(
    state: &State,
    queue: &Queue,
    (cname, c): (&Name, &Collection),
    package: &str,
    failed: impl FnOnce() -> Arc<Vec<FailedBuild>>,
) -> Option<Answer> {
    let (pname, p) = c.packages.get_key_value(package)?;
    let why = queue.why(state, cname, pname)?;
    let (now, policy) = (queue.now(), queue.policy());
    Some(Answer {
        seq: state.seq.map_or(0, Seq::get),
        now: now.to_string(),
        answer: sentence(&why),
        why,
        stale: package_view::stale(c),
        unbound: crate::decide::refusal::unbound(state, c, policy),
        package: package_view::package(state, (cname, c), (pname, p), now, policy),
        broken: Broken::of((cname, c), (pname, p), failed),
        trail: Vec::new(),
    })
}

fn sentence(why: &Why) -> String {
    if why.chosen {
        return CHOSEN.to_owned();
    }
    let reasons: Vec<String> = why.deciding.iter().map(ToString::to_string).collect();
    format!("it is not rebuilt now, because {}", reasons.join(", and "))
}

/// Returns the names of packages that are similar to an unknown one, nearest first.
pub(crate) fn near<'a>(state: &'a State, package: &str) -> Vec<&'a str> {
    nearest(package, state.collections.values().flat_map(|c| c.packages.keys().map(Name::as_str)))
}
