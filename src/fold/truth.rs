//! Folding what the hub says was installed for a build.

use super::build::RecordedBuildroot;
use super::evidence::EvidenceKind;
use super::state::State;
use crate::event::BuildrootRecorded;
use crate::model::{BuildId, Hub, Name, RepoId};

/// Puts a buildroot to those of a build: one per architecture, the newest word counts.
fn put(buildroots: &mut Vec<RecordedBuildroot>, e: &BuildrootRecorded) {
    buildroots.retain(|b| b.arch != e.arch);
    buildroots.push(RecordedBuildroot {
        arch: e.arch.clone(),
        attachment: e.attachment.as_str().into(),
        complete: e.complete,
        compared: false,
    });
}

impl State {
    /// Ties a recorded buildroot to the scratch rebuild or real build whose task it is of, and takes the repository from it.
    pub(super) fn buildroot_recorded(&mut self, e: &BuildrootRecorded) {
        let hub = self.hub_mut(&e.hub);
        if let Some(task) = hub.tasks.get_mut(&e.task_id) {
            put(&mut task.buildroots, e);
            if e.repo_id.is_some() {
                task.repo_id = e.repo_id;
            }
            let (package, collection) = (task.package.clone(), task.collection.clone());
            if let Some(index) = collection.and_then(|c| self.collections.get_index_of(&c)) {
                self.built_in(index, &package, EvidenceKind::Scratch(e.task_id), e.repo_id);
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

    fn built_in_everywhere(&mut self, hub: &Hub, package: &Name, build: BuildId, repo: Option<RepoId>) {
        for index in 0..self.collections.len() {
            if self.collections[index].settings.hub == *hub {
                self.built_in(index, package, EvidenceKind::Real(build), repo);
            }
        }
    }

    /// Notes the repository a build of a package was made in, where it is told: it need not be assumed any more.
    fn built_in(&mut self, index: usize, package: &Name, kind: EvidenceKind, repo: Option<RepoId>) {
        let collection = &mut self.collections[index];
        let Some(i) = collection.packages.get_index_of(package) else { return };
        let Some(e) = collection.packages[i].evidence.iter_mut().find(|e| e.kind == kind) else { return };
        if repo.is_some() {
            (e.repo, e.assumed) = (repo, false);
        }
        self.touch(index, i);
    }
}
