//! The Koji hub: its XML-RPC dialect, requests to it, its files, and archives of what a hub once
//! answered.
//!
//! - [`xmlrpc`] encodes and decodes the dialect.
//! - [`client`] asks a hub. [`session`] changes something on a hub, after a [`login`]. [`profile`]
//!   reads the settings from the files of the `koji` command.
//! - [`calls`] has the methods we call, [`records`] the answers, and [`facts`] turns answers into
//!   parts of events. `log_line` chooses the line of a log that says why a build failed.
//! - [`files`] fetches repositories and source packages.
//! - [`archive`] is a directory that accompanies a recording and stands in for the hub:
//!   repositories, build requirements and recorded answers.

pub mod answers;
pub mod archive;
pub mod buildrequires;
pub mod calls;
pub mod client;
pub mod facts;
pub mod faults;
pub mod files;
#[cfg(feature = "gssapi")]
pub mod gss;
pub(crate) mod log_line;
pub mod login;
pub mod profile;
pub mod records;
pub mod session;
pub mod shape;
pub mod xmlrpc;

pub use archive::{Archive, ArchiveError, ArchivedRepo};
pub use buildrequires::{NothingKnown, SourcePackages, SourcesError};
pub use calls::{Answers, Asked, Batch, Query};
pub use client::{Auth, CallObserver, CallOutcome, HubClient, HubError, HubSettings, SettingsError};
pub use faults::FaultKind;
pub use profile::{Profile, ProfileError, ProfilePaths, load_profile};
pub use session::Session;
