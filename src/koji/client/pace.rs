//! Limits how fast requests follow each other.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Allows a number of requests per second, all of which may come at once. First come, first served.
#[derive(Debug)]
pub(super) struct Pace {
    /// Time from one request to the next.
    interval: Duration,
    /// How far requests may be ahead of the pace: one second minus one interval.
    ahead: Duration,
    /// When the next request would be due if all requests kept the interval. If it is in the past,
    /// there is no debt.
    due: Mutex<Instant>,
}

impl Pace {
    pub(super) fn per_second(n: NonZeroU32) -> Self {
        let interval = Duration::from_secs(1) / n.get();
        Self { interval, ahead: interval * (n.get() - 1), due: Mutex::new(Instant::now()) }
    }

    /// Waits until the next request may go. If the wait is dropped, the turn is used up all the
    /// same.
    pub(super) async fn turn(&self) {
        let due = {
            let mut next = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let due = (*next).max(Instant::now());
            *next = due + self.interval;
            due
        };
        if let Some(at) = due.checked_sub(self.ahead) {
            tokio::time::sleep_until(at).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    /// Returns when each of `n` turns came, in milliseconds after `began`.
    async fn turns(pace: &Pace, n: usize, began: Instant) -> Vec<u128> {
        let mut at = Vec::new();
        for _ in 0..n {
            pace.turn().await;
            at.push(began.elapsed().as_millis());
        }
        at
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_s_worth_at_once_and_then_one_by_one() {
        let began = Instant::now();
        let pace = Pace::per_second(4.try_into().unwrap());
        assert_eq!(turns(&pace, 7, began).await, [0, 0, 0, 0, 250, 500, 750]);
        // Half a second of rest is worth two turns. An hour of rest is worth no more than a second.
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(turns(&pace, 3, began).await, [1250, 1250, 1500]);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let after = began + Duration::from_secs(3601) + Duration::from_millis(500);
        assert_eq!(turns(&pace, 5, after).await, [0, 0, 0, 0, 250]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_a_second() {
        let began = Instant::now();
        assert_eq!(turns(&Pace::per_second(NonZeroU32::MIN), 3, began).await, [0, 1000, 2000]);
    }
}
