//! Keeps what the suspects of failed builds follow from: the updates that came with repositories,
//! and what differs between finished builds and the last good ones before them.
//!
//! A state keeps the newest part of it, with bounds. Who wants all of it folds the log into a
//! history of its own ([`UpdateHistory::unbounded`]).

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::{BuildCompared, DifferingSource, UpdatesArrived};
use crate::model::{Name, RepoId, Seq, TaskId, Timestamp};

/// How many compared builds of a collection a state keeps, besides those of runs of failures that
/// last: a hundred days of 200 builds each.
pub const BUILDS_KEPT: usize = 20_000;
/// How many arrivals of updates a state keeps. A mass rebuild brings 24,000.
pub const ARRIVALS_KEPT: usize = 65_536;
/// How many repositories a state knows the order of.
pub const PLACES_KEPT: usize = 4_096;

/// What a history was judged by: its newest compared build, and the place of its newest repository.
pub type Mark = (Option<Seq>, Option<u32>);

/// An update that came with a repository.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Arrival {
    /// Name of the source package.
    pub source: Name,
    /// Its `version-release` before. `None` if no buildroot had packages of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<SmolStr>,
    /// Its `version-release`.
    pub new: SmolStr,
    /// The repository.
    pub repo: RepoId,
    /// Stands for the packages with it in their buildroots, on all architectures.
    pub buildroots: u64,
}

/// A finished build that was compared with the last good one before it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ComparedBuild {
    /// The package.
    pub package: Name,
    /// The `build` task, if it is a rebuild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// `version-release` of its source. Empty if not known.
    pub source: SmolStr,
    /// Its repository.
    pub repo: RepoId,
    /// Whether it is a good build.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed: bool,
    /// The line of its log that says most about its failure, if it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<Box<str>>,
    /// The repository of the last good build before it. `None` if none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_repo: Option<RepoId>,
    /// Whether that build was of another source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_changed: bool,
    /// The other source packages that differ, as an index into [`UpdateHistory::differing`], and the
    /// smallest distance on any architecture (0 if not reached).
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub changes: Box<[(u32, u8)]>,
    /// When the build began, as a position in the log.
    pub began: Seq,
    /// The event that compared it.
    pub seq: Seq,
    /// The time of that event.
    pub at: Timestamp,
}

/// The updates and compared builds of one collection.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct UpdateHistory {
    /// The updates, oldest first.
    pub arrivals: Vec<Arrival>,
    /// The place of each repository in the order in which they were resolved.
    pub places: BTreeMap<RepoId, u32>,
    /// The compared builds, in the order of their events.
    pub builds: Vec<ComparedBuild>,
    /// What differs between builds. Builds refer to it by index.
    pub differing: IndexSet<DifferingSource, FxBuildHasher>,
    /// Nothing is dropped.
    #[serde(skip)]
    unbounded: bool,
    #[serde(skip)]
    newest: Newest,
}

/// The highest place, if it is known. It follows from the places, so it makes no two histories
/// different.
#[derive(Clone, Copy, Debug, Default)]
struct Newest(Option<u32>);

impl PartialEq for Newest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl UpdateHistory {
    /// Makes a history that drops nothing.
    pub fn unbounded() -> Self {
        Self { unbounded: true, ..Self::default() }
    }

    /// Returns what changes whenever there is something new to judge by.
    pub fn mark(&self) -> Mark {
        (self.builds.last().map(|b| b.seq), self.newest())
    }

    fn newest(&self) -> Option<u32> {
        self.newest.0.or_else(|| self.places.values().max().copied())
    }

    /// Returns the place of a repository in the order in which they were resolved. One that was not
    /// resolved has the place of the newest one before it.
    pub fn place(&self, repo: RepoId) -> u32 {
        let known = self.places.get(&repo).copied();
        known.or_else(|| self.places.range(..repo).next_back().map(|(_, place)| *place)).unwrap_or(0)
    }

    /// Takes up that a repository was resolved.
    pub(crate) fn resolved(&mut self, repo: RepoId) {
        if self.places.contains_key(&repo) {
            return;
        }
        let next = self.newest().map_or(0, |last| last.saturating_add(1));
        self.places.insert(repo, next);
        let dropped = if self.places.len() > PLACES_KEPT && !self.unbounded { self.places.pop_first() } else { None };
        // A repository older than all that are kept is dropped at once, and its place is free again.
        self.newest = Newest(dropped.is_none_or(|(_, place)| place != next).then_some(next));
    }

