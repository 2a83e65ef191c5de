//! Telling systemd how we are (`sd_notify(3)`): a datagram to the socket that `NOTIFY_SOCKET` names.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::telemetry::Metrics;

/// Sends a state, such as `READY=1`. Does nothing where nobody asked for it.
///
/// # Errors
/// When the socket does not take it.
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

/// As [`notify`]; a manager that does not hear us is no reason to stop.
pub(crate) fn tell(state: &str) {
    if let Err(error) = notify(state) {
        tracing::debug!(error = %crate::model::causes::with_causes(&error), state, "the service manager could not be \
            told");
    }
}

/// Says that all is well as often as systemd wants to hear it (`WatchdogSec=`), while the loop `heart` goes round; and
/// when told to stop, that we are stopping. A process that does not say so any more is restarted.
pub(crate) async fn watchdog(heart: &'static str, metrics: Metrics, stop: CancellationToken) {
    let Some(interval) = interval() else {
        stop.cancelled().await;
        return tell("STOPPING=1");
    };
    loop {
        if metrics.loop_is_stale(heart, clock::now()) {
            tracing::error!("the loop `{heart}` stands still; without it we do not live");
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

/// Half of the time systemd waits for a sign of life; `None`: it does not wait for one of ours.
fn interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|n| *n > 0 && ours)?;
    Some(Duration::from_micros(micros / 2))
}
