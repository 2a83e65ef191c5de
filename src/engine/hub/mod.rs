//! Living with a hub: look, compare, submit.
//!
//! [`seen`] is what looks return, [`differences`] what of it is news.

pub mod differences;
pub mod keys;
pub mod seen;
