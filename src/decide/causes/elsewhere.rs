//! What other collections say about an update. The same build may reach several collections, sooner or
//! later.
//!
//! Each other collection is judged by its own evidence alone. So two collections cannot convince each
//! other of something that neither knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustc_hash::{FxHashMap, FxHashSet};
use smol_str::SmolStr;

use super::{BROKE, runs};
use crate::decide::suspects::{Change, SeenElsewhere, Which};
use crate::fold::{Mark, State, UpdateHistory};
use crate::model::Name;

/// An update in any collection: source package and `version-release`. On a hub this is one build.
type Update = (Name, SmolStr);
/// What one collection says about updates.
type Said = FxHashMap<Update, SeenElsewhere>;

/// What each collection said last. Saves judging it again while it has nothing new.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SaidByCollection(BTreeMap<Name, (Mark, Arc<Said>)>);

impl SaidByCollection {
    /// Judges the collections that have something new, side by side.
    fn judge(&mut self, collections: &[(&Name, &UpdateHistory)]) {
        let is_new =
            |(name, history): &&(&Name, &UpdateHistory)| self.0.get(*name).is_none_or(|(of, _)| *of != history.mark());
        let new: Vec<_> = collections.iter().filter(is_new).collect();
        let threads = std::thread::available_parallelism().map_or(1, Into::into).min(new.len());
        let next = AtomicUsize::new(0);
        let work = || {
            let take = || new.get(next.fetch_add(1, Ordering::Relaxed));
            std::iter::from_fn(take).map(|(name, history)| (*name, history.mark(), said_by(name, history))).collect()
        };
        let judged: Vec<(&Name, Mark, Said)> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut judged: Vec<_> = work();
            for other in others {
                judged.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            judged
        });
        self.0.extend(judged.into_iter().map(|(name, mark, said)| (name.clone(), (mark, Arc::new(said)))));
    }
}

/// What all collections but one say about updates.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere(Said);

impl Elsewhere {
    /// Asks the collections other than `own` whose builds had an update that builds of `own` had, and that
    /// have no build of `own`. Cost: linear in all histories, and that of [`runs`] for each of these that
    /// has something new.
    pub fn of<'a>(
        own: &Name,
        collections: impl IntoIterator<Item = (&'a Name, &'a UpdateHistory)>,
        said: &mut SaidByCollection,
    ) -> Self {
        let collections: Vec<(&Name, &UpdateHistory)> = collections.into_iter().collect();
        let mut all = Said::default();
        if collections.len() < 2 {
            return Self(all);
        }
        let own_history = collections.iter().find(|(name, _)| *name == own).map(|(_, history)| *history);
        let updates = |of: &'a UpdateHistory| of.differing.iter().filter_map(|d| Some((&d.source, d.new.as_ref()?)));
        let own_updates: FxHashSet<_> = own_history.into_iter().flat_map(updates).collect();
        let tasks = |of: &'a UpdateHistory| of.builds.iter().filter_map(|b| Some((b.task?, &b.package)));
        let own_builds: FxHashSet<_> = own_history.into_iter().flat_map(tasks).collect();
        let mut asked = Vec::new();
        for (name, history) in collections {
            // A collection of the same builds would say the same once more.
            let same = || tasks(history).any(|build| own_builds.contains(&build));
            // Nobody asks about other updates.
            let shares = updates(history).any(|update| own_updates.contains(&update));
            if name == own || !shares || same() {
                continue;
            }
            asked.push((name, history));
        }
        said.judge(&asked);
        for (name, _) in asked {
            for (update, seen) in said.0.get(name).into_iter().flat_map(|(_, said)| said.iter()) {
                all.entry(update.clone()).or_default().add(seen);
            }
        }
        Self(all)
    }

    /// Asks all collections of a state but `own`. Cost: that of [`Elsewhere::of`].
    pub fn in_state(own: &Name, state: &State, said: &mut SaidByCollection) -> Self {
        Self::of(own, state.collections.iter().map(|(name, c)| (name, &c.history)), said)
    }

    /// Returns what was seen of a version of a source package.
    pub(super) fn get(&self, source: &Name, version: &str) -> Option<SeenElsewhere> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(source.clone(), version.into())).copied()
    }
}

