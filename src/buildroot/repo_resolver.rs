//! The interface through which the writer learns what it cannot know by itself about repositories.
//!
//! Without a hub, there may be an archive directory beside a recording, or nothing at all
//! ([`NoResolver`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::verdicts::UnitVerdicts;
use crate::event::Event;
use crate::fold::sources::{Candidate, Chosen, choose};
use crate::fold::tag::Moment;
use crate::fold::{Collection, HubState, Tracked};
use crate::model::{Hub, Name, Nvr, RepoId};
use crate::resolve::{FirstCause, ResolveOptions};

/// What a resolver can see of a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RepoLayout {
    /// The Koji event whose content the repository has.
    pub create_event: Option<i64>,
    /// Architectures with metadata.
    pub arches: Option<Vec<Name>>,
}

/// One unit of resolution: a repository on an architecture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unit<'a> {
    /// The collection. What a resolver keeps of a resolution is for the next one of the same
    /// collection: others on the same tag may have another group and other packages.
    pub collection: &'a str,
    /// The hub.
    pub hub: &'a Hub,
    /// The build tag.
    pub tag: &'a str,
    /// The repository.
    pub repo: RepoId,
    /// The architecture.
    pub arch: &'a str,
    /// The group that is installed in every buildroot.
    pub group: &'a str,
    /// The collection's own sources at the time of the repository. They win over those that the
    /// repository lists.
    pub own: &'a OwnSources,
    /// The collection's options of resolution.
    pub options: ResolveOptions,
}

/// The collection's own sources at the time of a repository. For each tracked package, these are
/// the builds that may be the one that counted. A copy is cheap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnSources {
    of: Arc<BTreeMap<Name, Vec<Candidate>>>,
    tracked: Arc<Tracked>,
}

impl OwnSources {
    /// Collects the own sources of a collection's tracked packages, as far as known. Cost:
    /// O(packages).
    pub fn of(hub: &HubState, collection: &Collection, tracked: &Arc<Tracked>, moment: Moment) -> Self {
        let of = |name: &Name| (name.clone(), hub.candidates(collection, name, moment));
        let watched = collection.packages.keys().filter(|name| tracked.has(name));
        Self { tracked: Arc::clone(tracked), ..Self::these(watched.map(of)) }
    }

    /// Makes own sources from these candidates, by package. All packages count as tracked.
    pub fn these(packages: impl IntoIterator<Item = (Name, Vec<Candidate>)>) -> Self {
        let of = packages.into_iter().filter(|(_, candidates)| !candidates.is_empty()).collect();
        Self { of: Arc::new(of), tracked: Arc::default() }
    }

    /// Makes empty own sources with these tracked packages.
    pub fn none(tracked: &Arc<Tracked>) -> Self {
        Self { of: Arc::default(), tracked: Arc::clone(tracked) }
    }

    /// Returns the source in which a package is resolved. Returns `None` if it has no source, or if
    /// it is not tracked and therefore not resolved.
    pub fn choose<'a>(&'a self, package: &str, listed: Option<&'a Nvr>) -> Option<Chosen<'a>> {
        if !self.tracked.has(package) {
            return None;
        }
        choose(self.of.get(package).map_or(&[], Vec::as_slice), listed)
    }

    /// Returns the packages that have own sources.
    pub fn packages(&self) -> impl Iterator<Item = &Name> {
        self.of.keys()
    }

    /// Returns the packages to resolve.
    pub fn tracked(&self) -> &Tracked {
        &self.tracked
    }

    /// Returns the drafts that may have been promoted. Such a draft is resolved under its promoted
    /// name if the repository lists the build under that name.
    pub fn drafts(&self) -> impl Iterator<Item = &Candidate> {
        self.of.values().flatten().filter(|c| c.promoted.is_some())
    }

    /// Returns every source whose requirements may be needed.
    pub fn sources(&self) -> impl Iterator<Item = &Nvr> {
        self.of.values().flatten().map(|c| &c.nvr)
    }
}

/// Why a repository could not be resolved. Earlier verdicts then stay and are marked stale.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotResolve(pub String);

