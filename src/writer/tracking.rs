//! Which packages are resolved, and what follows when others are tracked than a repository was resolved for.
//!
//! A repository is resolved for the packages that are tracked at that moment ([`crate::fold::Tracked`]);
//! `repo_resolved` says which. When that changes the repository in force is resolved again, so that a package has a
//! verdict soon after it is tracked, and the resolution is the same whether the word came before the repository or
//! after it. Many words in a row, as of a whole list of packages, lead to one such resolution: without a hub before
//! anything else is handled, with one when the requirements of the new ones were fetched ([`Writer::content`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::turn::Writer;
use crate::event::{Event, Source};
use crate::fold::Tracked;
use crate::log::LogError;
use crate::model::{Hub, Nvr, RepoId, Seq};

/// What is tracked, as far as it was asked for, and whether that may differ from what was resolved.
#[derive(Default)]
pub(crate) struct Tracking {
    /// By place of the collection, with its digest.
    of: BTreeMap<usize, (Arc<Tracked>, Option<String>)>,
    /// Nothing that decides it happened since it was last compared.
    compared: bool,
    /// The last event that decides it, of this life.
    said: Option<Seq>,
}

impl Tracking {
    /// An event was folded. Such words are rare, packages are many.
    pub(crate) fn folded(&mut self, event: &Event, seq: Seq) {
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

impl Writer {
    /// The tracked packages of a collection. Cost: O(packages) after a word about them.
    pub(crate) fn tracked(&mut self, index: usize) -> Arc<Tracked> {
        Arc::clone(&self.tracked_and_digest(index).0)
    }

    /// Stands for them; `None`: all.
    pub(crate) fn tracked_digest(&mut self, index: usize) -> Option<String> {
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
    pub(crate) async fn follow_tracking(&mut self) -> Result<(), LogError> {
        // What a hub has of the new ones is not here yet.
        if self.tracking.compared || self.settings.context.source == Source::Hub {
            return Ok(());
        }
        self.tracking.compared = true;
        // The last one of these words, or what followed from it: the same after a restart.
        let Some(cause) = self.state.seq else { return Ok(()) };
        for index in 0..self.state.collections.len() {
            self.resolve_for_tracked(index, None, cause).await?;
        }
        self.settle(cause).await
    }

    /// Resolves again what was resolved for other packages than those that are tracked now; with `repo` only that
    /// repository, and also where requirements of a package had not been known.
    pub(crate) async fn resolve_for_tracked(
        &mut self,
        index: usize,
        repo: Option<RepoId>,
        cause: Seq,
    ) -> Result<(), LogError> {
        let digest = self.tracked_digest(index);
        let resolved = self.state.collections[index].arches.iter().filter_map(|(arch, a)| {
            let of = (arch.clone(), a.repo_id?, a.attachment.clone()?);
            repo.is_none_or(|r| r == of.1).then(|| (of, a.tracked == digest))
        });
        let resolved: Vec<_> = resolved.collect();
        for ((arch, of, attachment), same) in resolved {
            let [.., unknown] = match (same, repo) {
                (true, Some(_)) => self.closures(&attachment).await?.unit.counts(),
                _ => [0; 4],
            };
            if !same || unknown > 0 {
                self.resolve_again(index, (&arch, of, &attachment), cause).await?;
            }
        }
        Ok(())
    }

    /// The content of a repository that was resolved can be had, with the requirements of all that is tracked now.
    pub(crate) async fn tracked_content(&mut self, hub: &Hub, repo: RepoId, cause: Seq) -> Result<(), LogError> {
        let cause = self.tracking.said.unwrap_or(cause);
        for index in 0..self.state.collections.len() {
            if self.state.collections[index].settings.hub == *hub {
                self.resolve_for_tracked(index, Some(repo), cause).await?;
            }
        }
        self.settle(cause).await
    }
}
