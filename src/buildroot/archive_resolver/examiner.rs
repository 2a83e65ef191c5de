//! Resolves units side by side, and keeps their repositories in memory for what libsolv says
//! afterwards.
//!
//! Each unit has a thread of its own. The thread owns the repository and its rules. It sends the
//! verdicts, then answers questions until nobody asks any more.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::answers::{Checks, First};
use super::{ArchiveResolver, Loaded, without_place};
use crate::buildroot::repo_resolver::{CannotResolve, Checked, Examiner, OwnSources, Resolved, Unit};
use crate::buildroot::repo_store::StoredRepo;
use crate::buildroot::verdicts::UnitVerdicts;
use crate::model::{Hub, Name, RepoId};
use crate::resolve::{Prepared, ResolveOptions};

/// Resolves units, as many at a time as the resolver has threads. Answers come in the order of the
/// units, without problem texts, and not checked.
pub(super) fn side_by_side(resolver: &ArchiveResolver, units: &[Unit<'_>]) -> Vec<Result<Resolved, CannotResolve>> {
    let at_once = resolver.threads.min(units.len()).max(1);
    let mut alone = resolver.clone();
    alone.threads = (resolver.threads / at_once).max(1);
    let mut answers: Vec<Option<Result<Resolved, CannotResolve>>> = units.iter().map(|_| None).collect();
    let (to_us, from_threads) = channel();
    let mut waiting = units.iter().enumerate();
    let mut start = |left: &mut Vec<Option<Worker>>| {
        let (at, unit) = waiting.next()?;
        left[at] = Some(Worker::start(alone.clone(), resolver.threads, OwnedUnit::of(unit), at, to_us.clone()));
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
        let Self { hub, tag, repo, arch, group, own, options } = self;
        Unit { hub, tag, repo: *repo, arch, group, own, options: *options }
    }
}

enum Question {
    Check,
    Problems(Vec<Name>),
}

enum Told {
    Checked(Box<Result<Checked, CannotResolve>>),
    Problems(Result<Vec<(Name, Vec<String>)>, CannotResolve>),
}

/// The thread of a unit. It ends when this is dropped.
struct Worker {
    questions: Sender<Question>,
    // Only the owner of the worker asks, so the lock is always free.
    told: std::sync::Mutex<Receiver<Told>>,
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
    /// Starts a thread that resolves a unit and sends its verdicts with `at`. `later` is the number
    /// of threads for the questions that follow.
    fn start(resolver: ArchiveResolver, later: usize, unit: OwnedUnit, at: usize, first: Sender<Placed>) -> Self {
        let (questions, asked) = channel();
        let (to_us, told) = channel();
        thread::spawn(move || {
            let mut first = FirstWord { at, to: Some(first) };
            let unit = unit.unit();
            let work = || -> Result<(), CannotResolve> {
                let found = resolver.find(unit.hub, unit.tag, unit.repo)?;
                let placeless = |why| without_place(why, &found);
                let loaded = resolver.read(&found, &unit).map_err(placeless)?;
                let prepared = loaded.prepare(resolver.mode()).map_err(placeless)?;
                let answers = resolver.first(&loaded, &prepared);
                first.say(Ok(resolver.verdicts(&loaded, &prepared, &answers, &Checks::default())));
                let mut resolver = resolver.clone();
                resolver.threads = later;
                answer(&resolver, (&loaded, &prepared, &answers), &found, asked, &to_us);
                Ok(())
            };
            if let Err(why) = work() {
                first.say(Err(why));
            }
        });
        Self { questions, told: std::sync::Mutex::new(told) }
    }

    fn ask(&mut self, question: Question) -> Result<Told, CannotResolve> {
        self.questions.send(question).map_err(|_| failed())?;
        let told = self.told.get_mut().expect("no thread panics while it holds the lock");
        told.recv().map_err(|_| failed())
    }
}

/// Answers until nobody asks any more.
fn answer(
    resolver: &ArchiveResolver,
    (loaded, prepared, first): (&Loaded, &Prepared<'_>, &First<'_>),
    found: &StoredRepo,
    asked: Receiver<Question>,
    to: &Sender<Told>,
) {
    for question in asked {
        let told = match question {
            Question::Check => {
                let checked = check(resolver, loaded, prepared, first);
                Told::Checked(Box::new(checked.map_err(|why| without_place(why, found))))
            }
            Question::Problems(packages) => {
                let problems = resolver.problems(loaded, prepared, &packages);
                Told::Problems(problems.map_err(|why| without_place(why, found)))
            }
        };
        if to.send(told).is_err() {
            return;
        }
    }
}

fn check(
    resolver: &ArchiveResolver,
    loaded: &Loaded,
    prepared: &Prepared<'_>,
    first: &First<'_>,
) -> Result<Checked, CannotResolve> {
    let checks = resolver.check(loaded, prepared, first)?;
    let corrected = (!checks.right.is_empty()).then(|| resolver.verdicts(loaded, prepared, first, &checks));
    Ok(Checked { answers: checks.answers, corrected })
}

impl Examiner for Worker {
    fn check(&mut self) -> Result<Checked, CannotResolve> {
        match self.ask(Question::Check)? {
            Told::Checked(checked) => *checked,
            Told::Problems(_) => Err(failed()),
        }
    }

    fn problems(&mut self, packages: &[Name]) -> Result<Vec<(Name, Vec<String>)>, CannotResolve> {
        match self.ask(Question::Problems(packages.to_vec()))? {
            Told::Problems(problems) => problems,
            Told::Checked(_) => Err(failed()),
        }
    }
}
