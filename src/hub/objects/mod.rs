//! The kinds of objects on a hub, one file each. Each file has the questions to ask, how to read
//! the answers, and what counts as news.
//!
//! [`ask`] covers all kinds, by [`HubObject`]. All questions go into one batch. The answers are read when
//! they have arrived.

mod build;
mod packages;
mod repo;
mod tag;
mod tagged;
mod target;
mod task;

pub(super) use task::Steps;

pub use build::BuildSeen;
pub use repo::RepoSeen;
pub use tag::TagSeen;
pub use tagged::TaggedSeen;
pub use task::TaskSeen;

use std::collections::{BTreeMap, BTreeSet};

use super::interest::HubObject;
use crate::koji::{Answers, Batch, HubError, records};
use crate::model::{Name, RepoId, TagId, TaskId};

/// Reads the answers about one object when they have arrived.
pub(super) type Reading = Box<dyn FnOnce(&mut Answers) -> Result<Read, HubError> + Send>;

/// The result of reading the answers.
pub(super) enum Read {
    /// An object that was seen. `None`: nothing can be said of it.
    Seen(Option<Seen>),
    /// A task, whose steps are still to be asked for.
    Task(Box<records::Task>),
}

impl From<Seen> for Read {
    fn from(seen: Seen) -> Self {
        Self::Seen(Some(seen))
    }
}

/// Adds the questions about an object to a batch.
pub(super) fn ask(key: &HubObject, scope: &Scope, batch: &mut Batch) -> Reading {
    match key {
        HubObject::TagConfig(tag) => tag::ask(tag.clone(), scope.build_tags.contains(tag), batch),
        HubObject::Target(target) => target::ask(target.clone(), batch),
        HubObject::TagPackages(tag, package) => packages::ask(tag.clone(), package.clone(), batch),
        HubObject::TagBuilds(tag, package) => tagged::ask(tag.clone(), package.clone(), batch),
        HubObject::Build(id) => build::ask(*id, batch),
        HubObject::Repo(id) => repo::ask(*id, batch),
        HubObject::Repos(tag) if scope.has_repo_query => {
            repo::ask_all(tag.clone(), scope.tag_ids.get(tag).copied(), batch)
        }
        HubObject::Repos(tag) => repo::ask_newest(tag.clone(), batch),
        HubObject::Task(id) => task::ask(*id, batch),
    }
}

/// Reads a listing of a tag's content. If the hub does not know the tag or package, its fault
/// counts as an empty listing: the tag's configuration shows that the tag is gone.
fn listing<T>(answer: Result<Vec<T>, HubError>) -> Result<Vec<T>, HubError> {
    match answer {
        Err(error) if error.is_unknown_object() => Ok(Vec::new()),
        answer => answer,
    }
}

/// What a look needs besides the keys.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Tags whose groups and external repositories are read, too.
    pub build_tags: BTreeSet<Name>,
    /// Known numbers of tags. Missing numbers are asked for.
    pub tag_ids: BTreeMap<Name, TagId>,
    /// Id of our log. Decisions of other logs are not ours.
    pub log_id: String,
    /// Number of our user. Tasks of other users are not ours.
    pub user: Option<i64>,
    /// Whether the hub has `repo.query` (1.35 and later).
    pub has_repo_query: bool,
}

/// An entry of a package list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedSeen {
    /// The package.
    pub package: Name,
    /// Whether the entry blocks it.
    pub blocked: bool,
    /// Name of its owner, if the hub says one.
    pub owner: Option<String>,
}

/// One object, as it was seen.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen {
    /// A tag's configuration.
    Tag(TagSeen),
    /// Builds tagged directly in a tag (without inheritance), oldest tagging first: of one package,
    /// or of all.
    TagBuilds {
        /// The tag.
        tag: Name,
        /// Only builds of this package. `None`: all builds.
        package: Option<Name>,
        /// The builds in the tag.
        builds: Vec<TaggedSeen>,
    },
    /// A tag's own package list (without inheritance): one package's entry, or all entries.
    TagPackages {
        /// The tag.
        tag: Name,
        /// Only the entry of this package. `None`: all entries.
        package: Option<Name>,
        /// The entries.
        listed: Vec<ListedSeen>,
    },
    /// A target, with its build tag and dest tag. `None`: the target does not exist.
    Target(Name, Option<(Name, Name)>),
    /// A build.
    Build(BuildSeen),
    /// A repository.
    Repo(RepoSeen),
    /// The usable repositories (READY, EXPIRED) of a build tag. Others of the tag are gone.
    Repos {
        /// The tag.
        tag: Name,
        /// Usable repositories.
        usable: Vec<RepoSeen>,
        /// Repositories with lower numbers were not asked for. `None`: all were asked for.
        from: Option<RepoId>,
        /// Usable repositories that the writer hears of later, when the content of the newest one
        /// is fetched. They exist, but are not news yet.
        later: Vec<RepoId>,
    },
    /// A scratch build of ours.
    Task(Box<TaskSeen>),
    /// A task that the hub does not know.
    NoTask(TaskId),
}

impl Seen {
    /// Returns the usable repositories, if this is the list of that build tag.
    pub(in crate::hub) fn usable_of(&self, build_tag: &Name) -> Option<&[RepoSeen]> {
        match self {
            Self::Repos { tag, usable, .. } if tag == build_tag => Some(usable),
            Self::Repos { .. }
            | Self::Tag(_)
            | Self::TagBuilds { .. }
            | Self::TagPackages { .. }
            | Self::Target(..)
            | Self::Build(_)
            | Self::Repo(_)
            | Self::Task(_)
            | Self::NoTask(_) => None,
        }
    }
}
