//! From a bus into the inbox, and commands out of the outbox.
//!
//! [`recording`] feeds a recording to the writer, [`stream`] a stream without a hub; [`receive`] takes messages of a
//! bus in and acknowledges them once they are on disk. [`delivery`] hands commands to a sink. `late` looks again for
//! content of repositories that was not there yet; [`patience`] waits for who does not answer.

pub mod delivery;
pub mod error;
mod late;
pub mod patience;
pub mod receive;
pub mod recording;
pub mod stream;

pub use error::IntakeError;
