//! What a person or a program is shown of a package and a collection, and in which words.
//!
//! The command line and the pages show the same values in the same words. What is special to a
//! terminal or to HTML stays there. Nothing here reads a log or a clock: the caller passes the
//! state and the time.

pub(crate) mod answer;
pub(crate) mod broken;
pub(crate) mod package;
pub(crate) mod text;
