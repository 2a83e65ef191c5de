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

use super::interest::HubObject;
use super::reader::Scope;
use super::snapshot::Seen;
use crate::koji::{Answers, Batch, HubError, records};

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
