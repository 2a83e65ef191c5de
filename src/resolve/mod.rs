//! Buildroots: which packages a source package would be built with, and why not.
//!
//! [`Universe`] is one repository for one architecture: immutable, shared by threads. [`Resolver`] answers for one
//! source package after the other; each thread makes its own. [`changes`] compares two answers, [`Explainer`] says why
//! a package is in one, [`needers()`] who needs a capability, and [`first_causes`] which change of the repository took
//! an answer away.
//!
//! Nothing here reads files, a clock, or the network. The same universe, group, mode and BuildRequires give the same
//! answer in the same libsolv version; the order of packages in the repository is part of the question. Two solvers
//! stand behind the resolver: our own (`native`), exact and fast, and libsolv (`solv`) for what ours hands over and as
//! its measure.
//!
//! Verdicts and closures are those of libdnf with weak dependencies off (Koschei's and mock's resolver); see [`Mode`].

mod cause;
mod change;
mod distance;
mod error;
mod explain;
mod hidden;
mod isa;
mod kept_out;
mod member;
mod native;
mod need;
mod needers;
mod options;
mod priority;
mod problem;
mod resolver;
mod said;
mod solv;
mod universe;

pub use cause::{Culprit, Effect, FirstCause, Generation, Link, PackageChange, first_causes, group_by_cause};
pub use change::{Change, Installed, changes, changes_of_rest};
pub use distance::DISTANCE_MAX;
pub use error::ResolveError;
pub use explain::{Chain, Explainer, Origin, Step};
pub use isa::{BuildRequires, IsaProvides, for_arch};
pub use native::Handover;
pub use needers::{Needers, names, needers};
pub use options::ResolveOptions;
pub use priority::Priority;
pub use resolver::{GroupVerdict, Mode, Prepared, Resolution, Resolver, Solvers};
pub use universe::{PkgId, Universe};

pub use crate::repodata::{hub_build_requires, hub_requirement};

/// Names and versions of the solvers, such as `native 1, libsolv 0.7.23`; recorded with every resolution.
pub fn solver_version() -> String {
    format!("native {}, {}", native::VERSION, solv::version())
}
