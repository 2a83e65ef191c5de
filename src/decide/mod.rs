//! Pure rules: who is due, priority, architectures, load, retries.

pub mod arches;
pub mod faults;
pub mod load;
pub mod policy;
pub mod priority;
pub mod retry;
