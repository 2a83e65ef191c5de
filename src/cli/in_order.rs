//! Makes many pieces on all processors, and takes them in order.

use std::num::NonZeroUsize;
use std::sync::mpsc::sync_channel;

/// Number of items that make one piece.
const BATCH: usize = 256;
/// Number of finished pieces of each thread that may wait for those before them.
const WAITING: usize = 4;

/// Makes a piece of each [`BATCH`] of items, on as many threads as there are processors. `take`
/// gets the pieces in the order of the items. The first error of `take` ends everything.
///
/// # Errors
/// Returns the errors of `take`.
pub(crate) fn in_order<I: Sync, P: Send, E>(
    items: &[I],
    make: impl Fn(&[I]) -> P + Sync,
    mut take: impl FnMut(P) -> Result<(), E>,
) -> Result<(), E> {
    let batches = items.len().div_ceil(BATCH);
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(batches);
    std::thread::scope(|scope| {
        // Each thread makes every so many-th piece, so that the turn says which one is next.
        let made: Vec<_> = (0..threads)
            .map(|first| {
                let (give, made) = sync_channel(WAITING);
                let make = &make;
                scope.spawn(move || {
                    let mut mine = items.chunks(BATCH).skip(first).step_by(threads);
                    // If nobody takes them any more, the rest is not needed.
                    while mine.next().is_some_and(|batch| give.send(make(batch)).is_ok()) {}
                });
                made
            })
            .collect();
        // A thread that panicked has sent less. The scope then panics, too.
        (0..batches).map_while(|batch| made[batch % threads].recv().ok()).try_for_each(&mut take)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order_and_whole() {
        for length in [0, 1, BATCH, BATCH + 1, 40 * BATCH + 7] {
            let items: Vec<usize> = (0..length).collect();
            let mut all = Vec::new();
            let take = |piece: Vec<usize>| -> Result<(), ()> {
                all.extend(piece);
                Ok(())
            };
            in_order(&items, |batch| batch.iter().map(|i| i * 2).collect(), take).unwrap();
            assert_eq!(all, (0..length).map(|i| i * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_it() {
        let items = vec![1_u8; 100 * BATCH];
        let mut taken = 0;
        let take = |_| {
            taken += 1;
            if taken == 3 { Err("full") } else { Ok(()) }
        };
        assert_eq!(in_order(&items, <[u8]>::len, take), Err("full"));
        assert_eq!(taken, 3);
    }
}
