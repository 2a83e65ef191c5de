//! What people, builders and administrators do to a hub, in Koji's words. Each operation is a call
//! with its own event.
//!
//! An operation sends a message here exactly if it sends one in Koji.

pub mod builds;
pub mod exec;
pub mod hosts;
pub mod packages;
pub mod repos;
pub mod tags;
pub mod targets;
pub mod tasks;
