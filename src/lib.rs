//! Koschei on an event log: finds out which update broke the build of which package.
//!
//! What happens, in one breath: Koji says something happened → the hint is written down → we look → the fact is
//! appended to the log → facts are folded into state → pure rules decide → the decision is appended → the command
//! leaves → its outcome comes back as a fact.
//!
//! # The rooms
//!
//! Functional core, no input or output, no clock, no randomness:
//! [`model`] (the words) ← [`event`] (facts and decisions) ← [`fold`] (state) ← [`decide`] (rules);
//! [`event`] ← [`message`] (what a bus brings); [`model`] ← [`repodata`] (rpm-md) ← [`resolve`] (buildroots).
//!
//! Ports, each a trait with its adapters beside it: [`log`] (event log, inbox, outbox, attachments), [`bus`] (sources
//! and sinks).
//!
//! [`view`] says what is shown of state and events, for [`web`] and [`cli`] alike.
//!
//! Shell: [`base`] (clock, pauses, listener), [`engine`] (the one appender), [`web`] (pages), [`cli`], [`config`], [`telemetry`].

pub mod base;
pub mod buildroot;
pub mod bus;
pub mod cli;
pub mod config;
pub mod decide;
pub mod event;
pub mod fold;
pub mod hub;
pub mod intake;
pub mod koji;
pub mod log;
pub mod message;
pub mod model;
pub mod repodata;
pub mod resolve;
pub mod service;
pub mod telemetry;
pub mod tools;
pub mod view;
pub mod web;
pub mod writer;
