//! The test hub itself (`tests/hub`), compared with recorded exchanges and used by the official
//! client.

pub(crate) mod basics;
pub(crate) mod client;
pub(crate) mod facts;
pub(crate) mod life;
pub(crate) mod messages;
pub(crate) mod recorded;
