//! The Koji hub: its XML-RPC dialect, and an archive of what a hub once said.
//!
//! [`xmlrpc`] decodes answers and recorded requests. [`archive`] is a directory beside a recording that stands in for the hub:
//! repositories, build requirements and recorded answers. [`files`] fetches what a hub has as plain files into such a directory.

pub mod answers;
pub mod archive;
pub mod buildrequires;
pub mod files;
pub mod xmlrpc;

pub use archive::{Archive, ArchiveError, ArchivedRepo};
pub use buildrequires::{NothingKnown, SourcePackage, SourcePackages, SourcesError};
