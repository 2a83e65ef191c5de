//! What was read from a hub, before it is compared with what we know.
//!
//! An [`Observation`] is the answer to one look: about objects, as of some moment. It says what *is*; what *changed*
//! follows from the state at the moment it is appended ([`super::diff`]).

use std::collections::BTreeSet;

use super::interest::Key;
pub use super::objects::{BuildSeen, RepoSeen, TagSeen, TaggedSeen, TaskSeen};
use crate::model::{Hub, Name, RepoId, TaskId, Timestamp};

/// Why somebody looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// A message hinted at the object.
    Hint,
    /// Everything is compared, or what moved since the last time.
    Reconciliation,
}

/// One look: read after Koji event `event` had happened, and handed on in the order of reading.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Hub instance.
    pub hub: Hub,
    /// The hub's last event before reading began; what is here is at least as new.
    pub event: i64,
    /// Why.
    pub why: Why,
    /// The time of looking.
    pub at: Timestamp,
    /// The hub's last event a minute before, where it was asked for: of what is later a message may be on its way.
    pub settled: Option<i64>,
    /// Objects whose change is later than that.
    pub fresh: BTreeSet<Key>,
    /// What was seen.
    pub seen: Vec<Seen>,
    /// Everything of our tags up to `event` is in here or was handed on before: a mark may be set.
    pub complete: bool,
}

/// One thing seen.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen {
    /// A tag's configuration.
    Tag(TagSeen),
    /// Builds of a tag itself, without inheritance, oldest tagging first: of one package, or of all.
    TagBuilds {
        /// The tag.
        tag: Name,
        /// Of this package only; `None`: all there are.
        package: Option<Name>,
        /// What is in the tag.
        builds: Vec<TaggedSeen>,
    },
    /// A tag's own package list, without inheritance: one package's entry, or all.
    TagPackages {
        /// The tag.
        tag: Name,
        /// Of this package only; `None`: all there are.
        package: Option<Name>,
        /// Listed packages, and whether the entry blocks them.
        listed: Vec<(Name, bool)>,
    },
    /// A target: build tag and dest tag; `None`: there is none of that name.
    Target(Name, Option<(Name, Name)>),
    /// A build.
    Build(BuildSeen),
    /// A repository.
    Repo(RepoSeen),
    /// The usable repositories (READY, EXPIRED) of a build tag: others are gone.
    Repos {
        /// The tag.
        tag: Name,
        /// Usable ones.
        usable: Vec<RepoSeen>,
        /// Nothing was asked of those with lower numbers.
        from: Option<RepoId>,
        /// Those among them that are told of later, when the content of the newest is here: they are there, and no news
        /// yet.
        later: Vec<RepoId>,
    },
    /// A scratch build of ours.
    Task(Box<TaskSeen>),
    /// The hub does not know a task.
    NoTask(TaskId),
}

impl Seen {
    /// The usable repositories of a build tag, where this is them.
    pub(super) fn usable_of(&self, build_tag: &Name) -> Option<&[RepoSeen]> {
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
