//! Keeps track of which packages are to be resolved in a build tag's repositories, for the parts
//! that fetch repositories.

use std::collections::{BTreeMap, BTreeSet};

use super::interest::{Interest, TrackedOf};
use crate::model::{Hub, Name, RepoId};
use crate::writer::Writer;

impl Writer {
    /// Adds to `watch` the build tags of this hub's collections that track only some packages.
    pub fn watch_tracked(&mut self, hub: &Hub, watch: &mut Interest) {
        for index in 0..self.state.collections.len() {
            if self.state.collections[index].settings.hub != *hub {
                continue;
            }
            let digest = self.tracked_digest(index);
            let c = &self.state.collections[index];
            if digest.is_none() && c.arches.values().all(|a| a.tracked.is_none()) {
                continue;
            }
            let tag = &c.settings.build_tag;
            let of_tag = watch.tracked.entry(tag.clone()).or_default();
            let word = |of: &Option<String>| format!("{} ", of.as_deref().unwrap_or("all"));
            of_tag.now.push_str(&word(&digest));
            for (arch, a) in c.arches.iter().filter(|(_, a)| a.repo_id.is_some() && a.tracked != digest) {
                of_tag.resolved.push_str(&format!("{arch} {}", word(&a.tracked)));
            }
            let repos = self.state.hubs.get(hub).map(|h| &h.repos);
            let resolved: BTreeSet<RepoId> = c.arches.values().filter_map(|a| a.repo_id).collect();
            let known = resolved.into_iter().filter_map(|id| Some((tag.clone(), id, repos?.get(&id)?.create_event)));
            watch.resolved.extend(known);
        }
    }
}

/// What was requested for repositories in which only some packages are resolved.
#[derive(Default)]
pub(crate) struct AskedFor {
    /// Build tag, repository, and the digest of the packages it was fetched for.
    fetched: BTreeSet<(Name, RepoId, String)>,
    /// Build tags whose verdicts are for other packages than those tracked now, and the repository
    /// that was requested because of this.
    differing: BTreeMap<Name, (RepoId, TrackedOf)>,
}

impl AskedFor {
    /// Notes that a repository is being fetched for the packages tracked now.
    pub(crate) fn fetching(&mut self, watch: &Interest, tag: &Name, repo: RepoId) {
        if let Some(tracked) = watch.tracked.get(tag) {
            self.fetched.insert((tag.clone(), repo, tracked.now.clone()));
        }
    }

    /// Returns resolved repositories that must be fetched for the packages tracked now. This is the
    /// case if their verdicts are for other packages, or if they were never requested for these.
    /// After a start, each repository is returned once, because an earlier request may have failed.
    pub(crate) fn open(&mut self, watch: &Interest) -> Vec<(Name, RepoId, Option<i64>)> {
        self.fetched.retain(|(tag, repo, _)| watch.resolved.iter().all(|(t, r, _)| t != tag || r <= repo));
        let resolved = watch.resolved.iter().filter(|(tag, repo, _)| {
            let tracked = watch.tracked.get(tag).cloned().unwrap_or_default();
            let new = self.fetched.insert((tag.clone(), *repo, tracked.now.clone()));
            if tracked.resolved.is_empty() {
                self.differing.remove(tag);
                return new;
            }
            let differs = (*repo, tracked);
            self.differing.insert(tag.clone(), differs.clone()) != Some(differs) || new
        });
        resolved.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tracked` names the packages tracked now. After a slash follow those of the verdicts, if
    /// they differ.
    fn watch(repo: i64, tracked: &str) -> Interest {
        let tag = Name::from("f99-build");
        let (now, resolved) = tracked.split_once('/').unwrap_or((tracked, ""));
        let of_tag = TrackedOf { now: now.to_owned(), resolved: resolved.to_owned() };
        Interest {
            tracked: BTreeMap::from([(tag.clone(), of_tag)]),
            resolved: BTreeSet::from([(tag, RepoId(repo), Some(7))]),
            ..Interest::default()
        }
    }

    #[test]
    fn it_is_asked_once_for_what_differs() {
        let mut asked = AskedFor::default();
        let mut open = |w: &Interest| asked.open(w).into_iter().map(|(_, repo, _)| repo.0).collect::<Vec<_>>();
        assert_eq!(open(&Interest::default()), [0; 0], "all are tracked");
        assert_eq!(open(&watch(1, "a")), [1], "after a start");
        assert_eq!(open(&watch(1, "a")), [0; 0]);
        assert_eq!(open(&watch(1, "b/a")), [1], "a word");
        assert_eq!(open(&watch(1, "b/a")), [0; 0], "it is on its way");
        assert_eq!(open(&watch(1, "b")), [0; 0], "it is here");
        assert_eq!(open(&watch(1, "a/b")), [1], "and back");
        assert_eq!(open(&watch(1, "a")), [0; 0]);
        assert_eq!(open(&watch(1, "b/a")), [1], "and again");
        assert_eq!(open(&watch(2, "b")), [2], "nobody asked with this one");
        let new = watch(2, "c/b");
        asked.fetching(&new, &"f99-build".into(), RepoId(3));
        assert_eq!(asked.open(&watch(3, "c")), [], "it was fetched with it");
    }
}
