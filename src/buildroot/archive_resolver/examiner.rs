//! Resolves units side by side, and keeps their repositories in memory for what libsolv says
//! afterwards.
//!
//! Each unit has a thread of its own. The thread owns the repository and its rules. It sends the
//! verdicts, then answers questions until nobody asks any more. It then has one libsolv for all of
//! them, and a low priority.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::Notify;

use super::answers::{Checks, problems_with};
use super::{ArchiveResolver, without_place};
use crate::buildroot::repo_resolver::{CannotResolve, Checked, Examiner, OwnSources, Question, Resolved, Said, Unit};
use crate::buildroot::verdicts::UnitVerdicts;
use crate::model::causes::with_causes;
use crate::model::{Hub, Name, RepoId};
use crate::resolve::ResolveOptions;

/// Priority of a thread that answers questions ([`give_way`]): nice(1) calls 19 the lowest.
const NICE: i32 = 15;

/// Resolves units, as many at a time as the resolver has threads. Answers come in the order of the
/// units, without problem texts, and not checked.
pub(super) fn side_by_side(resolver: &ArchiveResolver, units: &[Unit<'_>]) -> Vec<Result<Resolved, CannotResolve>> {
    let threads = resolver.answering.threads;
    let at_once = threads.min(units.len()).max(1);
    let mut alone = resolver.clone();
    alone.answering.threads = (threads / at_once).max(1);
    let mut answers: Vec<Option<Result<Resolved, CannotResolve>>> = units.iter().map(|_| None).collect();
    let (to_us, from_threads) = channel();
    let mut waiting = units.iter().enumerate();
    let mut start = |left: &mut Vec<Option<Worker>>| {
        let (at, unit) = waiting.next()?;
        left[at] = Some(Worker::start(alone.clone(), OwnedUnit::of(unit), at, to_us.clone()));
        Some(())
    };
    let mut workers: Vec<Option<Worker>> = units.iter().map(|_| None).collect();
    for _ in 0..at_once {
        start(&mut workers);
    }
    for _ in units {
        let Ok((at, told)) = from_threads.recv() else { break };
        start(&mut workers);
        let examiner = workers[at].take();
        answers[at] = Some(told.map(|verdicts| {
            let examiner = examiner.map(|worker| -> Box<dyn Examiner> { Box::new(worker) });
            Resolved { verdicts, examiner }
        }));
    }
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(failed()))).collect()
}

fn failed() -> CannotResolve {
    CannotResolve("a resolver thread failed".to_owned())
}

/// A unit that outlives the question.
struct OwnedUnit {
    collection: Name,
    hub: Hub,
    tag: String,
    repo: RepoId,
    arch: String,
    group: String,
    own: OwnSources,
    options: ResolveOptions,
}

impl OwnedUnit {
    fn of(unit: &Unit<'_>) -> Self {
        Self {
            collection: unit.collection.into(),
            hub: unit.hub.clone(),
            tag: unit.tag.to_owned(),
            repo: unit.repo,
            arch: unit.arch.to_owned(),
            group: unit.group.to_owned(),
            own: unit.own.clone(),
            options: unit.options,
        }
    }

    fn unit(&self) -> Unit<'_> {
        let Self { collection, hub, tag, repo, arch, group, own, options } = self;
        Unit { collection, hub, tag, repo: *repo, arch, group, own, options: *options }
    }
}

/// The thread of a unit. It ends when this is dropped.
struct Worker {
    questions: Sender<(Question, Arc<Notify>)>,
    // Only the owner of the worker asks, so the lock is always free.
    said: Mutex<Receiver<Result<Said, CannotResolve>>>,
    dropped: Arc<AtomicBool>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

/// The verdicts of a unit, with its place among the units.
type Placed = (usize, Result<UnitVerdicts, CannotResolve>);

/// Says the verdicts of a unit once. Says that the thread failed if the thread panics.
struct FirstWord {
    at: usize,
    to: Option<Sender<Placed>>,
}

impl FirstWord {
    fn say(&mut self, told: Result<UnitVerdicts, CannotResolve>) {
        if let Some(to) = self.to.take() {
            // A receiver that is gone needs no answer.
            let _gone = to.send((self.at, told));
        }
    }
}

impl Drop for FirstWord {
    fn drop(&mut self) {
        self.say(Err(failed()));
    }
}

impl Worker {
    /// Starts a thread that resolves a unit and sends its verdicts with `at`.
    fn start(resolver: ArchiveResolver, unit: OwnedUnit, at: usize, first: Sender<Placed>) -> Self {
        let (questions, asked) = channel::<(Question, Arc<Notify>)>();
        let (to_us, said) = channel();
        let dropped = Arc::new(AtomicBool::new(false));
        let is_dropped = Arc::clone(&dropped);
        thread::spawn(move || {
            let mut first = FirstWord { at, to: Some(first) };
            let unit = unit.unit();
            let work = || -> Result<(), CannotResolve> {
                let found = resolver.find(unit.hub, unit.tag, unit.repo)?;
                let placeless = |why| without_place(why, &found);
                let loaded = resolver.read(&found, &unit).map_err(placeless)?;
                let prepared = loaded.prepare(resolver.mode()).map_err(placeless)?;
                let answering = resolver.answering.clone();
                drop(resolver);
                let answers = answering.first(&loaded, &prepared);
                first.say(Ok(answering.verdicts(&loaded, &prepared, &answers, &Checks::default())));
                give_way();
                let mut libsolv = prepared.resolver().with_distances();
                for (question, done) in asked {
                    let goes_on = || !is_dropped.load(Ordering::Relaxed);
                    let said = match question {
                        Question::Check => {
                            let checks = answering.check_with(&mut libsolv, &loaded, &answers, &goes_on);
                            let right = (!checks.right.is_empty())
                                .then(|| answering.verdicts(&loaded, &prepared, &answers, &checks));
                            Said::Checked(Box::new(Checked { answers: checks.answers, corrected: right }))
                        }
                        Question::Problems(packages) => {
                            Said::Problems(problems_with(&mut libsolv, &loaded, &packages, &goes_on))
                        }
                    };
                    // Nobody may want the answer any more.
                    let _gone = to_us.send(Ok(said));
                    done.notify_one();
                }
                Ok(())
            };
            if let Err(why) = work() {
                first.say(Err(why));
            }
        });
        Self { questions, said: Mutex::new(said), dropped }
    }
}

/// Lets the other threads of the process go first: nobody waits for this one. Linux has a priority
/// for each thread.
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(error = %with_causes(&error), "libsolv's checks have the priority of all else");
    }
}

impl Examiner for Worker {
    fn ask(&mut self, question: Question, done: &Arc<Notify>) {
        // If the thread has ended, its answer says so.
        if self.questions.send((question, Arc::clone(done))).is_err() {
            done.notify_one();
        }
    }

    fn answer(&mut self) -> Option<Result<Said, CannotResolve>> {
        match self.said.get_mut().expect("no thread panics while it holds the lock").try_recv() {
            Ok(said) => Some(said),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(failed())),
        }
    }
}
