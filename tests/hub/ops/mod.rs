//! What people, builders and administrators do to a hub, in Koji's words. Each is a call of its own, with an event of
//! its own.
//!
//! What sends a message in Koji sends it here; what is silent there is silent here.

pub mod builds;
pub mod exec;
pub mod hosts;
pub mod packages;
pub mod repos;
pub mod tags;
pub mod targets;
pub mod tasks;
