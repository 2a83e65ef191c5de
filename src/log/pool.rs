//! How pools of connections are made, for both databases: the one place.

use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::{Connection, Database, Pool, Transaction};

/// How long a connection that is taken out of a pool may take to show that it lives; the next one is taken then.
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(5);

/// How often a transaction is begun. A call that is dropped while the server answers can leave a connection that sqlx
/// 0.9 and the server count differently: the next `BEGIN` on it is answered as if there were no transaction
/// (`BeginFailed`). Nothing was done in it yet, and the one after it begins. Seen where another call followed at once.
const BEGINS_MAX: u32 = 3;

/// A pool of at most `connections`, that waits so long for one.
///
/// sqlx's maintenance of pools is off. Its task runs where `max_lifetime` or `idle_timeout` is set, and goes over as
/// many connections as are counted idle; that count goes below zero for a moment when a connection is taken before the
/// one who gave it back has counted it (`num_idle` in sqlx 0.9), and the task then spins a core over 2⁶⁴ of them, at
/// shutdown for ever. Seen once in 1,700 starts. A smallest number of connections starts a task of its own, and is none
/// as well. Nothing is lost: a connection the server has dropped is found when it is taken, and ours are few. That is
/// looked at in `before_acquire`, with a bound: sqlx's own `test_before_acquire` waits for ever for one whose packets a
/// firewall drops.
///
/// A connection that is given back within a transaction is closed, as it can begin none any more. SQLite ends a
/// transaction by itself when the disk is full or fails (<https://www.sqlite.org/lang_transaction.html>, 3); sqlx's
/// `ROLLBACK` then finds none, and sqlx goes on counting it as open.
pub(super) fn options<DB: Database>(connections: u32, patience: Duration) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(patience)
        .max_lifetime(None)
        .idle_timeout(None)
        .min_connections(0)
        .test_before_acquire(false)
        .before_acquire(|connection: &mut DB::Connection, _| {
            Box::pin(async move { alive::<DB>(connection, SIGN_OF_LIFE_MAX).await.map(|()| true) })
        })
        .after_release(move |connection: &mut DB::Connection, _| {
            Box::pin(async move {
                // What the dropped transaction asked for is done before the answer.
                alive::<DB>(connection, patience).await?;
                Ok(!connection.is_in_transaction())
            })
        })
}

async fn alive<DB: Database>(connection: &mut DB::Connection, patience: Duration) -> Result<(), sqlx::Error> {
    tokio::time::timeout(patience, connection.ping()).await.unwrap_or_else(|_| Err(silent(patience)))
}

/// Begins a transaction; see [`BEGINS_MAX`].
pub(super) async fn begin<DB: Database>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>, sqlx::Error> {
    for _ in 1..BEGINS_MAX {
        match pool.begin().await {
            Err(sqlx::Error::BeginFailed) => {}
            begun => return begun,
        }
    }
    pool.begin().await
}

/// Said of a connection that gave no answer for so long.
pub(super) fn silent(patience: Duration) -> sqlx::Error {
    let text = format!("no answer for {} seconds, as when a firewall drops what is sent", patience.as_secs_f64());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
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
            assert!(!options.get_test_before_acquire(), "it has no bound");
        }
        check::<sqlx::Sqlite>();
        check::<sqlx::Postgres>();
    }
}
