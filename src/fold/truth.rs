//! Folds what the hub says was installed for a build.

use super::build::RecordedBuildroot;
use super::evidence::{Evidence, EvidenceKind};
use super::state::{HubState, State};
use crate::event::{BuildrootRecorded, PredictionCompared};
use crate::model::arch::canonical;
use crate::model::{BuildId, Hub, Name, RepoId, TaskId};

/// For how many of the newest rebuilds of a package in a collection the recorded buildroots are
/// kept in state. The attachments stay in the log.
const BUILDS_KEPT: usize = 3;

/// Adds a buildroot to those of a build. There is one per architecture, and the newest record
/// counts.
fn put(buildroots: &mut Vec<RecordedBuildroot>, e: &BuildrootRecorded) {
    buildroots.retain(|b| b.arch != e.arch);
    buildroots.push(RecordedBuildroot {
        arch: e.arch.clone(),
        attachment: e.attachment.as_str().into(),
        complete: e.complete,
        prediction: None,
    });
}

impl State {
    /// Adds a recorded buildroot to the scratch rebuild or real build of its task, and takes over
    /// the repository from it.
    pub(super) fn buildroot_recorded(&mut self, e: &BuildrootRecorded) {
        let hub = self.hub_mut(&e.hub);
        if let Some(task) = hub.tasks.get_mut(&e.task_id) {
            put(&mut task.buildroots, e);
            if e.repo_id.is_some() {
                task.repo_id = e.repo_id;
            }
            let (package, collection) = (task.package.clone(), task.collection.clone());
            if let Some(index) = collection.and_then(|c| self.collections.get_index_of(&c)) {
                self.rebuilt_in(index, &package, e);
                self.forget_old_buildroots(index, &package);
            }
        } else if let Some(id) = hub.build_of_task.get(&e.task_id).copied()
            && let Some(build) = hub.builds.get_mut(&id)
        {
            put(&mut build.buildroots, e);
            if e.repo_id.is_some() {
                build.repo_id = e.repo_id;
            }
            let package = build.nvr.name.clone();
            self.built_in_everywhere(&e.hub, &package, id, e.repo_id);
        } else {
            self.anomaly("buildroot of an unknown task");
        }
    }

    /// Notes how a recorded buildroot compares with the prediction.
    pub(super) fn prediction_compared(&mut self, e: &PredictionCompared) {
        let Some(buildroots) = self.hub_mut(&e.hub).buildroots_of_mut(e.task_id) else {
            return self.anomaly("comparison with the buildroot of an unknown task");
        };
        for b in buildroots.iter_mut().filter(|b| b.arch == e.arch) {
            b.prediction = Some(e.prediction);
        }
        if let Some(index) = self.collections.get_index_of(&e.collection)
            && let Some(i) = self.collections[index].packages.get_index_of(&e.package)
        {
            self.touch(index, i);
        }
    }

    /// Forgets the buildroots of old rebuilds. Changes are hardly ever measured from these again.
    /// If they are, the prediction for their repository has to do.
    fn forget_old_buildroots(&mut self, index: usize, package: &Name) {
        let collection = &self.collections[index];
        let Some(p) = collection.packages.get(package) else { return };
        let own = &collection.settings.hub;
        let tasks = p.evidence.iter().rev().filter_map(|e| Some((e.hub(own).clone(), scratch(e)?)));
        let with_any = |(hub, task): &(Hub, TaskId)| {
            self.hubs.get(hub).and_then(|h| h.tasks.get(task)).is_some_and(|t| !t.buildroots.is_empty())
        };
        let old: Vec<(Hub, TaskId)> = tasks.filter(with_any).skip(BUILDS_KEPT).collect();
        for (hub, task) in old {
            self.hub_mut(&hub).tasks[&task].buildroots = Vec::new();
        }
    }

    fn built_in_everywhere(&mut self, hub: &Hub, package: &Name, build: BuildId, repo: Option<RepoId>) {
        for index in 0..self.collections.len() {
            if self.collections[index].settings.hub == *hub {
                self.built_in(index, package, |e| e.kind == EvidenceKind::Real(build), repo);
            }
        }
    }

    /// Notes the repository of a package's rebuild. It is a repository of the hub where the rebuild
    /// ran, so it is ignored in a collection of another hub.
    fn rebuilt_in(&mut self, index: usize, package: &Name, told: &BuildrootRecorded) {
        let own = self.collections[index].settings.hub.clone();
        let repo = told.repo_id.filter(|_| own == told.hub);
        self.built_in(index, package, |e| e.task_on(&told.hub, &own) == Some(told.task_id), repo);
    }

    /// Notes the repository in which a build of a package was made, if it is told. It is then no
    /// longer assumed.
    fn built_in(&mut self, index: usize, package: &Name, is: impl Fn(&Evidence) -> bool, repo: Option<RepoId>) {
        let collection = &mut self.collections[index];
        let Some(i) = collection.packages.get_index_of(package) else { return };
        let Some(e) = collection.packages[i].evidence.iter_mut().find(|e| is(e)) else { return };
        if repo.is_some() {
            (e.repo, e.assumed) = (repo, false);
        }
        self.touch(index, i);
    }
}

fn scratch(e: &Evidence) -> Option<TaskId> {
    match e.kind {
        EvidenceKind::Scratch(task) => Some(task),
        EvidenceKind::Real(_) => None,
    }
}

impl HubState {
    fn buildroots_of_mut(&mut self, task: TaskId) -> Option<&mut Vec<RecordedBuildroot>> {
        if self.tasks.contains_key(&task) {
            return self.tasks.get_mut(&task).map(|t| &mut t.buildroots);
        }
        let build = self.build_of_task.get(&task)?;
        self.builds.get_mut(build).map(|b| &mut b.buildroots)
    }

    /// Returns the task of a build, and the buildroots that the hub recorded for it.
    pub fn buildroots(&self, kind: EvidenceKind) -> Option<(TaskId, &[RecordedBuildroot])> {
        match kind {
            EvidenceKind::Scratch(task) => Some((task, &self.tasks.get(&task)?.buildroots)),
            EvidenceKind::Real(build) => {
                let build = self.builds.get(&build)?;
                Some((build.task_id?, &build.buildroots))
            }
        }
    }

    /// Returns the repository in which a build was made, if the hub told.
    pub fn built_in(&self, kind: EvidenceKind) -> Option<RepoId> {
        match kind {
            EvidenceKind::Scratch(task) => self.tasks.get(&task)?.repo_id,
            EvidenceKind::Real(build) => self.builds.get(&build)?.repo_id,
        }
    }

    /// Returns the recorded buildroot of a build on an architecture, if it has more information
    /// than the prediction for its repository.
    pub fn truth(&self, kind: EvidenceKind, arch: &str) -> Option<&RecordedBuildroot> {
        let (_, buildroots) = self.buildroots(kind)?;
        buildroots.iter().find(|b| b.tells_more() && canonical(&b.arch) == canonical(arch))
    }
}