    /// Takes up updates. Cost: linear in the arrivals that a state keeps.
    pub(crate) fn arrived(&mut self, u: &UpdatesArrived) {
        let known = self.arrivals.iter().enumerate().rev().take(ARRIVALS_KEPT);
        let known = known.filter(|(_, a)| a.repo == u.repo_id);
        let known: FxHashMap<(Name, SmolStr), usize> =
            known.map(|(at, a)| ((a.source.clone(), a.new.clone()), at)).collect();
        for update in &u.updates {
            if let Some(at) = known.get(&(update.source.clone(), update.new.clone())) {
                // Another architecture of the same repository.
                let same = &mut self.arrivals[*at];
                same.buildroots = same.buildroots.rotate_left(1) ^ update.buildroots;
                continue;
            }
            self.arrivals.push(Arrival {
                source: update.source.clone(),
                old: update.old.clone(),
                new: update.new.clone(),
                repo: u.repo_id,
                buildroots: update.buildroots,
            });
        }
        if self.arrivals.len() > ARRIVALS_KEPT + ARRIVALS_KEPT / 4 && !self.unbounded {
            self.arrivals.drain(..self.arrivals.len() - ARRIVALS_KEPT);
        }
    }

    /// Takes up a compared build that began at `began`.
    pub(crate) fn compared(&mut self, b: &BuildCompared, began: Seq, (seq, at): (Seq, Timestamp)) {
        let mut nearest: Vec<u8> = vec![u8::MAX; b.updates.len()];
        for (at, distance) in b.arches.iter().flat_map(|arch| &arch.changes) {
            if let Some(known) = nearest.get_mut(*at as usize) {
                *known = (*known).min(if *distance == 0 { u8::MAX } else { *distance });
            }
        }
        let others = b.updates.iter().zip(nearest).filter(|(differing, _)| differing.source != b.package);
        let changes = others.filter(|_| b.good.is_some()).map(|(differing, distance)| {
            let index = match self.differing.get_index_of(differing) {
                Some(index) => index,
                None => self.differing.insert_full(differing.clone()).0,
            };
            (u32::try_from(index).unwrap_or(u32::MAX), if distance == u8::MAX { 0 } else { distance })
        });
        let changes = changes.collect();
        self.builds.push(ComparedBuild {
            package: b.package.clone(),
            task: b.task_id,
            source: b.source.clone(),
            repo: b.repo_id,
            passed: b.passed,
            line: b.line.as_deref().map(Into::into),
            good_repo: b.good.as_ref().map(|good| good.repo_id),
            own_changed: b.good.as_ref().is_some_and(|good| good.source != b.source),
            changes,
            began,
            seq,
            at,
        });
        if self.builds.len() > BUILDS_KEPT + BUILDS_KEPT / 4 && !self.unbounded {
            self.drop_old();
        }
    }

    /// Drops the oldest builds that are no part of a run of failures that lasts. If nearly all are,
    /// the oldest go nevertheless.
    fn drop_old(&mut self) {
        let mut passed: BTreeSet<&Name> = BTreeSet::new();
        let mut keep: Vec<bool> = Vec::with_capacity(self.builds.len());
        let mut kept = 0;
        for (age, build) in self.builds.iter().rev().enumerate() {
            if build.passed {
                passed.insert(&build.package);
            }
            let lasts = !passed.contains(&build.package) && kept < BUILDS_KEPT + BUILDS_KEPT / 8;
            keep.push(age < BUILDS_KEPT || lasts);
            kept += usize::from(age < BUILDS_KEPT || lasts);
        }
        let mut keep = keep.into_iter().rev();
        self.builds.retain(|_| keep.next().unwrap_or(true));
        let mut renamed = vec![u32::MAX; self.differing.len()];
        let mut differing = IndexSet::default();
        for (index, _) in self.builds.iter_mut().flat_map(|b| &mut b.changes) {
            let old = *index as usize;
            if renamed[old] == u32::MAX {
                renamed[old] = u32::try_from(differing.len()).unwrap_or(u32::MAX);
                differing.insert(self.differing[old].clone());
            }
            *index = renamed[old];
        }
        self.differing = differing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ArchDifference, GoodBuild};
    use crate::model::Hub;

