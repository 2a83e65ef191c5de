//! On which architectures a package is rebuilt.
//!
//! Koji asks the source package (`BuildArch`, `ExclusiveArch`, `ExcludeArch`), we ask the person who set an override and the policy,
//! and what is left is sent as `arch_override`. Everything that falls away leaves a reason behind.
//!
//! Source: Koschei 2.4, `koji_util.py` `get_srpm_arches`, itself after kojid's `getArchList`; `koji.canonArch`.
//! Kept: header tags are compared literally (macros are expanded in headers), the override and the policy canonically; an override
//! without `^` replaces the list and ignores the header. Changed on purpose: an override is checked when it is set, `^` may stand
//! at any token of an exclusion, mixed forms are refused, and an empty result says why instead of lowering the priority (D7).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::model::arch::canonical;
use crate::model::{Class, Classified, Name};

/// The word for packages any builder can make.
pub const NOARCH: &str = "noarch";
/// Most entries looked at in each list of architectures (RPM knows about a hundred names; `%{ix86}` and `%{arm}` expand to ten each).
pub const MAX_ARCHES: usize = 128;
/// Longest text of an override, in bytes.
pub const MAX_OVERRIDE_BYTES: usize = 1024;
/// Most architectures in an override.
pub const MAX_OVERRIDE_ARCHES: usize = 32;

/// Canonical names of the architectures a hub may have; those of the tag at hand are known besides.
const KNOWN_CANONICAL: [&str; 18] = [
    "aarch64",
    "alpha",
    "arm",
    "armhfp",
    "i386",
    "ia64",
    "loongarch64",
    NOARCH,
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv64",
    "s390",
    "s390x",
    "sh4",
    "sparc",
    "sparc64",
    "x86_64",
];

/// What a person set for a package in place of, or as exceptions from, what the source package says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchOverride {
    /// These, whatever the source package says: `x86_64 aarch64`.
    Only(#[schemars(with = "Vec<String>")] Vec<Name>),
    /// What the source package says, but not these: `^i686`.
    Without(#[schemars(with = "Vec<String>")] Vec<Name>),
}

/// An override that cannot be accepted. Class: rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchOverrideError {
    /// No architecture in it. To remove an override, remove it; an empty one is a slip.
    #[error("read architecture override: it names no architecture (write `x86_64 aarch64` or `^i686`)")]
    Empty,
    /// Too much of it.
    #[error(
        "read architecture override: it is longer than {MAX_OVERRIDE_BYTES} bytes or {MAX_OVERRIDE_ARCHES} architectures"
    )]
    TooLong,
    /// Some with `^`, and the first one without.
    #[error("read architecture override: `{0}` excludes after architectures that replace; begin with `^`, or use none")]
    Mixed(String),
    /// Something that cannot be the name of an architecture.
    #[error("read architecture override: `{0}` is not the name of an architecture")]
    NotAName(String),
    /// A well-formed name nobody has heard of.
    #[error("read architecture override: `{arch}` is no architecture known here (known: {known})")]
    Unknown {
        /// What was asked for.
        arch: String,
        /// What could have been, separated by spaces.
        known: String,
    },
}

impl Classified for ArchOverrideError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl FromStr for ArchOverride {
    type Err = ArchOverrideError;

    /// Reads `a b`, `a, b`, `^a b` or `^a ^b`. Names are checked for their form only; see [`ArchOverride::check`].
    fn from_str(text: &str) -> Result<Self, ArchOverrideError> {
        if text.len() > MAX_OVERRIDE_BYTES {
            return Err(ArchOverrideError::TooLong);
        }
        let mut tokens = text.split([' ', '\t', ',', '\n']).filter(|t| !t.is_empty()).peekable();
        let Some(first) = tokens.peek() else { return Err(ArchOverrideError::Empty) };
        let excludes = first.starts_with('^');
        let mut arches: Vec<Name> = Vec::new();
        for token in tokens {
            let arch = match token.strip_prefix('^') {
                Some(_) if !excludes => return Err(ArchOverrideError::Mixed(token.to_owned())),
                Some(rest) => rest,
                None => token,
            };
            if arch.is_empty() || !arch.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(ArchOverrideError::NotAName(token.to_owned()));
            }
            push_once(&mut arches, arch.into());
        }
        if arches.len() > MAX_OVERRIDE_ARCHES {
            return Err(ArchOverrideError::TooLong);
        }
        Ok(if excludes { Self::Without(arches) } else { Self::Only(arches) })
    }
}

