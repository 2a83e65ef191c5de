//! What a source package needs to be built, and on which architectures it may be built.

use crate::model::{Name, Nvr};

/// A source package and what it needs to be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourcePackage {
    /// Name, version, release.
    pub nvr: Nvr,
    /// Epoch, if there is one.
    pub epoch: Option<u32>,
    /// Build requirements as text: `name`, `name op evr`, a path, or a rich requirement.
    pub requires: Vec<String>,
    /// BuildConflicts, in the same form. `None` if they were not looked for, as in records from
    /// before they counted.
    pub conflicts: Option<Vec<String>>,
    /// `BuildArch` of the spec file. If it is `noarch` alone, the package is a noarch package.
    pub buildarchs: Vec<Name>,
    /// `ExclusiveArch`. Empty means no limit.
    pub exclusivearch: Vec<Name>,
    /// `ExcludeArch`.
    pub excludearch: Vec<Name>,
    /// The architecture the source package was made on, if the source says so. If a requirement
    /// names an architecture, it names this one.
    pub made_on: Option<Name>,
}
