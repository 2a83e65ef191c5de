//! The test hub itself (`tests/hub`): held against recorded exchanges and the official client.

pub(crate) mod basics;
pub(crate) mod client;
pub(crate) mod facts;
pub(crate) mod life;
pub(crate) mod messages;
pub(crate) mod recorded;
