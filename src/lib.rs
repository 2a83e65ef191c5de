//! Koschei on an event log: finds out which update broke the build of which package.
//!
//! What happens, in one breath: Koji says something happened → the hint is written down → we look → the fact is
//! appended to the log → facts are folded into state → pure rules decide → the decision is appended → the command
//! leaves → its outcome comes back as a fact.
//!
//! # The rooms
//!
//! Functional core, no input or output, no clock, no randomness:
//! [`model`] (the words) ← [`event`] (facts and decisions) ← [`fold`] (state) ← [`decide`] (rules) ← [`view`] (what is
//! shown); [`event`] ← [`message`] (what a bus brings); [`model`] ← [`repodata`] (rpm-md) ← [`resolve`] (buildroots).
//!
//! On it stand [`base`] (clock, pauses, listener), [`config`], [`telemetry`], [`log`] (event log, inbox, outbox,
//! attachments), [`operator`] (what operators say), [`bus`] (sources and sinks) and [`koji`] (the door to a hub).
//!
//! [`buildroot`] resolves repositories, [`writer`] is the one appender, [`hub`] reads a hub and submits to it,
//! [`intake`] feeds recordings and streams in, [`service`] runs all of them. [`tools`] look at a whole log, [`web`]
//! shows it as pages, [`cli`] has the verbs.
//!
//! Which room may name which stands in ARCHITECTURE.md, and `tests/tidy.rs` holds it.

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
pub mod operator;
pub mod repodata;
pub mod resolve;
pub mod service;
pub mod telemetry;
pub mod tools;
pub mod view;
pub mod web;
pub mod writer;
