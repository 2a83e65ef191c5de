//! Folding our scratch rebuilds: tasks, the collections they count for, the slots they hold.

use smol_str::format_smolstr;

use super::collection::Collection;
use super::evidence::{self, Evidence, EvidenceKind};
use super::state::{OpenRebuild, State};
use super::task::Task;
use crate::event::{RebuildFinished, TaskChanged};
use crate::model::{Hub, Name, Outcome, RebuildId, Seq, TaskId, Timestamp};

impl State {
    pub(super) fn task_changed(&mut self, e: &TaskChanged, seq: Seq, at: Timestamp) {
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
            finished_at: None,
            collection: None,
            rebuild: None,
            any_step: false,
            failed_children: Vec::new(),
            buildroots: Vec::new(),
            outcome: None,
            reason: None,
            cancel_requested: false,
        });
        if known && task.state.is_final() && !e.state.is_final() {
            // An ended task does not begin again; this message was overtaken by that of its end.
            return self.anomaly("message about a task that had ended");
        }
        task.state = e.state;
        task.finished_at = e.finished_at.or_else(|| e.state.is_final().then_some(at));
        if e.nvr.is_some() {
            task.nvr.clone_from(&e.nvr);
        }
        if e.repo_id.is_some() {
            task.repo_id = e.repo_id;
        }
        task.any_step |= !e.children.is_empty();
        if e.state.is_final() {
            task.failed_children = e
                .children
                .iter()
                .filter(|c| c.state == crate::model::koji::TaskState::Failed)
                .map(|c| (c.method.clone(), c.label.clone()))
                .collect();
        }
        if known {
            if let Some(collection) = task.collection.clone() {
                self.task_in_package(&e.hub, e.task_id, &collection);
            }
        } else {
            self.attribute(&e.hub, e.task_id);
        }
        let submitted = |r: &OpenRebuild| r.task.as_ref().is_some_and(|(h, t)| (h, *t) == (&e.hub, e.task_id));
        let rebuild = rebuild.or_else(|| self.rebuilds.iter().find(|(_, r)| submitted(r)).map(|(id, _)| *id));
        if let Some(rebuild) = rebuild {
            self.adopt(rebuild, &e.hub, e.task_id);
        }
    }

    /// Finds the collection a task counts for: that of its target where the target is known, else the one that submits to a
    /// target of that name, else the one its repository belongs to.
    fn collection_of(&self, hub: &Hub, task: TaskId) -> Option<usize> {
        let state = self.hubs.get(hub)?;
        let task = state.tasks.get(&task)?;
        let on_hub = |c: &Collection| c.settings.hub == *hub;
        if let Some(target) = &task.target {
            if let Some((build_tag, dest_tag)) = state.targets.get(target) {
                let by_tags = |c: &Collection, both: bool| {
                    on_hub(c) && c.settings.build_tag == *build_tag && (!both || c.settings.dest_tag == *dest_tag)
                };
                return self
                    .collections
                    .values()
                    .position(|c| by_tags(c, true))
                    .or_else(|| self.collections.values().position(|c| by_tags(c, false)));
            }
            return self.collections.values().position(|c| on_hub(c) && c.settings.target == *target);
        }
        let tag = &state.repos.get(&task.repo_id?)?.tag;
        self.collections.values().position(|c| on_hub(c) && c.settings.build_tag == *tag)
    }

    fn attribute(&mut self, hub: &Hub, id: TaskId) {
        let Some(index) = self.collection_of(hub, id) else { return };
        let name = self.collections.get_index(index).expect("index is in range").0.clone();
        let newest = self.collections[index].newest_repo;
        let task = self.hub_mut(hub).tasks.get_mut(&id).expect("the task was just looked at");
        task.collection = Some(name);
        let running = !task.state.is_final() && task.outcome.is_none();
        let new = Evidence {
            kind: EvidenceKind::Scratch(id),
            source: task.nvr.as_ref().map(|n| format_smolstr!("{}-{}", n.version, n.release)).unwrap_or_default(),
            order: task.first_seen,
            at: task.created_at,
            repo: task.repo_id.or(newest),
            assumed: task.repo_id.is_none(),
            outcome: task.outcome,
            running,
            withdrawn: false,
        };
        let package = task.package.clone();
        let collection = &mut self.collections[index];
        let i = collection.package_index(&package);
        let dropped = evidence::insert(&mut collection.packages[i].evidence, new);
        if running {
            collection.packages[i].running += 1;
            collection.running += 1;
        }
        self.forget_tasks(hub, &dropped);
        self.touch(index, i);
    }

    pub(super) fn attribute_all(&mut self, hub: &Hub) {
        let Some(state) = self.hubs.get(hub) else { return };
        let open: Vec<TaskId> = state.tasks.iter().filter(|(_, t)| t.collection.is_none()).map(|(id, _)| *id).collect();
        for task in open {
            self.attribute(hub, task);
        }
    }

    /// Carries a task's state over to its package. A task that was given up holds no slot, whatever it does afterwards.
    fn task_in_package(&mut self, hub: &Hub, id: TaskId, collection: &Name) {
        let Some(task) = self.hubs.get(hub).and_then(|h| h.tasks.get(&id)) else { return };
        let (package, open, repo) = (task.package.clone(), !task.state.is_final(), task.repo_id);
        let mut change = 0;
        self.with_package(collection, &package, |p| {
            let Some(e) = p.evidence.iter_mut().find(|e| e.kind == EvidenceKind::Scratch(id)) else { return };
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

    /// Ties a task to the rebuild we had requested. The first task with a decision's id is ours; later ones are somebody's
    /// resubmission and count as foreign.
    pub(super) fn adopt(&mut self, rebuild: RebuildId, hub: &Hub, task: TaskId) {
        let Some(open) = self.rebuilds.get_mut(&rebuild) else { return };
        let ours = open.task.get_or_insert_with(|| (hub.clone(), task)).clone();
        if ours != (hub.clone(), task) {
            return self.anomaly("another task with the id of a decision");
        }
        let Some(t) = self.hub_mut(hub).tasks.get_mut(&task) else {
            // Submitted, and nothing heard of it yet: the request keeps the slot.
            return;
        };
        t.rebuild.get_or_insert(rebuild);
        self.release(rebuild);
    }

    /// From here on the task holds the slot the request had held.
    fn release(&mut self, rebuild: RebuildId) {
        let Some(open) = self.rebuilds.get(&rebuild) else { return };
        let (collection, package) = (open.collection.clone(), open.package.clone());
        let mut freed = 0;
        self.with_package(&collection, &package, |p| {
            if p.open_rebuild == Some(rebuild) {
                p.open_rebuild = None;
                p.manual_points = 0;
                freed = -1;
            }
        });
        self.recount(&collection, freed);
    }

    /// Closes a rebuild that never became a task, and remembers what it depended on.
    pub(super) fn declined(&mut self, rebuild: RebuildId) {
        let Some(open) = self.rebuilds.swap_remove(&rebuild) else {
            return self.anomaly("end of an unknown rebuild");
        };
        let mut freed = 0;
        self.with_package(&open.collection, &open.package, |p| {
            if p.open_rebuild == Some(rebuild) {
                p.open_rebuild = None;
                freed = -1;
            }
            p.declined = Some(Box::new(open.inputs));
        });
        self.recount(&open.collection, freed);
    }

    pub(super) fn rebuild_finished(&mut self, e: &RebuildFinished, at: Timestamp) {
        if let Some(task) = self.hub_mut(&e.hub).tasks.get_mut(&e.task_id) {
            task.outcome = Some(e.outcome);
            task.reason = Some(e.reason.clone());
        }
        if let Some(rebuild) = e.rebuild {
            self.release(rebuild);
            self.rebuilds.swap_remove(&rebuild);
        }
        let mut freed = 0;
        self.with_package(&e.collection, &e.package, |p| {
            if let Some(x) = p.evidence.iter_mut().find(|x| x.kind == EvidenceKind::Scratch(e.task_id)) {
                x.outcome = Some(e.outcome);
                if x.running {
                    x.running = false;
                    p.running = p.running.saturating_sub(1);
                    freed = -1;
                }
            }
            match e.outcome {
                Outcome::InfrastructureFault => {
                    p.faults = p.faults.saturating_add(1);
                    p.last_fault_at = Some(at);
                }
                o if o.is_complete() => {
                    p.faults = 0;
                    p.last_fault_at = None;
                    p.manual_points = 0;
                }
                _ => {}
            }
        });
        self.recount(&e.collection, freed);
    }
}