/// A resolution whose problem texts and check may follow.
pub struct Resolved {
    /// The verdicts.
    pub verdicts: UnitVerdicts,
    /// Says the rest. `None` if nothing is left to say.
    pub examiner: Option<Box<dyn Examiner>>,
}

/// What libsolv says about the answers of our own solver.
#[derive(Debug, Default)]
pub struct Checked {
    /// Number of answers that were checked.
    pub answers: u32,
    /// The right verdicts, if an answer was wrong. Their counts name the packages.
    pub corrected: Option<UnitVerdicts>,
}

/// A question to libsolv that no decision waits for.
#[derive(Debug)]
pub enum Question {
    /// Check a share of the answers. Cost: about 2 ms for each.
    Check,
    /// Say the problems of each of these packages that do not resolve. Cost: about 2 ms for each.
    Problems(Vec<Name>),
}

/// What libsolv says to a [`Question`].
#[derive(Debug)]
pub enum Said {
    /// The result of a check.
    Checked(Box<Checked>),
    /// Packages that do not resolve, with their problems.
    Problems(Vec<(Name, Vec<String>)>),
}

/// Asks libsolv beside everything else. Holds the repository in memory until it is dropped.
pub trait Examiner: Send + Sync {
    /// Begins to answer a question. `done` is notified when the answer is there. Call this only if
    /// no other question is open.
    fn ask(&mut self, question: Question, done: &Arc<Notify>);

    /// Returns the answer, once. `None` if it is not there yet.
    ///
    /// # Errors
    /// Returns [`CannotResolve`] if a thread failed.
    fn answer(&mut self) -> Option<Result<Said, CannotResolve>>;
}

/// Looks at repositories and resolves them.
pub trait RepoResolver: Send + Sync + 'static {
    /// Returns configuration of tags and targets, as far as the resolver can see it.
    fn observations(&self) -> Vec<Event>;

    /// Returns what the resolver can see of a repository, apart from the fact that it is ready.
    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> RepoLayout;

    /// Resolves every tracked source package of a repository. Cost: seconds; may use all
    /// processors.
    ///
    /// # Errors
    /// Returns [`CannotResolve`], which says what is missing or unreadable.
    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve>;

    /// Resolves units of one hub, side by side if possible, and leaves for later what no decision
    /// waits for. The answers are in the order of the units.
    fn resolve_first(&self, units: &[Unit<'_>]) -> Vec<Result<Resolved, CannotResolve>> {
        let whole = |unit| self.resolve(unit).map(|verdicts| Resolved { verdicts, examiner: None });
        units.iter().map(whole).collect()
    }

    /// Finds out which changes made packages unresolvable.
    ///
    /// `units` are repositories of one architecture, one after the other: the first is the last one
    /// in which the packages resolved, the last is the one in which they do not. `packages` may name
    /// the build group ([`crate::event::CausesFound::GROUP`]). A package is left out if it turns out
    /// otherwise here. Cost: reading all of these repositories, seconds for a distribution.
    ///
    /// # Errors
    /// Returns [`CannotResolve`], which says what is missing or unreadable.
    fn causes(&self, units: &[Unit<'_>], packages: &[Name]) -> Result<Vec<(Name, Vec<FirstCause>)>, CannotResolve> {
        let _ = (units, packages);
        Err(CannotResolve("the repositories are not at hand".to_owned()))
    }
}

/// Makes a resolver for a writer that starts.
pub type MakeResolver = Box<dyn FnMut() -> Arc<dyn RepoResolver> + Send>;

/// A shared resolver. A new writer uses the resolver of the previous one.
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

    fn resolve_first(&self, units: &[Unit<'_>]) -> Vec<Result<Resolved, CannotResolve>> {
        R::resolve_first(self, units)
    }

    fn causes(&self, units: &[Unit<'_>], packages: &[Name]) -> Result<Vec<(Name, Vec<FirstCause>)>, CannotResolve> {
        R::causes(self, units, packages)
    }
}

/// A resolver that can see nothing.
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
