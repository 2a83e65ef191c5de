//! Koschei on an event log: finds out which update broke the build of which package.
//!
//! The way of a change through the program:
//!
//! 1. Koji sends a message that something happened. The message is stored as a hint.
//! 2. We look at the hub, and append the fact to the log.
//! 3. Facts are folded into the state.
//! 4. Pure rules decide. The decision is appended to the log.
//! 5. The command is sent to the hub. Its outcome comes back as a fact.
//!
//! # The rooms
//!
//! The core is functional: no input or output, no clock, no randomness. An arrow points from a room
//! to the room it uses.
//!
//! - [`model`] (basic types) ← [`event`] (facts and decisions) ← [`fold`] (state) ← [`decide`]
//!   (rules) ← [`view`] (what is shown)
//! - [`event`] ← [`message`] (messages of a bus)
//! - [`model`] ← [`repodata`] (rpm-md) ← [`resolve`] (buildroots)
//!
//! On the core stand [`base`] (clock, pauses, listener), [`config`], [`telemetry`], [`log`] (event
//! log, inbox, outbox, attachments), [`operator`] (what operators request), [`bus`] (sources and
//! sinks of messages) and [`koji`] (access to a hub).
//!
//! On these stand the following rooms:
//!
//! - [`buildroot`] resolves repositories.
//! - [`writer`] is the only part that appends to the log.
//! - [`hub`] reads a hub and submits to it.
//! - [`intake`] feeds in recordings and streams.
//! - [`service`] runs all of them.
//! - [`tools`] examine a whole log, [`web`] shows it as pages, and [`cli`] has the commands.
//!
//! ARCHITECTURE.md lists which room may use which, and `tests/tidy.rs` checks it.

pub mod announce;
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
