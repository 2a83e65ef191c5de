//! Repository generations and requests for them.

use std::collections::BTreeMap;

use super::Task;
use crate::koji::shape::record;
use crate::koji::xmlrpc::Value;
use crate::model::koji::{RepoState, TaskState};
use crate::model::{Name, RepoId, TagId, TaskId, Timestamp};

record! {
    /// What is in a repository besides binary packages.
    RepoOptions {
        /// Source packages, in the repository of each architecture.
        src: bool = "src";
        /// Source packages, in `src/`.
        separate_src: bool = "separate_src";
        /// Debug information.
        debuginfo: bool = "debuginfo";
        /// Maven artifacts.
        maven: bool = "maven";
    }
}

record! {
    /// A repository generation. Source: `repoInfo`, `repo.query`, `repo.get`, and `getRepo`, which on hubs before 1.35 says only
    /// number, state, creation and `dist`.
    Repo {
        /// Its number.
        id: RepoId = "id";
        /// Its state.
        state: RepoState = "state";
        /// The tag.
        tag_id: Option<TagId> = "tag_id";
        /// Its name now; the directory may still have an older one.
        tag_name: Option<Name> = "tag_name";
        /// Koji event whose content it has.
        create_event: i64 = "create_event";
        /// When it was made.
        created: Option<Timestamp> = "creation_ts" | "creation_time" | "create_ts";
        /// Since when it is in its state.
        state_since: Option<Timestamp> = "state_ts" | "state_time";
        /// First Koji event at which the tag had just this content.
        begin_event: Option<i64> = "begin_event";
        /// First Koji event at which it no longer had; absent while the repository is current, or while nobody has looked.
        end_event: Option<i64> = "end_event";
        /// The `newRepo` task.
        task_id: Option<TaskId> = "task_id";
        /// Its state.
        task_state: Option<TaskState> = "task_state";
        /// Whether it is one for users rather than for building.
        dist: bool = "dist";
        /// What is in it.
        opts: Option<RepoOptions> = "opts";
        /// Options that were asked for and are not the tag's own.
        custom_opts: Option<BTreeMap<String, Value>> = "custom_opts";
    }
}

impl Repo {
    /// Whether a build can be bound to it: ready, or expired and not yet gone.
    pub const fn is_usable(&self) -> bool {
        matches!(self.state, RepoState::Ready | RepoState::Expired)
    }

    /// Whether it was made with options of its own.
    pub fn is_custom(&self) -> bool {
        self.custom_opts.as_ref().is_some_and(|opts| !opts.is_empty())
    }
}

record! {
    /// An entry of the hub's queue of repositories to be made (since 1.35).
    RepoRequest {
        /// Its number, for `repo.checkRequest`.
        id: i64 = "id";
        /// Whether the hub still works on it.
        active: bool = "active";
        /// The tag.
        tag_id: Option<TagId> = "tag_id";
        /// Its name.
        tag_name: Option<Name> = "tag_name";
        /// The repository must be at least as new as this Koji event.
        min_event: Option<i64> = "min_event";
        /// Or of just this one.
        at_event: Option<i64> = "at_event";
        /// The task that makes it; absent until the hub has begun.
        task_id: Option<TaskId> = "task_id";
        /// Its state.
        task_state: Option<TaskState> = "task_state";
        /// The repository that satisfied it.
        repo_id: Option<RepoId> = "repo_id";
        /// How often the hub has tried.
        tries: Option<i64> = "tries";
        /// Who asked first.
        owner_name: Option<Name> = "owner_name";
    }
}

record! {
    /// What the hub answers to a request for a repository. Source: `repo.request`, `repo.checkRequest`.
    RepoAnswer {
        /// A repository that fits, when there is one.
        repo: Option<Repo> = "repo";
        /// The entry in the queue; absent when a repository was there at once.
        request: Option<RepoRequest> = "request";
        /// Whether somebody had asked for the same before.
        duplicate: bool = "duplicate";
        /// The task of the entry, while it runs.
        task: Option<Task> = "task";
    }
}

impl RepoAnswer {
    /// Whether nothing will come of it: the entry is no longer worked on and there is no repository.
    pub fn has_failed(&self) -> bool {
        self.repo.is_none() && self.request.as_ref().is_some_and(|request| !request.active)
    }
}
