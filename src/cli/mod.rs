//! The command line.

pub mod resolve;
