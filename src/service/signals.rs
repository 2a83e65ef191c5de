//! Stopping at SIGTERM and SIGINT.

use std::io;

use tokio_util::sync::CancellationToken;

/// Cancels `stop` when the process receives SIGTERM or SIGINT.
///
/// # Errors
/// Returns the error of the system if it refuses to deliver signals to us.
pub(crate) fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // Both signals are caught from here on, not only when the task first runs.
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}
