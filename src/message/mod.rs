//! Messages of a bus as data: their envelope, their times, and the facts they claim. All code here
//! is pure.
//!
//! - [`entry`] reads the envelope, which is the same for every source.
//! - [`koji_message`] reads what a message of Koji claims. It runs again each time a parked message
//!   is retried.
//! - [`times`] judges what messages say about time.

pub mod entry;
pub mod koji_message;
pub mod times;

pub use entry::{Entry, Message, MessageTimes, UNREADABLE, Unreadable};
pub use koji_message::{CLOCK_TOLERANCE_SECS, Context, Incoming, Interpretation, TOPICS, Topic, interpret};
pub use times::Times;
