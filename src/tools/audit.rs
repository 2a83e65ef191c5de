//! Derives every decision again from the log alone, and lists the differences.

mod announced;

use serde::Serialize;

use self::announced::Announcements;
use crate::decide::causes::{Elsewhere, RULES as RANKING, SaidByCollection, changed_mind};
use crate::decide::eligibility::PASSIVE;
use crate::decide::faults::RULES;
use crate::decide::judgement::judgement;
use crate::decide::load::ArchLoads;
use crate::decide::request::{CANCELLED, request_of};
use crate::decide::retry::is_timed_out;
use crate::decide::state_reason::state_reason;
use crate::decide::{Policy, plan};
use crate::event::{
    Chosen, Envelope, EvaluationMade, Event, RepoResolved, Source, hub_facts, observations, package_settings, words,
};
use crate::fold::{State, Tracked};
use crate::log::folding::{self, Kept};
use crate::log::{EventLog, LogError};
use crate::model::koji::TaskState;
use crate::model::{Outcome, PROGRAM, Seq, Timestamp};

/// Most findings listed. Further ones are only counted.
const FINDINGS_MAX: usize = 1000;

/// Kind shown in a finding about a snapshot, instead of an event kind.
const SNAPSHOT: &str = "snapshot";
const DROP: &str = "`koschei log snapshot` makes a right one";

/// Something in the log that does not follow from the rules.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Sequence number of the event.
    pub seq: u64,
    /// Kind of the event.
    pub kind: String,
    /// Program version that wrote the event, if it is recorded and is not this one. Another version
    /// may have had other rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// The result of an audit.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Audit {
    /// Number of events read.
    pub events: u64,
    /// Number of evaluations derived again.
    pub evaluations: u64,
    /// Number of rebuild requests traced to their evaluation.
    pub requests: u64,
    /// Number of outcomes and states derived again.
    pub judgements: u64,
    /// Number of announcements derived again.
    pub announcements: u64,
    /// Number of snapshots compared with the state that the log gives.
    pub snapshots: u64,
    /// The differences between the log and the rules.
    pub findings: Vec<Finding>,
    /// Number of findings, including those not listed.
    pub total: u64,
    /// What collections say of each other's updates.
    #[serde(skip)]
    said: SaidByCollection,
}

impl Audit {
    fn find(&mut self, seq: Seq, event: &Event, program: Option<&str>, what: impl Into<String>) {
        self.note(seq, event.kind().name, program, what);
    }

    fn note(&mut self, seq: Seq, kind: &str, program: Option<&str>, what: impl Into<String>) {
        self.total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding {
                seq: seq.get(),
                kind: kind.to_owned(),
                program: program.filter(|p| *p != PROGRAM).map(str::to_owned),
                what: what.into(),
            });
        }
    }
}

/// An evaluation with requests that have not been seen yet.
struct Open {
    seq: Seq,
    /// The chosen rebuilds not requested yet. The flag says that a later one was requested already.
    chosen: Vec<(Chosen, bool)>,
    policy: Policy,
    now: Timestamp,
}

impl Open {
    /// Reports the chosen rebuilds that were never requested.
    fn close(self, audit: &mut Audit) {
        if !self.chosen.is_empty() {
            let missing: Vec<&str> = self.chosen.iter().map(|(c, _)| c.package.as_str()).collect();
            audit.note(
                self.seq,
                "evaluation_made",
                None,
                format!("chose {} and no request followed", missing.join(", ")),
            );
        }
    }
}

/// Derives every decision of a log again: evaluations, requests, outcomes, states, announcements. An evaluation is
/// derived with the state, time, rules and load that it records. Compares every usable snapshot
/// with the state that the log gives.
///
/// # Errors
/// Fails if the log cannot be read, see [`LogError`]. A wrong decision is a finding, not an error.
pub async fn audit(log: &impl EventLog, progress: &mut (dyn FnMut(Seq) + Send)) -> Result<Audit, LogError> {
    let mut audit = Audit::default();
    let mut open: Option<Open> = None;
    let mut snapshots = folding::snapshots(log).await?;
    let mut announcements = Announcements::read(log).await?;
    let state = folding::fold(log, None, progress, &mut |state, e| {
        compare(&mut audit, &mut snapshots, state);
        look(&mut audit, &mut open, state, e);
        announcements.look(&mut audit, state, e);
    })
    .await?;
    compare(&mut audit, &mut snapshots, &state);
    for beyond in snapshots {
        audit.snapshots += 1;
        audit.note(beyond.seq, SNAPSHOT, None, format!("it is of an event the log does not have; {DROP}"));
    }
    if let Some(open) = open {
        open.close(&mut audit);
    }
    Ok(audit)
}

