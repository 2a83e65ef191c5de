//! Derives every announcement again, from its event and the state before it.

use std::collections::{HashMap, HashSet};

use super::Audit;
use crate::event::Envelope;
use crate::fold::State;
use crate::log::{EventLog, PAGE_MAX, ReadError};
use crate::message::koschei_messages::{Announced, announced, collection_of};

/// The announcements of a log. A digest stands for each, because a log may have many.
#[derive(Default)]
pub(super) struct Announcements {
    /// By sequence of the event.
    stored: HashMap<u64, blake3::Hash>,
    /// Subjects announced before the present event.
    told: HashSet<String>,
}

fn digest(topic: &str, headers: &str, body: &str) -> blake3::Hash {
    blake3::hash([topic, headers, body].join("\0").as_bytes())
}

impl Announcements {
    /// Reads the announcements of a log. Memory: about 100 bytes for each.
    pub(super) async fn read(log: &impl EventLog) -> Result<Self, ReadError> {
        let (mut all, mut after) = (Self::default(), 0);
        loop {
            let page = log.announcements(after, PAGE_MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = *last;
            let stored = page.iter().map(|(_, a)| (a.seq.get(), digest(&a.topic, &a.headers, &a.body)));
            all.stored.extend(stored);
        }
    }

    /// Compares the announcement of an event, if it has one, with what follows from the event. An
    /// event without one is no finding: the log does not say when announcing was switched on.
    pub(super) fn look(&mut self, audit: &mut Audit, state: &State, e: &Envelope) {
        let Some(stored) = self.stored.remove(&e.seq.get()) else { return };
        audit.announcements += 1;
        let subject = e.event.subject();
        let collection = collection_of(&e.event).and_then(|name| state.collections.get(name));
        let derived = collection
            .and_then(|c| announced(&e.event, &c.settings, e.recorded_at, self.told.contains(&subject)))
            .map(|Announced { topic, headers, body }| digest(topic, &headers, &body));
        if derived != Some(stored) {
            let what = match derived {
                Some(_) => "its announcement says something else than follows from it",
                None => "it was announced, but gives nothing to announce",
            };
            audit.find(e.seq, &e.event, None, what);
        }
        self.told.insert(subject);
    }
}
