//! Examines resolutions after the decisions were taken: libsolv checks some answers of our own
//! solver, and says why packages do not resolve.
//!
//! With a hub, commands leave before this begins. It happens in steps, between the inputs of other
//! tasks. `resolution_examined` ends it, so a restart continues where it stopped. Without a hub
//! nobody waits for commands, and a repository is examined while it is resolved.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Writer;
use crate::base::stage::stage;
use crate::buildroot::repo_resolver::{CannotResolve, Examiner, Question, Said, Unit};
use crate::buildroot::verdicts::UnitVerdicts;
use crate::event::{PackageProblem, RebuildCancelRequested, RebuildDoubted, RepoReady, ResolutionExamined, Source};
use crate::fold::OpenRebuild;
use crate::log::LogError;
use crate::model::koji::TaskState;
use crate::model::{Name, RebuildId, RepoId, Seq, Timestamp};

/// Packages whose problems are asked for in one step. A step takes some tenths of a second.
const AT_ONCE: usize = 200;

/// A resolution that is not examined.
pub(crate) struct Unexamined {
    collection: Name,
    ready: RepoReady,
    arch: Name,
    /// The `repo_resolved` event.
    resolved: Seq,
    /// When it was noted.
    since: Timestamp,
    /// `None` after a restart.
    examiner: Option<Box<dyn Examiner>>,
    /// Number of answers that were checked, once they are.
    checked: Option<u32>,
    /// Packages whose problems are not known.
    open: VecDeque<Name>,
    /// The examiner has a question.
    asked: bool,
    /// What it said since the last event.
    step: Step,
}

/// What libsolv said in one step.
#[derive(Default)]
struct Step {
    /// Number of answers that were checked in this step.
    checked: u32,
    /// The right verdicts, if an answer was wrong.
    corrected: Option<UnitVerdicts>,
    problems: Vec<(Name, Vec<String>)>,
}

/// Returns the problem to show: the problem shown now if the package still has it, else the first
/// one. A solver may name several problems in another order for the next repository, and that is no
/// news.
pub(crate) fn present_problem<'a>(problems: &'a [String], shown: Option<&str>) -> &'a str {
    let still = problems.iter().find(|p| Some(p.as_str()) == shown);
    still.or(problems.first()).map_or("no reason given", String::as_str)
}

impl Writer {
    /// Checks whether resolutions are examined after the decisions. They are with a hub, because
    /// commands then leave at once.
    pub(crate) fn examines_later(&self) -> bool {
        self.settings.context.source == Source::Hub
    }

    /// Notes that a resolution, the last event, is to be examined. It replaces an older one of the
    /// same collection and architecture.
    pub(crate) fn examine_later(
        &mut self,
        index: usize,
        (ready, arch): (&RepoReady, &Name),
        examiner: Box<dyn Examiner>,
        open: VecDeque<Name>,
    ) {
        let collection = self.collection_name(index);
        self.unexamined.retain(|u| (&u.collection, &u.arch) != (&collection, arch));
        let Some(resolved) = self.state.seq else { return };
        let (ready, arch, examiner, since) = (ready.clone(), arch.clone(), Some(examiner), self.now());
        let (checked, asked, step) = Default::default();
        let next = Unexamined { collection, ready, arch, resolved, since, examiner, checked, open, asked, step };
        self.unexamined.push_back(next);
    }

    /// Notes the resolutions that an earlier writer did not examine.
    pub(crate) fn find_unexamined(&mut self) {
        if !self.examines_later() {
            return;
        }
        for (name, c) in &self.state.collections {
            let hub = &c.settings.hub;
            for (arch, a) in c.arches.iter().filter(|(_, a)| !a.examined && a.attachment.is_some()) {
                let (Some(repo_id), Some(resolved)) = (a.repo_id, c.resolved_at) else { continue };
                let Some(ready) = self.state.as_ready(hub, repo_id) else { continue };
                let (collection, arch) = (name.clone(), arch.clone());
                self.unexamined.push_back(Unexamined {
                    collection,
                    ready,
                    arch,
                    resolved,
                    since: self.now(),
                    examiner: None,
                    checked: None,
                    open: VecDeque::new(),
                    asked: false,
                    step: Step::default(),
                });
            }
        }
    }