/// Compares the oldest snapshot left with the state, if it is of this event.
fn compare(audit: &mut Audit, snapshots: &mut Vec<Kept>, state: &State) {
    let Some(kept) = snapshots.pop_if(|kept| Some(kept.seq) == state.seq) else { return };
    audit.snapshots += 1;
    let what = match kept.digest {
        _ if !kept.is_ours => "it was made when the log had another event here",
        None => "it does not hold what was put there",
        Some(digest) if digest != state.digest() => "the log gives another state here",
        Some(_) => return,
    };
    audit.note(kept.seq, SNAPSHOT, None, format!("{what}; {DROP}"));
}

fn look(audit: &mut Audit, open: &mut Option<Open>, state: &State, e: &Envelope) {
    audit.events += 1;
    let follows = matches!(&e.event, Event::RebuildRequested(_) | Event::RebuildNotSubmitted(_));
    if !follows && let Some(open) = open.take() {
        open.close(audit);
    }
    match &e.event {
        Event::EvaluationMade(made) => {
            audit.evaluations += 1;
            *open = evaluation(audit, state, e, made);
        }
        Event::RebuildRequested(r) => {
            audit.requests += 1;
            let Some(o) = open else {
                return audit.find(e.seq, &e.event, None, "a rebuild was requested outside an evaluation");
            };
            if e.causation != Some(o.seq) {
                audit.find(e.seq, &e.event, None, format!("its cause is not evaluation {}", o.seq));
            }
            let place = o.chosen.iter().position(|(c, _)| c.collection == r.collection && c.package == r.nvr.name);
            let Some(place) = place else {
                return audit.find(
                    e.seq,
                    &e.event,
                    None,
                    format!("evaluation {} did not choose {}", o.seq, r.nvr.name),
                );
            };
            let (chosen, passed_over) = o.chosen.remove(place);
            o.chosen.iter_mut().take(place).for_each(|(_, passed_over)| *passed_over = true);
            if passed_over {
                audit.find(e.seq, &e.event, None, "requested out of turn");
            }
            let derived = index_of(state, &r.collection, &r.nvr.name)
                .and_then(|at| request_of(state, at, chosen.priority, o.now, &o.policy));
            if derived.as_ref() != Some(r) {
                audit.find(
                    e.seq,
                    &e.event,
                    None,
                    "what it asks for, or says it depended on, is not what the rules give",
                );
            }
        }
        Event::RebuildFinished(r) => {
            audit.judgements += 1;
            let policy = Policy::adopted(state);
            let task = state.hubs.get(&r.hub).and_then(|h| h.tasks.get(&r.task_id));
            // A task that was never seen can only have vanished.
            let vanished = r.rebuild.and_then(|id| state.rebuilds.get(&id)).is_some_and(|open| open.vanished);
            let package = state.package(&r.collection, &r.package);
            // An earlier program judged this failure by the texts it knew. That was right by the
            // rules of its time, which this program does not have.
            let by_other_rules = task.is_some_and(|t| t.state == TaskState::Failed) && r.rules != Some(RULES);
            let derived = match task.zip(policy) {
                _ if by_other_rules => Some(r.outcome),
                // The task was judged before, and the texts of that judgement are forgotten.
                Some((t, _)) if !t.awaits_judgement() => t.outcome,
                Some((t, p)) => match judgement(t, package, &p) {
                    Some(verdict) => Some(verdict.outcome),
                    // The task did not end, so the only possible outcome is a timeout.
                    None => is_timed_out(t.created_at, e.recorded_at, &p).then_some(Outcome::TimedOut),
                },
                None => vanished.then_some(Outcome::InfrastructureFault),
            };
            if derived != Some(r.outcome) {
                let now = derived.map_or("not ended".to_owned(), |v| v.to_string());
                audit.find(e.seq, &e.event, None, format!("says {}, the rules say {now}", r.outcome));
            }
        }
        Event::RebuildNotSubmitted(r) => match state.rebuilds.get(&r.rebuild) {
            None => audit.find(e.seq, &e.event, None, format!("{} is not open", r.rebuild)),
            Some(_) if r.reason == PASSIVE && !Policy::adopted(state).is_some_and(|p| p.passive) => {
                audit.find(e.seq, &e.event, None, "the policy in force is not passive");
            }
            Some(open) if r.reason == CANCELLED && !open.cancel_requested => {
                audit.find(e.seq, &e.event, None, "nobody asked to cancel it");
            }
            Some(_) => {}
        },
        Event::RebuildCancelRequested(c) if e.source == Source::Engine => {
            audit.judgements += 1;
            let task = state.hubs.get(&c.hub).and_then(|h| h.tasks.get(&c.task_id?));
            let orphan = state.orphans.iter().any(|(hub, task, _)| (hub, Some(*task)) == (&c.hub, c.task_id));
            let late =
                task.zip(Policy::adopted(state)).is_some_and(|(t, p)| is_timed_out(t.created_at, e.recorded_at, &p));
            let arches = state.collections.get(&c.collection).map(|of| of.arches.values());
            let wrong = arches.into_iter().flatten().any(|arch| arch.corrected.contains(&c.package));
            if !late && !orphan && !wrong {
                audit.find(e.seq, &e.event, None, "no rule asks for it: the task has not run too long");
            }
        }
        Event::PackageStateChanged(c) => {
            audit.judgements += 1;
            let found = state.collections.get(&c.collection).and_then(|x| Some((x, x.packages.get(&c.package)?)));
            let Some((collection, p)) = found else {
                return audit.find(e.seq, &e.event, None, "the package is not known");
            };
            let derived = p.state(collection.settings.track_all);
            if derived != c.new || p.announced_state() != c.old {
                let why = state_reason(collection, p, derived, |_, _| None);
                audit.find(e.seq, &e.event, None, format!("says {}, the state is {derived}: {why}", c.new));
            }
        }
        Event::PackageReasonChanged(c) => {
            audit.judgements += 1;
            let found = state.collections.get(&c.collection).and_then(|x| Some((x, x.packages.get(&c.package)?)));
            let Some((collection, p)) = found else {
                return audit.find(e.seq, &e.event, None, "the package is not known");
            };
            let derived = p.state(collection.settings.track_all);
            let why = state_reason(collection, p, derived, |_, _| None);
            if (derived, &why) != (c.state, &c.reason) || p.announced_state() != Some(c.state) {
                audit.find(
                    e.seq,
                    &e.event,
                    None,
                    format!("says {} because {}, it is {derived}: {why}", c.state, c.reason),
                );
            }
        }
        Event::RepoResolved(r) => {
            if let Some(what) = resolved_for_others(state, r) {
                audit.find(e.seq, &e.event, None, what);
            }
        }
        Event::CollectionStateChanged(c) => {
            audit.judgements += 1;
            let derived = state.collections.get(&c.collection).map(|x| (x.announced, x.buildroot()));
            if derived != Some((c.old, c.new)) {
                audit.find(e.seq, &e.event, None, format!("says {} to {}, the state says {derived:?}", c.old, c.new));
            }
        }
        // Other rules were right in their time, and this program does not have them.
        Event::SuspectsRanked(r) if r.rules != RANKING => {}
        Event::SuspectsRanked(r) => {
            audit.judgements += 1;
            let derived = state.collections.get(&r.collection).and_then(|c| {
                let elsewhere = Elsewhere::in_state(&r.collection, state, &mut audit.said);
                changed_mind(&r.collection, c, &elsewhere)
            });
            if derived.as_ref() != Some(r) {
                audit.find(e.seq, &e.event, None, "the builds and updates before it give other shares");
            }
        }
        Event::Reconciled(_)
        | Event::PolicyAdopted(_)
        | Event::Tick(_)
        | Event::RepoNotResolved(_)
        | Event::ResolutionExamined(_)
        | Event::RebuildDoubted(_)
        | Event::BuildrootResolved(_)
        | Event::BuildrootBroken(_)
        | Event::DependenciesMeasured(_)
        | Event::PredictionCompared(_)
        | Event::UpdatesArrived(_)
        | Event::BuildCompared(_)
        | Event::CausesFound(_)
        | Event::RebuildSubmitted(_)
        | Event::RebuildRefused(_)
        | Event::PolicyRefused(_)
        | Event::PolicyAllowed(_)
        | Event::MessageRetried(_)
        | Event::MessageTimeReplaced(_)
        | hub_facts!()
        | observations!()
        | package_settings!()
        | words!() => {}
    }
}

