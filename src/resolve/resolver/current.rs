//! One repository, compared with the one before: decides which answers hold, and solves the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustc_hash::FxHashMap;

use super::answers::{Answers, Question, Work};
use super::asked::Known;
use super::earlier::Entry;
use super::{Prepared, Resolution};
use crate::resolve::distance::Distances;
use crate::resolve::mode::{Mode, Solvers};
use crate::resolve::native::{Again, Changes, NativeAnswer, NativeSearch, NodeKeys, Reach, ReadKeys};
use crate::resolve::sig::Mixer;
use crate::resolve::sig::Sig;
use crate::resolve::universe::PkgId;

/// Number of questions that a thread takes at a time.
const BATCH: usize = 16;

/// Most handed over questions for which we find out what libsolv may read. It takes about as long as
/// libsolv takes to answer; what it saves is loading libsolv.
const REACHED_MAX: usize = 100;

/// The new repository, compared with the one before.
pub(super) struct Current<'c> {
    pub(super) prepared: &'c Prepared<'c>,
    pub(super) keys: &'c NodeKeys,
    pub(super) changes: Changes<'c>,
    /// Whether mode, options and group are those of the earlier answers.
    pub(super) holds: bool,
}

/// What is known of one BuildRequires.
struct TextSigs {
    /// The hash of its text.
    name: Sig,
    /// The hash of the packages that match it.
    candidates: Sig,
    /// Whether distances from these packages may have changed.
    touched: bool,
}

/// What becomes of one question.
enum Fate {
    /// The earlier answer holds, and whether its distances do.
    Holds(Arc<Entry>, bool),
    Solve(Again),
}

