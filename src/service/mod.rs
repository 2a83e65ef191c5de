//! The running service.
//!
//! [`serve`] is the loop that owns the writer. [`retention`] deletes old message bodies.

pub mod retention;
pub mod serve;