/// Returns what is wrong if a repository was not resolved for the tracked packages. `None` if
/// nothing is wrong, or if an older program resolved all packages and did not record it.
fn resolved_for_others(state: &State, r: &RepoResolved) -> Option<String> {
    let said = r.tracked.as_ref()?;
    let tracked = Tracked::of(state.collections.get(&r.collection)?);
    if tracked.digest().as_ref() != Some(said) {
        return Some("it was resolved for other packages than those that are tracked".to_owned());
    }
    let other = r.packages.iter().find(|p| !tracked.has(&p.package))?;
    Some(format!("it has a verdict on {}, which is not tracked", other.package))
}

/// Finds what should have been recorded before an evaluation and was not: changed states, ended
/// rebuilds.
fn unsaid(audit: &mut Audit, state: &State, e: &Envelope, program: Option<&str>) {
    for (cname, c) in &state.collections {
        for (pname, p) in &c.packages {
            let now = p.state(c.settings.track_all);
            if p.announced_state() != Some(now) {
                audit.find(
                    e.seq,
                    &e.event,
                    program,
                    format!("{cname}/{pname} is {now}, and that was never written down"),
                );
            }
        }
    }
    for (id, task) in state.hubs.values().flat_map(|h| &h.tasks) {
        if task.collection.is_some() && task.is_over() && task.outcome.is_none() {
            audit.find(e.seq, &e.event, program, format!("task {id} ended, and how was never written down"));
        }
    }
}

