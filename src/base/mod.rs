//! What every part of the shell needs: the clock, growing pauses, what was said of who does not answer, a bounded
//! listener, TLS, stages for who measures.

pub mod backoff;
pub mod clock;
pub mod listen;
pub(crate) mod stage;
pub mod tls;
pub mod trouble;
