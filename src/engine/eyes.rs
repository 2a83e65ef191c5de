//! Looking: what the brain cannot know by itself it asks for here.
//!
//! Without a hub there may be an archive directory beside a recording, or nothing at all ([`Blind`]).

use super::verdicts::UnitVerdicts;
use crate::event::Event;
use crate::model::{Hub, Name, RepoId};

/// What was seen of a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RepoSeen {
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
}

/// Why a repository could not be resolved; verdicts then stand, marked stale.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSeen(pub String);

/// Somebody who can look.
pub trait Eyes: Send {
    /// Configuration of tags and targets, as far as it can be seen.
    fn observations(&mut self) -> Vec<Event>;

    /// What can be seen of a repository besides that it is ready.
    fn repo(&mut self, hub: &Hub, tag: &str, repo: RepoId) -> RepoSeen;

    /// Resolves every source package of a repository. Cost: seconds; may use all processors.
    ///
    /// # Errors
    /// [`NotSeen`] says in words what is missing or unreadable.
    fn resolve(&mut self, unit: &Unit<'_>) -> Result<UnitVerdicts, NotSeen>;
}

/// Nothing can be seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Eyes for Blind {
    fn observations(&mut self) -> Vec<Event> {
        Vec::new()
    }

    fn repo(&mut self, _: &Hub, _: &str, _: RepoId) -> RepoSeen {
        RepoSeen::default()
    }

    fn resolve(&mut self, _: &Unit<'_>) -> Result<UnitVerdicts, NotSeen> {
        Err(NotSeen("no repository content at hand: neither a hub nor an archive directory was given".to_owned()))
    }
}
