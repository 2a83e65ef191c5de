//! Folds the scratch rebuilds of this service: their tasks, the collections they count for, and the
//! slots they hold.

use smol_str::{SmolStr, format_smolstr};

use super::collection::Collection;
use super::evidence::{self, Evidence, EvidenceKind};
use super::package::{Declined, Sighting};
use super::state::{Cancelled, HubState, OpenRebuild, Standing, State};
use super::task::{Step, Task};
use crate::event::{RebuildCancelRequested, RebuildFinished, RebuildRequested, TaskChanged, TaskVanished};
use crate::model::{Hub, Name, Outcome, RebuildId, Seq, TaskId, Timestamp};

const HOUR_MICROS: i64 = 3_600_000_000;
/// How many cancelled requests are remembered. That is enough for all that may be on their way to
/// the hub when they are cancelled.
const CANCELLED_KEPT: usize = 1000;

impl State {
    pub(super) fn task_changed(&mut self, e: &TaskChanged, seq: Seq, at: Timestamp, asked: bool) {
        let rebuild = e.decision.as_deref().and_then(|d| d.strip_prefix('r')?.parse().ok()).map(RebuildId);
        let hub = self.hub_mut(&e.hub);
        let known = hub.tasks.contains_key(&e.task_id);
        let task = hub.tasks.entry(e.task_id).or_insert_with(|| Task {
            package: e.package.clone(),
            nvr: e.nvr.clone(),
            target: e.target.clone(),
            repo_id: e.repo_id,
            state: e.state,
            first_seen: seq,
            created_at: e.created_at.unwrap_or(at),
            timed: asked && e.created_at.is_some(),
            finished_at: None,
            collection: None,
            rebuild: None,
            any_step: false,
            steps: Box::default(),
            fault: None,
            line: None,
            buildroots: Vec::new(),
            outcome: None,
            reason: None,
            cancel_requested: false,
            vanished: false,
            given_up: false,
        });
        if known && task.state.is_final() && !e.state.is_final() {
            // An ended task does not run again. A message about its end overtook this message.
            return self.anomaly("message about a task that had ended");
        }
        task.state = e.state;
        task.vanished = false;
        task.finished_at = e.finished_at.or_else(|| e.state.is_final().then_some(at));
        if e.nvr.is_some() {
            task.nvr.clone_from(&e.nvr);
        }
        if e.repo_id.is_some() {
            task.repo_id = e.repo_id;
        }
        task.any_step |= !e.children.is_empty();
        if e.state.is_final() {
            // A task that was judged is not judged again, so its texts are not needed.
            let unjudged = task.awaits_judgement();
            task.steps = e.children.iter().map(|c| Step::of(c, unjudged)).collect();
            task.fault = e.fault.clone().filter(|_| unjudged).map(Box::new);
            let lines = e.children.iter().filter_map(|c| c.fault.as_ref()?.line.as_deref());
            task.line = lines.into_iter().next().map(Into::into).or(task.line.take());
        }
        if let Some(collection) = task.collection.clone().filter(|_| known) {
            self.task_in_package(&e.hub, e.task_id, &collection);
        }
        let submitted = |r: &OpenRebuild| r.task.as_ref().is_some_and(|(h, t)| (h, *t) == (&e.hub, e.task_id));
        let rebuild = rebuild.or_else(|| self.rebuilds.iter().find(|(_, r)| submitted(r)).map(|(id, _)| *id));
        if !known {
            // This service's rebuild counts for the collection it was decided for, even if the
            // target has changed since.
            let decided_for = rebuild.and_then(|id| self.rebuilds.get(&id)).filter(|r| r.package == e.package);
            let index = decided_for.and_then(|r| self.collections.get_index_of(&r.collection));
            self.attribute(&e.hub, e.task_id, index);
        }
        if let Some(rebuild) = rebuild {
            self.adopt(rebuild, &e.hub, e.task_id, &e.package);
        }
    }

