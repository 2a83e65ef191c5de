//! Decides how often to retry a call, after what pause, and until when.

use std::time::Duration;

use tokio::time::Instant;

use super::error::HubError;
use super::settings::HubSettings;
use crate::base::backoff::{Backoff, jittered};

/// The attempts of one call.
pub(crate) struct Attempts<'a> {
    settings: &'a HubSettings,
    ends: Instant,
    left: u32,
    backoff: Backoff,
}

impl<'a> Attempts<'a> {
    /// Allows the retries that the settings allow, or none.
    pub(crate) fn new(settings: &'a HubSettings, retry: bool) -> Self {
        let left = if retry { settings.max_retries } else { 0 };
        // A deadline that the clock cannot represent is replaced by a year.
        let now = Instant::now();
        let ends = now.checked_add(settings.deadline).unwrap_or_else(|| now + Duration::from_secs(86_400 * 365));
        Self { settings, ends, left, backoff: Backoff::new(settings.first_wait, settings.longest_wait) }
    }

    /// Returns the time limit for a request that begins now.
    pub(crate) fn limit(&self, one: Duration) -> Duration {
        one.min(self.ends.saturating_duration_since(Instant::now()))
    }

    /// Waits before the next attempt after an error. Returns false if there is none.
    pub(crate) async fn again(&mut self, error: &HubError) -> bool {
        let wait = if error.is_offline() {
            if !self.settings.offline_retry {
                return false;
            }
            jittered(self.settings.offline_wait)
        } else if error.is_transient() {
            self.backoff.pause()
        } else {
            return false;
        };
        let left = self.ends.saturating_duration_since(Instant::now());
        if self.left == 0 || left <= wait {
            return false;
        }
        self.left -= 1;
        tracing::debug!(wait_s = wait.as_secs_f64(), left = self.left, "{error}; trying again");
        tokio::time::sleep(wait).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::At;
    use super::*;
    use crate::koji::xmlrpc::Fault;

    fn at() -> At {
        At { method: "m".into(), hub: "h".into() }
    }

    fn offline() -> HubError {
        HubError::from_fault(at(), Fault { code: 1014, message: String::new() })
    }

    fn refused() -> HubError {
        HubError::Connect { at: at(), cause: String::new() }
    }

    /// Returns the seconds waited before each retry.
    async fn waits(settings: &HubSettings, error: HubError) -> Vec<f64> {
        let mut attempts = Attempts::new(settings, true);
        let mut waits = Vec::new();
        loop {
            let before = Instant::now();
            if !attempts.again(&error).await {
                return waits;
            }
            waits.push(before.elapsed().as_secs_f64());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_up_to_a_bound_and_end() {
        let settings = HubSettings { max_retries: 7, ..HubSettings::new("h") };
        let waits = waits(&settings, refused()).await;
        let most = [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0];
        assert_eq!(waits.len(), most.len());
        for (wait, most) in waits.iter().zip(most) {
            assert!((most / 2.0 - 0.002..=most + 0.002).contains(wait), "{waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_it() {
        let settings = HubSettings { max_retries: 1000, deadline: Duration::from_secs(100), ..HubSettings::new("h") };
        let total: f64 = waits(&settings, refused()).await.iter().sum();
        assert!((60.0..=100.0).contains(&total), "{total}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_offline_hub_is_asked_again_on_request() {
        let settings = HubSettings::new("h");
        assert!(waits(&settings, offline()).await.is_empty());
        let settings = HubSettings { offline_retry: true, max_retries: 2, ..settings };
        let waits = waits(&settings, offline()).await;
        assert!(waits.len() == 2 && waits.iter().all(|wait| (60.0..=121.0).contains(wait)), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_not_tried_again() {
        let settings = HubSettings::new("h");
        let fault = HubError::from_fault(at(), Fault { code: 1000, message: String::new() });
        assert!(waits(&settings, fault).await.is_empty());
        assert!(!Attempts::new(&settings, false).again(&refused()).await);
    }
}