    /// Returns how long the oldest resolution has waited to be examined. Zero if none waits.
    pub fn resolved_since(&self, now: Timestamp) -> std::time::Duration {
        let waits = self.unexamined.front().map_or(0, |next| now.since(next.since));
        std::time::Duration::from_micros(u64::try_from(waits).unwrap_or(0))
    }

    /// Checks whether a resolution waits to be examined.
    pub fn has_unexamined(&self) -> bool {
        !self.unexamined.is_empty()
    }

    /// Examines a part of a resolution. Does not wait for libsolv, which works beside this
    /// ([`Writer::examiner_answered`]).
    ///
    /// # Errors
    /// Fails like [`Writer::message`].
    pub async fn examine(&mut self, now: Timestamp) -> Result<(), LogError> {
        let Some(mut next) = self.unexamined.pop_front() else { return Ok(()) };
        self.move_clock(now);
        self.begin();
        self.tick().await?;
        let Some(index) = self.state.collections.get_index_of(&next.collection) else { return Ok(()) };
        let of = self.state.collections[index].arches.get(&next.arch);
        if !of.is_some_and(|a| a.repo_id == Some(next.ready.repo_id) && !a.examined) {
            return Ok(());
        }
        match self.ask_libsolv(index, &mut next) {
            Ok(true) => {}
            Ok(false) => {
                self.unexamined.push_front(next);
                return Ok(());
            }
            Err(why) => {
                let (repo, arch) = (next.ready.repo_id, &next.arch);
                tracing::warn!(repo = %repo, arch = %arch, reason = %why, "what libsolv says about a resolution stays \
                    unknown until the next repository");
                return Ok(());
            }
        }
        let said = std::mem::take(&mut next.step);
        self.examined(index, &next, said).await?;
        if next.open.is_empty() {
            stage!("examined", repo = next.ready.repo_id, arch = next.arch);
        } else {
            self.unexamined.push_front(next);
        }
        Ok(())
    }

    /// Checks whether an examiner works on its answer. [`Writer::examine`] does nothing until it is
    /// there.
    pub fn waits_for_examiner(&self) -> bool {
        self.unexamined.front().is_some_and(|next| next.asked)
    }

    /// Notified when an examiner has an answer.
    pub fn examiner_answered(&self) -> Arc<Notify> {
        Arc::clone(&self.answered)
    }

    /// Lets go of the examiners of an earlier repository, because a newer one of the collection is
    /// there.
    pub(crate) fn drop_examiners(&mut self, collection: &str, repo: RepoId) {
        for earlier in self.unexamined.iter_mut().filter(|u| u.collection == collection && u.ready.repo_id != repo) {
            (earlier.examiner, earlier.asked) = (None, false);
        }
    }

    /// Asks libsolv what comes next. The examiner stays with `next`. Returns whether a step is done.
    fn ask_libsolv(&mut self, index: usize, next: &mut Unexamined) -> Result<bool, CannotResolve> {
        if next.examiner.is_none() {
            next.examiner = self.examiner_again(index, next)?;
        }
        let Some(examiner) = &mut next.examiner else { return Ok(true) };
        loop {
            if !next.asked {
                let question = match next.checked {
                    None => Question::Check,
                    Some(_) => Question::Problems(next.open.iter().take(AT_ONCE).cloned().collect()),
                };
                examiner.ask(question, &self.answered);
                next.asked = true;
            }
            let Some(said) = examiner.answer() else { return Ok(false) };
            next.asked = false;
            match said? {
                Said::Checked(found) => {
                    let wrong = found.corrected.as_ref().map_or(0, |unit| unit.solvers.mismatches.len());
                    self.metrics.checked(found.answers, wrong);
                    (next.step.checked, next.checked) = (found.answers, Some(found.answers));
                    if let Some(unit) = &found.corrected {
                        next.open = unit.unexplained().cloned().collect();
                    }
                    next.step.corrected = found.corrected;
                }
                Said::Problems(problems) => {
                    next.open.drain(..next.open.len().min(AT_ONCE));
                    next.step.problems = problems;
                    return Ok(true);
                }
            }
        }
    }

