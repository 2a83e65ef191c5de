//! The words every other room speaks: identifiers, versions, Koji's states, package states.
//!
//! Nothing here does input or output, reads a clock or draws a random number.
//! Wire numbers of Koji are converted at the edge ([`koji`]), never compared raw.

pub mod arch;
pub mod causes;
pub mod class;
pub(crate) mod counted;
pub mod id;
pub mod koji;
pub mod nearest;
pub mod nevra;
pub mod package;
pub mod per_collection;
pub mod secrets;
pub mod time;
pub mod weburl;

pub use class::{Class, Classified};
pub use id::{BuildId, Hub, Name, PersonId, RepoId, Seq, TagId, TaskId};
pub(crate) use nevra::rpmvercmp;
pub use nevra::{Evr, Nevra, Nvr};
pub use package::{BuildrootState, Outcome, PackageState, RebuildId};
pub use per_collection::PerCollection;
pub use time::Timestamp;

/// This program and its version, recorded with every decision and every snapshot.
pub const PROGRAM: &str = concat!("koschei ", env!("CARGO_PKG_VERSION"));
