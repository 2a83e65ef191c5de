//! The Koji hub: its XML-RPC dialect, and an archive of what a hub once said.
//!
//! [`xmlrpc`] is the dialect, both directions. [`archive`] is a directory beside a recording that stands in for the hub:
//! repositories, build requirements and recorded answers. [`files`] fetches what a hub has as plain files into such a directory.

pub mod answers;
pub mod archive;
pub mod buildrequires;
pub mod calls;
pub mod files;
pub mod records;
pub mod shape;
pub mod xmlrpc;

pub use archive::{Archive, ArchiveError, ArchivedRepo};
pub use buildrequires::{NothingKnown, SourcePackage, SourcePackages, SourcesError};
