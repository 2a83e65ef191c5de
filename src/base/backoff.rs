//! Pauses that grow while somebody does not answer: doubling, bounded, with jitter so that several do not come at once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Up to half of a pause left to chance.
pub fn jittered(full: Duration) -> Duration {
    full.mul_f64(rand::random_range(0.5..=1.0))
}

/// The pause after so many failures in a row, counted from 1: `first`, doubled up to `max`, with jitter.
pub fn after(failures: u32, first: Duration, max: Duration) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    jittered(first.saturating_mul(doubled).min(max))
}

/// A growing pause.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Begins with `first`, doubles up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    /// It answered.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now; the next one is longer.
    pub fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        after(self.failures, self.first, self.max)
    }

    /// Waits. `false`: told to stop meanwhile.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let pause = self.pause();
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_begins_anew() {
        let second = Duration::from_secs(1);
        let mut b = Backoff::new(second, second * 8);
        for expected in [1, 2, 4, 8, 8] {
            let pause = b.pause().as_secs_f64();
            let expected = f64::from(expected);
            assert!((expected * 0.5..=expected).contains(&pause), "{pause} for {expected}");
        }
        b.reset();
        assert!(b.pause() <= second);
    }

    #[test]
    fn any_number_of_failures_has_a_pause() {
        let (first, max) = (Duration::from_millis(200), Duration::from_secs(30));
        for failures in [0, 1, 2, 31, 32, 100, u32::MAX] {
            assert!((first / 2..=max).contains(&after(failures, first, max)), "{failures}");
        }
        assert!(after(50, first, max) >= max / 2);
    }
}
