//! Living with a hub: read, compare, submit.
//!
//! [`interest`] says what there is to read, [`reader`] reads it ([`snapshot`] is what it returns), [`diff`] says what
//! of it is news; `objects` has what that is for each kind of object. [`poller`] decides when to read: what messages
//! hint at, what changes without one ([`history`] reads what did, `own_tasks` our tasks), everything. [`repositories`]
//! fetches new repositories ([`store`] is what is resolved from), [`installed`] reads what builders installed,
//! [`submitter`] carries commands out.
//!
//! What is read goes to the writer by [`to_writer`]; [`turns`] are the turns of the writer that begin with it.

mod convert;
pub mod diff;
mod history;
pub mod installed;
pub mod interest;
mod objects;
mod own_tasks;
pub mod poller;
pub mod reader;
pub mod repositories;
pub mod snapshot;
pub mod store;
pub mod submitter;
pub mod to_writer;
pub(crate) mod tracked;
pub mod turns;
