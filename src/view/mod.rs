//! What a person or a program is shown of a package and a collection, and how it is said.
//!
//! The command line and the pages show the same values in the same words; what is special to a terminal or to HTML
//! stays with them. Nothing here reads a log or a clock: who asks passes the state and the time.

pub(crate) mod answer;
pub(crate) mod package;
pub(crate) mod text;