    /// Appends what libsolv said.
    async fn examined(&mut self, index: usize, next: &Unexamined, said: Step) -> Result<(), LogError> {
        if let Some(unit) = said.corrected {
            self.correct(index, next, unit).await?;
        }
        let packages = &self.state.collections[index].packages;
        let news = said.problems.iter().filter_map(|(package, problems)| {
            let shown = packages.get(package)?.problem(&next.arch);
            let problem = present_problem(problems, shown).to_owned();
            (shown != Some(&problem)).then(|| PackageProblem { package: package.clone(), problem })
        });
        let event = ResolutionExamined {
            collection: next.collection.clone(),
            hub: next.ready.hub.clone(),
            repo_id: next.ready.repo_id,
            arch: next.arch.clone(),
            checked: said.checked,
            problems: news.collect(),
            complete: next.open.is_empty(),
        };
        let cause = next.resolved;
        self.push(event.into(), Source::Engine, Some(cause), Some(cause));
        if next.open.is_empty() {
            self.explain(index, &next.ready, &next.arch, cause);
        }
        self.settle(cause).await
    }

    /// Reads a repository again that an earlier writer did not examine.
    fn examiner_again(
        &mut self,
        index: usize,
        next: &mut Unexamined,
    ) -> Result<Option<Box<dyn Examiner>>, CannotResolve> {
        let own = self.own_sources(index, next.ready.repo_id);
        let settings = &self.state.collections[index].settings;
        let unit = Unit {
            collection: &next.collection,
            hub: &next.ready.hub,
            tag: &next.ready.tag,
            repo: next.ready.repo_id,
            arch: &next.arch,
            group: &settings.build_group,
            own: &own,
            options: *self.settings.resolve_options.of(&next.collection),
        };
        let Some(resolved) = self.resolver.resolve_first(&[unit]).pop() else { return Ok(None) };
        let resolved = resolved?;
        next.open = resolved.verdicts.unexplained().cloned().collect();
        Ok(resolved.examiner)
    }

    /// Appends the right verdicts, and cancels what was decided on the wrong ones.
    async fn correct(&mut self, index: usize, next: &Unexamined, unit: UnitVerdicts) -> Result<(), LogError> {
        let wrong = unit.solvers.mismatches.clone();
        let cause = next.resolved;
        self.verdicts(index, &next.ready, unit, cause).await?;
        self.settle(cause).await?;
        for package in wrong {
            let on_it = |(id, open): &(&RebuildId, &OpenRebuild)| {
                id.0 > next.resolved.get() && (&open.collection, &open.package) == (&next.collection, &package)
            };
            let rebuild = self.state.rebuilds.iter().find(on_it).map(|(id, _)| *id);
            if let Some(rebuild) = rebuild {
                self.doubt(rebuild, next, package);
            }
        }
        self.settle(cause).await
    }

    /// Cancels a rebuild that was decided on a wrong answer. If its task is at work already, only
    /// records that.
    fn doubt(&mut self, rebuild: RebuildId, next: &Unexamined, package: Name) {
        let Some(open) = self.state.rebuilds.get(&rebuild).filter(|open| !open.cancel_requested) else { return };
        let cause = next.resolved;
        let task = open.task.clone();
        let at_work = task.as_ref().is_some_and(|(hub, id)| {
            let task = self.state.hubs.get(hub).and_then(|h| h.tasks.get(id));
            task.is_some_and(|task| task.state != TaskState::Free)
        });
        let (collection, arch, repo_id) = (next.collection.clone(), next.arch.clone(), next.ready.repo_id);
        if at_work {
            let event = RebuildDoubted { collection, package, rebuild, repo_id, arch };
            self.push(event.into(), Source::Engine, Some(cause), Some(cause));
            return;
        }
        let building = self.state.collections[&next.collection].settings.building_hub().clone();
        let event = RebuildCancelRequested {
            collection,
            package,
            hub: task.as_ref().map_or(building, |(hub, _)| hub.clone()),
            task_id: task.map(|(_, id)| id),
            rebuild: Some(rebuild),
            reason: format!("decided on a wrong answer about repository {repo_id} on {arch}"),
            by: None,
        };
        let seq = self.push(event.clone().into(), Source::Engine, Some(cause), Some(cause));
        self.cancel_command(&event, seq, Some(cause));
    }
}
