//! Tasks of ours, and what they find out.

use ::koschei::model::koji::TaskState;

use super::*;

impl Generator {
    /// Makes a rebuild, or advances one that runs.
    pub(super) fn task(&mut self) {
        let running = self.tasks.len();
        if running == 0 || (running < TASKS && self.random.happens(340)) {
            return self.begin_task();
        }
        let at = self.random.below(running);
        if !self.tasks[at].open {
            self.tasks[at].open = true;
            let task = self.tasks[at];
            self.task_changed(&task, TaskState::Open);
            return;
        }
        let task = self.tasks.swap_remove(at);
        self.end_task(task);
    }

    pub(super) fn begin_task(&mut self) {
        let (collection, package) = (self.collection(), self.package());
        let Some(version) = self.model.latest_version(collection, package) else { return };
        if self.tasks.iter().any(|t| (t.collection, t.package) == (collection, package)) {
            return;
        }
        self.next.task += 4;
        let repo = self.model.collections[collection].newest_repo;
        let task = Task { id: self.next.task, collection, package, version, repo, created: self.now, open: false };
        let order = self.task_changed(&task, TaskState::Assigned);
        self.model.collections[collection].packages[package].add(ResultModel {
            order,
            version,
            number: task.id,
            real: false,
            outcome: None,
            running: true,
            withdrawn: false,
        });
        self.tasks.push(task);
    }

    pub(super) fn task_changed(&mut self, task: &Task, state: TaskState) -> u64 {
        let hub = self.model.collections[task.collection].hub;
        let package = self.name(task.collection, task.package);
        let (version, release) = version_release(task.version);
        let child = |n: i64, method: &str, label: &str, state| ChildTask {
            task_id: TaskId(task.id + n),
            method: method.into(),
            label: label.into(),
            state,
            arch: None,
            fault: None,
        };
        let srpm = child(1, "rebuildSRPM", "srpm", TaskState::Closed);
        let children = match state {
            TaskState::Closed | TaskState::Failed => vec![srpm, child(2, "buildArch", "x86_64", state)],
            _ => Vec::new(),
        };
        let noarch = self.model.collections[task.collection].packages[task.package].noarch;
        let event = TaskChanged {
            hub: self.hub_name(hub),
            task_id: TaskId(task.id),
            state,
            nvr: Some(Nvr { name: package.clone(), version, release }),
            package,
            target: Some(self.model.collections[task.collection].target.clone()),
            repo_id: task.repo.map(RepoId),
            arches: if noarch { Vec::new() } else { vec!["x86_64".into()] },
            decision: None,
            created_at: Some(Timestamp(task.created)),
            started_at: (state != TaskState::Assigned).then_some(Timestamp(task.created + 2_000_000)),
            finished_at: state.is_final().then_some(Timestamp(self.now)),
            children,
            fault: None,
        };
        self.fact(hub, event)
    }

    pub(super) fn end_task(&mut self, task: Task) {
        let (state, outcome, reason) = match self.random.below(74) {
            0..58 => (TaskState::Closed, Outcome::Ok, "the build task succeeded"),
            58..67 => {
                (TaskState::Failed, Outcome::GenuineFailure, "buildArch (x86_64) failed, and its fault is not known")
            }
            67..71 => (TaskState::Canceled, Outcome::Cancelled, "cancelled in Koji"),
            _ => (TaskState::Failed, Outcome::InfrastructureFault, "no step of it began"),
        };
        let cause = self.task_changed(&task, state);
        let c = &mut self.model.collections[task.collection];
        if let Some(r) = c.packages[task.package].results.iter_mut().find(|r| !r.real && r.number == task.id) {
            r.running = false;
            r.outcome = Some(outcome);
        }
        let (collection, hub) = (c.name.clone(), self.hub_name(self.model.collections[task.collection].hub));
        let package = self.name(task.collection, task.package);
        let (task_id, reason) = (TaskId(task.id), reason.to_owned());
        self.conclude(
            RebuildFinished {
                // The model knows no other waits.
                waits: outcome == Outcome::InfrastructureFault,
                ..RebuildFinished::untold((hub, task_id), (collection, package), None, outcome, reason)
            },
            cause,
        );
        self.measure(&task, outcome, cause);
        self.build_compared(&task, outcome, cause);
        self.touched.push((task.collection, task.package));
        self.announce(cause);
    }

    /// Measures changes from a result: none, or few.
    pub(super) fn measure(&mut self, task: &Task, outcome: Outcome, cause: u64) {
        let Some(repo_id) = self.model.collections[task.collection].newest_repo.map(RepoId) else { return };
        if !outcome.is_complete() {
            return;
        }
        for (a, arch) in ARCHES.into_iter().enumerate() {
            let package = &self.model.collections[task.collection].packages[task.package];
            if package.verdicts[a].as_ref().is_none_or(|v| v.ok != Some(true)) {
                continue;
            }
            let number = if self.random.happens(30) { 1 + self.random.below(19) } else { 0 };
            let (moves, changes) = self.moves(number, arch);
            let (collection, name) =
                (self.model.collections[task.collection].name.clone(), self.name(task.collection, task.package));
            let event = DependenciesMeasured {
                collection,
                package: name,
                hub: self.hub_name(self.model.collections[task.collection].hub),
                arch: arch.into(),
                base: task.repo.map(RepoId),
                truth: false,
                repo_id,
                moves,
                distances: changes.iter().map(|c| c.1).collect(),
            };
            self.conclude(event, cause);
            let verdict = &mut self.model.collections[task.collection].packages[task.package].verdicts[a];
            verdict.as_mut().expect("looked at above").changes = changes;
        }
    }

    /// Returns differences between two buildroots, each of another binary package, and their form
    /// in the model.
    pub(super) fn moves(&mut self, number: usize, arch: &str) -> (Vec<DependencyMove>, Vec<(u32, u8)>) {
        let first = self.random.below(BINARIES);
        let mut moves = Vec::with_capacity(number);
        let mut changes = Vec::with_capacity(number);
        for i in 0..number {
            let name = (first + i * 7) % BINARIES;
            let version = u32::try_from(self.seq / 5_000 % 5_000).unwrap_or(0);
            moves.push(DependencyMove {
                name: binary_name(name).into(),
                arch: arch.into(),
                old: Some(source(version).into()),
                new: (!self.random.happens(20)).then(|| source(version + 1).into()),
            });
            let distance = u8::try_from(self.random.skewed(6)).unwrap_or(0);
            changes.push((u32::try_from(name).unwrap_or(0), distance));
        }
        (moves, changes)
    }
}
