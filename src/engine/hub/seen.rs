//! What was read from a hub, before it is compared with what we know.
//!
//! An [`Observation`] is the answer to one look: about objects, as of some moment. It says what *is*; what *changed* follows from the state
//! at the moment it is appended ([`super::differences`]).

use std::collections::BTreeSet;

use super::keys::Key;
use crate::event::{ChildTask, ExternalRepo, GroupDefinition, Inheritance, TaskFault};
use crate::model::koji::{BuildState, RepoState, TaskState};
use crate::model::{BuildId, Hub, Name, Nvr, RepoId, TagId, TaskId, Timestamp};

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
        /// Those among them that are told of later, when the content of the newest is here: they are there, and no news yet.
        later: Vec<RepoId>,
    },
    /// A scratch build of ours.
    Task(Box<TaskSeen>),
    /// The hub does not know a task.
    NoTask(TaskId),
}

/// A tag's configuration; what was not asked for is `None`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TagSeen {
    /// Its name.
    pub tag: Name,
    /// There is none of that name.
    pub gone: bool,
    /// Its number.
    pub tag_id: Option<TagId>,
    /// Architectures, inheritance applied.
    pub arches: Option<Vec<Name>>,
    /// Direct parents.
    pub inheritance: Option<Vec<Inheritance>>,
    /// Groups.
    pub groups: Option<Vec<GroupDefinition>>,
    /// External repositories in merge order.
    pub external_repos: Option<Vec<ExternalRepo>>,
}

/// A build in a tag (`listTagged`).
#[derive(Clone, PartialEq, Debug)]
pub struct TaggedSeen {
    /// The build.
    pub build: BuildSeen,
    /// The Koji event of its tagging.
    pub create_event: i64,
    /// When that was.
    pub tagged_at: Option<Timestamp>,
}

/// A build (`getBuild`, or a row of `listTagged`).
#[derive(Clone, PartialEq, Debug)]
pub struct BuildSeen {
    /// Its number.
    pub build_id: BuildId,
    /// Name, version, release.
    pub nvr: Nvr,
    /// Epoch, where not zero.
    pub epoch: Option<u32>,
    /// Its state.
    pub state: BuildState,
    /// Its task; `None`: imported.
    pub task_id: Option<TaskId>,
    /// When the record was made.
    pub created_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// A repository (`repoInfo`, `repo.query`).
#[derive(Clone, PartialEq, Debug)]
pub struct RepoSeen {
    /// The generation.
    pub repo_id: RepoId,
    /// Its build tag.
    pub tag: Name,
    /// That tag's number.
    pub tag_id: Option<TagId>,
    /// Its state.
    pub state: RepoState,
    /// Since when, where known.
    pub since: Option<Timestamp>,
    /// The Koji event whose content it has.
    pub create_event: Option<i64>,
    /// Architectures of the tag at that event, where known.
    pub arches: Option<Vec<Name>>,
}

/// A scratch build of ours (`getTaskInfo`, `getTaskDescendents`, `getTaskResult`).
#[derive(Clone, PartialEq, Debug)]
pub struct TaskSeen {
    /// The `build` task.
    pub task_id: TaskId,
    /// Its state.
    pub state: TaskState,
    /// What is rebuilt.
    pub nvr: Nvr,
    /// Build target.
    pub target: Option<Name>,
    /// Repository, from its own options or from its steps.
    pub repo_id: Option<RepoId>,
    /// Architecture override.
    pub arches: Vec<Name>,
    /// Our decision's id.
    pub decision: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When a builder took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its steps.
    pub children: Vec<ChildTask>,
    /// Why it failed, in the builder's words.
    pub fault: Option<TaskFault>,
}
