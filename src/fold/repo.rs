//! Folds repositories. A build tag has a sequence of them, called generations.

use serde::{Deserialize, Serialize};

use super::{HubState, State};
use crate::event::RepoReady;
use crate::model::koji::RepoState;
use crate::model::{Hub, Name, RepoId, Timestamp};

/// A repository (generation) of a build tag.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Repo {
    /// The repository's build tag.
    pub tag: Name,
    /// The repository's state. It never goes back.
    pub state: RepoState,
    /// The Koji event whose content it has. It decides which of two generations is newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_event: Option<i64>,
    /// Time of the first message about it. It was begun by then.
    #[serde(default)]
    pub made_at: Timestamp,
    /// Architectures with metadata, if they were looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<Vec<Name>>,
    /// Attachments of its resolutions: collection, architecture and digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<(Name, Name, String)>,
}

impl Repo {
    /// Returns the key that orders the generations of one tag: the Koji event if known, then the
    /// id. Ids and events of one tag rise together, unless generations overtake each other while
    /// they are made.
    pub fn age(&self, id: RepoId) -> (i64, i64) {
        (self.create_event.unwrap_or(i64::MIN), id.0)
    }

    /// Returns the attachment of its resolution for a collection and architecture.
    pub fn attachment(&self, collection: &str, arch: &str) -> Option<&str> {
        self.resolved.iter().find(|(c, a, _)| c == collection && a == arch).map(|(_, _, d)| d.as_str())
    }
}

/// Returns the position of a state in a repository's life. States never go back.
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

impl State {
    /// Returns a known repository as the fact that it is ready, without the number of its tag.
    pub fn as_ready(&self, hub: &Hub, repo_id: RepoId) -> Option<RepoReady> {
        let repo = self.hubs.get(hub)?.repos.get(&repo_id)?;
        let (tag, create_event, arches) = (repo.tag.clone(), repo.create_event, repo.arches.clone());
        Some(RepoReady { hub: hub.clone(), repo_id, tag, tag_id: None, create_event, arches })
    }
}

impl HubState {
    /// Returns whether generation `new` has the content of a later moment than `old` of the same
    /// tag. Koji events decide if both are known, else the ids. A generation that is not known
    /// counts as old.
    pub fn is_newer(&self, new: RepoId, old: RepoId) -> bool {
        let (Some(a), Some(b)) = (self.repos.get(&old), self.repos.get(&new)) else {
            return self.repos.contains_key(&new);
        };
        match (a.create_event, b.create_event) {
            (Some(x), Some(y)) => (y, new) > (x, old),
            _ => new > old,
        }
    }

    /// Moves a repository to a later state. A message that arrives late does not move it back.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(repos: &[(i64, Option<i64>, RepoState)]) -> HubState {
        let mut hub = HubState::default();
        for (id, event, state) in repos {
            let repo = hub.repo_moved(RepoId(*id), &"f99-build".into(), *state, Timestamp::EPOCH);
            repo.create_event = *event;
        }
        hub
    }

    /// Koji events decide if both are known, else the numbers. A generation that was begun earlier
    /// may be ready later.
    #[test]
    fn which_generation_is_newer() {
        let ready = RepoState::Ready;
        let h = hub(&[(1, Some(30), ready), (2, Some(20), ready), (3, Some(30), ready), (4, None, ready)]);
        let newer = |a, b| h.is_newer(RepoId(a), RepoId(b));
        assert!(newer(1, 2) && !newer(2, 1));
        assert!(newer(3, 1) && !newer(1, 3), "of the same event the higher number");
        assert!(newer(4, 1) && !newer(1, 4), "without an event the number decides");
        assert!(!newer(1, 1) && !newer(4, 4));
        assert!(newer(1, 99) && !newer(99, 1) && !newer(98, 99), "one nobody knows is old");
        let ages = [1, 2, 3, 4].map(|id| h.repos[&RepoId(id)].age(RepoId(id)));
        assert_eq!(ages, [(30, 1), (20, 2), (30, 3), (i64::MIN, 4)]);
    }

    #[test]
    fn an_attachment_is_of_one_collection_and_architecture() {
        let mut h = hub(&[(1, None, RepoState::Ready)]);
        let repo = h.repos.get_mut(&RepoId(1)).expect("it is there");
        let resolved = [("f99", "x86_64", "a"), ("f99", "aarch64", "b"), ("copy", "aarch64", "c")];
        repo.resolved = resolved.map(|(c, a, d)| (c.into(), a.into(), d.to_owned())).into();
        for (collection, arch, digest) in resolved {
            assert_eq!(repo.attachment(collection, arch), Some(digest));
        }
        assert_eq!((repo.attachment("copy", "x86_64"), repo.attachment("f98", "aarch64")), (None, None));
    }

    #[test]
    fn a_repository_does_not_go_back() {
        let (ready, expired) = (RepoState::Ready, RepoState::Expired);
        let mut h = hub(&[(1, None, ready), (1, None, expired), (1, None, ready)]);
        assert_eq!(h.repos[&RepoId(1)].state, expired);
        let first = h.repo_moved(RepoId(2), &"f99-build".into(), RepoState::Init, Timestamp::from_secs(9)).made_at;
        let told = h.repo_moved(RepoId(2), &"f99-build".into(), ready, Timestamp::from_secs(5)).made_at;
        let later = h.repo_moved(RepoId(2), &"f99-build".into(), ready, Timestamp::from_secs(7)).made_at;
        assert_eq!(
            [first, told, later],
            [9, 5, 5].map(Timestamp::from_secs),
            "it was begun when it was first heard of"
        );
    }
}
