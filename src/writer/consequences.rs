//! Derives what follows from facts: outcomes of ended rebuilds, measurements, state changes,
//! decisions.

use std::collections::BTreeSet;

use super::Writer;
use super::policies::policy_told;
use crate::decide::command::{CancelCommand, CommandCause, RebuildCommand, srpm_path};
use crate::decide::eligibility::PASSIVE;
use crate::decide::faults::{self, Verdict};
use crate::decide::judgement::judgement;
use crate::decide::load::ArchLoads;
use crate::decide::plan::{names, parts};
use crate::decide::request::{CANCELLED, NO_HUB, request_of};
use crate::decide::state_reason::{reason_of, state_reason};
use crate::decide::{Choice, plan, retry};
use crate::event::{
    EvaluationMade, Event, PackageReasonChanged, PackageStateChanged, RebuildCancelRequested, RebuildFinished,
    RebuildNotSubmitted, Source, Trigger,
};
use crate::fold::{EvidenceKind, stands_for};
use crate::log::{LogError, OutboxCommand};
use crate::model::{Hub, Name, Outcome, PROGRAM, PackageState, RebuildId, Seq, TaskId};

/// Most rounds of consequences after one fact. Two are enough. More would mean that consequences
/// cause each other without end.
const ROUNDS_MAX: usize = 8;

/// What the hub allows us to do, and how busy its builders are. The code that talks to the hub sets
/// this between two messages.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HubAccess {
    /// Whether somebody submits rebuilds. If so, a request stays open until the hub has answered.
    /// If not, the request is closed at once.
    pub submits: bool,
    /// Load of the builders per canonical architecture, used while no hub has reported one through
    /// [`Writer::load`]. `None` means unknown and does not limit submissions. Each evaluation
    /// records the load it used.
    pub load: Option<ArchLoads>,
}

impl Writer {
    /// Returns the hub access for changing it. Change it only between two messages.
    pub fn hub_access(&mut self) -> &mut HubAccess {
        &mut self.hub_access
    }

    /// Appends everything that follows from the events folded since the last call.
    pub(crate) async fn settle(&mut self, cause: Seq) -> Result<(), LogError> {
        self.look_at_overrides();
        for _ in 0..ROUNDS_MAX {
            self.stop_orphans(cause);
            let touched = self.state.take_touched();
            if touched.is_empty() {
                return Ok(());
            }
            match &mut self.sources_later {
                Some(later) => later.extend(&touched),
                None => self.sources_changed(&touched, cause).await?,
            }
            for (c, p) in touched {
                self.judge_ended(c, p, cause);
                self.close_request(c, p, cause);
                let (_, package) = names(&self.state, c, p);
                self.compare(c, &package, cause).await?;
                self.compare_builds(c, &package, cause).await?;
                self.measure(c, &package, cause).await?;
                self.announce(c, p, cause);
            }
        }
        Err(LogError::Broken("consequences of one event do not come to an end".to_owned()))
    }

    /// Records the outcomes of a package's ended rebuilds.
    fn judge_ended(&mut self, c: usize, p: usize, cause: Seq) {
        let collection = &self.state.collections[c];
        let own = &collection.settings.hub;
        let task = |hub: &Hub, id: TaskId| self.state.hubs.get(hub).and_then(|h| h.tasks.get(&id));
        let open: Vec<(Hub, TaskId)> = collection.packages[p]
            .evidence
            .iter()
            .filter_map(|e| match e.kind {
                EvidenceKind::Scratch(task) => Some((e.hub(own).clone(), task)),
                EvidenceKind::Real(_) => None,
            })
            .filter(|(hub, id)| task(hub, *id).is_some_and(|t| t.is_over() && t.awaits_judgement()))
            .collect();
        for (hub, task) in open {
            self.judge(c, &hub, task, cause);
        }
    }

