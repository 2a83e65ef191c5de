//! Derives every announcement again, from its event and the state before it.
//!
//! Two settings are not in the log: how long a change is held back, and the address of our own
//! pages. So the log does not say when a cause or a package had to be told. What was said of it must
//! have been true then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::Audit;
use crate::announce::causes::{described, subject};
use crate::announce::richer::{self, At, CauseBody, PackageBody};
use crate::announce::teller::{rebuild_message, state_message, theirs};
use crate::announce::{Announced, Said, Word, koschei_messages};
use crate::decide::causes::open_causes;
use crate::event::{CollectionStateChanged, Envelope, Event, PackageStateChanged};
use crate::fold::State;
use crate::log::{EventLog, PAGE_MAX, ReadError};
use crate::model::{Name, RepoId};

/// A stored announcement.
struct Stored {
    subject: String,
    topic: String,
    /// Stands for topic, headers and body.
    digest: blake3::Hash,
    /// The old state that it names.
    old: Option<Word>,
    /// The body, if more than the digest is looked at.
    body: Option<Box<str>>,
}

/// The announcements of a log. A digest stands for most, because a log may have many.
#[derive(Default)]
pub(super) struct Announcements {
    /// By sequence of the event.
    stored: HashMap<u64, Vec<Stored>>,
    /// What was said before the present event.
    said: Said,
}

/// Returns a digest of a message. The address of our own pages does not count.
fn digest(topic: &str, headers: &str, body: &str) -> blake3::Hash {
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    if let Value::Object(fields) = &mut body {
        fields.remove("url");
    }
    blake3::hash([topic, headers, &body.to_string()].join("\0").as_bytes())
}

fn old(body: &str) -> Option<Word> {
    Word::of(serde_json::from_str::<Value>(body).ok()?.get("old")?.as_str()?)
}

impl Announcements {
    /// Reads the announcements of a log. Memory: about 150 bytes for each, and the bodies of those
    /// about causes and states.
    pub(super) async fn read(log: &impl EventLog) -> Result<Self, ReadError> {
        let (mut all, mut after) = (Self::default(), None);
        loop {
            let page = log.announcements(after, PAGE_MAX).await?;
            let Some((number, last)) = page.last() else { return Ok(all) };
            after = Some((last.seq, *number));
            for (_, a) in page {
                let is_short = a.topic.starts_with("koschei.rebuild.");
                let stored = Stored {
                    digest: digest(&a.topic, &a.headers, &a.body),
                    old: old(&a.body),
                    body: (!is_short).then(|| a.body.into_boxed_str()),
                    subject: a.subject,
                    topic: a.topic,
                };
                all.stored.entry(a.seq.get()).or_default().push(stored);
            }
        }
    }

    /// Compares the announcements of an event with what follows from it. An event without one is no
    /// finding: the log does not say when announcing was switched on.
    pub(super) fn look(&mut self, audit: &mut Audit, state: &State, e: &Envelope) {
        for stored in self.stored.remove(&e.seq.get()).unwrap_or_default() {
            audit.announcements += 1;
            if let Some(what) = self.wrong(&stored, state, e) {
                audit.find(e.seq, &e.event, None, what);
            }
            self.said.hear(&stored.subject, &stored.topic, e.recorded_at, stored.body.as_deref().unwrap_or_default());
        }
    }

    /// Returns what is wrong with an announcement.
    fn wrong(&self, stored: &Stored, state: &State, e: &Envelope) -> Option<&'static str> {
        const OTHER: &str = "its announcement says something else than follows from it";
        const NOTHING: &str = "it was announced, but gives nothing to announce";
        let derived = match stored.topic.as_str() {
            koschei_messages::PACKAGE | koschei_messages::COLLECTION => {
                theirs(&e.event, e.recorded_at, self.said.theirs(&stored.subject).or(stored.old), state)
            }
            richer::CAUSE_OPENED | richer::CAUSE_GREW | richer::CAUSE_CLOSED => {
                return self.wrong_cause(stored, state);
            }
            richer::PACKAGE_CHANGED | richer::BUILDROOT_CHANGED => self.state_again(stored, state, e),
            _ => rebuild_message(&e.event, e.seq, e.recorded_at, None, state),
        };
        let derived = derived.map(|(Announced { topic, headers, body }, _)| digest(topic, &headers, &body));
        match derived {
            Some(derived) if derived == stored.digest => None,
            Some(_) => Some(OTHER),
            None => Some(NOTHING),
        }
    }

    fn state_again(&self, stored: &Stored, state: &State, e: &Envelope) -> Option<(Announced, Vec<Name>)> {
        let body = stored.body.as_deref()?;
        // At a tick, the present state is told.
        let event = match (&e.event, stored.topic.as_str()) {
            (Event::Tick(_), richer::PACKAGE_CHANGED) => {
                let body: PackageBody = serde_json::from_str(body).ok()?;
                let (collection, package) = (body.about.collection, body.package);
                let new = state.package(&collection, &package)?.announced_state()?;
                PackageStateChanged { collection, package, old: None, new, reason: String::new() }.into()
            }
            (Event::Tick(_), _) => {
                let body: richer::BuildrootBody = serde_json::from_str(body).ok()?;
                let new = state.collections.get(&body.about.collection)?.announced;
                let (collection, repo_id) = (body.about.collection, RepoId(body.repo_id));
                CollectionStateChanged { collection, old: new, new, repo_id }.into()
            }
            _ => e.event.clone(),
        };
        let (Event::PackageStateChanged(PackageStateChanged { collection, .. })
        | Event::CollectionStateChanged(CollectionStateChanged { collection, .. })) = &event
        else {
            return None;
        };
        let settings = &state.collections.get(collection)?.settings;
        let at = At { collection, settings, seq: e.seq, at: e.recorded_at, site: None };
        state_message(&event, (self.said.ours(&stored.subject), stored.old?), Some(at), state)
    }

    /// Returns what is wrong with an announcement about a cause.
    fn wrong_cause(&self, stored: &Stored, state: &State) -> Option<&'static str> {
        const NOT_THERE: &str = "it speaks of a cause that does not break this";
        let Ok(body) = serde_json::from_str::<CauseBody>(stored.body.as_deref().unwrap_or_default()) else {
            return Some("its announcement cannot be read");
        };
        let open = open_causes(state);
        let mut open = open.iter().filter(|c| subject(&c.collection, &c.id) == stored.subject);
        let named: BTreeSet<&Name> = body.packages.iter().collect();
        match (open.next(), stored.topic.as_str()) {
            (Some(_), richer::CAUSE_CLOSED) => Some("it says that a cause is over which is not"),
            (None, richer::CAUSE_CLOSED) => {
                let said = self.said.cause(&stored.subject).map(|said| said.named.iter().collect::<BTreeSet<_>>());
                said.is_some_and(|said| !named.is_subset(&said)).then_some(NOT_THERE)
            }
            (None, _) => Some(NOT_THERE),
            (Some(cause), _) => {
                let broken: BTreeMap<&Name, ()> = cause.packages.iter().map(|p| (&p.name, ())).collect();
                let is_true = described(cause) == body.cause
                    && named.iter().all(|name| broken.contains_key(*name))
                    && body.count as usize <= broken.len();
                (!is_true).then_some(NOT_THERE)
            }
        }
    }
}
