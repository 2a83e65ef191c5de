//! Decides what is said when. It hears each event before it is folded, and remembers what was said.
//!
//! A change of state is told once the new state has stood for a while: at the next tick after that.
//! If the old state comes back before, nothing is told. Without that time, it is told at the event.
//!
//! A package that a cause breaks together with others is not told of alone, if there is such a
//! time: the messages about the cause name it. Without that time the cause is not known yet, so
//! each package is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::causes::{Notice, covers, described, notice, subject};
use super::richer::{At, CAUSE_CLOSED, Cause, PACKAGES_MAX};
use super::{Announced, Said, Word, koschei_messages};
use crate::decide::causes::{OpenCause, cause_of, open_causes};
use crate::decide::state_reason::{reason_of, state_reason};
use crate::event::{ChainHash, Event, Record};
use crate::fold::{Collection, State};
use crate::model::{BuildrootState, Name, PersonId, Seq, Timestamp};

/// What is told, and how soon.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Telling {
    /// Whether the original's messages are sent.
    pub theirs: bool,
    /// Whether our own messages are sent.
    pub richer: bool,
    /// How long a state must stand before it is told, in seconds.
    pub hold_back: i64,
    /// Address of our own pages, without a slash at the end.
    pub site: Option<String>,
}

/// A change of state that is not told yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Held {
    /// The last change.
    pub event: Event,
    /// Its place in the log.
    pub seq: Seq,
    /// Its hash.
    pub hash: ChainHash,
    /// Its time of recording.
    pub since: Timestamp,
    /// The state before the first change that is not told.
    pub old: Word,
}

/// A message, and the event that it belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saying {
    /// The event.
    pub seq: Seq,
    /// Its hash.
    pub hash: ChainHash,
    /// Its time of recording.
    pub at: Timestamp,
    /// What the message is about. Messages about one subject leave in their order.
    pub subject: String,
    /// The message.
    pub message: Announced,
    /// Owners of the packages that it names, at most [`PEOPLE_MAX`].
    pub people: Vec<PersonId>,
}

/// Most owners of packages that a message names. Each is a header, as each package is.
pub const PEOPLE_MAX: usize = 200;

/// Decides what is said when.
#[derive(Default, Debug)]
pub struct Teller {
    telling: Telling,
    said: Said,
    held: BTreeMap<String, Held>,
    /// When the first buildroot of a collection was looked at. What changes by that is its first
    /// fill.
    filled: HashMap<Name, Timestamp>,
    /// Causes that were told and are not there, and since when.
    absent: HashMap<String, Timestamp>,
    sayings: Vec<Saying>,
    changes: Vec<(String, Option<(Seq, Word)>)>,
}

/// What was decided since the last call.
#[derive(Debug)]
pub struct Decided {
    /// Messages, in their order.
    pub sayings: Vec<Saying>,
    /// Changes that wait from now on (the event, and the state before), or not any more, by
    /// subject.
    pub held: Vec<(String, Option<(Seq, Word)>)>,
}

/// Where an event stands in the log.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its sequence.
    pub seq: Seq,
    /// Its hash.
    pub hash: ChainHash,
    /// Its time of recording.
    pub at: Timestamp,
    /// Its subject.
    pub subject: &'a str,
}

impl<'a> From<&'a Record> for Place<'a> {
    fn from(record: &'a Record) -> Self {
        Self { seq: record.seq, hash: record.hash, at: record.recorded_at, subject: &record.subject }
    }
}

impl Teller {
    /// Makes a teller that knows what was said, and which changes wait.
    pub fn new(telling: Telling, said: Said, held: BTreeMap<String, Held>) -> Self {
        Self { telling, said, held, ..Self::default() }
    }

    /// Returns what was decided since the last call.
    pub fn take(&mut self) -> Decided {
        Decided { sayings: std::mem::take(&mut self.sayings), held: std::mem::take(&mut self.changes) }
    }

