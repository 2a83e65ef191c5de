//! rpm-md repositories: `repomd.xml`, primary, file lists on demand, comps; what Koji puts beside them; headers of
//! source packages.
//!
//! Two layers. The *parsers* ([`Repomd::parse`], [`primary::parse`], [`filelists::parse`], [`Groups::parse`],
//! [`koji::parse_pkglist`] …) read from any `impl BufRead` and do no input or output of their own. The *loader*
//! ([`RepoDir`]) is the only part that opens files, beside [`SourceHeader::load`]; it verifies every checksum before a
//! byte is parsed.
//!
//! Nothing here resolves dependencies, downloads, or reads a clock. Order is kept everywhere: the packages of a
//! [`RepoContent`] stand in the order of `primary.xml`, because libsolv's choices depend on it and mock's libsolv sees
//! that order.
//!
//! What one package says wrongly is passed over and counted ([`Oddity`]); what the whole document says wrongly is an
//! error.
//!
//! Every input has a bound ([`Limits`]); reaching one is an error that names it. A document type that
//! declares anything is refused, and none is ever fetched, so there are no entities to expand.

mod checksum;
mod chunks;
mod compression;
pub mod comps;
mod content;
mod dependency;
mod dir;
mod encoding;
mod error;
pub mod filelists;
pub mod koji;
mod limits;
mod modules;
mod oddity;
pub mod primary;
mod repomd;
mod rich;
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
pub use limits::Limits;
pub use modules::{ModuleFilter, Modules};
pub use oddity::{Oddities, Oddity};
pub use repomd::{Metadata, Repomd};
pub use rich::{RICH_CLAUSES_MAX, RICH_DEPTH_MAX, RICH_TERMS_MAX, RICH_TREE_MAX, Rich, RichOp};
pub use sense::{hub_build_requires, hub_requirement};
pub use source_package::SourcePackage;
pub use srpm::{SourceHeader, SrpmError};
