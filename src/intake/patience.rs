//! How a running service waits for what it depends on: the database, a bus, the receiver of commands. One way for
//! `serve` and `follow`.
//!
//! Once let in, nothing is final: whoever refuses now may be in the middle of an upgrade. So a refusal is tried again
//! like silence, and said louder. Each trouble is said once, and its end; pauses grow, and are short again after a
//! minute without trouble.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::base::trouble::Trouble;
use crate::model::causes::with_causes;
use crate::model::{Class, Classified, Timestamp};
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;

/// First pause after somebody did not answer; doubled up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Whoever answered for so many seconds is waited for with short pauses again.
const LONG_SECS: i64 = 60;

/// Waiting for one of those we depend on.
#[derive(Debug)]
pub struct Patience {
    what: &'static str,
    meanwhile: &'static str,
    backoff: Backoff,
    pause: Duration,
    due: Option<Instant>,
    trouble: Trouble,
    /// Since when it answers; `None`: it does not.
    fine_since: Option<Timestamp>,
    readiness: Option<Readiness>,
    alive: Option<(Metrics, &'static str)>,
}

impl Patience {
    /// For `what`, such as `the database`; `meanwhile` says what becomes of our work.
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

    /// While it does not answer we are not ready.
    #[must_use]
    pub fn holding_up(mut self, readiness: Readiness) -> Self {
        self.readiness = Some(readiness);
        self
    }

    /// A loop that waits and tries again is alive.
    #[must_use]
    pub fn keeping_alive(mut self, metrics: Metrics, heart: &'static str) -> Self {
        self.alive = Some((metrics, heart));
        self
    }

    /// It answers.
    pub fn answered(&mut self) {
        if self.trouble.is_over() {
            tracing::info!("{} answers again", self.what);
        }
        self.due = None;
        self.fine_since.get_or_insert_with(clock::now);
        if let Some(readiness) = &self.readiness {
            readiness.is_back(self.what);
        }
    }

    /// It does not; says so if that is news. It is to be asked again when [`Patience::is_due`] says so.
    pub fn failed(&mut self, error: &(impl Error + Classified)) {
        let (what, meanwhile) = (self.what, self.meanwhile);
        let text = with_causes(error);
        match error.class() {
            _ if !self.trouble.is_new(&text) => tracing::debug!(error = %text, "{what} is still away"),
            Class::Unavailable => tracing::warn!(error = %text, "{what} does not answer; {meanwhile}"),
            _ => {
                tracing::error!(error = %text, "{what} does not do what it is asked; {meanwhile}, and it is asked \
                    again")
            }
        }
        if let Some(readiness) = &self.readiness {
            readiness.waits_for(self.what);
        }
        if self.fine_since.take().is_some_and(|since| clock::now() > since.plus_secs(LONG_SECS)) {
            self.backoff.reset();
        }
        self.pause = self.backoff.pause();
        self.due = Some(Instant::now() + self.pause);
    }

    /// Whether it may be asked: it answers, or its pause is over.
    pub fn is_due(&self) -> bool {
        self.due.is_none_or(|due| due <= Instant::now())
    }

    /// As [`Patience::failed`], and waits until it is time to try again. `false`: told to stop meanwhile.
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
