//! Resolves buildroots: which packages a source package would be built with, or why it cannot be
//! built.
//!
//! * [`Universe`] is one repository for one architecture. It is immutable and shared by threads.
//! * [`Resolver`] answers for one source package after the other. Each thread makes its own.
//! * [`changes`] compares two answers.
//! * [`Explainer`] says why a package is in an answer.
//! * [`needers()`] finds the packages that need a capability.
//! * [`first_causes`] finds the change of the repository that made a source package unresolvable.
//!
//! Nothing here reads files, a clock, or the network. The same universe, group, mode and
//! BuildRequires give the same answer with the same libsolv version. The order of packages in the
//! repository is part of the input.
//!
//! The resolver uses two solvers. Our own (`native`) is exact and fast. libsolv (`solv`) answers
//! the questions that ours hands over. We also check ours against libsolv.
//!
//! Verdicts and closures are those of libdnf with weak dependencies off, the resolver of Koschei
//! and mock; see [`Mode`].

mod cause;
mod change;
mod distance;
mod error;
mod hidden;
mod isa;
mod member;
mod mode;
mod native;
mod need;
mod options;
mod overlap;
mod priority;
mod resolver;
mod said;
mod sig;
mod solv;
mod universe;

pub(crate) use cause::text as cause_text;
pub use cause::{Culprit, Effect, FirstCause, Generation, Link, PackageChange, first_causes, group_by_cause};
pub use change::{Change, Installed, changes, changes_of_rest};
pub use distance::DISTANCE_MAX;
pub use error::ResolveError;
pub use isa::{BuildRequires, IsaProvides, for_arch};
pub use mode::{Mode, Solvers};
pub use native::{Again, Handover};
pub use options::ResolveOptions;
pub use priority::Priority;
pub use resolver::answers::{Answers, Work};
pub use resolver::earlier::{AnswerId, Earlier};
pub use resolver::explain::{Chain, Explainer, Origin, Step};
pub use resolver::needers::{Needers, names, needers};
pub use resolver::{GroupVerdict, Prepared, Resolution, Resolver};
pub use universe::{PkgId, Universe};

pub use crate::repodata::{hub_build_requires, hub_requirement};

/// Returns names and versions of the solvers, such as `native 1, libsolv 0.7.23`. They are recorded
/// with every resolution.
pub fn solver_version() -> String {
    format!("native {}, {}", native::VERSION, solv::version())
}