    /// Hears an event. `state` is the state before it. Cost: at a tick, linear in the packages.
    pub fn hear(&mut self, place: Place<'_>, event: &Event, state: &State) {
        match event {
            Event::Tick(_) => self.tick(place, state),
            Event::PackageStateChanged(e) => {
                let Some(c) = state.collections.get(&e.collection) else { return };
                let fills = self.filled.get(&e.collection) == Some(&place.at);
                if c.announced == BuildrootState::Unknown || fills {
                    return;
                }
                let waiting = self.held.get(place.subject).map(|held| held.old);
                let before = || koschei_messages::package_before(e, self.believed(place.subject));
                let Some(old) = waiting.or_else(before) else { return };
                self.changed(place, event, (old, e.new.into()), state);
            }
            Event::CollectionStateChanged(e) => {
                if e.old == BuildrootState::Unknown {
                    self.filled.insert(e.collection.clone(), place.at);
                }
                let old = self.believed(place.subject).unwrap_or(e.old.into());
                self.changed(place, event, (old, e.new.into()), state);
            }
            _ if self.telling.richer => self.rebuild(place, event, state),
            _ => {}
        }
    }

    /// Returns what subscribers believe of a subject.
    fn believed(&self, subject: &str) -> Option<Word> {
        self.said.theirs(subject).or(self.said.ours(subject))
    }

    fn changed(&mut self, place: Place<'_>, event: &Event, (old, new): (Word, Word), state: &State) {
        let waiting = self.held.get(place.subject).map(|held| held.old);
        let old = waiting.unwrap_or(old);
        let held = Held { event: event.clone(), seq: place.seq, hash: place.hash, since: place.at, old };
        if self.telling.hold_back > 0 && old != new {
            self.changes.push((place.subject.to_owned(), Some((held.seq, held.old))));
            self.held.insert(place.subject.to_owned(), held);
            return;
        }
        if waiting.is_some() {
            self.held.remove(place.subject);
            self.changes.push((place.subject.to_owned(), None));
        }
        if self.telling.hold_back <= 0 {
            self.tell_theirs(place.subject, &held, state);
            if self.telling.richer {
                let told = self.said.ours(place.subject);
                let message = state_message(event, (told, old), self.at(place, event, state), state);
                self.say(place, collection_of(event), message, state);
            }
        }
    }

    fn tell_theirs(&mut self, subject: &str, held: &Held, state: &State) {
        if !self.telling.theirs {
            return;
        }
        let place = Place { seq: held.seq, hash: held.hash, at: held.since, subject };
        let message = theirs(&held.event, held.since, Some(self.said.theirs(subject).unwrap_or(held.old)), state);
        self.say(place, collection_of(&held.event), message, state);
    }

    /// Tells what has stood long enough, and speaks of causes.
    fn tick(&mut self, place: Place<'_>, state: &State) {
        let open = if self.telling.richer { open_causes(state) } else { Vec::new() };
        let is_due = |held: &Held| held.since.plus_secs(self.telling.hold_back) <= place.at;
        let mut due: Vec<(Seq, String)> =
            self.held.iter().filter(|(_, h)| is_due(h)).map(|(subject, h)| (h.seq, subject.clone())).collect();
        due.sort_unstable();
        let broken = if due.is_empty() { HashMap::new() } else { by_package(&open) };
        for (_, subject) in due {
            let Some(held) = self.held.remove(&subject) else { continue };
            self.changes.push((subject.clone(), None));
            self.tell_theirs(&subject, &held, state);
            if self.telling.richer && self.is_told_alone(&subject, &held, &broken) {
                let (told, place) = (self.said.ours(&subject), Place { subject: &subject, ..place });
                let at = self.at(place, &held.event, state);
                let message = state_message(&held.event, (told, held.old), at, state);
                self.say(place, collection_of(&held.event), message, state);
            }
        }
        if self.telling.richer {
            self.speak_of_causes(place, &open, state);
        }
    }

    /// Returns whether a change is told in our own messages, and not by those about a cause.
    fn is_told_alone(&self, subject: &str, held: &Held, broken: &ByPackage<'_>) -> bool {
        let Event::PackageStateChanged(e) = &held.event else { return true };
        let (new, told) = (Word::from(e.new), self.said.ours(subject));
        if !new.is_broken() {
            // That it was broken may have been told with others. Then so is the end.
            return told.is_some() || new == Word::Ignored;
        }
        let said = |cause: &OpenCause| self.said.cause(&super::causes::subject(&cause.collection, &cause.id));
        let causes = broken.get(&(e.collection.as_str(), e.package.as_str()));
        !causes.into_iter().flatten().any(|cause| covers(cause, said(cause), &e.package))
    }