    fn judge(&mut self, c: usize, hub: &Hub, id: TaskId, cause: Seq) {
        let Some(task) = self.state.hubs.get(hub).and_then(|h| h.tasks.get(&id)) else { return };
        let (collection, package) = (names(&self.state, c, 0).0, task.package.clone());
        let known = self.state.collections[c].packages.get(&package);
        let Some(verdict) = judgement(task, known, &self.settings.policy) else { return };
        // A task that we gave up and that then vanished is no news.
        if task.outcome == Some(verdict.outcome) || (task.outcome.is_some() && !task.state.is_final()) {
            return;
        }
        let told = policy_told(&self.state, c, (hub, id), &verdict, self.settings.always_bound.contains(hub));
        let event = RebuildFinished {
            collection,
            package,
            hub: hub.clone(),
            task_id: id,
            rebuild: task.rebuild,
            outcome: verdict.outcome,
            reason: verdict.reason,
            fault: verdict.words,
            host: verdict.host.filter(|_| verdict.mark.is_some()),
            mark: verdict.mark,
            // A rebuild that a hub's policy refused has an event of its own, which already says
            // that it waits.
            waits: verdict.outcome.waits() && !matches!(told, Some(Event::PolicyRefused(_))),
            rules: Some(faults::RULES),
        };
        self.metrics.finished(verdict.outcome);
        if let Some(told) = told {
            self.say_policy(&told);
            self.push(told, Source::Engine, Some(cause), Some(cause));
        }
        self.push(event.into(), Source::Engine, Some(cause), Some(cause));
    }

    /// Closes a request that can have no result any more: it was cancelled before it was submitted,
    /// or the hub does not know its task any more.
    fn close_request(&mut self, c: usize, p: usize, cause: Seq) {
        let Some(rebuild) = self.state.collections[c].packages[p].open_rebuild else { return };
        let Some(open) = self.state.rebuilds.get(&rebuild) else { return };
        let (collection, package) = names(&self.state, c, p);
        let event: Event = match open.task.clone() {
            None if open.cancel_requested => {
                RebuildNotSubmitted { rebuild, collection, package, reason: CANCELLED.to_owned() }.into()
            }
            Some((hub, task_id)) if open.vanished => {
                let Verdict { outcome, reason, .. } = Verdict::vanished();
                self.metrics.finished(outcome);
                let (task, of) = ((hub, task_id), (collection, package));
                RebuildFinished::untold(task, of, Some(rebuild), outcome, reason).into()
            }
            _ => return,
        };
        self.push(event, Source::Engine, Some(cause), Some(cause));
    }

    /// Cancels tasks whose requests were cancelled while they were being submitted.
    fn stop_orphans(&mut self, cause: Seq) {
        for (hub, task, cancelled) in self.state.orphans.clone() {
            let event = RebuildCancelRequested {
                collection: cancelled.collection,
                package: cancelled.package,
                hub,
                task_id: Some(task),
                rebuild: Some(cancelled.rebuild),
                reason: "submitted while it was being cancelled".to_owned(),
                by: None,
            };
            let seq = self.push(event.clone().into(), Source::Engine, Some(cause), Some(cause));
            self.cancel_command(&event, seq, Some(cause));
        }
    }

    /// Records a package's state if it changed. For an unresolved package, also records the reason
    /// if the reason changed.
    fn announce(&mut self, c: usize, p: usize, cause: Seq) {
        let collection = &self.state.collections[c];
        let package = &collection.packages[p];
        let new = package.state(collection.settings.track_all);
        let same = package.announced_state() == Some(new);
        // Any other state changes its cause by a build, and a build has events of its own.
        if same && new != PackageState::Unresolved {
            return;
        }
        let reason = state_reason(collection, package, new, |e, t| reason_of(&self.state, collection, e, t));
        if same && package.announced_cause == Some(stands_for(&reason)) {
            return;
        }
        let old = package.announced_state();
        let (collection, package) = names(&self.state, c, p);
        let event: Event = match same {
            true => PackageReasonChanged { collection, package, state: new, reason }.into(),
            false => PackageStateChanged { collection, package, old, new, reason }.into(),
        };
        self.push(event, Source::Engine, Some(cause), Some(cause));
    }

