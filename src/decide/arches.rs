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

/// The canonical name of an architecture, by which repositories and builders go: `i686` → `i386`, `armv7hl` → `armhfp`.
/// Unknown names are their own. Source: `koji.canonArch`.
pub fn canonical(arch: &str) -> &str {
    let bytes = arch.as_bytes();
    match bytes {
        [b'i', _, b'8', b'6'] | b"athlon" => "i386",
        b"ia32e" => "x86_64",
        b"ppc64le" => "ppc64le",
        _ if bytes.starts_with(b"ppc64") => "ppc64",
        _ if bytes.starts_with(b"sparc64") => "sparc64",
        _ if bytes.starts_with(b"sparc") => "sparc",
        _ if bytes.starts_with(b"alpha") => "alpha",
        _ if bytes.starts_with(b"arm") => {
            // `arm*h*`: an h anywhere behind the prefix means hardware floating point.
            if bytes.iter().skip(3).any(|&b| b == b'h') { "armhfp" } else { "arm" }
        }
        _ => arch,
    }
}

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
mod tests {
    use rstest::rstest;

    use super::*;

    /// The fixture of §6.9.
    const TAG: &str = "aarch64 armv7hl i686 ppc64 ppc64le s390x x86_64";
    const ALLOWED: &str = "i386 x86_64 armhfp";
    /// What `%{arm}` expands to in a header.
    const ARM: &str = "armv3l armv4b armv4l armv4tl armv5tel armv5tejl armv6l armv6hl armv7l armv7hl armv7hnl";

    fn names(text: &str) -> Vec<Name> {
        text.split_whitespace().map(Name::from).collect()
    }

