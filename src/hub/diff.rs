//! Compares an observation with the state and returns what is new. These functions are pure. The
//! rules for each kind of object are in `super::objects`.
//!
//! The comparison uses the state at the moment of appending. So an answer that comes late or twice
//! adds nothing. The identity of a fact is its table, key and Koji event.

use rustc_hash::{FxHashMap, FxHashSet};

use super::interest::HubObject;
use super::snapshot::{LookReason, Observation, Seen};
use crate::event::{Event, FactId, NewEvent, Source};
use crate::fold::{HubState, State, TagPackage};
use crate::model::{BuildId, Hub, Name, PersonId, TagId, Timestamp};

/// A message about anything younger than this may still be on its way.
const YOUNG_MICROS: i64 = 60_000_000;

/// What an observation adds to the state, in the order in which it must be appended.
#[derive(Debug, Default)]
pub struct News {
    /// The facts.
    pub facts: Vec<NewEvent>,
    /// Number of facts about something that exists and that we did not know, although a message
    /// should have told us. Not counted: free tasks and ended repositories (Koji sends no message),
    /// anything younger than a minute, and the first read of a tag, target or hub.
    pub missed: u32,
    /// Number of facts that take back something we knew and that is not true (any more). The same
    /// exceptions apply.
    pub invented: u32,
}

/// Compares an observation with the state. `person` returns the stand-in for a name. Cost: O(seen);
/// O(tag) for a whole tag.
pub fn differences(state: &State, look: &Observation, person: &mut dyn FnMut(&str) -> PersonId) -> News {
    let nothing = HubState::default();
    let hub = state.hubs.get(&look.hub).unwrap_or(&nothing);
    let mut compare = Compare::new(hub, look, person);
    // If a tag is gone, everything in it is gone, too. A fact for each of its builds and packages
    // would mean thousands of facts without information.
    let gone: FxHashSet<&Name> = look.seen.iter().filter_map(tag_that_is_gone).collect();
    for seen in &look.seen {
        compare.note_lists(seen);
    }
    for seen in &look.seen {
        compare.quiet = compare.needs_no_message(seen);
        match seen {
            Seen::Tag(t) => compare.tag(t),
            Seen::TagBuilds { tag, .. } | Seen::TagPackages { tag, .. } if gone.contains(tag) => {}
            Seen::TagBuilds { tag, package, builds } => compare.tag_builds(tag, package.as_ref(), builds),
            Seen::TagPackages { tag, package, listed } => compare.tag_packages(tag, package.as_ref(), listed),
            Seen::Target(name, there) => compare.target(state, name, there.as_ref()),
            Seen::Build(b) => compare.build(b),
            Seen::Repo(r) => compare.repo(r),
            Seen::Repos { tag, usable, from, later } => compare.repos(tag, usable, *from, later),
            Seen::Task(t) => compare.task(t),
            Seen::NoTask(id) => compare.no_task(state, *id),
        }
    }
    compare.news
}

fn tag_that_is_gone(seen: &Seen) -> Option<&Name> {
    if let Seen::Tag(t) = seen { t.gone.then_some(&t.tag) } else { None }
}

/// The comparison of one observation.
pub(super) struct Compare<'a> {
    pub(super) hub: &'a HubState,
    pub(super) look: &'a Observation,
    person: &'a mut dyn FnMut(&str) -> PersonId,
    news: News,
    /// Whether news from the current object does not count as missed.
    quiet: bool,
    /// Whether the last fact was counted as missed.
    counted: bool,
    /// Builds already compared in this look.
    pub(super) builds: FxHashSet<BuildId>,
    /// Package list entries seen in this look: tag, package, and whether the entry blocks the
    /// package. `None`: the package is not in the list.
    entries: FxHashMap<(&'a Name, &'a Name), Option<bool>>,
    /// Tags whose whole package list was seen in this look.
    whole: FxHashSet<&'a Name>,
}

impl<'a> Compare<'a> {
    fn new(hub: &'a HubState, look: &'a Observation, person: &'a mut dyn FnMut(&str) -> PersonId) -> Self {
        Self {
            hub,
            look,
            person,
            news: News::default(),
            quiet: false,
            counted: false,
            builds: FxHashSet::default(),
            entries: FxHashMap::default(),
            whole: FxHashSet::default(),
        }
    }

