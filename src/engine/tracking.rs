//! Which packages are resolved, and what follows when others are tracked than a repository was resolved for.
//!
//! A repository is resolved for the packages that are tracked at that moment ([`crate::fold::Tracked`]);
//! `repo_resolved` says which. When that changes the repository in force is resolved again, so that a package has a
//! verdict soon after it is tracked, and the resolution is the same whether the word came before the repository or
//! after it. Many words in a row, as of a whole list of packages, lead to one such resolution: without a hub before
//! anything else is handled, with one when the requirements of the new ones were fetched ([`Brain::content`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::brain::Brain;
use super::error::EngineError;
use super::eyes::Eyes;
use super::hub::keys::{TrackedOf, Watch};
use crate::event::{Event, Source};
use crate::fold::Tracked;
use crate::log::EventLog;
use crate::model::{Hub, Name, Nvr, RepoId, Seq};

/// What is tracked, as far as it was asked for, and whether that may differ from what was resolved.
#[derive(Default)]
pub(super) struct Tracking {
    /// By place of the collection, with its digest.
    of: BTreeMap<usize, (Arc<Tracked>, Option<String>)>,
    /// Nothing that decides it happened since it was last compared.
    compared: bool,
    /// The last event that decides it, of this life.
    said: Option<Seq>,
}

impl Tracking {
    /// An event was folded. Such words are rare, packages are many.
    pub(super) fn folded(&mut self, event: &Event, seq: Seq) {
        if matches!(
            event,
            Event::PackageTracked(_)
                | Event::PackageUntracked(_)
                | Event::CollectionCreated(_)
                | Event::CollectionEdited(_)
        ) {
            *self = Self { said: Some(seq), ..Self::default() };
        }
    }
}

/// Which source packages have to be known to resolve a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needed {
    /// Those the collections have.
    pub own: BTreeSet<Nvr>,
    /// What each of these collections tracks.
    pub tracked: Vec<Arc<Tracked>>,
}

impl Needed {
    /// Of those whose builds a repository lists the ones that are tracked in any collection, and the collections' own.
    pub fn with_listed(self, listed: BTreeSet<Nvr>) -> BTreeSet<Nvr> {
        let Self { own, tracked } = self;
        let is_tracked = |nvr: &Nvr| tracked.iter().any(|t| t.has(&nvr.name));
        own.into_iter().chain(listed.into_iter().filter(is_tracked)).collect()
    }
}

impl<E: Eyes> Brain<E> {
    /// The tracked packages of a collection. Cost: O(packages) after a word about them.
    pub(super) fn tracked(&mut self, index: usize) -> Arc<Tracked> {
        Arc::clone(&self.tracked_and_digest(index).0)
    }

    /// Stands for them; `None`: all.
    pub(super) fn tracked_digest(&mut self, index: usize) -> Option<String> {
        self.tracked_and_digest(index).1.clone()
    }

    fn tracked_and_digest(&mut self, index: usize) -> &(Arc<Tracked>, Option<String>) {
        let of = || {
            let tracked = Tracked::of(&self.state.collections[index]);
            let digest = tracked.digest();
            (Arc::new(tracked), digest)
        };
        self.tracking.of.entry(index).or_insert_with(of)
    }

    /// Without a hub: resolves again what was resolved for other packages than those that are tracked now.
    pub(super) async fn follow_tracking(&mut self, log: &impl EventLog) -> Result<(), EngineError> {
        // What a hub has of the new ones is not here yet.
        if self.tracking.compared || self.settings.context.source == Source::Hub {
            return Ok(());
        }
        self.tracking.compared = true;
        // The last one of these words, or what followed from it: the same after a restart.
        let Some(cause) = self.state.seq else { return Ok(()) };
        for index in 0..self.state.collections.len() {
            self.resolve_for_tracked(log, index, None, cause).await?;
        }
        self.settle(log, cause).await
    }

    /// Resolves again what was resolved for other packages than those that are tracked now; with `repo` only that
    /// repository, and also where requirements of a package had not been known.
    pub(super) async fn resolve_for_tracked(
        &mut self,
        log: &impl EventLog,
        index: usize,
        repo: Option<RepoId>,
        cause: Seq,
    ) -> Result<(), EngineError> {
        let digest = self.tracked_digest(index);
        let resolved = self.state.collections[index].arches.iter().filter_map(|(arch, a)| {
            let of = (arch.clone(), a.repo_id?, a.attachment.clone()?);
            repo.is_none_or(|r| r == of.1).then(|| (of, a.tracked == digest))
        });
        let resolved: Vec<_> = resolved.collect();
        for ((arch, of, attachment), same) in resolved {
            let [.., unknown] = match (same, repo) {
                (true, Some(_)) => self.closures(log, &attachment).await?.unit.counts(),
                _ => [0; 4],
            };
            if !same || unknown > 0 {
                self.resolve_again(log, index, (&arch, of, &attachment), cause).await?;
            }
        }
        Ok(())
    }

