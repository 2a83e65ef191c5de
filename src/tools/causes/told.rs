//! Reads the log, and keeps what the causes follow from.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::spells::Spells;
use crate::event::{BuildCompared, Envelope, Event, UpdatesArrived, hub_facts, package_settings, words};
use crate::fold::State;
use crate::log::{EventLog, LogError, folding};
use crate::model::{Hub, Name, RepoId, Seq, TaskId, Timestamp};

/// An update that came with a repository.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) source: Name,
    pub(super) old: Option<SmolStr>,
    pub(super) new: SmolStr,
    pub(super) repo: RepoId,
    /// Stands for the packages with it in their buildroots, on all architectures.
    pub(super) buildroots: u64,
}

/// A build that was compared with the last good one before it.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    pub(super) event: BuildCompared,
    /// When the build began, as a position in the log.
    pub(super) began: Seq,
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
}

/// What the log tells of one collection.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected {
    pub(super) arrivals: Vec<Arrival>,
    /// Indexes of `arrivals` by source package and version, oldest first.
    pub(super) by_version: FxHashMap<(Name, SmolStr), Vec<usize>>,
    /// The place of each repository in the order in which they were resolved.
    pub(super) places: BTreeMap<RepoId, u32>,
    pub(super) builds: Vec<Compared>,
    pub(super) spells: Spells,
}

/// What the log tells about causes.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub(super) collections: BTreeMap<Name, Collected>,
}

/// Reads the log up to `until`, or to its end. Also returns the state there. Cost: that of folding
/// it.
///
/// # Errors
/// Fails like [`folding::from_start`].
pub async fn read(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<(Told, State), LogError> {
    let mut told = Told::default();
    let state = folding::fold(log, until, progress, &mut |state, e| told.see(state, e)).await?;
    Ok((told, state))
}

impl Told {
    fn see(&mut self, state: &State, e: &Envelope) {
        match &e.event {
            Event::UpdatesArrived(u) => self.of(&u.collection).arrived(u),
            Event::BuildCompared(b) => {
                let began = b.task_id.and_then(|task| first_seen(state, &b.hub, task)).unwrap_or(e.seq);
                let compared = Compared { event: b.clone(), began, seq: e.seq, at: e.recorded_at };
                self.of(&b.collection).builds.push(compared);
            }
            Event::RepoResolved(r) => {
                let of = self.of(&r.collection);
                let next = u32::try_from(of.places.len()).unwrap_or(u32::MAX);
                of.places.entry(r.repo_id).or_insert(next);
                of.spells.resolved(r, e);
            }
            Event::CausesFound(c) => self.of(&c.collection).spells.found(c, e),
            Event::BuildrootResolved(b) => self.of(&b.collection).spells.group_back(&b.arch, e),
            Event::TargetObserved(t) => {
                for (name, c) in &state.collections {
                    if (&c.settings.hub, &c.settings.target) == (&t.hub, &t.target) {
                        let gone = t.build_tag.is_none();
                        self.of(name).spells.target(&format!("target {}", t.target), gone, e);
                    }
                }
            }
            Event::TagObserved(t) => {
                for (name, c) in &state.collections {
                    let ours = [&c.settings.build_tag, &c.settings.dest_tag].contains(&&t.tag);
                    if c.settings.hub == t.hub && ours {
                        self.of(name).spells.target(&format!("tag {}", t.tag), t.gone, e);
                    }
                }
            }
            Event::Reconciled(_)
            | Event::PolicyAdopted(_)
            | Event::Tick(_)
            | Event::RepoNotResolved(_)
            | Event::ResolutionExamined(_)
            | Event::BuildrootBroken(_)
            | Event::DependenciesMeasured(_)
            | Event::PredictionCompared(_)
            | Event::EvaluationMade(_)
            | Event::RebuildRequested(_)
            | Event::RebuildSubmitted(_)
            | Event::RebuildRefused(_)
            | Event::RebuildNotSubmitted(_)
            | Event::RebuildFinished(_)
            | Event::RebuildDoubted(_)
            | Event::PolicyRefused(_)
            | Event::PolicyAllowed(_)
            | Event::PackageStateChanged(_)
            | Event::PackageReasonChanged(_)
            | Event::CollectionStateChanged(_)
            | Event::MessageRetried(_)
            | Event::MessageTimeReplaced(_)
            | hub_facts!()
            | package_settings!()
            | words!() => {}
        }
    }

    fn of(&mut self, collection: &Name) -> &mut Collected {
        self.collections.entry(collection.clone()).or_default()
    }
}

fn first_seen(state: &State, hub: &Hub, task: TaskId) -> Option<Seq> {
    Some(state.hubs.get(hub)?.tasks.get(&task)?.first_seen)
}

impl Collected {
    fn arrived(&mut self, u: &UpdatesArrived) {
        for update in &u.updates {
            let key = (update.source.clone(), update.new.clone());
            let known = self.by_version.get(&key).and_then(|all| all.last()).copied();
            let same = known.and_then(|at| self.arrivals.get_mut(at)).filter(|a| a.repo == u.repo_id);
            if let Some(same) = same {
                // Another architecture of the same repository.
                same.buildroots = same.buildroots.rotate_left(1) ^ update.buildroots;
                continue;
            }
            self.by_version.entry(key).or_default().push(self.arrivals.len());
            self.arrivals.push(Arrival {
                source: update.source.clone(),
                old: update.old.clone(),
                new: update.new.clone(),
                repo: u.repo_id,
                buildroots: update.buildroots,
            });
        }
    }

    /// Returns the place of a repository in the order in which they were resolved. One that was not
    /// resolved has the place of the newest one before it.
    pub(super) fn place(&self, repo: RepoId) -> u32 {
        let known = self.places.get(&repo).copied();
        known.or_else(|| self.places.range(..repo).next_back().map(|(_, place)| *place)).unwrap_or(0)
    }
}
