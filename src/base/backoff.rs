//! Pauses that grow while a service does not answer. They double up to a bound, with jitter so that
//! several clients do not retry at once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Returns the pause with jitter: between half of it and all of it.
pub fn jittered(full: Duration) -> Duration {
    full.mul_f64(rand::random_range(0.5..=1.0))
}

/// Returns the pause after this many failures in a row, counted from 1: `first`, doubled up to
/// `max`, with jitter.
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
    /// Makes a pause that begins with `first` and doubles up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    /// Notes a success: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns how long to wait now. The next pause is longer.
    pub fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        after(self.failures, self.first, self.max)
    }

    /// Waits for the pause. Returns `false` if it was told to stop meanwhile.
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
