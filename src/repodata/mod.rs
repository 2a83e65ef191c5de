//! Reads rpm-md repositories: `repomd.xml`, primary, file lists on demand, and comps. Also reads
//! the files that Koji puts beside them, and the headers of source packages.
//!
//! The room has two layers:
//! * The *parsers* ([`Repomd::parse`], [`primary::parse`], [`filelists::parse`], [`Groups::parse`],
//!   [`koji::parse_pkglist`] …) read from any `impl BufRead`. They do no input or output of their
//!   own.
//! * The *loader* ([`RepoDir`]) opens files. Only it and [`SourceHeader::load`] do so. It verifies
//!   every checksum before it parses a byte.
//!
//! Nothing here resolves dependencies, downloads, or reads a clock. The readers keep the order of
//! their input. The packages of a [`RepoContent`] are in the order of `primary.xml`, because
//! libsolv's choices depend on it and mock's libsolv sees that order.
//!
//! An error in a single package does not stop the reader: it skips the faulty part and counts it
//! ([`Oddity`]). An error in the document as a whole makes the read fail.
//!
//! Every input has a bound ([`Limits`]). An input that exceeds a bound fails with an error that
//! names the bound. The XML reader refuses a document type with declarations of its own and never
//! fetches an external one, so there are no entities to expand.

mod checksum;
mod compression;
pub mod comps;
mod content;
mod cursor;
mod dependency;
mod dir;
mod encoding;
mod entries;
mod error;
pub mod filelists;
mod known;
pub mod koji;
mod limits;
mod modules;
mod oddity;
pub mod pieces;
pub mod primary;
mod repomd;
mod rich;
mod scan;
mod sense;
mod source_package;
pub mod srpm;
mod xml;

pub use checksum::{Checksum, ChecksumKind, Digester};
pub use compression::Compression;
pub use comps::{Groups, Member, MemberKind};
pub use content::{DepId, Package, RepoContent, Requirement};
pub use dependency::{DepEvr, Dependency, DependencyError, Op, Relation};
pub use dir::{
    RepoDir, beyond_primary, complete_merged, load_arches, load_build_names, load_builds, load_groups, load_merged,
    load_repo_info,
};
pub use error::RepodataError;
pub use known::KnownPackages;
pub use limits::Limits;
pub use modules::{ModuleFilter, Modules};
pub use oddity::{Oddities, Oddity};
pub use repomd::{Metadata, Repomd};
pub use rich::{RICH_CLAUSES_MAX, RICH_DEPTH_MAX, RICH_TERMS_MAX, RICH_TREE_MAX, Rich, RichOp};
pub use sense::{hub_build_requires, hub_requirement};
pub use source_package::SourcePackage;
pub use srpm::{SourceHeader, SrpmError};