    struct Header<'a> {
        build: &'a str,
        exclusive: &'a str,
        exclude: &'a str,
    }

    const PLAIN: Header<'_> = Header { build: "", exclusive: "", exclude: "" };

    fn set(tag: &str, header: &Header<'_>, over: &str, allowed: &str) -> ArchSet {
        let over = (!over.is_empty()).then(|| over.parse::<ArchOverride>().unwrap());
        arch_set(&ArchInputs {
            tag_arches: &names(tag),
            build_archs: &names(header.build),
            exclusive_arch: &names(header.exclusive),
            exclude_arch: &names(header.exclude),
            arch_override: over.as_ref(),
            build_arches: &names(allowed),
        })
    }

    #[rstest]
    #[case::t66_archful(PLAIN, ALLOWED, "armv7hl i686 x86_64")]
    #[case::t67_noarch(Header { build: "noarch", ..PLAIN }, ALLOWED, "noarch")]
    #[case::t68_exclusive(Header { exclusive: ARM, ..PLAIN }, ALLOWED, "armv7hl")]
    #[case::t69_exclude(Header { exclude: "armv7hl ppc64 ppc64le s390x aarch64", ..PLAIN }, ALLOWED, "i686 x86_64")]
    #[case::t71_all_allowed(PLAIN, "aarch64 armhfp i386 ppc64 ppc64le s390x x86_64", TAG)]
    #[case::empty_policy_is_all_of_the_tag(PLAIN, "", TAG)]
    #[case::exclusive_with_noarch(Header { exclusive: "x86_64 noarch", ..PLAIN }, ALLOWED, "x86_64 noarch")]
    #[case::noarch_excluded(Header { build: "noarch x86_64", exclude: "noarch", ..PLAIN }, ALLOWED, "x86_64")]
    #[case::noarch_on_some_builders(Header { build: "noarch", exclusive: "x86_64 noarch", ..PLAIN }, ALLOWED, "noarch")]
    #[case::literal_comparison(Header { exclusive: "i386", ..PLAIN }, ALLOWED, "")]
    #[case::repeated(Header { build: "x86_64 x86_64", ..PLAIN }, ALLOWED, "x86_64")]
    fn headers(#[case] header: Header<'_>, #[case] allowed: &str, #[case] expected: &str) {
        let got = set(TAG, &header, "", allowed);
        assert_eq!(got.arches, names(expected));
        assert_eq!(got.noarch, expected.contains("noarch"));
    }

    #[rstest]
    #[case::replaces("x86_64 aarch64", PLAIN, "x86_64")] // aarch64 is not in the policy
    #[case::replaces_in_own_order_t42("x86_64 armhfp", PLAIN, "x86_64 armhfp")]
    #[case::ignores_exclusive("x86_64", Header { exclusive: "s390x", ..PLAIN }, "x86_64")]
    #[case::ignores_exclude("x86_64", Header { exclude: "x86_64", ..PLAIN }, "x86_64")]
    #[case::archful_in_place_of_noarch("x86_64", Header { build: "noarch", ..PLAIN }, "x86_64")]
    #[case::excludes("^x86_64", PLAIN, "armv7hl i686")]
    #[case::excludes_canonically("^i386", PLAIN, "armv7hl x86_64")]
    #[case::caret_covers_all("^i386 armhfp", PLAIN, "x86_64")]
    #[case::caret_on_each("^i386 ^armhfp", PLAIN, "x86_64")]
    #[case::caret_on_later("^i386, armv7hl, ^s390x", PLAIN, "x86_64")]
    #[case::excludes_noarch("^noarch", Header { build: "noarch x86_64", ..PLAIN }, "x86_64")]
    fn overrides(#[case] over: &str, #[case] header: Header<'_>, #[case] expected: &str) {
        assert_eq!(set(TAG, &header, over, ALLOWED).arches, names(expected));
    }

    /// D7 not carried over: what leaves nothing says why.
    #[rstest]
    #[case::all_excluded("^x86_64 ^i686 ^armv7hl", PLAIN, "x86_64 is excluded by the override")]
    #[case::not_in_tag("riscv64", PLAIN, "riscv64 is not an arch of the build tag")]
    #[case::not_in_policy("s390x", PLAIN, "s390x is not in build_arches of the policy")]
    #[case::header("", Header { exclusive: "ia64", ..PLAIN }, "x86_64 is not in ExclusiveArch")]
    #[case::header_excludes("", Header { build: "x86_64", exclude: "x86_64", ..PLAIN }, "x86_64 is in ExcludeArch")]
    fn nothing_left_says_why(#[case] over: &str, #[case] header: Header<'_>, #[case] says: &str) {
        let got = set(TAG, &header, over, ALLOWED);
        assert_eq!((got.is_empty(), got.koji_option()), (true, None));
        let why = got.why_empty().unwrap();
        assert!(why.starts_with("no architecture to build on: ") && why.contains(says), "{why}");
    }

    #[test]
    fn tag_without_arches() {
        let got = set("", &PLAIN, "", "");
        assert_eq!(got.why_empty().unwrap(), "no architecture to build on: the build tag has none");
    }

    #[test]
    fn dropped_keep_their_spelling() {
        let got = set("i686 x86_64 s390x", &Header { exclude: "i686", ..PLAIN }, "", "x86_64");
        let dropped: Vec<_> = got.dropped.iter().map(|d| (d.arch.as_str(), d.reason)).collect();
        assert_eq!(dropped, [("i686", DropReason::Excluded), ("s390x", DropReason::NotInPolicy)]);
        assert_eq!(got.why_empty(), None);
    }

    /// What is sent to Koji.
    #[rstest]
    #[case::t38("x86_64", PLAIN, "", Some("x86_64"))]
    #[case::t40_noarch_maven(TAG, Header { build: "noarch", ..PLAIN }, "", None)]
    #[case::t42(TAG, PLAIN, "x86_64 armhfp", Some("x86_64 armhfp"))]
    #[case::original_spelling("i686 x86_64", PLAIN, "", Some("i686 x86_64"))]
    #[case::mixed_with_noarch(TAG, Header { exclusive: "x86_64 noarch", ..PLAIN }, "", None)]
    fn koji_option(#[case] tag: &str, #[case] header: Header<'_>, #[case] over: &str, #[case] sent: Option<&str>) {
        assert_eq!(set(tag, &header, over, ALLOWED).koji_option().as_deref(), sent);
    }

    #[rstest]
    #[case::t84("^x86_64", "^x86_64")]
    #[case::t83_commas("x86_64, i386", "x86_64 i386")]
    #[case::normalised("  ^i686   aarch64 i686 ", "^i686 ^aarch64")]
    fn override_reads_and_writes(#[case] text: &str, #[case] normal: &str) {
        let over: ArchOverride = text.parse().unwrap();
        assert_eq!(over.to_string(), normal);
        assert_eq!(normal.parse(), Ok(over.clone()));
        assert_eq!(over.check(&[]), Ok(()));
    }

    #[rstest]
    #[case("", ArchOverrideError::Empty)]
    #[case(" , ", ArchOverrideError::Empty)]
    #[case("^", ArchOverrideError::NotAName("^".into()))]
    #[case("^^x86_64", ArchOverrideError::NotAName("^^x86_64".into()))]
    #[case("x86-64", ArchOverrideError::NotAName("x86-64".into()))]
    #[case("x86_64 ^i386", ArchOverrideError::Mixed("^i386".into()))]
    fn bad_overrides(#[case] text: &str, #[case] error: ArchOverrideError) {
        assert_eq!(text.parse::<ArchOverride>(), Err(error.clone()));
        assert_eq!(error.class(), Class::Rejected);
    }

    #[test]
    fn override_is_bounded() {
        assert_eq!("a ".repeat(600).parse::<ArchOverride>(), Err(ArchOverrideError::TooLong));
        let many: String = (0..33).map(|n| format!("a{n} ")).collect();
        assert_eq!(many.parse::<ArchOverride>(), Err(ArchOverrideError::TooLong));
    }

    /// T84: `asdf` is refused, unless the tag really has such an arch.
    #[rstest]
    #[case("asdf", "", false)]
    #[case("x86_64 ^asdf", "", false)]
    #[case("^asdf", "", false)]
    #[case("asdf", "asdf", true)]
    #[case("^i686 ^x86_64_v2", "x86_64_v2", true)]
    #[case("riscv64 noarch armv7hl i586", "", true)]
    fn override_names_are_checked(#[case] text: &str, #[case] tag: &str, #[case] accepted: bool) {
        let result = text.parse::<ArchOverride>().and_then(|o| o.check(&names(tag)));
        assert_eq!(result.is_ok(), accepted, "{result:?}");
    }

    #[rstest]
    #[case("i386", "i386")]
    #[case("i586", "i386")]
    #[case("i686", "i386")]
    #[case("athlon", "i386")]
    #[case("ia32e", "x86_64")]
    #[case("x86_64", "x86_64")]
    #[case("ppc64le", "ppc64le")]
    #[case("ppc64p7", "ppc64")]
    #[case("ppc64", "ppc64")]
    #[case("ppc", "ppc")]
    #[case("sparc64v", "sparc64")]
    #[case("sparcv9", "sparc")]
    #[case("alphaev6", "alpha")]
    #[case("armv7hl", "armhfp")]
    #[case("armhfp", "armhfp")]
    #[case("armv5tel", "arm")]
    #[case("aarch64", "aarch64")]
    #[case("noarch", "noarch")]
    #[case("", "")]
    fn canonical_names(#[case] arch: &str, #[case] expected: &str) {
        assert_eq!(canonical(arch), expected);
    }
}
