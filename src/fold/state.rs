//! Defines the whole state, and applies events to it.

mod refusals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Map;
use super::announced::Announced;
use super::arch::Allowed;
use super::build::{Build, BuildrootOverride, real_outcome};
use super::collection::Collection;
use super::evidence::{self, Evidence, EvidenceKind};
use super::group::Group;
use super::package::{Latest, stands_for};
use super::refusal::Refusal;
use super::repo::Repo;
use super::tag::{Tag, Untagged};
use super::task::Task;
use crate::event::{Envelope, Event, RebuildInputs, Source, package_settings};
use crate::model::koji::RepoState;
use crate::model::{BuildId, Hub, Name, Outcome, PackageState, RebuildId, RepoId, Seq, TaskId, Timestamp};

/// The policy in force.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AdoptedPolicy {
    /// Digest of `policy`.
    pub digest: String,
    /// The policy as adopted. `decide::Policy` reads it.
    #[serde(with = "super::columns::any_json")]
    pub policy: serde_json::Value,
}

/// Everything known about one hub.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct HubState {
    /// Tags by name.
    pub tags: Map<Name, Tag>,
    /// Real builds by number.
    pub builds: Map<BuildId, Build>,
    /// Repositories by number.
    pub repos: Map<RepoId, Repo>,
    /// Scratch builds of this service that are running or are among a package's last builds.
    pub tasks: Map<TaskId, Task>,
    /// Build tag and dest tag of each target.
    pub targets: Map<Name, (Name, Name)>,
    /// Koji event up to which the hub was reconciled.
    pub reconciled_through: Option<i64>,
    /// Time of that reconciliation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<Timestamp>,
    /// The hub's refusal to bind builds to repositories, if it refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbound: Option<Refusal>,
    /// Buildroot overrides in force, by package.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub overrides: Map<Name, Vec<BuildrootOverride>>,
    /// Collections that look at a tag, by index. Derived from other fields.
    #[serde(skip)]
    pub(super) followers: Map<Name, Vec<usize>>,
    /// The build that a task made. Derived from the builds.
    #[serde(skip)]
    pub(super) build_of_task: Map<TaskId, BuildId>,
}

/// A decided rebuild that has not ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OpenRebuild {
    /// The rebuild's collection.
    pub collection: Name,
    /// The rebuild's package.
    pub package: Name,
    /// Inputs that the decision depended on.
    pub inputs: RebuildInputs,
    /// Time of the decision.
    pub at: Timestamp,
    /// The task that the rebuild became.
    pub task: Option<(Hub, TaskId)>,
    /// Whether the rebuild is to be cancelled.
    #[serde(default)]
    pub cancel_requested: bool,
    /// Whether the hub no longer knows the task. Set here if no event ever described that task.
    #[serde(default)]
    pub vanished: bool,
}

/// How far a decided rebuild has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The rebuild is to be submitted.
    Open,
    /// The rebuild is to be submitted later: somebody paused all submissions, or those of its
    /// collection.
    Paused,
    /// The rebuild is a task already.
    Submitted(Hub, TaskId),
    /// The rebuild is not to be submitted any more: it was cancelled or turned down, or has ended.
    Closed,
}

/// A request that was closed because somebody cancelled it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cancelled {
    /// The cancelled request.
    pub rebuild: RebuildId,
    /// The request's collection.
    pub collection: Name,
    /// The request's package.
    pub package: Name,
}

/// Indexes of a collection and of a package in it. The package's state may have changed.
pub type Touched = (usize, usize);

