//! The objects of a hub that are looked at, a file each: what is asked about it, how the answers are read, and what of
//! it is news.
//!
//! [`ask`] has all of them, by [`Key`]. What is asked goes into one batch; the answers are read when they are here.

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

use super::interest::Key;
use super::reader::Scope;
use super::snapshot::Seen;
use crate::koji::{Answers, Batch, HubError, records};

/// Reads what was asked about one object, when the answers are here.
pub(super) type Reading = Box<dyn FnOnce(&mut Answers) -> Result<Read, HubError> + Send>;

/// What the answers come to.
pub(super) enum Read {
    /// Something seen; `None`: nothing can be said of it.
    Seen(Option<Seen>),
    /// A task, whose steps are to be asked for.
    Task(Box<records::Task>),
}

impl From<Seen> for Read {
    fn from(seen: Seen) -> Self {
        Self::Seen(Some(seen))
    }
}

/// Asks about an object.
pub(super) fn ask(key: &Key, scope: &Scope, batch: &mut Batch) -> Reading {
    match key {
        Key::TagConfig(tag) => tag::ask(tag.clone(), scope.build_tags.contains(tag), batch),
        Key::Target(target) => target::ask(target.clone(), batch),
        Key::TagPackages(tag, package) => packages::ask(tag.clone(), package.clone(), batch),
        Key::TagBuilds(tag, package) => tagged::ask(tag.clone(), package.clone(), batch),
        Key::Build(id) => build::ask(*id, batch),
        Key::Repo(id) => repo::ask(*id, batch),
        Key::Repos(tag) if scope.has_repo_query => repo::ask_all(tag.clone(), scope.tag_ids.get(tag).copied(), batch),
        Key::Repos(tag) => repo::ask_newest(tag.clone(), batch),
        Key::Task(id) => task::ask(*id, batch),
    }
}

/// A listing of what is in a tag. A tag or package the hub does not know is a fault there; that it is gone is seen from
/// its configuration.
fn listing<T>(answer: Result<Vec<T>, HubError>) -> Result<Vec<T>, HubError> {
    match answer {
        Err(error) if error.is_unknown_object() => Ok(Vec::new()),
        answer => answer,
    }
}
