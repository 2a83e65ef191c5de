//! Resolves many source packages on several threads, with the answers in order.
//!
//! Loading a repository into libsolv takes some tenths of a second and 100 MB, and libsolv answers
//! few questions. So the threads leave them to one of them, until so many wait that it pays to load
//! another libsolv.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::sync::{Condvar, Mutex};

use super::{ResolveArgs, ResolveCliError};
use crate::cli::sources::Source;
use crate::resolve::{GroupVerdict, Prepared, Resolution};

/// Number of source packages a thread takes at a time.
const BATCH: usize = 32;
/// Number of finished answers that may wait to be taken before their threads pause.
const WAITING_MAX: usize = 32;
/// Number of questions that wait for each libsolv before another is loaded.
const PER_LIBSOLV: usize = 100;

/// Resolves all sources on several threads. The threads write the line of each answer; `take` gets
/// the answers in order.
pub(super) fn for_each(
    prepared: &Prepared<'_>,
    sources: &[Source],
    args: &ResolveArgs,
    line: impl Fn(&Source, Option<&Resolution>, &mut Vec<u8>) -> Result<(), ResolveCliError> + Sync,
    mut take: impl FnMut(&Source, Option<&Resolution>, &[u8]) -> Result<(), ResolveCliError>,
) -> Result<GroupVerdict, ResolveCliError> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = args.threads.map_or(processors, NonZeroUsize::get).min(sources.len().max(1));
    let leaves_to_one = threads > 1 && !prepared.leaves_all_to_libsolv();
    let to_do = ToDo::new(sources.len());
    let resolver = || {
        let mut resolver = prepared.resolver();
        if args.distances {
            resolver = resolver.with_distances();
        }
        if args.distances && args.jsonl {
            resolver = resolver.with_true_distances();
        }
        if args.digest || args.no_texts { resolver.without_texts() } else { resolver }
    };
    let answered = |source: &Source, mut answer: Option<Resolution>| {
        if let Some(answer) = &mut answer {
            answer.problems = source.build.explain(&answer.problems);
        }
        let mut bytes = Vec::new();
        line(source, answer.as_ref(), &mut bytes).map(|()| (answer, bytes))
    };
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel(WAITING_MAX);
        for _ in 0..threads {
            let (send, to_do, resolver, answered) = (send.clone(), &to_do, &resolver, &answered);
            // The receiver is gone if writing failed, so the rest is not needed.
            scope.spawn(move || -> Result<(), mpsc::SendError<_>> {
                let (mut resolver, mut has_libsolv) = (resolver(), !leaves_to_one);
                while let Some(work) = to_do.take(&mut has_libsolv) {
                    let mut batch = match work {
                        Work::Ask(at) => {
                            let answer = resolver.resolve_source(&sources[at].build);
                            send.send((at, vec![answered(&sources[at], Some(answer))]))?;
                            continue;
                        }
                        Work::Solve(batch) => batch,
                    };
                    // Answers that follow one another, with the place of the first.
                    let mut runs = vec![(batch.first, Vec::new())];
                    for (at, source) in sources.iter().enumerate().skip(batch.first).take(BATCH) {
                        let answer = match source.excluded {
                            Some(_) => Some(None),
                            None if leaves_to_one => resolver.resolve_without_libsolv(&source.build).map(Some),
                            None => Some(Some(resolver.resolve_source(&source.build))),
                        };
                        match (answer, runs.last_mut()) {
                            (Some(answer), Some((_, run))) => run.push(answered(source, answer)),
                            _ => {
                                batch.left.push(at);
                                runs.push((at + 1, Vec::new()));
                            }
                        }
                    }
                    drop(batch);
                    for run in runs.into_iter().filter(|(_, run)| !run.is_empty()) {
                        send.send(run)?;
                    }
                }
                Ok(())
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut expected = 0;
        for (first, answers) in receive {
            waiting.insert(first, answers);
            while let Some(answers) = waiting.remove(&expected) {
                for answered in answers {
                    let (answer, line) = answered?;
                    take(&sources[expected], answer.as_ref(), &line)?;
                    expected += 1;
                }
            }
        }
        Ok(prepared.group().clone())
    })
}

/// What the threads have to do.
struct ToDo {
    sources: usize,
    open: Mutex<Open>,
    changed: Condvar,
}