    fn compared(package: &str, n: u64, passed: bool) -> BuildCompared {
        let good =
            GoodBuild { repo_id: RepoId(1), source: "1-1".into(), task_id: None, build_id: None, assumed: false };
        let new: SmolStr = format!("{n}-1").into();
        BuildCompared {
            collection: "f99".into(),
            package: package.into(),
            hub: Hub::new("primary"),
            task_id: Some(TaskId(i64::try_from(n).unwrap())),
            build_id: None,
            source: "1-1".into(),
            repo_id: RepoId(2),
            passed,
            line: None,
            good: Some(good),
            updates: vec![DifferingSource {
                source: "libx".into(),
                old: Some("1-1".into()),
                new: Some(new),
                repo_id: None,
            }],
            arches: vec![ArchDifference { arches: vec!["x86_64".into()], recorded: false, changes: vec![(0, 2)] }],
        }
    }

    /// The newest builds stay, and so does every failure since the last good build. What differs is
    /// still named right.
    #[test]
    fn old_builds_go_except_failures_that_last() {
        let at = |n: u64| (Seq::new(n).unwrap(), Timestamp::from_secs(i64::try_from(n).unwrap()));
        let mut history = UpdateHistory::default();
        let mut all = UpdateHistory::unbounded();
        let most = u64::try_from(BUILDS_KEPT + BUILDS_KEPT / 4).unwrap();
        for n in 1..=most + 1 {
            let event = match n {
                1 | 3 => compared("broken", n, false),
                2 => compared("repaired", n, false),
                4 => compared("repaired", n, true),
                _ => compared("other", n, true),
            };
            history.compared(&event, at(n).0, at(n));
            all.compared(&event, at(n).0, at(n));
        }
        assert_eq!(all.builds.len() as u64, most + 1);
        let old: Vec<&str> =
            history.builds.iter().take_while(|b| b.seq.get() < 100).map(|b| b.package.as_str()).collect();
        assert_eq!((old, history.builds.len()), (vec!["broken", "broken"], BUILDS_KEPT + 2));
        for build in &history.builds {
            let [(index, 2)] = build.changes[..] else { panic!("{build:?}") };
            assert_eq!(history.differing[index as usize].new.as_deref(), Some(format!("{}-1", build.seq).as_str()));
        }
        assert_eq!(history.differing.len(), history.builds.len());
    }

    /// The place that is kept in mind is the one that a search finds, also after it was forgotten and
    /// when repositories come that are older than all that are kept.
    #[test]
    fn the_newest_place_is_the_highest() {
        let (mut history, mut searched) = (UpdateHistory::default(), BTreeMap::new());
        for n in 0..3 * i64::try_from(PLACES_KEPT).unwrap() {
            let repo = RepoId(if n % 7 == 0 { n / 2 } else { n * 2 });
            if n % 1000 == 0 {
                history.newest = Newest::default();
            }
            history.resolved(repo);
            let next = searched.values().max().map_or(0, |last: &u32| last + 1);
            searched.entry(repo).or_insert(next);
            if searched.len() > PLACES_KEPT {
                searched.pop_first();
            }
            assert_eq!(history.mark().1, searched.values().max().copied(), "{n}");
        }
        assert_eq!(history.places, searched);
    }

    #[test]
    fn an_update_on_two_architectures_arrives_once() {
        let update = |buildroots| crate::event::SourceUpdate {
            source: "libx".into(),
            old: Some("1-1".into()),
            new: "2-1".into(),
            buildroots,
        };
        let arrived = |repo: i64, arch: &str, buildroots| UpdatesArrived {
            collection: "f99".into(),
            hub: Hub::new("primary"),
            repo_id: RepoId(repo),
            arch: arch.into(),
            updates: vec![update(buildroots)],
        };
        let mut history = UpdateHistory::default();
        for repo in [7, 9] {
            history.resolved(RepoId(repo));
            history.arrived(&arrived(repo, "x86_64", 1));
            history.arrived(&arrived(repo, "aarch64", 2));
        }
        assert_eq!(history.arrivals.iter().map(|a| a.repo.0).collect::<Vec<_>>(), [7, 9]);
        assert_eq!([6, 7, 8, 9, 10].map(|repo| history.place(RepoId(repo))), [0, 0, 0, 1, 1]);
    }
}
