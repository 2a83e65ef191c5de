//! Records of repository generations.

use std::collections::BTreeMap;

use crate::koji::shape::record;
use crate::koji::xmlrpc::Value;
use crate::model::koji::RepoState;
use crate::model::{Name, RepoId, TagId, Timestamp};

record! {
    /// A repository generation. Source: `repoInfo`, `repo.query` and `getRepo`. On hubs before
    /// 1.35, `getRepo` returns only number, state, creation and `dist`.
    Repo {
        /// Repository number.
        id: RepoId = "id";
        /// State of the repository.
        state: RepoState = "state";
        /// Number of the tag.
        tag_id: Option<TagId> = "tag_id";
        /// Name of the tag now. The directory may still have an older name.
        tag_name: Option<Name> = "tag_name";
        /// Koji event whose content the repository has.
        create_event: i64 = "create_event";
        /// Since when the repository is in its state.
        state_since: Option<Timestamp> = "state_ts" | "state_time";
        /// Whether the repository is for users instead of for building.
        dist: bool = "dist";
        /// Requested options that differ from those of the tag.
        custom_opts: Option<BTreeMap<String, Value>> = "custom_opts";
    }
}

impl Repo {
    /// Checks whether a build can be bound to the repository: it is ready, or expired and not yet
    /// gone.
    pub const fn is_usable(&self) -> bool {
        matches!(self.state, RepoState::Ready | RepoState::Expired)
    }

    /// Checks whether builds are made from the repository: it is not for users, and has no options
    /// of its own.
    pub fn is_for_builds(&self) -> bool {
        !self.dist && self.custom_opts.as_ref().is_none_or(BTreeMap::is_empty)
    }
}
