//! Tells systemd the state of the service (`sd_notify(3)`): a datagram to the socket that
//! `NOTIFY_SOCKET` names.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::telemetry::Metrics;

/// Sends a state, such as `READY=1`. Does nothing if `NOTIFY_SOCKET` is not set.
///
/// # Errors
/// Returns an error if the datagram cannot be sent.
fn notify(state: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = path.to_str().and_then(|p| p.strip_prefix('@')) {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return socket.send_to_addr(state.as_bytes(), &address).map(drop);
    }
    socket.send_to(state.as_bytes(), path).map(drop)
}

/// Like [`notify`], but only logs an error, because the service works without it.
pub(crate) fn tell(state: &str) {
    if let Err(error) = notify(state) {
        tracing::debug!(error = %crate::model::causes::with_causes(&error), state, "cannot tell the service manager \
            the state");
    }
}

/// Tells systemd as often as it wants (`WatchdogSec=`) that the service is alive, while the loop
/// `heart` goes round. When the service stops, tells that it is stopping. systemd restarts a
/// process that no longer tells so.
pub(crate) async fn watchdog(heart: &'static str, metrics: Metrics, stop: CancellationToken) {
    let Some(interval) = interval() else {
        stop.cancelled().await;
        return tell("STOPPING=1");
    };
    loop {
        if metrics.loop_is_stale(heart, clock::now()) {
            tracing::error!("the loop `{heart}` is stuck; the service manager will restart the service");
        } else {
            tell("WATCHDOG=1");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return tell("STOPPING=1"),
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Returns half of the time that systemd waits for a sign of life. `None` means that it does not
/// wait for this process.
fn interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|n| *n > 0 && ours)?;
    Some(Duration::from_micros(micros / 2))
}