    fn note_lists(&mut self, seen: &'a Seen) {
        let Seen::TagPackages { tag, package, listed } = seen else { return };
        match package {
            Some(package) => {
                self.entries.insert((tag, package), None);
            }
            None => {
                self.whole.insert(tag);
            }
        }
        self.entries.extend(listed.iter().map(|seen| ((tag, &seen.package), Some(seen.blocked))));
    }

    /// Checks whether a package is blocked for a tag. The nearest package list that has an entry
    /// decides.
    pub(super) fn is_blocked(&self, chain: &[Name], package: &Name) -> bool {
        let entry = |tag: &Name| match self.entries.get(&(tag, package)) {
            Some(seen) => *seen,
            None if self.whole.contains(tag) => None,
            None => self.hub.tags.get(tag).and_then(|t| t.packages.get(package)).and_then(TagPackage::blocked),
        };
        chain.iter().find_map(entry) == Some(true)
    }
}

impl Compare<'_> {
    /// Returns the stand-in of a person.
    pub(super) fn person(&mut self, name: &str) -> PersonId {
        (self.person)(name)
    }

    /// Notes a fact. `key` is its identity without the hub. `None` if only the comparison can tell
    /// that the fact is new.
    pub(super) fn fact(
        &mut self,
        event: impl Into<Event>,
        key: Option<String>,
        koji_event: Option<i64>,
        at: Option<Timestamp>,
    ) {
        let young = at.is_some_and(|at| self.is_young(at));
        self.counted = !self.quiet && !young;
        self.news.missed += u32::from(self.counted);
        self.news.facts.push(NewEvent {
            event: event.into(),
            occurred_at: at.unwrap_or(self.look.at),
            source: match self.look.why {
                LookReason::Hint => Source::Hub,
                LookReason::Reconciliation => Source::Reconciliation,
            },
            fact: key.map(|key| FactId::of(&format!("{}/{key}", self.look.hub))),
            koji_event,
            causation: None,
            correlation: None,
        });
    }

    /// Marks the last fact as one that takes something back.
    pub(super) fn takes_back(&mut self) {
        self.news.missed -= u32::from(self.counted);
        self.news.invented += u32::from(self.counted);
    }

    /// Runs `what`; if `so`, its facts do not count as missed, because no message could have told
    /// them.
    pub(super) fn quietly(&mut self, so: bool, what: impl FnOnce(&mut Self)) {
        let before = self.quiet;
        self.quiet |= so;
        what(self);
        self.quiet = before;
    }

    pub(super) fn is_young(&self, at: Timestamp) -> bool {
        self.look.at.since(at) < YOUNG_MICROS
    }

    /// Checks whether news about this object needs no message: it is read for the first time, or
    /// its change is too young.
    fn needs_no_message(&self, seen: &Seen) -> bool {
        let first_of_tag = |tag: &Name| self.hub.tags.get(tag).is_none_or(|t| t.id.is_none());
        let first_of_repos = |tag: &Name| !self.hub.repos.values().any(|r| r.tag == *tag);
        let fresh = |key: HubObject| self.look.fresh.contains(&key);
        self.hub.reconciled_through.is_none()
            || match seen {
                Seen::Tag(t) => first_of_tag(&t.tag),
                Seen::TagBuilds { tag, package, .. } => {
                    first_of_tag(tag) || fresh(HubObject::TagBuilds(tag.clone(), package.clone()))
                }
                Seen::TagPackages { tag, package, .. } => {
                    first_of_tag(tag) || fresh(HubObject::TagPackages(tag.clone(), package.clone()))
                }
                Seen::Target(name, _) => !self.hub.targets.contains_key(name),
                Seen::Repo(r) => first_of_repos(&r.tag),
                Seen::Repos { tag, .. } => first_of_repos(tag),
                Seen::Build(_) | Seen::Task(_) | Seen::NoTask(_) => false,
            }
    }

    pub(super) fn hub(&self) -> Hub {
        self.look.hub.clone()
    }

    pub(super) fn tag_id(&self, tag: &str) -> Option<TagId> {
        self.hub.tags.get(tag).and_then(|t| t.id)
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