/// Returns the indexes of a collection and a package.
fn index_of(state: &State, collection: &str, package: &str) -> Option<(usize, usize)> {
    let (at, _, c) = state.collections.get_full(collection)?;
    Some((at, c.packages.get_index_of(package)?))
}

fn evaluation(audit: &mut Audit, state: &State, e: &Envelope, made: &EvaluationMade) -> Option<Open> {
    let program = Some(made.program.as_str());
    if made.saw != state.seq.map_or(0, Seq::get) {
        audit.find(
            e.seq,
            &e.event,
            program,
            format!("says it saw the state at {}, it follows on {:?}", made.saw, state.seq),
        );
    }
    if made.now != e.recorded_at {
        audit.find(e.seq, &e.event, program, format!("decides by {}, it was {}", made.now, e.recorded_at));
    }
    let adopted = state.policy.as_ref().map(|p| p.digest.as_str());
    if adopted != Some(made.policy.as_str()) {
        audit.find(e.seq, &e.event, program, "its policy is not the one in force");
    }
    let Some(policy) = Policy::adopted(state) else {
        audit.find(e.seq, &e.event, program, "the policy in force cannot be read by this program");
        return None;
    };
    unsaid(audit, state, e, program);
    let load = made.load.as_ref().map(ArchLoads::from_recorded);
    let derived = plan(state, made.now, &policy, load.as_ref());
    let chosen = derived.chosen_names(state);
    if chosen != made.chosen {
        audit.find(e.seq, &e.event, program, difference(&chosen, &made.chosen));
    } else if (derived.considered, &derived.held) != (made.considered, &made.held) || made.running != state.running() {
        audit.find(
            e.seq,
            &e.event,
            program,
            format!("held back: says {:?}, the rules say {:?}", made.held, derived.held),
        );
    }
    Some(Open { seq: e.seq, chosen: made.chosen.iter().map(|c| (c.clone(), false)).collect(), policy, now: made.now })
}

fn difference(rules: &[Chosen], log: &[Chosen]) -> String {
    let named = |list: &[Chosen], other: &[Chosen]| {
        let only: Vec<String> = list
            .iter()
            .filter(|c| !other.contains(c))
            .map(|c| format!("{}/{} at {}", c.collection, c.package, c.priority.current))
            .collect();
        if only.is_empty() { "nothing else".to_owned() } else { only.join(", ") }
    };
    format!("chose {}; the rules choose {}", named(log, rules), named(rules, log))
}
