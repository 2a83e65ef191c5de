//! Receives notifications of appends by `LISTEN`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Postgres;
use sqlx::postgres::{PgConnectOptions, PgListener};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::log::pool;
use crate::model::causes::with_causes;

/// Name of the channel. The payload is the last sequence of the append.
pub(super) const CHANNEL: &str = "koschei_log";
/// Pause before connecting again.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long the listener waits for its connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// The listening connection of a handle, made when somebody first waits.
pub(super) struct Tail {
    connect: PgConnectOptions,
    woken: Arc<watch::Sender<u64>>,
    task: Mutex<Option<AbortHandle>>,
}

impl Tail {
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self { connect, woken: Arc::new(watch::Sender::new(0)), task: Mutex::new(None) }
    }

    /// Returns a counter that changes with every append from now on. Waits until the listener is
    /// registered, or has failed to register.
    pub(super) async fn listen(&self) -> watch::Receiver<u64> {
        let mut receiver = self.woken.subscribe();
        {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            // A task ends with the runtime on which it was spawned.
            if task.as_ref().is_none_or(AbortHandle::is_finished) {
                self.woken.send_replace(0);
                let run = run(self.connect.clone(), Arc::clone(&self.woken));
                *task = Some(tokio::spawn(run).abort_handle());
            }
        }
        // The sender lives as long as `self`.
        drop(receiver.wait_for(|count| *count > 0).await);
        receiver
    }

    /// Closes the connection.
    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Increases the counter after registering, at every notification, and whenever notifications may
/// have been lost.
async fn run(connect: PgConnectOptions, woken: Arc<watch::Sender<u64>>) {
    loop {
        if let Err(error) = listen(&connect, &woken).await {
            tracing::warn!(
                error = %with_causes(&error),
                "the listener of the log lost its connection; polling until it is back"
            );
        }
        woken.send_modify(|n| *n += 1);
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn listen(connect: &PgConnectOptions, woken: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let begun = async {
        let pool = pool::options::<Postgres>(1, PATIENCE).connect_with(connect.clone()).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    // Callers wait for the registration, so it needs a limit. If the connection falls silent later,
    // their regular checks make up for it.
    let begun = tokio::time::timeout(PATIENCE, begun).await;
    let mut listener = begun.unwrap_or_else(|_| Err(pool::silent(PATIENCE)))?;
    loop {
        woken.send_modify(|n| *n += 1);
        // `None` means that it connected again and may have missed a notification, so wake the
        // waiters then, too.
        listener.try_recv().await?;
    }
}
