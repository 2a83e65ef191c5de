//! Describes events in a few words, and makes tables of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use maud::{Markup, html};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::refusal::Refusal;
use super::{Site, parts};
use crate::event::{Record, resolution_words};
use crate::log::{LogError, trail};
use crate::model::{RepoId, Seq};
use crate::view::text::one_line;

/// Largest number of causes that a table of events describes. Further causes are only linked.
const DESCRIBED: usize = 10;
/// Longest description in a table, in characters.
const DESCRIPTION: usize = 200;

/// The numbers of a resolution, without the thousands of packages that its event can name.
#[derive(Deserialize)]
struct Resolution {
    collection: String,
    repo_id: RepoId,
    arch: String,
    #[serde(default)]
    tracked: Option<IgnoredAny>,
    resolved: usize,
    unresolved: usize,
    #[serde(default)]
    packages: Vec<IgnoredAny>,
}

/// Describes an event in a few words. An event that this program cannot read is described by its
/// kind.
pub(super) fn words(r: &Record) -> String {
    if r.kind == "repo_resolved"
        && let Ok(e) = serde_json::from_str::<Resolution>(&r.payload)
    {
        let mut text = String::new();
        let counts = [e.resolved, e.unresolved, e.packages.len()];
        let written = resolution_words(&mut text, [&e.collection, &e.arch], e.repo_id, e.tracked.is_some(), counts);
        debug_assert!(written.is_ok(), "a string takes everything");
        return one_line(&text, DESCRIPTION);
    }
    r.decode().map_or_else(|_| r.kind.clone(), |e| one_line(&e.event.to_string(), DESCRIPTION))
}

/// Descriptions of events that many pages name, such as the repository that changed a thousand
/// packages. An event never changes, so neither does its description.
#[derive(Clone, Debug, Default)]
pub(super) struct Descriptions(Arc<Mutex<FxHashMap<Seq, Arc<str>>>>);

impl Descriptions {
    /// Number of descriptions that are kept. When there are more, all are made anew.
    const KEPT: usize = 4_096;

    fn known(&self) -> MutexGuard<'_, FxHashMap<Seq, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads an event and describes it. Returns `None` if it cannot be read now.
    async fn of(&self, site: &Site, seq: Seq) -> Option<Arc<str>> {
        let known = self.known().get(&seq).cloned();
        if known.is_some() {
            return known;
        }
        let words: Arc<str> = words(&trail::event(&site.log, seq).await.ok().flatten()?).into();
        let mut known = self.known();
        if known.len() >= Self::KEPT {
            known.clear();
        }
        known.insert(seq, words.clone());
        Some(words)
    }
}

/// Reads an event and describes it. Returns `None` if it cannot be read now.
pub(super) async fn described(site: &Site, seq: Seq) -> Option<(Seq, Arc<str>)> {
    Some((seq, site.descriptions.of(site, seq).await?))
}

/// Returns the last events about several subjects together, newest first. `before` is an event of
/// the log, or the one after its end.
pub(super) async fn newest(
    site: &Site,
    subjects: &[&str],
    before: Option<Seq>,
    limit: usize,
) -> Result<Vec<Arc<Record>>, Refusal> {
    let mut all: Vec<Arc<Record>> = Vec::new();
    for subject in subjects {
        let read = Box::pin(async {
            let found = trail::newest(&site.log, subject, before, limit).await?;
            Ok::<_, LogError>(found.into_iter().map(Arc::new).collect::<Vec<_>>())
        });
        match before {
            Some(before) => all.extend(site.trails.get(subject, before, limit, read).await?.iter().cloned()),
            // The end of the log is another one each time.
            None => all.extend(read.await?),
        }
    }
    all.sort_by_key(|r| std::cmp::Reverse(r.seq));
    all.truncate(limit);
    Ok(all)
}

/// Makes a table of events, newest first, each with its cause. More than `shown` records mean that
/// there are older ones; `older` makes their address.
pub(super) async fn table(
    site: &Site,
    records: &[Arc<Record>],
    shown: usize,
    older: impl Fn(&str) -> String,
) -> Markup {
    let rows = &records[..records.len().min(shown)];
    let known: BTreeMap<Seq, Arc<str>> = rows.iter().map(|r| (r.seq, words(r).into())).collect();
    let mut causes: BTreeMap<Seq, Arc<str>> = BTreeMap::new();
    for cause in rows.iter().filter(|r| tells_more(r)).filter_map(|r| r.causation) {
        if causes.contains_key(&cause) || causes.len() == DESCRIBED {
            continue;
        }
        let described = match known.get(&cause) {
            Some(words) => words.clone(),
            // The link works even without the description.
            None => site.descriptions.of(site, cause).await.unwrap_or_default(),
        };
        causes.insert(cause, described);
    }
    html! {
        @if rows.is_empty() { p { "No events." } }
        @else {
            div.scroll { table {
                (parts::column_heads(&[("", "Event"), ("", "When"), ("", "What"), ("", "Cause")]))
                tbody { @for r in rows { tr {
                    td { (parts::event(r.seq)) }
                    td { (parts::time(r.occurred_at)) }
                    td.why { (known.get(&r.seq).map(|words| &**words).unwrap_or_default()) }
                    td.why { @if let Some(cause) = r.causation {
                        (parts::event(cause)) " " (causes.get(&cause).map(|words| &**words).unwrap_or_default())
                    } }
                } } }
            } }
            @if let (true, Some(last)) = (records.len() > shown, rows.last()) {
                nav.pager aria-label="Events" {
                    a href={ (older(&last.seq.to_string())) "#trail" } rel="next" { "Older events" }
                }
            }
        }
    }
}

/// Checks whether the table describes the cause of an event.
fn tells_more(r: &Record) -> bool {
    ["package_state_changed", "package_reason_changed", "collection_state_changed", "rebuild_finished"]
        .contains(&r.kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChainHash, Event, NewEvent, RepoResolved, Source};
    use crate::model::{Hub, RepoId, Timestamp};

    /// The short form of a resolution, made without reading the whole event, has the words of all
    /// other places.
    #[test]
    fn a_resolution_is_described_as_elsewhere() {
        let event: Event = RepoResolved {
            collection: "f99".into(),
            hub: Hub::new("primary"),
            repo_id: RepoId(7),
            arch: "x86_64".into(),
            of_packages: None,
            tracked: Some("1f".into()),
            mode: "two".into(),
            solver: String::new(),
            inputs: String::new(),
            weak_deps: false,
            module_hotfixes: false,
            attachment: String::new(),
            content: None,
            resolved: 3,
            unresolved: 1,
            excluded: 0,
            unknown: 0,
            moves: Vec::new(),
            packages: Vec::new(),
            gone: Vec::new(),
            solver_mismatches: Vec::new(),
        }
        .into();
        let new = NewEvent {
            event: event.clone(),
            occurred_at: Timestamp::EPOCH,
            source: Source::Engine,
            fact: None,
            koji_event: None,
            causation: None,
            correlation: None,
        };
        let record = Record::new(Seq::FIRST, Timestamp::EPOCH, &new, ChainHash::GENESIS);
        assert_eq!(words(&record), event.to_string());
    }
}
