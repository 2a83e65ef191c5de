//! Buildroots: which packages a source package would be built with, and why not.
//!
//! [`Universe`] is one repository for one architecture: immutable, shared by threads. [`Resolver`] answers for one source
//! package after the other; each thread makes its own. [`changes`] compares two answers.
//!
//! Nothing here reads files, a clock, or the network. The same universe, group, mode and BuildRequires give the same answer in
//! the same libsolv version; the order of packages in the repository is part of the question. Two solvers stand
//! behind the resolver: our own (`native`), exact and fast, and libsolv (`solv`) for what ours hands over and as its measure.
//!
//! Verdicts and closures are those of libdnf with weak dependencies off (Koschei's and mock's resolver); see [`Mode`].

mod change;
mod distance;
mod error;
mod isa;
mod native;
mod priority;
mod resolver;
mod solv;
mod universe;

pub use change::{Change, Installed, changes};
pub use distance::DISTANCE_MAX;
pub use error::ResolveError;
pub use isa::{BuildRequires, IsaProvides, for_arch};
pub use native::Handover;
pub use priority::Priority;
pub use resolver::{GroupVerdict, Mode, Prepared, Resolution, Resolver, Solvers};
pub use universe::{PkgId, Universe};

pub use crate::repodata::{hub_build_requires, hub_requirement};

/// Names and versions of the solvers, such as `native 1, libsolv 0.7.23`; recorded with every resolution.
pub fn solver_version() -> String {
    format!("native {}, {}", native::VERSION, solv::version())
}
