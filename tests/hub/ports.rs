//! Ports for servers that run as separate programs and must be told their port before they listen.
//!
//! A port that the system gave us and we released may go to another test or to an outgoing
//! connection. That can happen before the program listens (RabbitMQ needs many seconds) and while
//! it is down between two starts. So these ports are taken from outside the range that the system
//! gives away.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Fewest ports outside the system's range that are worth searching.
const ENOUGH: u32 = 1_000;

/// The ports to choose from: the first one, and how many.
static OURS: LazyLock<(u32, u32)> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut words = text.split_whitespace().filter_map(|w| w.parse::<u32>().ok());
    let (low, high) = (words.next().unwrap_or(32_768), words.next().unwrap_or(60_999));
    // Ports below ten thousand are well-known ones.
    let (below, above) = ((10_000, low.saturating_sub(10_000)), (high + 1, 65_535_u32.saturating_sub(high)));
    // If the system gives away all of them, any port is as good as another.
    [below, above].into_iter().filter(|(_, count)| *count >= ENOUGH).max_by_key(|w| w.1).unwrap_or((10_000, 55_000))
});

/// Returns a port of 127.0.0.1 where nobody listens. Neither the system nor a second call gives it
/// away.
pub fn free() -> u16 {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(rand::random_range(0..OURS.1)));
    let (first, count) = *OURS;
    (0..count)
        .map(|_| u16::try_from(first + NEXT.fetch_add(1, Ordering::Relaxed) % count).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("there is a free port")
}