    /// Gives up rebuilds that run longer than the policy's timeout.
    pub(crate) fn time_out(&mut self, cause: Seq) {
        let now = self.now();
        let policy = &self.settings.policy;
        let mut late: Vec<(Hub, TaskId, Name, Name)> = Vec::new();
        for (hub, h) in &self.state.hubs {
            for (id, t) in &h.tasks {
                let Some(collection) = &t.collection else { continue };
                // This includes tasks that somebody asked to cancel and that do not end.
                let waits = !t.is_over() && t.outcome.is_none();
                if waits && retry::is_timed_out(t.created_at, now, policy) {
                    late.push((hub.clone(), *id, collection.clone(), t.package.clone()));
                }
            }
        }
        for (hub, task_id, collection, package) in late {
            let rebuild = self.state.hubs[&hub].tasks[&task_id].rebuild;
            let reason = format!("ran longer than {} seconds", self.settings.policy.task_timeout_secs);
            let event = RebuildCancelRequested {
                collection: collection.clone(),
                package: package.clone(),
                hub: hub.clone(),
                task_id: Some(task_id),
                rebuild,
                reason: reason.clone(),
                by: None,
            };
            let seq = self.push(event.clone().into(), Source::Engine, Some(cause), Some(cause));
            self.cancel_command(&event, seq, Some(cause));
            // Without a hub nobody reports the cancellation. The task must not occupy a slot for
            // ever.
            let (task, of) = ((hub, task_id), (collection, package));
            let event = RebuildFinished::untold(task, of, rebuild, Outcome::TimedOut, reason);
            self.metrics.finished(Outcome::TimedOut);
            self.push(event.into(), Source::Engine, Some(seq), Some(cause));
        }
    }

    /// Puts the cancel command of a cancellation request into the outbox.
    ///
    /// There is no command while the rebuild has no task. [`Writer::settle`] then closes the
    /// request, and the submitter checks that a request is still open before it submits it.
    pub(crate) fn cancel_command(&mut self, event: &RebuildCancelRequested, seq: Seq, correlation: Option<Seq>) {
        let open = event.rebuild.and_then(|id| self.state.rebuilds.get(&id));
        let Some(task_id) = event.task_id.or_else(|| open?.task.as_ref().map(|(_, task)| *task)) else { return };
        let command = CancelCommand {
            id: self.command_id(seq),
            command: "cancel".to_owned(),
            version: 1,
            collection: event.collection.clone(),
            package: event.package.clone(),
            hub: event.hub.clone(),
            task_id,
            reason: event.reason.clone(),
            decided_at: self.now(),
            cause: CommandCause { sequence: seq.get(), evaluation: None, correlation: correlation.map(Seq::get) },
        };
        let payload = serde_json::to_string(&command).expect("commands hold only what JSON can say");
        self.commit.commands.push(OutboxCommand { id: command.id, seq, kind: "cancel".to_owned(), payload });
    }

    /// Applies the rules, records the evaluation, and requests the rebuilds it chose.
    pub(crate) fn evaluate(&mut self, trigger: Trigger, cause: Seq, correlation: Seq) {
        if self.settings.policy.passive {
            self.close_all(PASSIVE, cause, correlation);
        }
        let watch = crate::base::clock::Stopwatch::start();
        let now = self.now();
        let load = self.load_now();
        let plan = plan(&self.state, now, &self.settings.policy, load.as_ref());
        let event = EvaluationMade {
            saw: self.state.seq.map_or(0, Seq::get),
            now,
            trigger,
            policy: self.state.policy.as_ref().map(|p| p.digest.clone()).unwrap_or_default(),
            program: PROGRAM.to_owned(),
            load: load.as_ref().map(ArchLoads::recorded),
            running: self.state.running(),
            considered: plan.considered,
            held: plan.held.clone(),
            chosen: plan.chosen_names(&self.state),
        };
        self.metrics.evaluated(&plan, watch.seconds());
        let evaluation = self.push(event.into(), Source::Engine, Some(cause), Some(correlation));
        for choice in &plan.chosen {
            self.request(choice, evaluation, correlation);
        }
    }

