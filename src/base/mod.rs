//! Basics that every part with input or output needs: the clock, growing pauses, one log line per
//! outage, a bounded listener, TLS, and stages for measuring.

pub mod backoff;
pub mod clock;
pub mod listen;
pub(crate) mod stage;
pub mod tls;
pub mod trouble;
