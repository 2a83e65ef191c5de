//! The program from a user's view: commands, configuration, help.

pub(crate) mod announcements;
pub(crate) mod bad_input;
pub(crate) mod broken;
pub(crate) mod command_line;
pub(crate) mod doctor;
pub(crate) mod example_config;
pub(crate) mod groups;
pub(crate) mod help_examples;
pub(crate) mod operators;
pub(crate) mod readme;
pub(crate) mod secrets;
pub(crate) mod signed;
pub(crate) mod words;
