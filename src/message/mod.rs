//! Messages of a bus as data: their envelope, their times, and the facts they claim. All code here
//! is pure.
//!
//! - [`entry`] reads the envelope, which is the same for every source.
//! - [`reading`] says what a message claims. It runs again each time a parked message is retried.
//! - [`topics`] has a line for each topic, and a module for each publisher reads the bodies:
//!   `koji_message`, `bodhi`.
//! - [`result`] reads what outside executors say about commands.
//! - [`times`] judges what messages say about time.

mod bodhi;
pub mod entry;
mod fields;
mod interpret;
mod koji_message;
pub mod reading;
pub mod result;
pub mod times;
pub mod topics;

pub use entry::{Entry, Message, MessageTimes, UNREADABLE, Unreadable};
pub use interpret::interpret;
pub use reading::{CLOCK_TOLERANCE_SECS, Context, Incoming, Interpretation};
pub use result::{Became, CommandResult, RESULT_SOURCE, RESULT_TOPIC};
pub use times::Times;
pub use topics::{TOPICS, Topic};
