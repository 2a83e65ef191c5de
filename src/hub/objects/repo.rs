//! Repositories: how to ask for one or for all usable ones of a tag, and what is news about them.

use super::{Read, Reading};
use crate::event::{RepoDeleted, RepoExpired, RepoInitialised, RepoReady};
use crate::hub::diff::Compare;
use crate::hub::snapshot::Seen;
use crate::koji::calls::{get_repo, query_repos, repo_info};
use crate::koji::{Batch, records};
use crate::model::koji::RepoState;
use crate::model::{Name, RepoId, TagId, Timestamp};

/// Maximum number of repositories to ask for per tag, newest first.
const REPOS_MAX: u32 = 50;

/// A repository (`repoInfo`, `repo.query`).
#[derive(Clone, PartialEq, Debug)]
pub struct RepoSeen {
    /// Repository number.
    pub repo_id: RepoId,
    /// Build tag.
    pub tag: Name,
    /// Number of the build tag.
    pub tag_id: Option<TagId>,
    /// State of the repository.
    pub state: RepoState,
    /// Since when the repository is in this state, if known.
    pub since: Option<Timestamp>,
    /// The Koji event whose content the repository has.
    pub create_event: Option<i64>,
    /// Architectures of the tag at that event, if known.
    pub arches: Option<Vec<Name>>,
}

impl From<records::Repo> for RepoSeen {
    fn from(r: records::Repo) -> Self {
        Self {
            repo_id: r.id,
            tag: r.tag_name.unwrap_or_default(),
            tag_id: r.tag_id,
            state: r.state,
            since: r.state_since,
            create_event: Some(r.create_event),
            arches: None,
        }
    }
}

impl RepoSeen {
    /// Returns a repository that was seen to be ready before.
    pub(in crate::hub) const fn ready(repo_id: RepoId, tag: Name, create_event: Option<i64>) -> Self {
        let (tag_id, since, arches) = (None, None, None);
        Self { repo_id, tag, tag_id, state: RepoState::Ready, since, create_event, arches }
    }

    /// Fills in the tag that was asked about if the answer does not name it. Legacy answers do not.
    fn of(mut self, tag: &Name) -> Self {
        if self.tag.is_empty() {
            self.tag = tag.clone();
        }
        self
    }
}

/// Asks for one repository. Ignores dist repositories and those with unusual options, because no
/// builds are made from them.
pub(super) fn ask(id: RepoId, batch: &mut Batch) -> Reading {
    let repo = batch.add(repo_info(id));
    Box::new(move |answers| {
        let repo = answers.take(repo)?.filter(records::Repo::is_for_builds);
        Ok(Read::Seen(repo.map(|r| Seen::Repo(r.into()))))
    })
}

/// Asks for all repositories of a tag, by the tag's number. A tag without a number does not exist.
pub(super) fn ask_all(tag: Name, id: Option<TagId>, batch: &mut Batch) -> Reading {
    let repos = id.map(|id| batch.add(query_repos(id, None, REPOS_MAX)));
    Box::new(move |answers| {
        let Some(repos) = repos else { return Ok(Read::Seen(None)) };
        let repos = answers.take(repos)?;
        let all = repos.len() < REPOS_MAX as usize;
        let from = if all { None } else { repos.iter().map(|r| r.id).min() };
        Ok(Seen::Repos { usable: usable(repos, &tag), tag, from, later: Vec::new() }.into())
    })
}

/// Asks for the newest repository of a tag. Hubs before 1.35 return no others. Older ones may still
/// exist.
pub(super) fn ask_newest(tag: Name, batch: &mut Batch) -> Reading {
    let repo = batch.add(get_repo(&tag));
    Box::new(move |answers| {
        let repo = answers.take(repo)?;
        Ok(Read::Seen(usable(repo, &tag).pop().map(Seen::Repo)))
    })
}

/// Keeps the repositories that builds of a tag can be made from.
fn usable(repos: impl IntoIterator<Item = records::Repo>, tag: &Name) -> Vec<RepoSeen> {
    let usable = repos.into_iter().filter(|r| r.is_usable() && r.is_for_builds());
    usable.map(|r| RepoSeen::from(r).of(tag)).collect()
}

impl Compare<'_> {
    pub(in crate::hub) fn repo(&mut self, seen: &RepoSeen) {
        let known = self.hub.repos.get(&seen.repo_id);
        let old = known.map(|r| r.state);
        let fresher = known.is_some_and(|r| r.create_event.is_none() && seen.create_event.is_some());
        if old == Some(seen.state) && !fresher {
            return;
        }
        let (hub, repo_id, tag) = (self.hub(), seen.repo_id, seen.tag.clone());
        let key = |word: &str| Some(format!("repo/{repo_id}/{word}"));
        let young = seen.since.is_some_and(|at| self.is_young(at))
            || seen.create_event.zip(self.look.settled).is_some_and(|(event, settled)| event > settled);
        match seen.state {
            RepoState::Init if old.is_none() => {
                let fact = RepoInitialised { hub, repo_id, tag, tag_id: seen.tag_id };
                self.quietly(young, |c| c.fact(fact, key("init"), seen.create_event, None));
            }
            RepoState::Ready if old.is_none() || old == Some(RepoState::Init) || fresher => {
                let fact = RepoReady {
                    hub,
                    repo_id,
                    tag,
                    tag_id: seen.tag_id,
                    create_event: seen.create_event,
                    arches: seen.arches.clone(),
                };
                self.quietly(young, |c| c.fact(fact, key("ready"), seen.create_event, None));
            }
            RepoState::Expired if matches!(old, None | Some(RepoState::Init | RepoState::Ready)) => {
                // No message says that a repository ended.
                self.quietly(true, |c| {
                    c.fact(RepoExpired { hub, repo_id, tag }, key("expired"), seen.create_event, None)
                });
            }
            RepoState::Deleted | RepoState::Problem
                if matches!(old, Some(RepoState::Init | RepoState::Ready | RepoState::Expired)) =>
            {
                self.quietly(true, |c| {
                    c.fact(RepoDeleted { hub, repo_id, tag }, key("deleted"), seen.create_event, None)
                });
            }
            RepoState::Init
            | RepoState::Ready
            | RepoState::Expired
            | RepoState::Deleted
            | RepoState::Problem
            | RepoState::Unknown(_) => {}
        }
    }

    pub(in crate::hub) fn repos(&mut self, tag: &Name, usable: &[RepoSeen], from: Option<RepoId>, later: &[RepoId]) {
        for seen in usable.iter().filter(|r| !later.contains(&r.repo_id)) {
            self.repo(seen);
        }
        let gone: Vec<_> = self
            .hub
            .repos
            .iter()
            .filter(|(id, r)| {
                let was_usable = matches!(r.state, RepoState::Ready | RepoState::Expired);
                let asked = from.is_none_or(|from| **id >= from);
                r.tag == *tag && was_usable && asked && !usable.iter().any(|u| u.repo_id == **id)
            })
            // A repository made after this look cannot be in it.
            .filter(|(_, r)| r.create_event.is_none_or(|e| e <= self.look.event))
            .map(|(id, r)| (*id, r.create_event))
            .collect();
        for (repo_id, event) in gone {
            let fact = RepoDeleted { hub: self.hub(), repo_id, tag: tag.clone() };
            self.quietly(true, |c| c.fact(fact, Some(format!("repo/{repo_id}/deleted")), event, None));
        }
    }
}