impl Current<'_> {
    /// Answers all questions. Returns their names.
    pub(super) fn answer(
        &self,
        answers: &mut Answers<'_>,
        old: &FxHashMap<Sig, Arc<Entry>>,
        threads: usize,
    ) -> Vec<Sig> {
        let texts =
            shared_out(answers.texts.len(), threads, || (), |(), at| self.text(answers.texts[at], &answers.known[at]));
        let this = &*answers;
        let names: Vec<(Sig, Sig)> = this.questions.iter().map(|(question, ..)| self.name(question, &texts)).collect();
        let mut reach = None;
        let handed = self.reach_of_handed(this, old, &names, &mut reach);
        let fates = shared_out(
            names.len(),
            threads,
            || self.changes.checker(),
            |checker, at| {
                let (name, candidates) = names[at];
                let Some(entry) = old.get(&name) else { return Fate::Solve(Again::Unknown) };
                if !self.holds || self.changes.of_base() {
                    return Fate::Solve(Again::Base);
                }
                if entry.candidates != candidates {
                    return Fate::Solve(Again::Candidates);
                }
                let checked = if entry.handover.is_some() {
                    let same = entry.reach.is_some() && handed.get(&at) == entry.reach.as_ref();
                    if same { Ok(()) } else { Err(Again::Handover) }
                } else {
                    checker.holds(&entry.read(), this.wishes(at, &mut Resolution::default()))
                };
                match checked {
                    Ok(()) => {
                        let touched = this.questions[at].0.0.iter().any(|&text| texts[text as usize].touched);
                        Fate::Holds(Arc::clone(entry), !touched)
                    }
                    Err(again) => Fate::Solve(again),
                }
            },
        );
        let open: Vec<usize> = (0..fates.len()).filter(|&at| !matches!(fates[at], Fate::Holds(_, true))).collect();
        let mut work = Work { questions: names.len(), ..Work::default() };
        for fate in &fates {
            match fate {
                Fate::Holds(entry, kept) => {
                    work.reused += 1;
                    work.measured += usize::from(!kept);
                    work.handed_over += usize::from(entry.handover.is_some());
                }
                Fate::Solve(again) => *work.solved.entry(*again).or_default() += 1,
            }
        }
        let start = || Solving::new(self);
        let solved = shared_out(open.len(), threads.min(open.len() / BATCH + 1), start, |solving, at| {
            let at = open[at];
            match &fates[at] {
                Fate::Holds(entry, _) => Some(solving.measure(this, at, entry)),
                Fate::Solve(_) => solving.solve(this, at, names[at].1),
            }
        });
        let handed: Vec<usize> =
            open.iter().zip(&solved).filter(|(_, entry)| entry.is_none()).map(|(at, _)| *at).collect();
        let mut handed = self.ask_libsolv(this, &handed, &names, reach).into_iter();
        let mut solved = open.iter().copied().zip(solved).peekable();
        for (at, fate) in fates.into_iter().enumerate() {
            let entry = match solved.next_if(|(solved, _)| *solved == at) {
                Some((_, Some(entry))) => entry,
                Some((_, None)) => handed.next().expect("libsolv answers all that were handed over"),
                None => match &fate {
                    Fate::Holds(entry, _) => Arc::clone(entry),
                    Fate::Solve(_) => continue,
                },
            };
            let reused = matches!(fate, Fate::Holds(..));
            (answers.questions[at].1, answers.questions[at].2) = (entry, reused);
        }
        answers.work = work;
        names.into_iter().map(|(name, _)| name).collect()
    }

    fn text(&self, text: &str, known: &Known) -> TextSigs {
        let mut mixer = Mixer::default();
        mixer.text(text);
        let name = mixer.finish();
        match &**known {
            Ok((_, wish)) => TextSigs {
                name,
                candidates: self.prepared.native.wish_sig(wish, self.prepared.base.as_ref(), self.keys),
                touched: self.changes.touch_distances(wish),
            },
            Err(_) => TextSigs { name, candidates: Sig::default(), touched: false },
        }
    }

    /// Returns the hash of a question, and that of the packages that match it.
    fn name(&self, (texts, kept_out): &Question, sigs: &[TextSigs]) -> (Sig, Sig) {
        let (mut name, mut candidates) = (Mixer::default(), Mixer::default());
        for &text in texts {
            name.sig(sigs[text as usize].name);
            candidates.sig(sigs[text as usize].candidates);
        }
        name.add(0);
        kept_out.iter().for_each(|&id| name.add(self.keys.of(id).into()));
        (name.finish(), candidates.finish())
    }

    /// Lets one libsolv answer the questions that our own solver hands over.
    fn ask_libsolv(
        &self,
        answers: &Answers<'_>,
        handed: &[usize],
        names: &[(Sig, Sig)],
        reach: Option<Reach<'_>>,
    ) -> Vec<Arc<Entry>> {
        if handed.is_empty() {
            return Vec::new();
        }
        let few = handed.len() <= REACHED_MAX && self.is_reach_enough();
        let mut reach = few.then(|| reach.unwrap_or_else(|| self.reach()));
        let mut resolver = self.prepared.resolver().without_texts().with_distances();
        let answer = |&at: &usize| {
            let ((_, kept_out), ..) = &answers.questions[at];
            let texts: Vec<&str> = answers.asked_by(at).map(|(text, _)| text).collect();
            let answer = resolver.resolve_by(&texts, kept_out, self.prepared.solvers);
            let closure = answer.closure.iter().map(|&id| self.keys.of(id)).collect();
            let distances = answer.distances.iter().map(|distance| distance.unwrap_or(0)).collect();
            let entry = Entry::new(names[at].1, answer.ok, closure, distances, &ReadKeys::default());
            let reach = reach.as_mut().map(|reach| self.reached(answers, at, reach));
            Arc::new(entry.by_libsolv(answer.handover, reach))
        };
        handed.iter().map(answer).collect()
    }
}

impl<'c> Current<'c> {
    /// Returns, for questions that libsolv answered before, the hash of what it may read now. Makes
    /// `reach` if there are any.
    fn reach_of_handed(
        &self,
        answers: &Answers<'_>,
        old: &FxHashMap<Sig, Arc<Entry>>,
        names: &[(Sig, Sig)],
        reach: &mut Option<Reach<'c>>,
    ) -> FxHashMap<usize, Sig> {
        if !self.is_reach_enough() || !self.holds {
            return FxHashMap::default();
        }
        let known = |at: &usize| old.get(&names[*at].0).is_some_and(|entry| entry.reach.is_some());
        let handed: Vec<usize> = (0..names.len()).filter(known).collect();
        let of = |at: usize| (at, self.reached(answers, at, reach.get_or_insert_with(|| self.reach())));
        handed.into_iter().map(of).collect()
    }

    /// Checks whether libsolv reads no more than [`Reach`] finds: it must not install weak
    /// dependencies.
    fn is_reach_enough(&self) -> bool {
        !self.prepared.universe.has_weak_deps() && self.prepared.solvers == Solvers::Both
    }

