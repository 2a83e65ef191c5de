//! Says which packages are resolved, and resolves again when the tracked packages change.
//!
//! A repository is resolved for the packages that are tracked at that moment
//! ([`crate::fold::Tracked`]), and `repo_resolved` records which. When that set changes, the
//! repository in force is resolved again. A package thus has a verdict soon after it is tracked.
//! The resolution is the same whether the package was tracked before or after the repository became
//! ready.
//!
//! A whole list of changes leads to one such resolution. Without a hub it happens before the next
//! message is handled. With a hub it happens after the requirements of the new packages were
//! fetched ([`Writer::content`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Writer;
use crate::event::{Event, Source};
use crate::fold::Tracked;
use crate::log::LogError;
use crate::model::{Hub, Nvr, RepoId, Seq};

/// Cache of the tracked packages, and whether they may differ from what was resolved.
#[derive(Default)]
pub(crate) struct Tracking {
    /// Tracked packages and their digest, by the collection's index.
    of: BTreeMap<usize, (Arc<Tracked>, Option<String>)>,
    /// Whether no relevant event happened since the last comparison.
    compared: bool,
    /// The last relevant event since the start of the process.
    said: Option<Seq>,
}

impl Tracking {
    /// Notes a folded event. Changes of tracking are rare and packages are many, so the cache is
    /// dropped only then.
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

/// Source packages that must be known to resolve a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needed {
    /// The sources the collections have.
    pub own: BTreeSet<Nvr>,
    /// The packages that each of these collections tracks.
    pub tracked: Vec<Arc<Tracked>>,
}

impl Needed {
    /// Returns the collections' own sources, plus those of the repository's `listed` builds that
    /// any collection tracks.
    pub fn with_listed(self, listed: BTreeSet<Nvr>) -> BTreeSet<Nvr> {
        let Self { own, tracked } = self;
        let is_tracked = |nvr: &Nvr| tracked.iter().any(|t| t.has(&nvr.name));
        own.into_iter().chain(listed.into_iter().filter(is_tracked)).collect()
    }
}

impl Writer {
    /// Returns the tracked packages of a collection. Cost: O(packages) after a change of tracking.
    pub(crate) fn tracked(&mut self, index: usize) -> Arc<Tracked> {
        Arc::clone(&self.tracked_and_digest(index).0)
    }

    /// Returns the digest of the tracked packages. `None` means that all are tracked.
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

    /// Resolves again what was resolved for other packages than those tracked now. Does nothing
    /// with a hub.
    pub(crate) async fn follow_tracking(&mut self) -> Result<(), LogError> {
        // With a hub, the requirements of newly tracked packages are not here yet.
        if self.tracking.compared || self.settings.context.source == Source::Hub {
            return Ok(());
        }
        self.tracking.compared = true;
        // The cause is the last change of tracking, or the last event that followed from it. It is
        // the same after a restart.
        let Some(cause) = self.state.seq else { return Ok(()) };
        for index in 0..self.state.collections.len() {
            self.resolve_for_tracked(index, None, cause).await?;
        }
        self.settle(cause).await
    }

    /// Resolves again what was resolved for other packages than those tracked now. With `repo`,
    /// does so only for that repository, and also if the requirements of some packages were
    /// unknown.
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

    /// Resolves a known repository again once its content and the requirements of all tracked
    /// packages are available. Skips a collection that tracks other packages than those of `of`.
    pub(crate) async fn tracked_content(
        &mut self,
        hub: &Hub,
        repo: RepoId,
        of: Option<&[Arc<Tracked>]>,
        cause: Seq,
    ) -> Result<(), LogError> {
        let cause = self.tracking.said.unwrap_or(cause);
        for index in 0..self.state.collections.len() {
            let tracked = self.tracked(index);
            if self.state.collections[index].settings.hub == *hub && of.is_none_or(|of| of.contains(&tracked)) {
                self.resolve_for_tracked(index, Some(repo), cause).await?;
            }
        }
        self.settle(cause).await
    }
}
