//! Why a package is in its state and why it is rebuilt or not: one answer for `why` and the pages.

use serde::Serialize;

use super::package::{self as package_view, PackageView};
use crate::decide::load::ArchLoads;
use crate::decide::{Policy, Why};
use crate::fold::{Collection, State};
use crate::model::nearest::nearest;
use crate::model::{Name, Seq, Timestamp};

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
    /// One sentence.
    pub(crate) answer: String,
    pub(crate) why: Why,
    /// The verdicts are of an older repository, because the newest could not be resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<String>,
    /// Its rebuilds are not bound to repositories, because the hub refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unbound: Option<String>,
    pub(crate) package: PackageView,
    /// Newest first.
    pub(crate) trail: Vec<Step>,
}

/// The answer as of a state, without the trail; `None` when the collection does not have the package.
pub(crate) fn answer(
    state: &State,
    (cname, c): (&Name, &Collection),
    package: &str,
    now: Timestamp,
    policy: &Policy,
) -> Option<Answer> {
    let (pname, p) = c.packages.get_key_value(package)?;
    let load = state.load.as_ref().map(ArchLoads::from_recorded);
    let why = crate::decide::why(state, cname, pname, now, policy, load.as_ref())?;
    Some(Answer {
        seq: state.seq.map_or(0, Seq::get),
        now: now.to_string(),
        answer: sentence(&why),
        why,
        stale: package_view::collection(state, cname, c).stale,
        unbound: crate::decide::refusal::unbound(state, c, policy),
        package: package_view::package(state, (cname, c), (pname, p), now, policy),
        trail: Vec::new(),
    })
}

fn sentence(why: &Why) -> String {
    if why.chosen {
        return "the next evaluation rebuilds it: its priority reaches the threshold and nothing holds it".to_owned();
    }
    let reasons: Vec<String> = why.deciding.iter().map(ToString::to_string).collect();
    format!("it is not rebuilt now, because {}", reasons.join(", and "))
}

/// Names of packages that look like one that is not known, nearest first.
pub(crate) fn near<'a>(state: &'a State, package: &str) -> Vec<&'a str> {
    nearest(package, state.collections.values().flat_map(|c| c.packages.keys().map(Name::as_str)))
}
