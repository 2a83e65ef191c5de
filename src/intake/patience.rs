//! Waits for a service that we depend on: the database, a bus, the receiver of commands. `serve`
//! and `follow` share it.
//!
//! Once a service has let us in, no refusal is final, because the service may be in the middle of
//! an upgrade. So a refusal is retried like a timeout, but logged as an error. Each trouble is
//! logged once, and so is its end. Pauses grow, and are short again after a minute without trouble.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::base::trouble::Trouble;
use crate::model::{Classified, Timestamp};
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;

/// First pause after a failure. It doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Number of seconds without failure after which pauses are short again.
const LONG_SECS: i64 = 60;

/// Waits for one service that we depend on.
#[derive(Debug)]
pub struct Patience {
    what: &'static str,
    meanwhile: &'static str,
    backoff: Backoff,
    pause: Duration,
    due: Option<Instant>,
    trouble: Trouble,
    /// Since when the service answers. `None` while it does not.
    fine_since: Option<Timestamp>,
    readiness: Option<Readiness>,
    alive: Option<(Metrics, &'static str)>,
}

impl Patience {
    /// Makes a patience for `what`, such as `the database`. `meanwhile` says in the log what
    /// happens to our work.
    pub fn new(what: &'static str, meanwhile: &'static str) -> Self {
        Self {
            what,
            meanwhile,
            backoff: Backoff::new(PAUSE_FIRST, PAUSE_MAX),
            pause: Duration::ZERO,
            due: None,
            trouble: Trouble::default(),
            fine_since: None,
            readiness: None,
            alive: None,
        }
    }

    /// Makes us not ready while the service does not answer.
    #[must_use]
    pub fn holding_up(mut self, readiness: Readiness) -> Self {
        self.readiness = Some(readiness);
        self
    }

    /// Reports the loop `heart` as alive while it waits and retries.
    #[must_use]
    pub fn keeping_alive(mut self, metrics: Metrics, heart: &'static str) -> Self {
        self.alive = Some((metrics, heart));
        self
    }

    /// Notes that the service answers.
    pub fn answered(&mut self) {
        self.trouble.answered(None);
        self.due = None;
        self.fine_since.get_or_insert_with(clock::now);
        if let Some(readiness) = &self.readiness {
            readiness.is_back(self.what);
        }
    }

    /// Notes that the service does not answer, and logs it if that is news. Ask it again when
    /// [`Patience::is_due`] returns `true`.
    pub fn failed(&mut self, error: &(impl Error + Classified)) {
        self.trouble.failed(None, self.what, error, self.meanwhile);
        if let Some(readiness) = &self.readiness {
            readiness.waits_for(self.what);
        }
        if self.fine_since.take().is_some_and(|since| clock::now() > since.plus_secs(LONG_SECS)) {
            self.backoff.reset();
        }
        self.pause = self.backoff.pause();
        self.due = Some(Instant::now() + self.pause);
    }

    /// Checks whether the service may be asked: it answers, or its pause is over.
    pub fn is_due(&self) -> bool {
        self.due.is_none_or(|due| due <= Instant::now())
    }

    /// Like [`Patience::failed`], and also waits until it is time to retry. Returns `false` if it
    /// was told to stop meanwhile.
    pub async fn wait(&mut self, error: &(impl Error + Classified), stop: &CancellationToken) -> bool {
        self.failed(error);
        let live = |alive: &Option<(Metrics, &'static str)>| {
            if let Some((metrics, heart)) = alive {
                metrics.loop_waits(heart, clock::now());
            }
        };
        live(&self.alive);
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(self.pause) => live(&self.alive),
        }
        true
    }
}
