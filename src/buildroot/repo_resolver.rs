//! Looking: what the writer cannot know by itself it asks for here.
//!
//! Without a hub there may be an archive directory beside a recording, or nothing at all ([`NoResolver`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::verdicts::UnitVerdicts;
use crate::event::Event;
use crate::fold::sources::{Candidate, Chosen, Moment, choose};
use crate::fold::{Collection, HubState, Tracked};
use crate::model::{Hub, Name, Nvr, RepoId};
use crate::resolve::ResolveOptions;

/// What was seen of a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RepoLayout {
    /// The Koji event it shows.
    pub create_event: Option<i64>,
    /// Architectures with metadata.
    pub arches: Option<Vec<Name>>,
}

/// One piece of resolving: a repository on an architecture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unit<'a> {
    /// Hub instance.
    pub hub: &'a Hub,
    /// Build tag.
    pub tag: &'a str,
    /// The generation.
    pub repo: RepoId,
    /// The architecture.
    pub arch: &'a str,
    /// Group installed in every buildroot.
    pub group: &'a str,
    /// The collection's own sources at the time of the repository, which come before those it lists.
    pub own: &'a OwnSources,
    /// The collection's own way.
    pub options: ResolveOptions,
}

/// The collection's own sources at the time of a repository: for each tracked package the builds that may be the one
/// that counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnSources {
    of: BTreeMap<Name, Vec<Candidate>>,
    tracked: Tracked,
}

impl OwnSources {
    /// Those of a collection's tracked packages, as far as known. Cost: O(packages).
    pub fn of(hub: &HubState, collection: &Collection, tracked: &Tracked, moment: Moment) -> Self {
        let of = |name: &Name| (name.clone(), hub.candidates(collection, name, moment));
        let watched = collection.packages.keys().filter(|name| tracked.has(name));
        Self { tracked: tracked.clone(), ..Self::these(watched.map(of)) }
    }

    /// These, by package; all packages are tracked.
    pub fn these(packages: impl IntoIterator<Item = (Name, Vec<Candidate>)>) -> Self {
        let of = packages.into_iter().filter(|(_, candidates)| !candidates.is_empty()).collect();
        Self { of, tracked: Tracked::default() }
    }

    /// None, of packages that are tracked.
    pub fn none(tracked: &Tracked) -> Self {
        Self { of: BTreeMap::new(), tracked: tracked.clone() }
    }

    /// The source a package is resolved in; `None`: it has none, or is not tracked and so not resolved.
    pub fn choose<'a>(&'a self, package: &str, listed: Option<&'a Nvr>) -> Option<Chosen<'a>> {
        if !self.tracked.has(package) {
            return None;
        }
        choose(self.of.get(package).map_or(&[], Vec::as_slice), listed)
    }

    /// The packages that have some.
    pub fn packages(&self) -> impl Iterator<Item = &Name> {
        self.of.keys()
    }

    /// The packages that are to be resolved.
    pub fn tracked(&self) -> &Tracked {
        &self.tracked
    }

    /// Drafts that would be resolved in, under the name they get by being promoted where the repository lists them so.
    pub fn drafts(&self) -> impl Iterator<Item = &Candidate> {
        self.of.values().flatten().filter(|c| c.promoted.is_some())
    }

    /// Every source that may have to be known.
    pub fn sources(&self) -> impl Iterator<Item = &Nvr> {
        self.of.values().flatten().map(|c| &c.nvr)
    }
}

/// Why a repository could not be resolved; verdicts then stand, marked stale.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotResolve(pub String);

/// Somebody who can look.
pub trait RepoResolver: Send + Sync + 'static {
    /// Configuration of tags and targets, as far as it can be seen.
    fn observations(&self) -> Vec<Event>;

    /// What can be seen of a repository besides that it is ready.
    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> RepoLayout;

    /// Resolves every tracked source package of a repository. Cost: seconds; may use all processors.
    ///
    /// # Errors
    /// [`CannotResolve`] says in words what is missing or unreadable.
    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve>;
}

/// Makes a resolver for a writer that begins.
pub type MakeResolver = Box<dyn FnMut() -> Arc<dyn RepoResolver> + Send>;

/// A resolver that is shared: a writer made anew uses the one of the writer before.
impl<R: RepoResolver + ?Sized> RepoResolver for Arc<R> {
    fn observations(&self) -> Vec<Event> {
        R::observations(self)
    }

    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> RepoLayout {
        R::repo(self, hub, tag, repo)
    }

    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve> {
        R::resolve(self, unit)
    }
}

/// Nothing can be seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResolver;

impl RepoResolver for NoResolver {
    fn observations(&self) -> Vec<Event> {
        Vec::new()
    }

    fn repo(&self, _: &Hub, _: &str, _: RepoId) -> RepoLayout {
        RepoLayout::default()
    }

    fn resolve(&self, _: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve> {
        Err(CannotResolve("no repository content at hand: neither a hub nor an archive directory was given".to_owned()))
    }
}
