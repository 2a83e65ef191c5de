//! The Koji hub: its XML-RPC dialect, asking it, and an archive of what a hub once said.
//!
//! [`xmlrpc`] is the dialect, both directions. [`client`] asks a hub, [`session`] has it do something, with a
//! [`login`]; [`profile`] reads how, from the files the `koji` command reads. [`calls`] has what is asked, [`records`]
//! what is answered, and [`facts`] what events say of it. [`archive`] is a directory beside a recording that stands in
//! for the hub: repositories, build requirements and recorded answers.

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
pub mod login;
pub mod profile;
pub mod records;
pub mod session;
pub mod shape;
pub mod xmlrpc;

pub use archive::{Archive, ArchiveError, ArchivedRepo};
pub use buildrequires::{NothingKnown, SourcePackages, SourcesError};
pub use calls::{Answers, Asked, Batch, Query};
pub use client::{Auth, CallObserver, HubClient, HubError, HubSettings, Outcome, SettingsError};
pub use faults::FaultKind;
pub use profile::{Profile, ProfileError, ProfilePaths, load_profile};
pub use session::Session;