    fn reach(&self) -> Reach<'c> {
        self.prepared.native.reach(self.prepared.universe, self.prepared.base.as_ref(), self.keys)
    }

    /// Returns the hash of what libsolv may read for a question.
    fn reached(&self, answers: &Answers<'_>, at: usize, reach: &mut Reach<'_>) -> Sig {
        let prepared = self.prepared;
        let asked = answers.asked_by(at).filter_map(|(_, known)| known.as_ref().as_ref().ok());
        let kept_out = &answers.questions[at].0.1;
        let mut named: Vec<PkgId> = Vec::new();
        if prepared.mode == Mode::Joint {
            named.extend(prepared.members.iter().flat_map(|member| member.wish().matches()));
        }
        if !kept_out.is_empty() {
            named.extend(kept_out.iter().copied().chain(prepared.members_of_base()));
        }
        reach.of(asked, named.into_iter())
    }
}

/// What a thread needs to solve questions.
struct Solving<'c> {
    current: &'c Current<'c>,
    search: NativeSearch<'c>,
    distances: Distances,
}

impl<'c> Solving<'c> {
    fn new(current: &'c Current<'c>) -> Self {
        let mut search = current.prepared.native.search(current.prepared.base.as_ref());
        search.record();
        Self { current, search, distances: Distances::default() }
    }

    /// Solves one question. Returns `None` if libsolv has to answer.
    fn solve(&mut self, answers: &Answers<'_>, at: usize, candidates: Sig) -> Option<Arc<Entry>> {
        let (prepared, keys) = (self.current.prepared, self.current.keys);
        let mut found = Resolution::default();
        let wishes = answers.wishes(at, &mut found);
        let failed = !found.problems.is_empty();
        let kept_out = &answers.questions[at].0.1;
        let libsolv = prepared.solvers == Solvers::Libsolv || prepared.universe.has_weak_deps() || !kept_out.is_empty();
        if libsolv && !failed {
            return None;
        }
        let answer = if failed { NativeAnswer::Unsolvable } else { self.search.solve(wishes) };
        let read = if failed { ReadKeys::default() } else { self.search.take_read(keys) };
        Some(Arc::new(match answer {
            NativeAnswer::Closure(closure) => {
                let distances = self.distances(answers, at, &closure);
                let base = if prepared.base.is_some() { prepared.group.closure.as_slice() } else { &[] };
                let added = closure.iter().filter(|id| base.binary_search(id).is_err());
                Entry::new(candidates, true, added.map(|&id| keys.of(id)).collect(), distances, &read)
            }
            NativeAnswer::Unsolvable => Entry::new(candidates, false, Vec::new(), Box::default(), &read),
            NativeAnswer::Handover(_) => return None,
        }))
    }

    /// Computes the distances of an answer that holds otherwise.
    fn measure(&mut self, answers: &Answers<'_>, at: usize, entry: &Arc<Entry>) -> Arc<Entry> {
        let distances = if entry.ok { self.distances(answers, at, &answers.closure_of(entry)) } else { Box::default() };
        if distances == entry.distances {
            return Arc::clone(entry);
        }
        Arc::new(Entry::clone(entry).measured(distances))
    }

    fn distances(&mut self, answers: &Answers<'_>, at: usize, closure: &[PkgId]) -> Box<[u8]> {
        let prepared = self.current.prepared;
        let known = answers.asked_by(at).filter_map(|(_, known)| known.as_ref().as_ref().ok());
        let matches = known.flat_map(|(_, wish)| wish.matches());
        let distances = self.distances.of(closure, matches, prepared.universe, &prepared.native);
        distances.into_iter().map(|distance| distance.unwrap_or(0)).collect()
    }
}

/// Calls `each` for all numbers below `count`, spread over threads, and returns the results in order.
/// Each thread makes what it needs with `start`.
pub(super) fn shared_out<S, R: Send>(
    count: usize,
    threads: usize,
    start: impl Fn() -> S + Sync,
    each: impl Fn(&mut S, usize) -> R + Sync,
) -> Vec<R> {
    if count == 0 {
        return Vec::new();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut own = start();
        let mut done = Vec::new();
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= count {
                return done;
            }
            done.extend((first..count.min(first + BATCH)).map(|at| (at, each(&mut own, at))));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
