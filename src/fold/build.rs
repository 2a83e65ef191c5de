//! Real builds.

use serde::{Deserialize, Serialize};

use super::HubState;
use super::state::real_outcome;
use crate::event::BuildChanged;
use crate::model::koji::BuildState;
use crate::model::{BuildId, Evr, Name, Nvr, Outcome, TaskId, Timestamp};

/// A real build.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Build {
    /// Name, version, release.
    pub nvr: Nvr,
    /// Epoch, where known and not zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// `None`: only a tag event spoke of it.
    pub state: Option<BuildState>,
    /// The task; `None` for imported builds and for those we have no build event of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
}

impl Build {
    /// Whether this hub built it, as opposed to importing it: only then does it say something about buildability.
    pub fn built_here(&self) -> bool {
        self.task_id.is_some()
    }

    /// Its EVR.
    pub fn evr(&self) -> Evr {
        Evr { epoch: self.epoch, version: self.nvr.version.clone(), release: self.nvr.release.clone() }
    }
}

impl HubState {
    /// Takes over a build's new state. FAILED and CANCELED builds may come back under the same id.
    /// Returns what it says about its package now, where that is something else than before.
    pub(super) fn build_changed(&mut self, e: &BuildChanged) -> Option<Option<Outcome>> {
        // A build nobody spoke of before is in no tag, so that nothing depends on it yet.
        let before = self.builds.get(&e.build_id).map(real_outcome);
        let build = self.builds.entry(e.build_id).or_insert_with(|| Build {
            nvr: Nvr { name: e.name.clone(), version: e.version.clone(), release: e.release.clone() },
            epoch: None,
            state: None,
            task_id: None,
            completed_at: None,
        });
        if build.state.is_some() && e.state == BuildState::Building && e.old.is_none() {
            // The first message of a build, overtaken by a later one.
            return None;
        }
        build.state = Some(e.state);
        if e.epoch.is_some() {
            build.epoch = e.epoch;
        }
        if e.task_id.is_some() {
            build.task_id = e.task_id;
        }
        build.completed_at = e.completed_at;
        let now = real_outcome(build);
        before.filter(|before| *before != now).map(|_| now)
    }

    /// Makes sure that a build a tag event speaks of is known.
    pub(super) fn build_seen(&mut self, id: BuildId, name: &Name, version: &Name, release: &Name) {
        if !self.builds.contains_key(&id) {
            let nvr = Nvr { name: name.clone(), version: version.clone(), release: release.clone() };
            self.builds.insert(id, Build { nvr, epoch: None, state: None, task_id: None, completed_at: None });
        }
    }
}