    /// Notes that the hub no longer knows a task, so that its rebuild can be closed.
    pub(super) fn task_vanished(&mut self, e: &TaskVanished) {
        if let Some(task) = self.hub_mut(&e.hub).tasks.get_mut(&e.task_id) {
            if task.state.is_final() {
                // The task ended first, so nothing more was expected of it.
                return;
            }
            task.vanished = true;
            let (collection, package) = (task.collection.clone(), task.package.clone());
            if let Some(collection) = collection {
                self.with_package(&collection, &package, |_| {});
            }
            return;
        }
        let theirs = |r: &OpenRebuild| r.task.as_ref().is_some_and(|(h, t)| (h, *t) == (&e.hub, e.task_id));
        let Some(open) = self.rebuilds.values_mut().find(|r| theirs(r)) else {
            return self.anomaly("a task vanished that was not known");
        };
        open.vanished = true;
        let (collection, package) = (open.collection.clone(), open.package.clone());
        self.with_package(&collection, &package, |_| {});
    }

    /// Finds the open rebuild that became a task of a hub, even if no event has described that
    /// task. Cost: O(open rebuilds).
    pub fn submitted_as(&self, hub: &Hub, task: TaskId) -> Option<(RebuildId, &OpenRebuild)> {
        let is_it = |r: &OpenRebuild| r.task.as_ref().is_some_and(|(h, t)| (h, *t) == (hub, task));
        self.rebuilds.iter().find(|(_, r)| is_it(r)).map(|(id, r)| (*id, r))
    }

    /// Notes that a rebuild is to be cancelled: its task, or the request while there is no task.
    pub(super) fn cancel_requested(&mut self, e: &RebuildCancelRequested) {
        if e.task_id.is_some() {
            self.orphans.retain(|(hub, task, _)| (hub, Some(*task)) != (&e.hub, e.task_id));
        }
        let open = e.rebuild.and_then(|id| self.rebuilds.get(&id));
        let task = e.task_id.or_else(|| open?.task.as_ref().map(|(_, task)| *task));
        let known = task.and_then(|id| self.hub_mut(&e.hub).tasks.get_mut(&id));
        if let Some(task) = known {
            task.cancel_requested = true;
            return;
        }
        let id = e.rebuild.or_else(|| self.submitted_as(&e.hub, task?).map(|(id, _)| id));
        match id.and_then(|id| self.rebuilds.get_mut(&id)) {
            Some(open) => {
                open.cancel_requested = true;
                let (collection, package) = (open.collection.clone(), open.package.clone());
                self.with_package(&collection, &package, |_| {});
            }
            // The request was submitted while it was being cancelled, and no event has described
            // its task yet.
            None if self.cancelled.iter().any(|c| Some(c.rebuild) == e.rebuild) => {}
            None => self.anomaly("cancellation of an unknown task"),
        }
    }

    /// Opens a decided rebuild. From now on it holds a slot.
    pub(super) fn requested(&mut self, e: &RebuildRequested, seq: Seq, at: Timestamp) {
        let id = RebuildId(seq.get());
        let open = OpenRebuild {
            collection: e.collection.clone(),
            package: e.nvr.name.clone(),
            inputs: e.inputs.clone(),
            at,
            task: None,
            cancel_requested: false,
            vanished: false,
        };
        self.rebuilds.insert(id, open);
        self.tries_policies(e, id);
        self.requests.retain(|(made, _)| at.since(*made) < HOUR_MICROS);
        self.requests.push((at, id));
        self.with_package(&e.collection, &e.nvr.name, |p| {
            p.manual_kept = false;
            p.open_rebuild = Some(id);
            p.open_since = Some(at);
        });
        self.recount(&e.collection, 1);
    }

    /// Returns how far a decided rebuild has come. An executor asks this right before it calls the
    /// hub.
    pub fn standing(&self, rebuild: RebuildId) -> Standing {
        let Some(open) = self.rebuilds.get(&rebuild).filter(|r| !r.cancel_requested) else { return Standing::Closed };
        match &open.task {
            Some((hub, task)) => Standing::Submitted(hub.clone(), *task),
            None => {
                let of_collection = self.collections.get(&open.collection).and_then(|c| c.paused.as_ref());
                let paused = self.paused.as_ref().or(of_collection);
                paused.map_or(Standing::Open, |_| Standing::Paused)
            }
        }
    }