    fn speak_of_causes(&mut self, tick: Place<'_>, open: &[OpenCause], state: &State) {
        for cause in open {
            let subject = subject(&cause.collection, &cause.id);
            self.absent.remove(&subject);
            let Some(c) = known(state, &cause.collection) else { continue };
            let said = self.said.cause(&subject);
            let Some(Notice { topic, packages, count }) = notice(cause, said, tick.at, self.telling.hold_back) else {
                continue;
            };
            let at = self.at_collection(tick, (&cause.collection, c));
            let message = at.cause(topic, described(cause), &packages, count);
            self.say(Place { subject: &subject, ..tick }, Some(&cause.collection), Some((message, packages)), state);
        }
        let is_open = |at: &str| open.iter().any(|cause| subject(&cause.collection, &cause.id) == at);
        let over: Vec<String> = self.said.causes().keys().filter(|at| !is_open(at)).cloned().collect();
        for subject in over {
            let since = *self.absent.entry(subject.clone()).or_insert(tick.at);
            if since.plus_secs(self.telling.hold_back) > tick.at {
                continue;
            }
            self.absent.remove(&subject);
            let Some((said, c)) =
                self.said.cause(&subject).and_then(|s| Some((s, state.collections.get(&s.collection)?)))
            else {
                continue;
            };
            let packages: Vec<Name> = said.named.iter().cloned().collect();
            let collection = said.collection.clone();
            let at = self.at_collection(tick, (&collection, c));
            let message = at.cause(CAUSE_CLOSED, said.cause.clone(), &packages, 0);
            self.say(Place { subject: &subject, ..tick }, Some(&collection), Some((message, packages)), state);
        }
    }

    fn rebuild(&mut self, place: Place<'_>, event: &Event, state: &State) {
        let message = rebuild_message(event, place.seq, place.at, self.telling.site.as_deref(), state);
        self.say(place, collection_of(event), message, state);
    }

    fn at<'a>(&'a self, place: Place<'_>, event: &'a Event, state: &'a State) -> Option<At<'a>> {
        let name = collection_of(event)?;
        Some(self.at_collection(place, (name, state.collections.get(name)?)))
    }

    fn at_collection<'a>(&'a self, place: Place<'_>, (collection, c): (&'a Name, &'a Collection)) -> At<'a> {
        let site = self.telling.site.as_deref();
        At { collection, settings: &c.settings, seq: place.seq, at: place.at, site }
    }

    fn say(
        &mut self,
        place: Place<'_>,
        collection: Option<&Name>,
        message: Option<(Announced, Vec<Name>)>,
        state: &State,
    ) {
        let Some((message, packages)) = message else { return };
        self.said.hear(place.subject, message.topic, place.at, &message.body);
        let (seq, hash, at, subject) = (place.seq, place.hash, place.at, place.subject.to_owned());
        let c = collection.and_then(|name| state.collections.get(name));
        let people = c.map(|c| owners(state, c, &packages)).unwrap_or_default();
        self.sayings.push(Saying { seq, hash, at, subject, message, people });
    }
}

/// The open causes of each package, by collection and package.
type ByPackage<'a> = HashMap<(&'a str, &'a str), Vec<&'a OpenCause>>;

fn by_package(open: &[OpenCause]) -> ByPackage<'_> {
    let mut all = ByPackage::new();
    for cause in open {
        for package in &cause.packages {
            all.entry((cause.collection.as_str(), package.name.as_str())).or_default().push(cause);
        }
    }
    all
}

/// Returns the owners of packages, by Koji's package lists, each once.
fn owners(state: &State, c: &Collection, packages: &[Name]) -> Vec<PersonId> {
    let Some(hub) = state.hubs.get(&c.settings.hub) else { return Vec::new() };
    let named = packages.iter().take(PACKAGES_MAX);
    let people: BTreeSet<&PersonId> = named.filter_map(|package| hub.owner(&c.chain, package)).collect();
    people.into_iter().take(PEOPLE_MAX).cloned().collect()
}

