//! Basics that every part with input or output needs: the clock, growing pauses, one log line per
//! outage, a bounded listener, secrets, TLS, and stages for measuring.

pub mod backoff;
pub mod clock;
pub mod listen;
pub mod secret;
pub(crate) mod stage;
pub mod tls;
pub mod trouble;