impl fmt::Display for ArchOverride {
    /// `a b` or `^a ^b`; reads back as the same override.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, arches) = match self {
            Self::Only(arches) => ("", arches),
            Self::Without(arches) => ("^", arches),
        };
        for (i, arch) in arches.iter().enumerate() {
            write!(f, "{}{sign}{arch}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl ArchOverride {
    /// Checks that every name is an architecture: one Koji has builders for anywhere, or one of `tag_arches`.
    /// Called when an override is set, not when it is used: a tag may lose an architecture later.
    ///
    /// # Errors
    /// [`ArchOverrideError::Unknown`] (rejected) for the first name that is none.
    pub fn check(&self, tag_arches: &[Name]) -> Result<(), ArchOverrideError> {
        let (Self::Only(arches) | Self::Without(arches)) = self;
        for arch in arches {
            let name = canonical(arch);
            if !KNOWN_CANONICAL.contains(&name) && !tag_arches.iter().any(|t| canonical(t) == name) {
                let mut known: Vec<&str> = KNOWN_CANONICAL.to_vec();
                known.extend(tag_arches.iter().map(|a| canonical(a)).filter(|a| !KNOWN_CANONICAL.contains(a)));
                return Err(ArchOverrideError::Unknown { arch: arch.to_string(), known: known.join(" ") });
            }
        }
        Ok(())
    }
}

/// What the set of architectures is computed from. At most [`MAX_ARCHES`] entries of each list are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArchInputs<'a> {
    /// Arches of the build tag, as configured there.
    pub tag_arches: &'a [Name],
    /// `BUILDARCHS` of the source package's header; empty when the spec has no `BuildArch`.
    pub build_archs: &'a [Name],
    /// `EXCLUSIVEARCH` of the header; empty when absent.
    pub exclusive_arch: &'a [Name],
    /// `EXCLUDEARCH` of the header; empty when absent.
    pub exclude_arch: &'a [Name],
    /// What a person set for the package.
    pub arch_override: Option<&'a ArchOverride>,
    /// What the policy allows; empty means everything the tag has.
    pub build_arches: &'a [Name],
}

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
    /// The override excludes it.
    OverrideExcludes,
    /// The override lists others.
    OverrideReplaces,
    /// The build tag does not have it.
    NotInTag,
    /// The policy's `build_arches` do not have it.
    NotInPolicy,
}

impl DropReason {
    /// A clause that follows the name of the architecture.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotExclusive => "is not in ExclusiveArch",
            Self::Excluded => "is in ExcludeArch",
            Self::NotBuildArch => "is not in BuildArch",
            Self::OverrideExcludes => "is excluded by the override",
            Self::OverrideReplaces => "is not in the override",
            Self::NotInTag => "is not an arch of the build tag",
            Self::NotInPolicy => "is not in build_arches of the policy",
        }
    }
}

/// An architecture that fell away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// In its original spelling.
    #[schemars(with = "String")]
    pub arch: Name,
    /// Why.
    pub reason: DropReason,
}

/// The architectures a package is rebuilt on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ArchSet {
    /// In their original spelling and order, each once; `noarch` comes last unless the override places it.
    #[schemars(with = "Vec<String>")]
    pub arches: Vec<Name>,
    /// Whether `noarch` is among them: then any builder will do, and Koji decides.
    pub noarch: bool,
    /// What fell away, in the order in which it did.
    pub dropped: Vec<Dropped>,
}

impl ArchSet {
    /// Whether there is nothing to build on, so that the package cannot be rebuilt.
    pub fn is_empty(&self) -> bool {
        self.arches.is_empty()
    }

    /// The value of Koji's option `arch_override`: space separated, `None` when it must not be sent (noarch, or nothing to build on).
    pub fn koji_option(&self) -> Option<String> {
        (!self.noarch && !self.is_empty()).then(|| self.arches.join(" "))
    }

