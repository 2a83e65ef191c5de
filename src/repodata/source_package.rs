//! What a source package needs to be built, and where it may be built.

use crate::model::{Name, Nvr};

/// A source package and what it needs to be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourcePackage {
    /// Name, version, release.
    pub nvr: Nvr,
    /// Epoch, where there is one.
    pub epoch: Option<u32>,
    /// Build requirements as text: `name`, `name op evr`, a path, or a rich requirement.
    pub requires: Vec<String>,
    /// BuildConflicts, in the same form; `None` where nobody looked, as in lines written before they counted.
    pub conflicts: Option<Vec<String>>,
    /// `BuildArch` of the specification; `noarch` alone makes it a noarch package.
    pub buildarchs: Vec<Name>,
    /// `ExclusiveArch`; empty: no limit.
    pub exclusivearch: Vec<Name>,
    /// `ExcludeArch`.
    pub excludearch: Vec<Name>,
    /// The architecture it was made on, where the source says so: requirements that name an architecture name this one.
    pub made_on: Option<Name>,
}