fn said_by(name: &Name, history: &UpdateHistory) -> Said {
    let mut said = Said::default();
    let failed: BTreeSet<&Name> = history.builds.iter().filter(|b| !b.passed).map(|b| &b.package).collect();
    // The packages that failed are judged below.
    let mut passed = vec![SeenElsewhere::default(); history.differing.len()];
    for build in history.builds.iter().filter(|b| b.passed && !failed.contains(&b.package)) {
        for (index, distance) in &build.changes {
            let class = Change { update: *index, distance: *distance }.class();
            if let Some(seen) = passed.get_mut(*index as usize) {
                seen.passed[usize::from(build.own_changed)][class] += 1;
            }
        }
    }
    for (differing, seen) in history.differing.iter().zip(&passed) {
        if let Some(new) = &differing.new {
            said.entry((differing.source.clone(), new.clone())).or_default().add(seen);
        }
    }
    for run in runs(name, history, &Elsewhere::default(), Which::All) {
        let first = run.failed.last().and_then(|last| last.build.suspects.first());
        let Some(suspect) = first.filter(|s| s.share >= BROKE) else { continue };
        for nvr in suspect.update.source.iter().chain(&suspect.together) {
            if let Some(update) = parsed(nvr) {
                said.entry(update).or_default().broken += 1;
            }
        }
    }
    said
}

/// Takes `libfoo-2-1.fc44` apart.
fn parsed(nvr: &str) -> Option<Update> {
    let (rest, _) = nvr.rsplit_once('-')?;
    let (name, _) = rest.rsplit_once('-')?;
    let version = nvr.get(name.len() + 1..)?;
    Some((name.into(), version.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ArchDifference, BuildCompared, DifferingSource, GoodBuild};
    use crate::model::{Hub, RepoId, Seq, TaskId, Timestamp};

    #[test]
    fn an_update_is_a_build() {
        assert_eq!(parsed("a-b-2-1.fc44"), Some(("a-b".into(), "2-1.fc44".into())));
        assert_eq!(parsed("a"), None);
    }

    /// A package passed with another `libx`.
    fn history(task: i64, version: &str) -> UpdateHistory {
        let good =
            GoodBuild { repo_id: RepoId(1), source: "1-1".into(), task_id: None, build_id: None, assumed: false };
        let (old, new) = (Some("1-1".into()), Some(version.into()));
        let compared = BuildCompared {
            collection: "any".into(),
            package: "app".into(),
            hub: Hub::new("primary"),
            task_id: Some(TaskId(task)),
            build_id: None,
            source: "1-1".into(),
            repo_id: RepoId(2),
            passed: true,
            line: None,
            good: Some(good),
            updates: vec![DifferingSource { source: "libx".into(), old, new, repo_id: None }],
            arches: vec![ArchDifference { arches: vec!["x86_64".into()], recorded: false, changes: vec![(0, 2)] }],
        };
        let mut history = UpdateHistory::default();
        let seq = Seq::new(1).unwrap();
        history.compared(&compared, seq, (seq, Timestamp::EPOCH));
        history
    }

    /// A copy of a collection, with the same builds, is no second witness.
    #[test]
    fn the_same_builds_count_once() {
        let (own, other): (Name, Name) = ("f99".into(), "copy".into());
        let seen = |task: i64, version: &str| {
            let (of_own, of_other) = (history(5, "2-1"), history(task, version));
            let all = [(&own, &of_own), (&other, &of_other)];
            let passed = |seen: SeenElsewhere| seen.passed.iter().flatten().sum::<u32>();
            let mut said = SaidByCollection::default();
            let elsewhere = Elsewhere::of(&own, all, &mut said);
            (elsewhere.get(&"libx".into(), "2-1").map(passed), said.0.len())
        };
        assert_eq!((seen(5, "2-1"), seen(6, "2-1")), ((None, 0), (Some(1), 1)));
        assert_eq!(seen(6, "3-1"), (None, 0), "it is not even judged");
    }
}
