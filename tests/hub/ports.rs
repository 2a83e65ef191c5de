//! Ports for servers that a test starts as a program, and that have to be told theirs before they listen.
//!
//! A port that was asked of the system and let go is anybody's: another test, or an outgoing connection, may be given
//! it before the program has come to listen, which takes RabbitMQ many seconds, and while it is down between two
//! starts. So these ports are not among those the system gives away.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Fewer outside of the system's range are not worth looking through.
const ENOUGH: u32 = 1_000;

/// The ports to choose from: a beginning, and how many.
static OURS: LazyLock<(u32, u32)> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut words = text.split_whitespace().filter_map(|w| w.parse::<u32>().ok());
    let (low, high) = (words.next().unwrap_or(32_768), words.next().unwrap_or(60_999));
    // Below ten thousand are those that people know.
    let (below, above) = ((10_000, low.saturating_sub(10_000)), (high + 1, 65_535_u32.saturating_sub(high)));
    // Where the system gives away all of them, there is no better choice than among all.
    [below, above].into_iter().filter(|(_, count)| *count >= ENOUGH).max_by_key(|w| w.1).unwrap_or((10_000, 55_000))
});

/// A port of 127.0.0.1 where nobody listens, and that nobody gets by chance: neither of the system nor a second time
/// from here.
pub fn free() -> u16 {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(rand::random_range(0..OURS.1)));
    let (first, count) = *OURS;
    (0..count)
        .map(|_| u16::try_from(first + NEXT.fetch_add(1, Ordering::Relaxed) % count).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("there is a free port")
}
