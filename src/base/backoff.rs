//! Pauses that grow while somebody does not answer, with jitter so that several do not come at once.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// A growing pause.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first`, doubles up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    /// It answered.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait now, between three quarters and five quarters of the pause; the next one is longer.
    pub fn pause(&mut self) -> Duration {
        let jittered = self.next.mul_f64(0.75 + rand::random::<f64>() / 2.0);
        self.next = (self.next * 2).min(self.max);
        jittered
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
            assert!((expected * 0.75..=expected * 1.25).contains(&pause), "{pause} for {expected}");
        }
        b.reset();
        assert!(b.pause() <= second.mul_f64(1.25));
    }
}
