//! Living with a hub: look, compare, submit.
//!
//! [`keys`] says what there is to look at, [`looker`] reads it ([`seen`] is what it returns), [`differences`] says what
//! of it is news; `objects` has what that is for each kind of object. [`watcher`] decides when to look: at what
//! messages hint at, at what moves without one ([`moves`] reads what did, [`ours`] our tasks), at everything. [`repos`]
//! fetches new repositories, [`truth`] reads what builders had installed, [`submit`] carries commands out. [`eyes`]
//! resolves from what was fetched.

mod convert;
pub mod differences;
pub mod eyes;
pub mod keys;
pub mod looker;
mod moves;
mod objects;
mod ours;
pub mod repos;
pub mod seen;
pub mod submit;
pub mod truth;
pub mod watcher;