/// The state after folding the log up to [`State::seq`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// The last event folded.
    pub seq: Option<Seq>,
    /// Time at which that event was recorded.
    pub recorded_at: Timestamp,
    /// Hubs by instance.
    pub hubs: Map<Hub, HubState>,
    /// Collections by name.
    pub collections: Map<Name, Collection>,
    /// Groups of source packages by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<Name, Group>,
    /// The policy in force, if one was adopted.
    pub policy: Option<AdoptedPolicy>,
    /// Time of the last tick.
    pub last_tick: Option<Timestamp>,
    /// The last evaluation.
    pub last_evaluation: Option<Seq>,
    /// Loads that the last evaluation used, per canonical architecture in thousandths, as in
    /// [`crate::event::EvaluationMade`]. Absent if no loads were known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<BTreeMap<String, u32>>,
    /// Number of facts taken from messages. A comparison with the inbox shows whether it knows all
    /// of them.
    #[serde(default)]
    pub facts_taken: u64,
    /// Rebuilds that are decided and have not ended.
    pub rebuilds: Map<RebuildId, OpenRebuild>,
    /// Requests of the last hour that were not turned down, oldest first. Older ones stay until the
    /// next request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<(Timestamp, RebuildId)>,
    /// Requests that were closed because somebody cancelled them, newest last. A cancelled request
    /// may have been submitted nevertheless.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancelled: Vec<Cancelled>,
    /// Tasks that such requests became and that nobody has asked to stop yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<(Hub, TaskId, Cancelled)>,
    /// Reason why somebody paused all submissions, if they are paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<SmolStr>,
    /// Number of events that made no sense, by kind of anomaly.
    pub anomalies: BTreeMap<String, u64>,
    /// Packages that the last events touched, if [`State::watch`] was called.
    #[serde(skip)]
    pub(super) touched: Option<Vec<Touched>>,
}

