//! What repositories bring, and what is between a build and the last good one.

use super::*;

/// Largest numbers of updates that events name. With these, events are as long as in the recording.
const ARRIVED: usize = 9;
const BETWEEN: usize = 6;

impl Generator {
    /// Says what a repository brings, if it is time for such an event.
    pub(super) fn updates_arrived(&mut self, c: usize, arch: &str, repo: (i64, u64)) {
        if self.lag("updates_arrived") <= 0 {
            return;
        }
        let updates = (0..=self.random.below(ARRIVED)).map(|_| {
            let p = self.package();
            let new = self.versions[self.model.collections[c].hub][p];
            SourceUpdate {
                source: self.name(c, p),
                old: Some(source(new.saturating_sub(1)).into()),
                new: source(new).into(),
                buildroots: self.random.next(),
            }
        });
        let mut updates: Vec<SourceUpdate> = updates.collect();
        updates.sort_unstable();
        updates.dedup_by(|a, b| a.source == b.source);
        let event = UpdatesArrived {
            collection: self.model.collections[c].name.clone(),
            hub: self.hub_name(self.model.collections[c].hub),
            repo_id: RepoId(repo.0),
            arch: arch.into(),
            updates,
        };
        self.conclude(event, repo.1);
    }

    /// Compares a rebuild with an earlier one, if it is time for such an event.
    pub(super) fn build_compared(&mut self, task: &Task, outcome: Outcome, cause: u64) {
        let (Some(repo_id), true) = (task.repo.map(RepoId), outcome.is_complete()) else { return };
        if self.lag("build_compared") <= 0 {
            return;
        }
        let c = task.collection;
        let updates = (0..self.random.below(BETWEEN + 1)).map(|_| {
            let p = self.package();
            let new = self.versions[self.model.collections[c].hub][p];
            DifferingSource {
                source: self.name(c, p),
                old: Some(source(new.saturating_sub(1)).into()),
                new: Some(source(new).into()),
                repo_id: Some(repo_id),
            }
        });
        let mut updates: Vec<DifferingSource> = updates.collect();
        updates.sort_unstable();
        updates.dedup_by(|a, b| a.source == b.source);
        let changes = (0..u32::try_from(updates.len()).unwrap_or(0)).map(|at| (at, 1)).collect();
        let event = BuildCompared {
            collection: self.model.collections[c].name.clone(),
            package: self.name(c, task.package),
            hub: self.hub_name(self.model.collections[c].hub),
            task_id: Some(TaskId(task.id)),
            build_id: None,
            source: source(task.version).into(),
            repo_id,
            passed: outcome == Outcome::Ok,
            line: None,
            good: Some(GoodBuild {
                repo_id: RepoId(repo_id.0 - 1),
                source: source(task.version).into(),
                task_id: Some(TaskId(task.id - 4)),
                build_id: None,
                assumed: false,
            }),
            updates,
            arches: vec![ArchDifference { arches: ARCHES.map(Name::from).to_vec(), recorded: false, changes }],
        };
        self.conclude(event, cause);
    }
}
