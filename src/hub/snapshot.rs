//! What was read from a hub, before it is compared with what we know.
//!
//! An [`Observation`] is the result of one look at some objects. It says what *is*. What *changed*
//! follows from the state at the moment of appending it ([`super::diff`]).

use std::collections::BTreeSet;

use super::interest::HubObject;
pub use super::objects::{BuildSeen, RepoSeen, TagSeen, TaggedSeen, TaskSeen};
use crate::model::{Hub, Name, RepoId, TaskId, Timestamp};

/// Why we looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookReason {
    /// A message hinted at the object.
    Hint,
    /// We compare everything, or what changed since the last poll.
    Reconciliation,
}

/// The result of one look. Reading began after Koji event `event`. Observations are handed on in
/// the order of reading.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Hub instance.
    pub hub: Hub,
    /// The hub's last event before reading began. The content is at least as new.
    pub event: i64,
    /// Why we looked.
    pub why: LookReason,
    /// The time of the look.
    pub at: Timestamp,
    /// The hub's last event a minute before the look, if it was asked for. Messages about later
    /// events may still be on their way.
    pub settled: Option<i64>,
    /// Objects that changed after the event `settled`.
    pub fresh: BTreeSet<HubObject>,
    /// The objects seen.
    pub seen: Vec<Seen>,
    /// Everything of our tags up to `event` is in here or was handed on before. A reconciliation
    /// mark may be set.
    pub complete: bool,
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
        /// Listed packages, and whether the entry blocks them.
        listed: Vec<(Name, bool)>,
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