    /// Counts the requests of the hour before `now` that were not turned down. A request made
    /// exactly an hour ago no longer counts.
    pub fn requests_of_last_hour(&self, now: Timestamp) -> u32 {
        let recent = self.requests.iter().filter(|(at, _)| now.since(*at) < HOUR_MICROS).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    /// Finds the collection that a task counts for. If the task's target is known, its tags decide.
    /// Otherwise the name of the target decides. If the task has no target, its repository decides.
    fn collection_of(&self, hub: &Hub, task: TaskId) -> Option<usize> {
        let state = self.hubs.get(hub)?;
        let task = state.tasks.get(&task)?;
        // Whether the collection's builds run on that hub, whatever hub its packages are watched
        // on.
        let on_hub = |c: &Collection| c.settings.building_hub() == hub;
        if let Some(target) = &task.target {
            if let Some((build_tag, dest_tag)) = state.targets.get(target) {
                let by_tags = |c: &Collection, both: bool| {
                    let Some((build, dest)) = building_tags(state, c).filter(|_| on_hub(c)) else { return false };
                    build == build_tag && (!both || dest == dest_tag)
                };
                return self
                    .collections
                    .values()
                    .position(|c| by_tags(c, true))
                    .or_else(|| self.collections.values().position(|c| by_tags(c, false)));
            }
            return self.collections.values().position(|c| c.settings.building() == (hub, target));
        }
        let tag = &state.repos.get(&task.repo_id?)?.tag;
        self.collections.values().position(|c| on_hub(c) && building_tags(state, c).is_some_and(|(b, _)| b == tag))
    }

    fn attribute(&mut self, hub: &Hub, id: TaskId, decided_for: Option<usize>) {
        let Some(index) = decided_for.or_else(|| self.collection_of(hub, id)) else { return };
        let name = self.collections.get_index(index).expect("index is in range").0.clone();
        let collection = &self.collections[index];
        let (newest, own) = (collection.newest_repo, collection.settings.hub.clone());
        let task = self.hub_mut(hub).tasks.get_mut(&id).expect("the task was just looked at");
        task.collection = Some(name);
        let running = !task.state.is_final() && task.outcome.is_none();
        // A repository of another hub does not belong to the collection, whatever its number.
        let told = task.repo_id.filter(|_| own == *hub);
        let mut new = Evidence {
            kind: EvidenceKind::Scratch(id),
            hub: (own != *hub).then(|| hub.clone()),
            source: task.nvr.as_ref().map(|n| format_smolstr!("{}-{}", n.version, n.release)).unwrap_or_default(),
            former: Vec::new(),
            order: task.first_seen,
            at: task.created_at,
            repo: told.or(newest),
            assumed: told.is_none(),
            outcome: task.outcome,
            running,
            withdrawn: false,
            event: None,
            timed: task.timed,
            built_in: None,
            compared: false,
        };
        let package = task.package.clone();
        let collection = &mut self.collections[index];
        let i = collection.package_index(&package);
        evidence::name(&collection.packages[i].evidence, &mut new);
        let dropped = evidence::insert(&mut collection.packages[i].evidence, new);
        if running {
            collection.packages[i].running += 1;
            collection.running += 1;
        }
        self.forget_tasks(&own, dropped);
        self.touch(index, i);
    }

    pub(super) fn attribute_all(&mut self, hub: &Hub) {
        let Some(state) = self.hubs.get(hub) else { return };
        let open: Vec<TaskId> = state.tasks.iter().filter(|(_, t)| t.collection.is_none()).map(|(id, _)| *id).collect();
        for task in open {
            self.attribute(hub, task, None);
        }
    }

    /// Copies a task's state to its package. A task that was given up holds no slot, whatever
    /// happens to it afterwards.
    fn task_in_package(&mut self, hub: &Hub, id: TaskId, collection: &Name) {
        let Some(task) = self.hubs.get(hub).and_then(|h| h.tasks.get(&id)) else { return };
        let Some(own) = self.collections.get(collection).map(|c| c.settings.hub.clone()) else {
            return self.anomaly("package of an unknown collection");
        };
        let (package, open) = (task.package.clone(), !task.state.is_final());
        let repo = task.repo_id.filter(|_| own == *hub);
        let mut change = 0;
        self.with_package(collection, &package, |p| {
            let Some(e) = p.evidence.iter_mut().find(|e| e.task_on(hub, &own) == Some(id)) else { return };
            let running = open && e.outcome.is_none();
            change = i8::from(running) - i8::from(e.running);
            e.running = running;
            if repo.is_some() {
                e.repo = repo;
                e.assumed = false;
            }
            p.running = p.running.saturating_add_signed(change.into());
        });
        self.recount(collection, change.into());
    }

    /// Ties a task to the rebuild that was requested. Koji's `resubmitTask` copies the decision's
    /// id into a new task, so several tasks may have it. The one with the lowest number is the
    /// requested one. The others are somebody's resubmissions and count as tasks that this service
    /// did not request.
    pub(super) fn adopt(&mut self, rebuild: RebuildId, hub: &Hub, task: TaskId, package: &Name) {
        let Some(open) = self.rebuilds.get_mut(&rebuild) else {
            return self.adopt_late(rebuild, hub, task, package);
        };
        match &open.task {
            Some((h, ours)) if h != hub || *ours < task => {
                return self.anomaly("another task with the id of a decision");
            }
            Some((_, ours)) if *ours > task => {
                let foreign = open.task.replace((hub.clone(), task));
                self.disown(rebuild, foreign);
                self.anomaly("another task with the id of a decision");
            }
            Some(_) => {}
            None => open.task = Some((hub.clone(), task)),
        }
        let cancelled = self.rebuilds.get(&rebuild).is_some_and(|r| r.cancel_requested);
        let Some(t) = self.hub_mut(hub).tasks.get_mut(&task) else {
            // The rebuild was submitted, but no event has described its task yet. The request keeps
            // the slot.
            return;
        };
        t.rebuild.get_or_insert(rebuild);
        t.cancel_requested |= cancelled;
        self.release(rebuild);
    }

    /// Handles a task with the id of a decision that is closed. If somebody cancelled the request
    /// while it was being submitted, the task must be stopped. If a task with a higher number
    /// closed the rebuild, that task was not the requested one.
    fn adopt_late(&mut self, rebuild: RebuildId, hub: &Hub, task: TaskId, package: &Name) {
        if let Some(cancelled) = self.cancelled.iter().find(|c| c.rebuild == rebuild) {
            let known = self.hubs.get(hub).and_then(|h| h.tasks.get(&task));
            let stopping = known.is_some_and(|t| t.cancel_requested || t.is_over());
            let orphan = (hub.clone(), task, cancelled.clone());
            if !stopping && !self.orphans.contains(&orphan) {
                let (collection, package) = (cancelled.collection.clone(), cancelled.package.clone());
                self.orphans.push(orphan);
                self.with_package(&collection, &package, |_| {});
            }
            return;
        }
        let of_package = self.collections.values().filter_map(|c| Some((&c.settings.hub, c.packages.get(package)?)));
        let tasks: Vec<TaskId> =
            of_package.flat_map(|(own, p)| p.evidence.iter().filter_map(move |e| e.task_on(hub, own))).collect();
        let hub = self.hub_mut(hub);
        let Some(ours) = tasks.into_iter().find(|t| hub.tasks.get(t).is_some_and(|t| t.rebuild == Some(rebuild)))
        else {
            return;
        };
        if ours > task && hub.tasks.contains_key(&task) {
            hub.tasks[&ours].rebuild = None;
            hub.tasks[&task].rebuild = Some(rebuild);
        }
        if ours != task {
            self.anomaly("another task with the id of a decision");
        }
    }

    fn disown(&mut self, rebuild: RebuildId, foreign: Option<(Hub, TaskId)>) {
        if let Some((hub, task)) = foreign
            && let Some(task) = self.hub_mut(&hub).tasks.get_mut(&task)
            && task.rebuild == Some(rebuild)
        {
            task.rebuild = None;
        }
    }

    /// Passes the slot of the request to the task.
    fn release(&mut self, rebuild: RebuildId) {
        let Some(open) = self.rebuilds.get(&rebuild) else { return };
        let (collection, package) = (open.collection.clone(), open.package.clone());
        let mut freed = 0;
        self.with_package(&collection, &package, |p| {
            if p.open_rebuild == Some(rebuild) {
                (p.open_rebuild, p.open_since) = (None, None);
                p.use_manual_points();
                freed = -1;
            }
        });
        self.recount(&collection, freed);
    }

    /// Closes a rebuild that never became a task, and keeps its inputs and the reason.
    pub(super) fn declined(&mut self, rebuild: RebuildId, reason: &str) {
        let Some(open) = self.rebuilds.swap_remove(&rebuild) else {
            return self.anomaly("end of an unknown rebuild");
        };
        self.requests.retain(|(_, id)| *id != rebuild);
        if open.cancel_requested {
            let (collection, package) = (open.collection.clone(), open.package.clone());
            self.cancelled.push(Cancelled { rebuild, collection, package });
            let over = self.cancelled.len().saturating_sub(CANCELLED_KEPT);
            self.cancelled.drain(..over);
        }
        let mut freed = 0;
        self.with_package(&open.collection, &open.package, |p| {
            if p.open_rebuild == Some(rebuild) {
                (p.open_rebuild, p.open_since) = (None, None);
                freed = -1;
            }
            let reason = reason.chars().take(Declined::REASON_CHARS_MAX).collect();
            p.declined = Some(Box::new(Declined { inputs: open.inputs, reason }));
        });
        self.recount(&open.collection, freed);
    }

    pub(super) fn rebuild_finished(&mut self, e: &RebuildFinished, at: Timestamp) {
        let mut ended_at = at;
        if let Some(task) = self.hub_mut(&e.hub).tasks.get_mut(&e.task_id) {
            ended_at = task.finished_at.unwrap_or(at);
            task.outcome = Some(e.outcome);
            task.reason = Some(e.reason.clone());
            task.given_up = !task.state.is_final();
            task.forget_faults();
        }
        if let Some(rebuild) = e.rebuild {
            self.release(rebuild);
            self.rebuilds.swap_remove(&rebuild);
        }
        let Some(own) = self.collections.get(&e.collection).map(|c| c.settings.hub.clone()) else {
            return self.anomaly("package of an unknown collection");
        };
        let mut freed = 0;
        self.with_package(&e.collection, &e.package, |p| {
            let mut source = SmolStr::default();
            if let Some(x) = p.evidence.iter_mut().find(|x| x.task_on(&e.hub, &own) == Some(e.task_id)) {
                source = x.source.clone();
                x.outcome = Some(e.outcome);
                if x.running {
                    x.running = false;
                    p.running = p.running.saturating_sub(1);
                    freed = -1;
                }
            }
            if e.outcome.is_complete() {
                p.faults = 0;
                p.last_fault_at = None;
                p.last_fault = None;
                p.use_manual_points();
            } else if e.waits {
                p.faults = p.faults.saturating_add(1);
                p.last_fault_at = Some(at);
                p.last_fault = Some(e.outcome).filter(|o| *o != Outcome::InfrastructureFault);
            }
            if e.outcome == Outcome::Ok {
                p.unclear.clear();
            }
            if let Some(mark) = &e.mark {
                let over = (p.unclear.len() + 1).saturating_sub(Sighting::KEPT);
                p.unclear.drain(..over);
                p.unclear.push(Sighting { mark: mark.into(), source, host: e.host, at: ended_at });
            }
        });
        self.recount(&e.collection, freed);
    }
}

/// Returns the build tag and dest tag of a collection's builds on its building hub, if known.
pub(super) fn building_tags<'a>(building: &'a HubState, c: &'a Collection) -> Option<(&'a Name, &'a Name)> {
    let s = &c.settings;
    match s.builds_elsewhere() {
        true => building.targets.get(s.building().1).map(|(build, dest)| (build, dest)),
        false => Some((&s.build_tag, &s.dest_tag)),
    }
}
