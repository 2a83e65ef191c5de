//! The service while it runs.
//!
//! [`serve`] is the loop that owns the writer, [`retention`] prunes bodies of messages.

pub mod retention;
pub mod serve;
