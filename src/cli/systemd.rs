//! Telling systemd how we are (`sd_notify(3)`): a datagram to the socket that `NOTIFY_SOCKET` names.

use std::io;
use std::os::unix::net::UnixDatagram;

/// Sends a state, such as `READY=1`. Does nothing where nobody asked for it.
///
/// # Errors
/// When the socket does not take it.
pub(super) fn notify(state: &str) -> io::Result<()> {
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