    /// One line that says where all the architectures went; `None` when some are left.
    pub fn why_empty(&self) -> Option<String> {
        if !self.is_empty() {
            return None;
        }
        if self.dropped.is_empty() {
            return Some("no architecture to build on: the build tag has none".to_owned());
        }
        let clauses: Vec<String> = self.dropped.iter().map(|d| format!("{} {}", d.arch, d.reason.as_str())).collect();
        Some(format!("no architecture to build on: {}", clauses.join(", ")))
    }
}

/// Why a source package is not built on an architecture, by what its header says alone; `None`: it is. Neither a failure nor a
/// success, but none of its business. `arch` is spelled as in packages and in build tags (`i686`, not `i386`): header tags are
/// compared literally.
///
/// `noarch` among `exclusive_arch` or `build_archs` says what comes out, not where: a `noarch` package may be built anywhere its other
/// entries allow (kojid chooses its builder by the same two lists).
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

/// The architectures a package is rebuilt on, and why not on the others. Cost: product of the lengths of two lists.
pub fn arch_set(inputs: &ArchInputs<'_>) -> ArchSet {
    let mut dropped = Vec::new();
    let from_header = header_arches(inputs, &mut dropped);
    let wanted = apply_override(from_header, inputs.arch_override, &mut dropped);

    let has = |list: &[Name], arch: &str| list.iter().take(MAX_ARCHES).any(|a| canonical(a) == canonical(arch));
    let mut set = ArchSet { dropped, ..ArchSet::default() };
    for arch in wanted {
        let reason = if arch == NOARCH {
            None
        } else if !has(inputs.tag_arches, &arch) {
            Some(DropReason::NotInTag)
        } else if !inputs.build_arches.is_empty() && !has(inputs.build_arches, &arch) {
            Some(DropReason::NotInPolicy)
        } else {
            None
        };
        match reason {
            Some(reason) => set.dropped.push(Dropped { arch, reason }),
            None => set.arches.push(arch),
        }
    }
    set.noarch = set.arches.iter().any(|a| a == NOARCH);
    set
}

/// What the header makes of the tag's arches, as kojid does it: literal comparison, `noarch` if it is asked for.
fn header_arches(inputs: &ArchInputs<'_>, dropped: &mut Vec<Dropped>) -> Vec<Name> {
    let contains = |list: &[Name], arch: &str| list.iter().take(MAX_ARCHES).any(|a| a == arch);
    let start = if inputs.build_archs.is_empty() { inputs.tag_arches } else { inputs.build_archs };
    let mut arches = Vec::new();
    for arch in start.iter().take(MAX_ARCHES).filter(|a| *a != NOARCH) {
        if !inputs.exclusive_arch.is_empty() && !contains(inputs.exclusive_arch, arch) {
            dropped.push(Dropped { arch: arch.clone(), reason: DropReason::NotExclusive });
        } else if contains(inputs.exclude_arch, arch) {
            dropped.push(Dropped { arch: arch.clone(), reason: DropReason::Excluded });
        } else {
            push_once(&mut arches, arch.clone());
        }
    }
    if contains(inputs.build_archs, NOARCH) || contains(inputs.exclusive_arch, NOARCH) {
        let arch = Name::new_static(NOARCH);
        if contains(inputs.exclude_arch, NOARCH) {
            dropped.push(Dropped { arch, reason: DropReason::Excluded });
        } else {
            arches.push(arch);
        }
    }
    arches
}

fn apply_override(arches: Vec<Name>, set: Option<&ArchOverride>, dropped: &mut Vec<Dropped>) -> Vec<Name> {
    match set {
        None => arches,
        Some(ArchOverride::Only(only)) => {
            let gone = arches.into_iter().filter(|a| !only.iter().any(|o| canonical(o) == canonical(a)));
            dropped.extend(gone.map(|arch| Dropped { arch, reason: DropReason::OverrideReplaces }));
            only.iter().take(MAX_ARCHES).cloned().collect()
        }
        Some(ArchOverride::Without(without)) => {
            let (gone, kept): (Vec<_>, Vec<_>) =
                arches.into_iter().partition(|a| without.iter().any(|w| canonical(w) == canonical(a)));
            dropped.extend(gone.into_iter().map(|arch| Dropped { arch, reason: DropReason::OverrideExcludes }));
            kept
        }
    }
}

fn push_once(list: &mut Vec<Name>, arch: Name) {
    if !list.contains(&arch) {
        list.push(arch);
    }
}

#[cfg(test)]
mod tests;