#[derive(Default)]
struct Open {
    /// The first source package that no thread has taken.
    next: usize,
    /// Number of batches that are being solved. They may leave more to libsolv.
    solving: usize,
    /// Source packages that are left to libsolv. The first waits longest.
    left: VecDeque<usize>,
    /// Number of threads that have loaded libsolv.
    libsolvs: usize,
}

enum Work<'t> {
    /// Ask libsolv about this source package.
    Ask(usize),
    /// Solve a batch.
    Solve(Batch<'t>),
}

/// A batch that is being solved. When this is dropped, what is left of it waits for libsolv.
struct Batch<'t> {
    of: &'t ToDo,
    first: usize,
    left: Vec<usize>,
}

impl ToDo {
    fn new(sources: usize) -> Self {
        Self { sources, open: Mutex::default(), changed: Condvar::new() }
    }

    /// Returns what to do next, or `None` if nothing is left for this thread. `has_libsolv` says
    /// whether the thread has loaded libsolv, or is to do so.
    fn take(&self, has_libsolv: &mut bool) -> Option<Work<'_>> {
        let mut open = self.open.lock().expect("no thread panics while it holds the lock");
        loop {
            // What waits for libsolv holds up all answers after it, so it goes first.
            if (*has_libsolv || open.left.len() > PER_LIBSOLV * open.libsolvs)
                && let Some(at) = open.left.pop_front()
            {
                open.libsolvs += usize::from(!std::mem::replace(has_libsolv, true));
                return Some(Work::Ask(at));
            }
            if open.next < self.sources {
                let first = open.next;
                open.next += BATCH;
                open.solving += 1;
                return Some(Work::Solve(Batch { of: self, first, left: Vec::new() }));
            }
            if open.solving == 0 || !*has_libsolv {
                return None;
            }
            open = self.changed.wait(open).expect("no thread panics while it holds the lock");
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().expect("no thread panics while it holds the lock");
        open.solving -= 1;
        open.left.extend(self.left.drain(..));
        self.of.changed.notify_all();
    }
}

/// Writes no line, for callers that only want the answers.
pub(super) fn no_line(_: &Source, _: Option<&Resolution>, _: &mut Vec<u8>) -> Result<(), ResolveCliError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solve<'t>(to_do: &'t ToDo, has_libsolv: &mut bool) -> Batch<'t> {
        let Some(Work::Solve(batch)) = to_do.take(has_libsolv) else { panic!("there is a batch to solve") };
        batch
    }

    fn asked(to_do: &ToDo, has_libsolv: &mut bool) -> Option<usize> {
        match to_do.take(has_libsolv) {
            Some(Work::Ask(at)) => Some(at),
            Some(Work::Solve(_)) => panic!("all batches are solved"),
            None => None,
        }
    }

    /// The first thread that finds a question for libsolv loads it and answers the later ones, too.
    /// Another does so only if very many wait. Nothing is lost at the end.
    #[test]
    fn one_libsolv_serves_all_threads_until_many_questions_wait() {
        let to_do = ToDo::new(3 * BATCH);
        let [mut a, mut b, mut c] = [false; 3];
        solve(&to_do, &mut a).left.extend([1, 2, 3]);
        assert_eq!((asked(&to_do, &mut a), a), (Some(1), true));
        let mut batch = solve(&to_do, &mut b);
        assert_eq!((batch.first, b), (BATCH, false));
        batch.left.extend(0..PER_LIBSOLV);
        drop(batch);
        assert_eq!((asked(&to_do, &mut b), b), (Some(2), true));
        drop(solve(&to_do, &mut c));
        assert_eq!((asked(&to_do, &mut c), c), (None, false));
        let rest: Vec<usize> = std::iter::from_fn(|| asked(&to_do, &mut a)).collect();
        assert_eq!(rest, [3].into_iter().chain(0..PER_LIBSOLV).collect::<Vec<_>>());
        assert_eq!(asked(&to_do, &mut b), None);
    }

    /// A thread with libsolv waits for what others may leave to it.
    #[test]
    fn what_the_last_batch_leaves_is_asked() {
        let to_do = ToDo::new(2 * BATCH);
        let [mut a, mut b] = [false; 2];
        solve(&to_do, &mut a).left.push(1);
        assert_eq!(asked(&to_do, &mut a), Some(1));
        let mut last = solve(&to_do, &mut b);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| asked(&to_do, &mut a));
            last.left.push(40);
            drop(last);
            assert_eq!(waits.join().unwrap(), Some(40));
        });
        assert_eq!((asked(&to_do, &mut a), asked(&to_do, &mut b)), (None, None));
    }
}
