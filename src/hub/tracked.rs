//! Of which packages a build tag's repositories are to be resolved, as those who fetch them need to know it.

use std::collections::{BTreeMap, BTreeSet};

use super::interest::{Interest, TrackedOf};
use crate::model::{Hub, Name, RepoId};
use crate::writer::Writer;

impl Writer {
    /// Adds to what is watched on a hub what only some packages are tracked of.
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

/// What was asked for of repositories that are resolved for some packages only.
#[derive(Default)]
pub(crate) struct AskedFor {
    /// Build tag, repository, and the packages it was fetched with.
    fetched: BTreeSet<(Name, RepoId, String)>,
    /// Of build tags whose verdicts are for others than are tracked: the repository that was asked for to mend that.
    differing: BTreeMap<Name, (RepoId, TrackedOf)>,
}

impl AskedFor {
    /// A repository is fetched, with what is tracked now.
    pub(crate) fn fetching(&mut self, watch: &Interest, tag: &Name, repo: RepoId) {
        if let Some(tracked) = watch.tracked.get(tag) {
            self.fetched.insert((tag.clone(), repo, tracked.now.clone()));
        }
    }

    /// Resolved repositories that have to be fetched for what is tracked now: their verdicts are for others, or it was
    /// never asked for with these. After a start that is each, once: whoever asked for it before may not have got it.
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

    /// `tracked` are the packages of now, and those of the verdicts after a slash where those are others.
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
