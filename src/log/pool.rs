//! Creates pools of connections, for both databases.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::{Connection, Database, PgConnection, Postgres, Sqlite, SqliteConnection};

/// How long a connection from a pool may take to show that it works. After that, the next one is
/// tried.
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(5);

/// Returns the options of a pool with at most `connections`. A caller waits at most `patience` for
/// one.
///
/// sqlx's maintenance of pools is off, because of a defect. Its task runs if `max_lifetime` or
/// `idle_timeout` is set, and visits as many connections as are counted as idle. That count
/// (`num_idle` in sqlx 0.9) goes below zero for a moment if a connection is taken before the task
/// that returned it has counted it. The maintenance task then loops over 2⁶⁴ of them and occupies a
/// core, at shutdown for ever. This was seen once in 1,700 starts. A minimum number of connections
/// starts a task of its own, so it is 0.
///
/// Nothing is lost by that. A connection that the server dropped is found when it is taken, and the
/// pools are small. `before_acquire` checks that with a limit. sqlx's own `test_before_acquire`
/// waits for ever for a connection whose packets a firewall drops.
///
/// A connection that is returned must answer a question of its own. If a call is dropped while a
/// `COPY` ends, sqlx 0.9 does not count the answer that is still to come. Every later question on that
/// connection then gets the answer to the one before: the head of the log, say, is that of another
/// moment, or empty. Such a connection is closed.
///
/// A connection that is returned within a transaction is closed, because it can no longer begin
/// one. SQLite ends a transaction by itself if the disk is full or fails
/// (<https://www.sqlite.org/lang_transaction.html>, 3). sqlx's `ROLLBACK` then finds no
/// transaction, and sqlx still counts it as open.
pub(super) fn options<DB: Answers>(connections: u32, patience: Duration) -> PoolOptions<DB> {
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
                // The connection executes the requests of the dropped transaction before it answers.
                let question = QUESTIONS.fetch_add(1, Ordering::Relaxed);
                let answer = tokio::time::timeout(patience, DB::answer(connection, question)).await;
                let answer = answer.unwrap_or_else(|_| Err(silent(patience)))?;
                Ok(answer == question && !connection.is_in_transaction())
            })
        })
}

async fn alive<DB: Database>(connection: &mut DB::Connection, patience: Duration) -> Result<(), sqlx::Error> {
    tokio::time::timeout(patience, connection.ping()).await.unwrap_or_else(|_| Err(silent(patience)))
}

/// Numbers the questions that returned connections must answer, so that no two are the same.
static QUESTIONS: AtomicI64 = AtomicI64::new(0);

/// A database whose connections can be asked for a number.
pub(super) trait Answers: Database {
    /// Returns `question` if the connection gives each question its own answer.
    fn answer(
        connection: &mut Self::Connection,
        question: i64,
    ) -> impl Future<Output = Result<i64, sqlx::Error>> + Send;
}

impl Answers for Sqlite {
    async fn answer(connection: &mut SqliteConnection, question: i64) -> Result<i64, sqlx::Error> {
        // Its connections are calls, not messages.
        connection.ping().await.map(|()| question)
    }
}

impl Answers for Postgres {
    async fn answer(connection: &mut PgConnection, question: i64) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("SELECT $1::int8").bind(question).fetch_one(connection).await
    }
}

/// Makes the error for a connection that did not respond within `patience`.
pub(super) fn silent(patience: Duration) -> sqlx::Error {
    let text = format!("no answer for {} seconds, as when a firewall drops what is sent", patience.as_secs_f64());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pool_has_a_task_that_maintains_it() {
        fn check<DB: Answers>() {
            let options = options::<DB>(3, Duration::from_secs(7));
            assert_eq!((options.get_max_lifetime(), options.get_idle_timeout()), (None, None));
            assert_eq!((options.get_min_connections(), options.get_max_connections()), (0, 3));
            assert_eq!(options.get_acquire_timeout(), Duration::from_secs(7));
            assert!(!options.get_test_before_acquire(), "it has no bound");
        }
        check::<Sqlite>();
        check::<Postgres>();
    }
}
