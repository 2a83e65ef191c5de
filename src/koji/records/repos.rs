//! Repository generations.

use std::collections::BTreeMap;

use crate::koji::shape::record;
use crate::koji::xmlrpc::Value;
use crate::model::koji::RepoState;
use crate::model::{Name, RepoId, TagId, Timestamp};

record! {
    /// A repository generation. Source: `repoInfo`, `repo.query`, and `getRepo`, which on hubs before 1.35 says only
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
        /// Since when it is in its state.
        state_since: Option<Timestamp> = "state_ts" | "state_time";
        /// Whether it is one for users rather than for building.
        dist: bool = "dist";
        /// Options that were asked for and are not the tag's own.
        custom_opts: Option<BTreeMap<String, Value>> = "custom_opts";
    }
}

impl Repo {
    /// Whether a build can be bound to it: ready, or expired and not yet gone.
    pub const fn is_usable(&self) -> bool {
        matches!(self.state, RepoState::Ready | RepoState::Expired)
    }

    /// Whether builds are made from it: not one for users, nor one with options of its own.
    pub fn is_for_builds(&self) -> bool {
        !self.dist && self.custom_opts.as_ref().is_none_or(BTreeMap::is_empty)
    }
}
