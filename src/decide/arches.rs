//! Decides on which architectures a package is rebuilt.
//!
//! The source package limits them (`BuildArch`, `ExclusiveArch`, `ExcludeArch`), and so do a user's
//! override and the settings of the collection. The remaining ones are sent as `arch_override`,
//! spelled as in the build tag. The spelling matters: kojid passes these names to mock unchanged,
//! and a package built for `i386` differs from one built for `i686`.
//!
//! Source: Koschei 2.4, `koji_util.py` `get_srpm_arches`, itself after kojid's `getArchList`, and
//! `koji.canonArch`. Kept from Koschei:
//!
//! - Header tags are compared literally, because macros are expanded in headers.
//! - The override and the settings are compared by family.
//! - An override without `^` replaces the list, including `noarch`.
//!
//! Changed on purpose: an architecture that the header rules out stays out, because rpm would
//! refuse to build it. An empty result says why, instead of lowering the priority (D7).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fold::{Collection, Package};
use crate::model::Name;
pub use crate::model::arch::{NOARCH, canonical};

/// Most entries examined in each list of architectures. RPM knows about a hundred names, and
/// `%{ix86}` and `%{arm}` expand to ten each.
pub const MAX_ARCHES: usize = 128;

/// The reason why a package is not built on an architecture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The source package has `ExclusiveArch`, and the architecture is not in it.
    NotExclusive,
    /// The source package has the architecture in `ExcludeArch`.
    Excluded,
    /// The source package has `BuildArch`, and the architecture is not in it.
    NotBuildArch,
}

impl DropReason {
    /// Returns a clause that follows the name of the architecture.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotExclusive => "is not in ExclusiveArch",
            Self::Excluded => "is in ExcludeArch",
            Self::NotBuildArch => "is not in BuildArch",
        }
    }
}

/// Returns why a source package's header excludes an architecture, or `None` if it does not. An
/// excluded architecture counts neither as a failure nor as a success. `arch` is spelled as in
/// packages and build tags (`i686`, not `i386`), because header tags are compared literally.
///
/// `noarch` among `exclusive_arch` or `build_archs` describes the result, not the builder. A
/// `noarch` package may be built anywhere its other entries allow (kojid chooses its builder by the
/// same two lists).
pub fn not_built_on(
    arch: &str,
    build_archs: &[Name],
    exclusive_arch: &[Name],
    exclude_arch: &[Name],
) -> Option<DropReason> {
    let named = |list: &[Name], arch: &str| list.iter().take(MAX_ARCHES).any(|a| a == arch);
    let limits = exclusive_arch.iter().any(|a| a != NOARCH);
    if !build_archs.is_empty() && !named(build_archs, NOARCH) && !named(build_archs, arch) {
        Some(DropReason::NotBuildArch)
    } else if limits && !named(exclusive_arch, arch) {
        Some(DropReason::NotExclusive)
    } else if named(exclude_arch, arch) {
        Some(DropReason::Excluded)
    } else {
        None
    }
}

/// Returns the architectures that a rebuild would use, and whether a single builder of any of them
/// is enough. The names are spelled as in the build tag, each once. Any builder is enough if the
/// package is `noarch` and no override says otherwise. A package that was never resolved is left to
/// Koji (no architectures), unless an override selects some of the collection's architectures.
pub fn build_arches(collection: &Collection, package: &Package) -> (Vec<Name>, bool) {
    let over = package.arch_override.as_deref();
    let mut noarch = false;
    let mut families: Vec<Name> = Vec::new();
    if let Some(over) = over.filter(|_| package.verdicts.is_empty()) {
        let allowed = |a: &Name| collection.allowed().has(a) && over.allows(a);
        families = collection.known_arches();
        families.retain(allowed);
    } else {
        for v in package.verdicts_in_use(collection.allowed()).filter(|v| v.ok.is_some()) {
            noarch |= v.noarch;
            families.push(v.arch.clone());
        }
    }
    let mut arches: Vec<Name> = Vec::new();
    for family in families {
        let mut names = collection.spelled(&family);
        // If the tag has several names of a family and the override lists one of them, only the
        // listed name is meant.
        if let Some(over) = over.filter(|o| o.allows(&family))
            && names.iter().any(|n| over.arches().contains(n))
        {
            names.retain(|n| over.arches().contains(n));
        }
        names.retain(|n| !arches.contains(n));
        arches.extend(names);
    }
    (arches, noarch && over.is_none_or(|o| o.leaves_noarch()))
}

/// Returns the architectures that a package's override names but the build tag does not have. Those
/// parts of the override have no effect. Returns none while the tag's architectures are not known.
pub fn absent<'a>(collection: &Collection, package: &'a Package) -> Vec<&'a Name> {
    let Some(over) = package.arch_override.as_deref() else { return Vec::new() };
    let has = collection.known_arches();
    if has.is_empty() { Vec::new() } else { over.absent(&has) }
}

#[cfg(test)]
mod tests;
