//! A message of a bus as data: its envelope, its times, and the facts it claims. Pure.
//!
//! [`entry`] is the envelope, the same on every source; [`koji_message`] reads what a message of Koji claims, and is
//! called again whenever a parked message is retried; [`times`] judges what messages say about time.

pub mod entry;
pub mod koji_message;
pub mod times;

pub use entry::{Entry, Message, MessageTimes, UNREADABLE, Unreadable};
pub use koji_message::{CLOCK_TOLERANCE_SECS, Context, Incoming, Interpretation, TOPICS, Topic, interpret};
pub use times::Times;
