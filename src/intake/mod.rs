//! Takes messages from a bus into the inbox, and sends commands and announcements from the outbox.
//!
//! - [`recording`] feeds a recording to the writer.
//! - [`stream`] follows a live stream without a hub.
//! - [`receive`] puts messages of a bus into the inbox and acknowledges them once they are on disk.
//! - [`delivery`] hands commands to a sink.
//! - [`queueing`] keeps the work queue of outside executors.
//! - [`announcing`] publishes what is announced, [`publishing`] the events of the log.
//! - `late` looks again for repository content that was not there yet.
//! - [`patience`] waits for services that do not answer.

pub mod announcing;
pub mod delivery;
pub mod error;
mod late;
pub mod patience;
pub mod publishing;
pub mod queueing;
pub mod receive;
pub mod recording;
pub mod stream;

pub use error::IntakeError;
