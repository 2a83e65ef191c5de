//! How pools of connections are made, for both databases: the one place.

use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::{Connection, Database};

/// A pool of at most `connections`, that waits so long for one.
///
/// sqlx's maintenance of pools is off. Its task runs where `max_lifetime` or `idle_timeout` is set, and goes over as many connections as are counted
/// idle; that count goes below zero for a moment when a connection is taken before the one who gave it back has counted it
/// (`num_idle` in sqlx 0.9), and the task then spins a core over 2⁶⁴ of them, at shutdown for ever. Seen once in 1,700 starts. A smallest number of connections starts a task of its own,
/// and is none as well. Nothing is lost: a connection the server has dropped is found when it is taken (`test_before_acquire`), and ours are few.
///
/// A connection that is given back within a transaction is closed, as it can begin none any more. SQLite ends a transaction by itself when the disk is full
/// or fails (<https://www.sqlite.org/lang_transaction.html>, 3); sqlx's `ROLLBACK` then finds none, and sqlx goes on counting it as open.
pub(super) fn options<DB: Database>(connections: u32, patience: Duration) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(patience)
        .max_lifetime(None)
        .idle_timeout(None)
        .min_connections(0)
        .test_before_acquire(true)
        .after_release(|connection: &mut DB::Connection, _| {
            Box::pin(async move {
                // What the dropped transaction asked for is done before the answer.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pool_has_a_task_that_maintains_it() {
        fn check<DB: Database>() {
            let options = options::<DB>(3, Duration::from_secs(7));
            assert_eq!((options.get_max_lifetime(), options.get_idle_timeout()), (None, None));
            assert_eq!((options.get_min_connections(), options.get_max_connections()), (0, 3));
            assert_eq!(options.get_acquire_timeout(), Duration::from_secs(7));
            assert!(options.get_test_before_acquire());
        }
        check::<sqlx::Sqlite>();
        check::<sqlx::Postgres>();
    }
}
