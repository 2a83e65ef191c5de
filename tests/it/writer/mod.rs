//! From messages to facts and decisions: properties of whole streams, and writers that die or
//! compete.

pub(crate) mod bench_quick;
pub(crate) mod clocks;
pub(crate) mod generated;
pub(crate) mod kill;
pub(crate) mod model_of_actions;
pub(crate) mod properties;
pub(crate) mod snapshots;
pub(crate) mod truth;
pub(crate) mod two_writers;