impl PartialEq for State {
    /// Compares the content. Touched packages and derived indexes do not count.
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl State {
    /// Starts to record which packages events touch. [`State::take_touched`] returns and clears the
    /// record.
    pub fn watch(&mut self) {
        self.touched.get_or_insert_default();
    }

    /// Returns the packages touched since the last call, each once, in order of collection and
    /// package.
    pub fn take_touched(&mut self) -> Vec<Touched> {
        let mut touched = self.touched.as_mut().map(std::mem::take).unwrap_or_default();
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    pub(super) fn touch(&mut self, collection: usize, package: usize) {
        if let Some(touched) = &mut self.touched {
            touched.push((collection, package));
        }
    }

    pub(super) fn anomaly(&mut self, what: &str) {
        *self.anomalies.entry(what.to_owned()).or_default() += 1;
    }

    /// Returns the hub's state, and creates it if it is absent.
    pub(super) fn hub_mut(&mut self, hub: &Hub) -> &mut HubState {
        let index = match self.hubs.get_index_of(hub) {
            Some(index) => index,
            None => self.hubs.insert_full(hub.clone(), HubState::default()).0,
        };
        &mut self.hubs[index]
    }

    /// Returns a package of a collection.
    pub fn package(&self, collection: &str, package: &str) -> Option<&super::Package> {
        self.collections.get(collection)?.packages.get(package)
    }

    /// Counts the rebuilds that are running or about to run, over all collections.
    pub fn running(&self) -> u32 {
        self.collections.values().map(|c| c.running).sum()
    }

    /// Folds one event. Total: an event that makes no sense is counted in `anomalies`. Panics only
    /// on a gap in the sequence, which the reader must have excluded. Cost: O(1) for facts about
    /// one package, O(packages) for verdicts and configuration.
    pub fn apply(&mut self, e: &Envelope) {
        assert_eq!(e.seq, Seq::after(self.seq), "events are folded in order, without gaps");
        match &e.event {
            Event::BuildTagged(t) => {
                let asked = e.source.asked_hub();
                let renamed = self.hub_mut(&t.hub).build_seen(t.build_id, t.nvr(), e.occurred_at, asked);
                self.hub_mut(&t.hub).tagged(t, e.seq, e.occurred_at, e.koji_event, asked);
                if renamed {
                    self.build_renamed(&t.hub, t.build_id);
                }
                self.refresh(&t.hub, &t.tag, &t.name);
            }
            Event::BuildUntagged(t) => {
                let asked = e.source.asked_hub();
                if self.hub_mut(&t.hub).build_seen(t.build_id, t.nvr(), e.occurred_at, asked) {
                    self.build_renamed(&t.hub, t.build_id);
                }
                if self.hub_mut(&t.hub).untagged(t, e.koji_event, e.occurred_at) == Untagged::NotThere {
                    self.anomaly("untagged a build that was not in the tag");
                }
                self.refresh(&t.hub, &t.tag, &t.name);
            }
            Event::BuildChanged(b) => {
                let changed = self.hub_mut(&b.hub).build_changed(b, e.recorded_at, e.source.asked_hub());
                if changed.renamed {
                    self.build_renamed(&b.hub, b.build_id);
                }
                if let Some(outcome) = changed.outcome {
                    self.build_refreshed(&b.hub, b.build_id, &b.name, outcome);
                }
            }
            Event::PackageListChanged(p) => {
                self.hub_mut(&p.hub).listed(p);
                self.refresh(&p.hub, &p.tag, &p.package);
            }
            Event::TagObserved(t) => self.tag_observed(t),
            Event::TargetObserved(t) => self.target_observed(t),
            Event::RepoInitialised(r) => {
                self.hub_mut(&r.hub).repo_moved(r.repo_id, &r.tag, RepoState::Init, e.occurred_at);
            }
            Event::RepoReady(r) => self.repo_ready(r, e.occurred_at),
            Event::RepoExpired(r) => {
                let repo = self.hub_mut(&r.hub).repo_moved(r.repo_id, &r.tag, RepoState::Expired, e.occurred_at);
                // No event told of the repository while it was ready.
                repo.create_event = repo.create_event.or(e.koji_event);
            }
            Event::RepoDeleted(r) => {
                self.hub_mut(&r.hub).repo_moved(r.repo_id, &r.tag, RepoState::Deleted, e.occurred_at);
            }
            Event::TaskChanged(t) => self.task_changed(t, e.seq, e.occurred_at, e.source.asked_hub()),
            Event::TaskVanished(t) => self.task_vanished(t),
            Event::BuildrootRecorded(b) => self.buildroot_recorded(b),
            Event::BuildrootOverrideChanged(o) => self.hub_mut(&o.hub).override_changed(o, e.occurred_at),
            Event::Reconciled(r) => {
                let hub = self.hub_mut(&r.hub);
                (hub.reconciled_through, hub.reconciled_at) = (Some(r.through), Some(e.occurred_at));
            }
            Event::PolicyAdopted(p) => {
                self.policy = Some(AdoptedPolicy { digest: p.digest.clone(), policy: p.policy.clone() });
            }
            Event::Tick(t) => self.last_tick = Some(t.now),
            Event::RepoResolved(r) => self.repo_resolved(r, e.seq),
            Event::RepoNotResolved(r) => self.repo_not_resolved(r),
            Event::ResolutionExamined(r) => self.resolution_examined(r),
            Event::BuildrootResolved(b) => self.buildroot_resolved(b),
            Event::BuildrootBroken(b) => self.buildroot_broken(b),
            Event::DependenciesMeasured(d) => self.dependencies_measured(d),
            Event::PredictionCompared(p) => self.prediction_compared(p),
            Event::UpdatesArrived(u) => self.updates_arrived(u),
            Event::BuildCompared(b) => self.build_compared(b, (e.seq, e.recorded_at)),
            Event::CausesFound(c) => self.causes_found(c, (e.seq, e.recorded_at)),
            Event::SuspectsRanked(r) => self.suspects_ranked(r, (e.seq, e.recorded_at)),
            Event::EvaluationMade(made) => {
                self.last_evaluation = Some(e.seq);
                self.load.clone_from(&made.load);
            }
            Event::RebuildRequested(r) => self.requested(r, e.seq, e.recorded_at),
            Event::RebuildSubmitted(r) => {
                self.adopt(r.rebuild, &r.hub, r.task_id, &r.package);
                self.with_package(&r.collection, &r.package, |p| {
                    p.use_manual_points();
                    p.declined = None;
                });
            }
            Event::RebuildRefused(r) => self.declined(r.rebuild, &r.reason),
            Event::RebuildNotSubmitted(r) => self.declined(r.rebuild, &r.reason),
            Event::RebuildFinished(r) => self.rebuild_finished(r, e.occurred_at),
            Event::RebuildCancelRequested(c) => self.cancel_requested(c),
            Event::PolicyRefused(p) => self.policy_refused(p, e.occurred_at),
            Event::PolicyAllowed(p) => self.policy_allowed(p),
            Event::PackageStateChanged(c) => {
                let cause = (c.new == PackageState::Unresolved).then(|| stands_for(&c.reason));
                let announced = Announced { state: c.new, at: e.recorded_at };
                self.with_package(&c.collection, &c.package, |p| {
                    (p.announced, p.announced_cause) = (Some(announced), cause);
                });
            }
            Event::PackageReasonChanged(c) => {
                let cause = stands_for(&c.reason);
                self.with_package(&c.collection, &c.package, |p| p.announced_cause = Some(cause));
            }
            Event::CollectionStateChanged(c) => match self.collections.get_mut(&c.collection) {
                Some(collection) => collection.announced = c.new,
                None => self.anomaly("state of an unknown collection"),
            },
            Event::CollectionCreated(c) => self.collection_set(&c.collection, &c.settings),
            Event::CollectionEdited(c) => self.collection_set(&c.collection, &c.settings),
            package_settings!() => self.package_set(&e.event),
            Event::GroupMade(g) => self.group_made(g, e.recorded_at),
            Event::GroupChanged(g) => self.group_changed(g, e.recorded_at),
            Event::GroupDeleted(g) => self.group_deleted(g),
            Event::SubmissionsPaused(p) => self.set_pause(p.collection.as_ref(), Some(&p.reason)),
            Event::SubmissionsResumed(p) => {
                self.set_pause(p.collection.as_ref(), None);
                self.try_policies_again(p.collection.as_ref());
            }
            Event::RebuildDoubted(_)
            | Event::MessageRetried(_)
            | Event::MessageDismissed(_)
            | Event::MessageTimeReplaced(_) => {}
        }
        if e.fact.is_some() && matches!(e.source, Source::Recording | Source::Bus) {
            self.facts_taken += 1;
        }
        self.seq = Some(e.seq);
        self.recorded_at = e.recorded_at;
    }

    pub(super) fn with_package(&mut self, collection: &Name, package: &Name, change: impl FnOnce(&mut super::Package)) {
        let Some(index) = self.collections.get_index_of(collection) else {
            return self.anomaly("package of an unknown collection");
        };
        let c = &mut self.collections[index];
        let i = c.package_index(package);
        change(&mut c.packages[i]);
        self.touch(index, i);
    }

    fn package_set(&mut self, event: &Event) {
        let Some((collection, package)) = event.setting_of() else { return };
        let mut read = true;
        self.with_package(collection, package, |p| read = p.set(event));
        // The override was checked when it was set. If this version cannot read it, the package has
        // none.
        if !read {
            self.anomaly("architecture override that cannot be read");
        }
        if matches!(event, Event::PackageArchOverrideSet(_)) {
            self.rejudge(collection, package);
        }
    }

    fn rejudge(&mut self, collection: &Name, package: &Name) {
        if let Some(c) = self.collections.get_mut(collection)
            && let Some(p) = c.packages.get_mut(package)
        {
            p.judge(Allowed { own: &c.settings.arches, tag: &c.tag_arches }, &c.moves);
        }
    }

    /// Adds `by` to a collection's count of running rebuilds.
    pub(super) fn recount(&mut self, collection: &Name, by: i32) {
        if let Some(c) = self.collections.get_mut(collection) {
            c.running = c.running.saturating_add_signed(by);
        }
    }

    // ---- tags, builds, packages -------------------------------------------------------------------------------

    /// Updates a package in every collection that looks at `tag`.
    pub(super) fn refresh(&mut self, hub: &Hub, tag: &Name, package: &Name) {
        let Some(h) = self.hubs.get_index_of(hub) else { return };
        let Some(t) = self.hubs[h].followers.get_index_of(tag) else { return };
        for i in 0..self.hubs[h].followers[t].len() {
            let index = self.hubs[h].followers[t][i];
            self.refresh_in(index, package);
        }
    }

    pub(super) fn refresh_in(&mut self, index: usize, name: &Name) {
        let collection = &mut self.collections[index];
        let Some(h) = self.hubs.get_index_of(&collection.settings.hub) else { return };
        let hub = &self.hubs[h];
        let i = collection.package_index(name);
        let package = &mut collection.packages[i];
        let lists = hub.lists(&collection.chain, name);
        package.blocked = lists.iter().find_map(|l| l.blocked()).unwrap_or(false);
        let latest = lists.iter().find_map(|l| l.builds.last().copied());
        let latest = latest.and_then(|l| Some((l, hub.builds.get(&l.build)?)));
        let mut dropped = Vec::new();
        match (latest, &mut package.latest) {
            (None, known) => *known = None,
            // The same build was tagged once more: the source is the same, only the time changes.
            (Some((l, _)), Some(known)) if known.build == l.build => known.at = l.at,
            (Some((l, build)), _) => {
                let source = build.source();
                package.latest = Some(Latest { build: l.build, source: source.clone(), at: l.at });
                let real = |e: &&Evidence| matches!(e.kind, EvidenceKind::Real(_));
                let same = package.evidence.iter().find(|e| e.kind == EvidenceKind::Real(l.build));
                // Another build of the same source: dependency changes are measured from the
                // repository of the known build.
                let known = same.or_else(|| package.evidence.iter().rev().filter(real).find(|e| e.source == source));
                let new = Evidence {
                    kind: EvidenceKind::Real(l.build),
                    hub: None,
                    source,
                    former: build.former.clone(),
                    order: l.seq,
                    at: l.at,
                    repo: build.repo_id.or_else(|| known.and_then(|e| e.repo)),
                    assumed: build.repo_id.is_none() && known.is_some_and(|e| e.assumed),
                    outcome: real_outcome(build),
                    running: false,
                    withdrawn: false,
                    event: l.event,
                    timed: l.event.is_some(),
                    built_in: known.and_then(|e| e.built_in),
                    compared: same.is_some_and(|e| e.compared),
                };
                dropped = evidence::insert(&mut package.evidence, new);
            }
        }
        evidence::withdraw(&mut package.evidence, |b| lists.iter().any(|l| l.builds.iter().any(|t| t.build == b)));
        if !dropped.is_empty() {
            let hub = self.collections[index].settings.hub.clone();
            self.forget_tasks(&hub, dropped);
        }
        self.touch(index, i);
    }

    /// Forgets tasks of a collection whose own hub is `own`.
    pub(super) fn forget_tasks(&mut self, own: &Hub, tasks: Vec<(Option<Hub>, TaskId)>) {
        for (hub, task) in tasks {
            self.hub_mut(hub.as_ref().unwrap_or(own)).tasks.swap_remove(&task);
        }
    }

    /// Handles a build that has another name under its number. Evidence about it is kept and gets
    /// the new name.
    fn build_renamed(&mut self, hub: &Hub, id: BuildId) {
        let Some(build) = self.hubs.get(hub).and_then(|h| h.builds.get(&id)).cloned() else { return };
        for index in 0..self.collections.len() {
            let collection = &mut self.collections[index];
            if collection.settings.hub != *hub {
                continue;
            }
            let Some(i) = collection.packages.get_index_of(&build.nvr.name) else { continue };
            let package = &mut collection.packages[i];
            evidence::rename(&mut package.evidence, &build, id);
            if let Some(latest) = package.latest.as_mut().filter(|l| l.build == id) {
                latest.source = build.source();
            }
            self.touch(index, i);
        }
    }

    /// Updates the evidence of a build whose outcome may have changed.
    fn build_refreshed(&mut self, hub: &Hub, id: BuildId, name: &Name, outcome: Option<Outcome>) {
        for index in 0..self.collections.len() {
            let collection = &mut self.collections[index];
            if collection.settings.hub != *hub {
                continue;
            }
            let Some(i) = collection.packages.get_index_of(name) else { continue };
            let evidence = &mut collection.packages[i].evidence;
            if let Some(e) = evidence.iter_mut().find(|e| e.kind == EvidenceKind::Real(id))
                && e.outcome != outcome
            {
                e.outcome = outcome;
                self.touch(index, i);
            }
        }
    }
}
