//! Pure rules: who is due, priority, architectures, load, retries.

pub mod policy;
pub mod priority;
