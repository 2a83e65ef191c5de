//! Repository generations.

use serde::{Deserialize, Serialize};

use super::HubState;
use crate::model::koji::RepoState;
use crate::model::{Name, RepoId, Timestamp};

/// A repository generation of a build tag.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Repo {
    /// Its build tag.
    pub tag: Name,
    /// Its state; only grows.
    pub state: RepoState,
    /// The Koji event it shows; says which of two generations is newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_event: Option<i64>,
    /// When it was first heard of: it was begun by then.
    #[serde(default)]
    pub made_at: Timestamp,
    /// Architectures with metadata, where looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<Vec<Name>>,
    /// Attachments of its resolutions: collection, architecture, digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<(Name, Name, String)>,
}

impl Repo {
    /// What orders generations of one tag: the Koji event where known, else the id (ids and events of one tag rise
    /// together unless generations overtake each other while being made).
    pub fn age(&self, id: RepoId) -> (i64, i64) {
        (self.create_event.unwrap_or(i64::MIN), id.0)
    }

    /// The attachment of its resolution for a collection and architecture.
    pub fn attachment(&self, collection: &str, arch: &str) -> Option<&str> {
        self.resolved.iter().find(|(c, a, _)| c == collection && a == arch).map(|(_, _, d)| d.as_str())
    }
}

/// Position of a state in a repository's life; states never go back.
fn rank(state: RepoState) -> u8 {
    match state {
        RepoState::Init => 0,
        RepoState::Ready => 1,
        RepoState::Expired => 2,
        RepoState::Problem => 3,
        RepoState::Deleted => 4,
        RepoState::Unknown(_) => 0,
    }
}

impl HubState {
    /// Whether generation `new` shows a later moment than `old` of the same tag: by Koji event where both are known,
    /// else by id. One that is not known at all counts as old.
    pub fn is_newer(&self, new: RepoId, old: RepoId) -> bool {
        let (Some(a), Some(b)) = (self.repos.get(&old), self.repos.get(&new)) else {
            return self.repos.contains_key(&new);
        };
        match (a.create_event, b.create_event) {
            (Some(x), Some(y)) => (y, new) > (x, old),
            _ => new > old,
        }
    }

    /// Moves a repository forward; a message that comes late does not move it back.
    pub(super) fn repo_moved(&mut self, id: RepoId, tag: &Name, state: RepoState, at: Timestamp) -> &mut Repo {
        let repo = self.repos.entry(id).or_insert_with(|| Repo {
            tag: tag.clone(),
            state,
            create_event: None,
            made_at: at,
            arches: None,
            resolved: Vec::new(),
        });
        repo.made_at = repo.made_at.min(at);
        if rank(state) > rank(repo.state) {
            repo.state = state;
        }
        repo
    }
}