    /// The content of a repository that was resolved can be had, with the requirements of all that is tracked now.
    pub(super) async fn tracked_content(
        &mut self,
        log: &impl EventLog,
        hub: &Hub,
        repo: RepoId,
        cause: Seq,
    ) -> Result<(), EngineError> {
        let cause = self.tracking.said.unwrap_or(cause);
        for index in 0..self.state.collections.len() {
            if self.state.collections[index].settings.hub == *hub {
                self.resolve_for_tracked(log, index, Some(repo), cause).await?;
            }
        }
        self.settle(log, cause).await
    }

    /// Adds to what is watched on a hub what only some packages are tracked of.
    pub fn watch_tracked(&mut self, hub: &Hub, watch: &mut Watch) {
        for index in 0..self.state.collections.len() {
            if self.state.collections[index].settings.hub != *hub {
                continue;
            }
            let digest = self.tracked_digest(index);
            let c = &self.state.collections[index];
            if digest.is_none() && c.arches.values().all(|a| a.tracked.is_none()) {
                continue;
            }
            let tag = &c.settings.build_tag;
            let of_tag = watch.tracked.entry(tag.clone()).or_default();
            let word = |of: &Option<String>| format!("{} ", of.as_deref().unwrap_or("all"));
            of_tag.now.push_str(&word(&digest));
            for (arch, a) in c.arches.iter().filter(|(_, a)| a.repo_id.is_some() && a.tracked != digest) {
                of_tag.resolved.push_str(&format!("{arch} {}", word(&a.tracked)));
            }
            let repos = self.state.hubs.get(hub).map(|h| &h.repos);
            let resolved: BTreeSet<RepoId> = c.arches.values().filter_map(|a| a.repo_id).collect();
            let known = resolved.into_iter().filter_map(|id| Some((tag.clone(), id, repos?.get(&id)?.create_event)));
            watch.resolved.extend(known);
        }
    }
}

/// What was asked for of repositories that are resolved for some packages only.
#[derive(Default)]
pub(super) struct AskedFor {
    /// Build tag, repository, and the packages it was fetched with.
    fetched: BTreeSet<(Name, RepoId, String)>,
    /// Of build tags whose verdicts are for others than are tracked: the repository that was asked for to mend that.
    differing: BTreeMap<Name, (RepoId, TrackedOf)>,
}

impl AskedFor {
    /// A repository is fetched, with what is tracked now.
    pub(super) fn fetching(&mut self, watch: &Watch, tag: &Name, repo: RepoId) {
        if let Some(tracked) = watch.tracked.get(tag) {
            self.fetched.insert((tag.clone(), repo, tracked.now.clone()));
        }
    }

    /// Resolved repositories that have to be fetched for what is tracked now: their verdicts are for others, or it was
    /// never asked for with these. After a start that is each, once: whoever asked for it before may not have got it.
    pub(super) fn open(&mut self, watch: &Watch) -> Vec<(Name, RepoId, Option<i64>)> {
        self.fetched.retain(|(tag, repo, _)| watch.resolved.iter().all(|(t, r, _)| t != tag || r <= repo));
        let resolved = watch.resolved.iter().filter(|(tag, repo, _)| {
            let tracked = watch.tracked.get(tag).cloned().unwrap_or_default();
            let new = self.fetched.insert((tag.clone(), *repo, tracked.now.clone()));
            if tracked.resolved.is_empty() {
                self.differing.remove(tag);
                return new;
            }
            let differs = (*repo, tracked);
            self.differing.insert(tag.clone(), differs.clone()) != Some(differs) || new
        });
        resolved.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tracked` are the packages of now, and those of the verdicts after a slash where those are others.
    fn watch(repo: i64, tracked: &str) -> Watch {
        let tag = Name::from("f99-build");
        let (now, resolved) = tracked.split_once('/').unwrap_or((tracked, ""));
        let of_tag = TrackedOf { now: now.to_owned(), resolved: resolved.to_owned() };
        Watch {
            tracked: BTreeMap::from([(tag.clone(), of_tag)]),
            resolved: BTreeSet::from([(tag, RepoId(repo), Some(7))]),
            ..Watch::default()
        }
    }

    #[test]
    fn it_is_asked_once_for_what_differs() {
        let mut asked = AskedFor::default();
        let mut open = |w: &Watch| asked.open(w).into_iter().map(|(_, repo, _)| repo.0).collect::<Vec<_>>();
        assert_eq!(open(&Watch::default()), [0; 0], "all are tracked");
        assert_eq!(open(&watch(1, "a")), [1], "after a start");
        assert_eq!(open(&watch(1, "a")), [0; 0]);
        assert_eq!(open(&watch(1, "b/a")), [1], "a word");
        assert_eq!(open(&watch(1, "b/a")), [0; 0], "it is on its way");
        assert_eq!(open(&watch(1, "b")), [0; 0], "it is here");
        assert_eq!(open(&watch(1, "a/b")), [1], "and back");
        assert_eq!(open(&watch(1, "a")), [0; 0]);
        assert_eq!(open(&watch(1, "b/a")), [1], "and again");
        assert_eq!(open(&watch(2, "b")), [2], "nobody asked with this one");
        let new = watch(2, "c/b");
        asked.fetching(&new, &"f99-build".into(), RepoId(3));
        assert_eq!(asked.open(&watch(3, "c")), [], "it was fetched with it");
    }
}
