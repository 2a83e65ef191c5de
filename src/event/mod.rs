//! Defines everything that can be stored: facts and decisions in the past tense, their envelope,
//! and their conversion to bytes.
//!
//! A stored kind stays readable for ever. It has a name and a version, and `schemas/examples` keeps
//! an example of every version. Old versions are converted to the newest one when they are read
//! ([`upcast`]). This module makes no decisions and keeps no state.
//!
//! The Koji numbers in a payload belong to one hub: the instance in its `hub` field.

pub mod cloudevents;
pub mod command_id;
pub mod envelope;
mod error;
pub mod facts;
pub mod groups;
pub mod kinds;
pub mod koschei;
pub mod operator;
pub mod rebuilds;
pub mod schema;
pub mod upcast;
pub mod updates;

pub use command_id::CommandId;
pub use envelope::{ChainHash, Envelope, FactId, NewEvent, Record, Source};
pub use error::DecodeError;
pub use facts::*;
pub use groups::*;
pub use kinds::{Event, KINDS, Kind};
pub(crate) use kinds::{findings, hub_facts, observations, package_settings, resolution_words, words};
pub use koschei::*;
pub use operator::*;
pub use rebuilds::*;
pub use updates::*;
