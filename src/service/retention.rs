//! Deletes the bodies of handled messages, and announcements that were sent, after a time.
//!
//! The log holds the facts of these messages. Their bodies serve only for investigating, and they
//! name people. The bodies of messages that were set aside stay until these are retried or
//! dismissed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::config::RAW_DAYS_MAX;
use crate::log::{Announcements, EventLog};
use crate::model::Timestamp;
use crate::model::causes::with_causes;

/// Interval at which a running service deletes old bodies and announcements.
const EVERY: Duration = Duration::from_secs(3600);
/// Most announcements that one statement deletes. Appending waits for it.
const AT_ONCE: usize = 1_000;

/// Returns the time before which messages lose their bodies.
pub fn kept_since(now: Timestamp, days: u32) -> Timestamp {
    now.plus_secs(-i64::from(days.min(RAW_DAYS_MAX)) * 86_400)
}

/// Deletes bodies older than `days` days, at the start and then every hour, until told to stop. If
/// the log refuses, the next round tries again.
pub async fn keep(log: impl EventLog, days: u32, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            pruned = log.prune_raw(kept_since(clock::now(), days)) => match pruned {
                Ok(0) => {}
                Ok(bodies) => tracing::info!(bodies, days, "bodies of old messages were deleted"),
                Err(e) => tracing::warn!(error = %with_causes(&e), "bodies of old messages could not be deleted; \
                    trying again in an hour"),
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Deletes announcements older than `days` days that the broker has, like [`keep`]. What later
/// announcements depend on stays.
pub async fn keep_announcements(log: impl Announcements, days: u32, stop: CancellationToken) {
    let mut deleted = 0;
    while !stop.is_cancelled() {
        let pruned = log.prune_announcements(kept_since(clock::now(), days), AT_ONCE).await;
        match pruned {
            Ok(0) if deleted == 0 => {}
            Ok(0) => tracing::info!(announcements = deleted, days, "old announcements were deleted"),
            Ok(some) => {
                deleted += some;
                continue;
            }
            Err(e) => tracing::warn!(error = %with_causes(&e), "old announcements could not be deleted; trying again \
                in an hour"),
        }
        deleted = 0;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_back() {
        assert_eq!(kept_since(Timestamp::from_secs(86_400 * 31), 30), Timestamp::from_secs(86_400));
        assert_eq!(kept_since(Timestamp::from_secs(5), 0), Timestamp::from_secs(5));
        assert!(kept_since(Timestamp::from_secs(5), u32::MAX) < Timestamp::EPOCH);
    }
}
