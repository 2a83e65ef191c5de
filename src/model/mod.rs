//! Basic types that all other modules use: identifiers, versions, Koji's states, package states.
//!
//! Nothing here does input or output, reads a clock or draws a random number. Koji's wire numbers
//! are converted where data enters the program ([`koji`]) and never compared raw.

pub mod address;
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

/// Name and version of this program, recorded with every decision and every snapshot.
pub const PROGRAM: &str = concat!("koschei ", env!("CARGO_PKG_VERSION"));
