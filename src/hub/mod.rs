//! Everything that works with one Koji hub: reading it, comparing, submitting.
//!
//! - [`interest`] decides which objects we watch. [`reader`] reads them, and returns what
//!   [`snapshot`] describes. `objects` has the details of each kind of object.
//! - [`diff`] compares what was read with our state, and finds what is new.
//! - [`poller`] decides when to read. It reads objects that messages hint at, objects that change
//!   without a message, and from time to time everything. [`history`] finds changes in tags,
//!   `own_tasks` finds our tasks.
//! - [`repositories`] fetches new repositories. [`store`] gives the solver access to them.
//! - [`installed`] reads what builders installed. [`submitter`] carries out commands, which
//!   [`waiting`] reads.
//! - [`to_writer`] is the queue to the writer. [`turns`] has the writer's turns that process
//!   observations.

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
pub mod waiting;
