//! On which architectures a package is rebuilt.
//!
//! Koji asks the source package (`BuildArch`, `ExclusiveArch`, `ExcludeArch`), we ask the person who set an override
//! and the settings of the collection, and what is left is sent as `arch_override`, as the tag that builds spells it:
//! kojid gives the names it is sent to mock as they are, and a package built for `i386` is not the one built for
//! `i686`.
//!
//! Source: Koschei 2.4, `koji_util.py` `get_srpm_arches`, itself after kojid's `getArchList`; `koji.canonArch`. Kept:
//! header tags are compared literally (macros are expanded in headers), the override and the settings by family; an
//! override without `^` replaces the list, `noarch` included. Changed on purpose: what the header rules out stays out
//! (rpm would refuse to build it), and an empty result says why instead of lowering the priority (D7).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fold::{Collection, Package};
use crate::model::Name;
pub use crate::model::arch::{NOARCH, canonical};

/// Most entries looked at in each list of architectures (RPM knows about a hundred names; `%{ix86}` and `%{arm}` expand
/// to ten each).
pub const MAX_ARCHES: usize = 128;

/// Why an architecture is not built on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The source package has `ExclusiveArch` and it is not in it.
    NotExclusive,
    /// The source package has it in `ExcludeArch`.
    Excluded,
    /// The source package has `BuildArch` and it is not in it.
    NotBuildArch,
}

impl DropReason {
    /// A clause that follows the name of the architecture.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotExclusive => "is not in ExclusiveArch",
            Self::Excluded => "is in ExcludeArch",
            Self::NotBuildArch => "is not in BuildArch",
        }
    }
}

/// Why a source package is not built on an architecture, by what its header says alone; `None`: it is. Neither a
/// failure nor a success, but none of its business. `arch` is spelled as in packages and in build tags (`i686`, not
/// `i386`): header tags are compared literally.
///
/// `noarch` among `exclusive_arch` or `build_archs` says what comes out, not where: a `noarch` package may be built
/// anywhere its other entries allow (kojid chooses its builder by the same two lists).
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

/// The architectures a rebuild would use, as the tag that builds spells them, each once, and whether any builder may
/// make the package instead: it is `noarch`, and no override takes that away. A package that was never resolved is left
/// to Koji (none), unless an override says which of the collection's architectures to take.
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
        // One of several names the tag has is meant as it is written.
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

/// Architectures that a package's override names and the tag that builds does not have, as far as its architectures are
/// known: those parts of it change nothing.
pub fn absent<'a>(collection: &Collection, package: &'a Package) -> Vec<&'a Name> {
    let Some(over) = package.arch_override.as_deref() else { return Vec::new() };
    let has = collection.known_arches();
    if has.is_empty() { Vec::new() } else { over.absent(&has) }
}

#[cfg(test)]
mod tests;
