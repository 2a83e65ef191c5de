//! Tells systemd the state of the service (`sd_notify(3)`).

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::telemetry::Metrics;

/// Tells systemd that the service is ready.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// Sends a state. Does nothing if `NOTIFY_SOCKET` is not set. Only logs an error, because the
/// service works without systemd.
fn tell(state: NotifyState<'_>) {
    let states = [state];
    if let Err(error) = sd_notify::notify(&states) {
        tracing::debug!(error = %crate::model::causes::with_causes(&error), ?states, "cannot tell the service manager \
            the state");
    }
}

/// Tells systemd as often as it wants (`WatchdogSec=`) that the service is alive, while the loop
/// `heart` goes round. When the service stops, tells that it is stopping. systemd restarts a
/// process that no longer tells so.
pub(crate) async fn watchdog(heart: &'static str, metrics: Metrics, stop: CancellationToken) {
    // Half of the time that systemd waits for a sign of life.
    let Some(interval) = sd_notify::watchdog_enabled().map(|time| time / 2).filter(|time| !time.is_zero()) else {
        stop.cancelled().await;
        return tell(NotifyState::Stopping);
    };
    loop {
        if metrics.loop_is_stale(heart, clock::now()) {
            tracing::error!("the loop `{heart}` is stuck; the service manager will restart the service");
        } else {
            tell(NotifyState::Watchdog);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return tell(NotifyState::Stopping),
            () = tokio::time::sleep(interval) => {}
        }
    }
}
