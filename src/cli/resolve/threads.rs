//! Resolves many source packages on several threads, with the answers in order.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::{ResolveArgs, ResolveCliError};
use crate::cli::sources::Source;
use crate::resolve::{GroupVerdict, Prepared, Resolution};

/// Number of source packages a thread takes at a time.
const BATCH: usize = 32;
/// Number of finished batches that may wait for an earlier one before their threads pause.
const WAITING_MAX: usize = 32;

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
    let next = AtomicUsize::new(0);
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
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel(WAITING_MAX);
        for _ in 0..threads {
            let (send, next, resolver, line) = (send.clone(), &next, &resolver, &line);
            scope.spawn(move || {
                let mut resolver = resolver();
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    let Some(batch) = sources.get(first..).filter(|rest| !rest.is_empty()) else { return };
                    let answers = batch.iter().take(BATCH).map(|source| {
                        let answer = source.excluded.is_none().then(|| {
                            let mut answer = resolver.resolve_source(&source.build);
                            answer.problems = source.build.explain(&answer.problems);
                            answer
                        });
                        let mut bytes = Vec::new();
                        line(source, answer.as_ref(), &mut bytes).map(|()| (answer, bytes))
                    });
                    // The receiver is gone if writing failed, so the rest is not needed.
                    if send.send((first, answers.collect::<Result<Vec<_>, _>>())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut expected = 0;
        for (first, answers) in receive {
            waiting.insert(first, answers?);
            while let Some(answers) = waiting.remove(&expected) {
                for (answer, line) in answers {
                    take(&sources[expected], answer.as_ref(), &line)?;
                    expected += 1;
                }
            }
        }
        Ok(prepared.group().clone())
    })
}

/// Writes no line, for callers that only want the answers.
pub(super) fn no_line(_: &Source, _: Option<&Resolution>, _: &mut Vec<u8>) -> Result<(), ResolveCliError> {
    Ok(())
}