/// Returns a collection of which a buildroot was looked at.
fn known<'a>(state: &'a State, name: &str) -> Option<&'a Collection> {
    state.collections.get(name).filter(|c| c.announced != BuildrootState::Unknown || c.target_gone)
}

/// Returns the collection that an event of which we speak is about.
fn collection_of(event: &Event) -> Option<&Name> {
    match event {
        Event::PackageStateChanged(e) => Some(&e.collection),
        Event::CollectionStateChanged(e) => Some(&e.collection),
        Event::RebuildRequested(e) => Some(&e.collection),
        Event::RebuildSubmitted(e) => Some(&e.collection),
        Event::RebuildFinished(e) => Some(&e.collection),
        Event::RebuildRefused(e) => Some(&e.collection),
        Event::RebuildNotSubmitted(e) => Some(&e.collection),
        _ => None,
    }
}

/// Returns the original's message about a change, recorded at `at`, if `told` was last said.
pub fn theirs(event: &Event, at: Timestamp, told: Option<Word>, state: &State) -> Option<(Announced, Vec<Name>)> {
    let settings = &state.collections.get(collection_of(event)?)?.settings;
    match event {
        Event::PackageStateChanged(e) => {
            Some((koschei_messages::package(e, settings, at, told)?, vec![e.package.clone()]))
        }
        Event::CollectionStateChanged(e) => Some((koschei_messages::collection(e, settings, at, told)?, Vec::new())),
        _ => None,
    }
}

/// Returns our own message about a change of state. `told` is what such a message last said, `old`
/// the state before.
pub fn state_message(
    event: &Event,
    (told, old): (Option<Word>, Word),
    at: Option<At<'_>>,
    state: &State,
) -> Option<(Announced, Vec<Name>)> {
    let (at, old) = (at?, told.unwrap_or(old));
    let c = state.collections.get(at.collection)?;
    match event {
        Event::PackageStateChanged(e) if Word::from(e.new) != old => {
            let package = c.packages.get(&e.package)?;
            let why = |evidence: &_, task| reason_of(state, c, evidence, task);
            let reason = state_reason(c, package, e.new, why);
            let cause = first_cause(at.collection, c, &e.package).filter(|_| Word::from(e.new).is_broken());
            Some((at.package(&e.package, old, e.new.into(), reason, cause), vec![e.package.clone()]))
        }
        Event::CollectionStateChanged(e) if Word::from(e.new) != old && e.new != BuildrootState::Unknown => {
            let problems = c.arches.values().flat_map(|a| a.problems.iter().take(PROBLEMS_MAX).cloned());
            let problems = if e.new == BuildrootState::Unresolved { problems.collect() } else { Vec::new() };
            Some((at.buildroot(old, e.new, e.repo_id.0, problems), Vec::new()))
        }
        _ => None,
    }
}

/// Most problems of an architecture that a message has.
const PROBLEMS_MAX: usize = 10;

/// Returns what broke a package, if it is known.
fn first_cause(collection: &Name, c: &Collection, package: &Name) -> Option<Cause> {
    let p = c.packages.get(package)?;
    cause_of((collection, c), (package, p)).first().map(described)
}

/// Returns our own message about a rebuild.
pub fn rebuild_message(
    event: &Event,
    seq: Seq,
    at: Timestamp,
    site: Option<&str>,
    state: &State,
) -> Option<(Announced, Vec<Name>)> {
    let collection = collection_of(event)?;
    let settings = &state.collections.get(collection)?.settings;
    let at = At { collection, settings, seq, at, site };
    let (message, package) = match event {
        Event::RebuildRequested(e) => (at.decided(e), &e.nvr.name),
        Event::RebuildSubmitted(e) => (at.submitted(e), &e.package),
        Event::RebuildFinished(e) => (at.finished(e), &e.package),
        Event::RebuildRefused(e) => (at.ended(&e.package, Some(e.rebuild), None, ("refused", &e.reason)), &e.package),
        Event::RebuildNotSubmitted(e) => {
            (at.ended(&e.package, Some(e.rebuild), None, ("not_submitted", &e.reason)), &e.package)
        }
        _ => return None,
    };
    Some((message, vec![package.clone()]))
}

#[cfg(test)]
#[path = "teller_tests.rs"]
mod tests;