    /// Returns the load of the builders: of the only hub that builds, or of each hub that does. A
    /// hub on which no collection builds does not matter.
    fn load_now(&self) -> Option<ArchLoads> {
        let building: BTreeSet<&Hub> = self.state.collections.values().map(|c| c.settings.building_hub()).collect();
        let told = building.iter().filter_map(|hub| Some((*hub, self.loads.get(*hub)?)));
        let known: Vec<(&Hub, &ArchLoads)> = told.collect();
        match known[..] {
            [] => self.hub_access.load.clone(),
            [(_, only)] if building.len() == 1 => Some(only.clone()),
            _ => Some(ArchLoads::of_hubs(known)),
        }
    }

    /// Closes all requests that were not submitted yet.
    fn close_all(&mut self, reason: &str, cause: Seq, correlation: Seq) {
        let waiting = self.state.rebuilds.iter().filter(|(_, open)| open.task.is_none());
        let waiting: Vec<(RebuildId, Name, Name)> =
            waiting.map(|(id, open)| (*id, open.collection.clone(), open.package.clone())).collect();
        for (rebuild, collection, package) in waiting {
            let closed = RebuildNotSubmitted { rebuild, collection, package, reason: reason.to_owned() };
            self.push(closed.into(), Source::Engine, Some(cause), Some(correlation));
        }
    }

    fn request(&mut self, choice: &Choice, evaluation: Seq, correlation: Seq) {
        let (collection, package) = names(&self.state, choice.collection, choice.package);
        let place = (choice.collection, choice.package);
        let now = self.now();
        let Some(requested) = request_of(&self.state, place, parts(&choice.priority), now, &self.settings.policy)
        else {
            return;
        };
        let nvr = requested.nvr.clone();
        let submits = self.hub_access.submits || self.settings.hubs.contains(&requested.hub);
        let seq = self.push(requested.clone().into(), Source::Engine, Some(evaluation), Some(correlation));
        let rebuild = RebuildId(seq.get());
        let command = RebuildCommand {
            id: self.command_id(seq),
            command: "rebuild".to_owned(),
            version: 1,
            collection: collection.clone(),
            package: package.clone(),
            source: srpm_path(self.state.collections[choice.collection].settings.srpm_root(), &nvr),
            nvr: nvr.to_string(),
            hub: requested.hub,
            target: requested.target,
            repo_id: requested.repo_id,
            arches: requested.arches,
            build_opts: self.settings.build_opts.of(&collection).clone(),
            task_priority: requested.task_priority,
            priority: requested.priority,
            decided_at: self.now(),
            cause: CommandCause {
                sequence: seq.get(),
                evaluation: Some(evaluation.get()),
                correlation: Some(correlation.get()),
            },
        };
        let reason = match (self.settings.policy.passive, submits) {
            (true, _) => PASSIVE,
            (false, false) => NO_HUB,
            (false, true) => "",
        };
        if reason != PASSIVE {
            let payload = serde_json::to_string(&command).expect("commands hold only what JSON can say");
            self.commit.commands.push(OutboxCommand { id: command.id, seq, kind: "rebuild".to_owned(), payload });
        }
        if !reason.is_empty() {
            let closed = RebuildNotSubmitted { rebuild, collection, package, reason: reason.to_owned() };
            self.push(closed.into(), Source::Engine, Some(seq), Some(correlation));
        }
    }
}
