//! Builds: how to ask for one, and what is news about it.

use super::{Read, Reading};
use crate::event::BuildChanged;
use crate::hub::diff::Compare;
use crate::hub::snapshot::Seen;
use crate::koji::calls::get_build;
use crate::koji::{Batch, records};
use crate::model::koji::BuildState;
use crate::model::{BuildId, Nvr, TaskId, Timestamp};

/// A build (`getBuild`, or a row of `listTagged`).
#[derive(Clone, PartialEq, Debug)]
pub struct BuildSeen {
    /// Build number.
    pub build_id: BuildId,
    /// Name, version, release.
    pub nvr: Nvr,
    /// Epoch, if not zero.
    pub epoch: Option<u32>,
    /// State of the build.
    pub state: BuildState,
    /// The build's task. `None`: the build was imported.
    pub task_id: Option<TaskId>,
    /// When the build's record was made.
    pub created_at: Option<Timestamp>,
    /// When the build ended.
    pub completed_at: Option<Timestamp>,
}

impl From<records::Build> for BuildSeen {
    fn from(b: records::Build) -> Self {
        Self {
            build_id: b.build_id,
            nvr: b.nvr(),
            epoch: b.epoch.filter(|e| *e != 0),
            state: b.state,
            task_id: b.task_id,
            created_at: b.created,
            completed_at: b.completed,
        }
    }
}

pub(super) fn ask(id: BuildId, batch: &mut Batch) -> Reading {
    let build = batch.add(get_build(id));
    Box::new(move |answers| Ok(Read::Seen(answers.take(build)?.map(|b| Seen::Build(b.into())))))
}

impl Compare<'_> {
    pub(in crate::hub) fn build(&mut self, seen: &BuildSeen) {
        if !self.builds.insert(seen.build_id) {
            return;
        }
        let known = self.hub.builds.get(&seen.build_id);
        let old = known.and_then(|b| b.state);
        if let Some(b) = known
            && old == Some(seen.state)
            && b.nvr == seen.nvr
            && b.task_id == seen.task_id.or(b.task_id)
            && b.epoch == seen.epoch
            && b.completed_at == seen.completed_at.or(b.completed_at)
        {
            return;
        }
        // An ended build without an end time would look like a new end at each look. Its creation
        // time is used instead.
        let completed_at =
            seen.completed_at.or_else(|| (seen.state != BuildState::Building).then_some(()).and(seen.created_at));
        let fact = BuildChanged {
            hub: self.hub(),
            build_id: seen.build_id,
            name: seen.nvr.name.clone(),
            epoch: seen.epoch,
            version: seen.nvr.version.clone(),
            release: seen.nvr.release.clone(),
            old,
            state: seen.state,
            task_id: seen.task_id,
            created_at: seen.created_at,
            completed_at,
            by: None,
        };
        let at = seen.completed_at.or(seen.created_at);
        self.fact(fact, None, None, at);
    }
}
