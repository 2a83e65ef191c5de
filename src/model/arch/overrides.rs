//! Parses and checks a package's override: the architectures that a person sets instead of the
//! usual ones, or as exceptions from them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{canonical, is_known, nearest};
use crate::model::{Class, Classified, Name};

/// The architecture of packages that any builder can make.
pub const NOARCH: &str = "noarch";
/// Longest text of an override, in bytes.
pub const MAX_OVERRIDE_BYTES: usize = 1024;
/// Most architectures in an override.
pub const MAX_OVERRIDE_ARCHES: usize = 32;

/// Architectures that a person set for a package. Families are compared, so `i386` and `i686` are
/// the same. The build tag decides which of its names is sent. The override is written and stored
/// as text.
///
/// Source: Koschei 2.4, `koji_util.py` `get_srpm_arches`. Kept: an override without `^` replaces
/// the list, whatever the source package says, including `noarch`. Changed on purpose: an override
/// is checked when it is set, and `^` may stand before any word of an exclusion.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ArchOverride {
    /// Only these, whatever the source package says: `x86_64 aarch64`.
    Only(Vec<Name>),
    /// The architectures of the source package without these: `^s390x ppc64le`.
    Without(Vec<Name>),
}

/// An error for an override that cannot be accepted. Class: rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchOverrideError {
    /// The text names no architecture. An empty text is a mistake; to remove an override, remove
    /// it.
    #[error(
        "read architecture override: it names no architecture (write `x86_64 aarch64`, or `^s390x` for all but that)"
    )]
    Empty,
    /// The text is too long or names too many architectures.
    #[error(
        "read architecture override: it is longer than {MAX_OVERRIDE_BYTES} bytes or {MAX_OVERRIDE_ARCHES} \
            architectures"
    )]
    TooLong,
    /// A word has `^`, but the first one has not.
    #[error(
        "read architecture override: `{0}` excludes after architectures that replace; begin with `^` to exclude all \
            that follow, or use none"
    )]
    Mixed(String),
    /// A name is not that of an architecture.
    #[error("read architecture override: {0}")]
    Unknown(#[from] UnknownArch),
}

impl Classified for ArchOverrideError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

/// An error for a name that neither rpm nor Koji has for an architecture. Class: rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no architecture; {}", name.escape_debug(), meant(*nearest))]
pub struct UnknownArch {
    /// The unknown name.
    pub name: String,
    /// The name that was probably meant.
    pub nearest: Option<&'static str>,
}

fn meant(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "use a name of rpm's, such as `x86_64`, `aarch64`, `ppc64le`, `s390x`, `i686`, `riscv64`".to_owned(),
    }
}

impl Classified for UnknownArch {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

/// Checks that rpm or Koji has an architecture of this name, or that it is one of `tag_arches`.
///
/// # Errors
/// Returns [`UnknownArch`] (rejected), with the nearest known name, if there is no such
/// architecture.
pub fn check_name(name: &str, tag_arches: &[Name]) -> Result<(), UnknownArch> {
    if is_known(name) || tag_arches.iter().any(|t| t == name) {
        return Ok(());
    }
    let known = nearest(name).or_else(|| nearest(name.trim_matches(|c: char| !c.is_ascii_alphanumeric())));
    Err(UnknownArch { name: name.chars().take(64).collect(), nearest: known })
}

impl FromStr for ArchOverride {
    type Err = ArchOverrideError;

    /// Parses `a b`, `a, b`, `^a b`, `^ a b` or `^a ^b`. It does not check the names; see
    /// [`ArchOverride::check`].
    fn from_str(text: &str) -> Result<Self, ArchOverrideError> {
        if text.len() > MAX_OVERRIDE_BYTES {
            return Err(ArchOverrideError::TooLong);
        }
        let mut words = text.split([' ', '\t', ',', '\n', '\r']).filter(|w| !w.is_empty()).peekable();
        let excludes = words.peek().is_some_and(|first| first.starts_with('^'));
        let mut arches: Vec<Name> = Vec::new();
        for word in words {
            let arch = match word.strip_prefix('^') {
                Some(_) if !excludes => return Err(ArchOverrideError::Mixed(word.to_owned())),
                Some("") => continue,
                Some(rest) => rest,
                None => word,
            };
            // The name is checked later. A `^` inside it is rejected now, because the override
            // could not be parsed back.
            if arch.contains('^') {
                let unknown = UnknownArch { name: word.to_owned(), nearest: nearest(word.trim_matches('^')) };
                return Err(unknown.into());
            }
            if !arches.iter().any(|a| a == arch) {
                arches.push(arch.into());
            }
        }
        match arches.len() {
            0 => Err(ArchOverrideError::Empty),
            n if n > MAX_OVERRIDE_ARCHES => Err(ArchOverrideError::TooLong),
            _ if excludes => Ok(Self::Without(arches)),
            _ => Ok(Self::Only(arches)),
        }
    }
}

impl fmt::Display for ArchOverride {
    /// Writes `a b` or `^a ^b`. The text parses back to the same override.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if matches!(self, Self::Without(_)) { "^" } else { "" };
        for (i, arch) in self.arches().iter().enumerate() {
            write!(f, "{}{sign}{arch}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Serialize for ArchOverride {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ArchOverride {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl ArchOverride {
    /// Returns the names in it, as written.
    pub fn arches(&self) -> &[Name] {
        let (Self::Only(arches) | Self::Without(arches)) = self;
        arches
    }

    fn names(&self, arch: &str) -> bool {
        self.arches().iter().any(|a| canonical(a) == canonical(arch))
    }

    /// Returns whether the override includes an architecture, by any of its names. If the override
    /// is `noarch`, it includes all architectures, because any builder is enough.
    pub fn allows(&self, arch: &str) -> bool {
        match self {
            Self::Only(_) => self.names(arch) || self.names(NOARCH),
            Self::Without(_) => !self.names(arch),
        }
    }

    /// Returns whether a `noarch` package stays `noarch`. Any builder may then make it, and Koji
    /// chooses one.
    pub fn leaves_noarch(&self) -> bool {
        match self {
            Self::Only(_) => self.names(NOARCH),
            Self::Without(_) => !self.names(NOARCH),
        }
    }

    /// Checks that every name is an architecture: one of rpm's or Koji's, or one of `tag_arches`.
    /// It is called when an override is set, not when it is used, because a tag may lose an
    /// architecture later.
    ///
    /// # Errors
    /// Returns [`ArchOverrideError::Unknown`] (rejected) for the first name that is not an
    /// architecture.
    pub fn check(&self, tag_arches: &[Name]) -> Result<(), ArchOverrideError> {
        self.arches().iter().try_for_each(|arch| check_name(arch, tag_arches)).map_err(Into::into)
    }

    /// Returns the architectures in it that `tag_arches` does not have by any of their names. They
    /// have no effect.
    pub fn absent<'a>(&'a self, tag_arches: &[Name]) -> Vec<&'a Name> {
        let has = |arch: &Name| tag_arches.iter().any(|t| canonical(t) == canonical(arch));
        self.arches().iter().filter(|a| *a != NOARCH && !has(a)).collect()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(text: &str) -> ArchOverride {
        text.parse().unwrap()
    }

    #[rstest]
    #[case::t84("^x86_64", "^x86_64")]
    #[case::t83_commas("x86_64, i386", "x86_64 i386")]
    #[case::normalised("  ^i686   aarch64 i686 ", "^i686 ^aarch64")]
    #[case::caret_covers_all("^s390x ppc64le", "^s390x ^ppc64le")]
    #[case::caret_on_later("^s390x, ppc64le, ^i686", "^s390x ^ppc64le ^i686")]
    #[case::caret_alone("^ s390x ppc64le", "^s390x ^ppc64le")]
    fn reads_and_writes(#[case] text: &str, #[case] normal: &str) {
        let over = read(text);
        assert_eq!(over.to_string(), normal);
        assert_eq!(normal.parse(), Ok(over.clone()));
        assert_eq!(over.check(&[]), Ok(()));
        let json = serde_json::to_string(&over).unwrap();
        assert_eq!(json, format!("\"{normal}\""));
        assert_eq!(serde_json::from_str::<ArchOverride>(&json).unwrap(), over);
    }

    #[rstest]
    #[case("", ArchOverrideError::Empty)]
    #[case(" , ", ArchOverrideError::Empty)]
    #[case("^", ArchOverrideError::Empty)]
    #[case("^^x86_64", UnknownArch { name: "^^x86_64".into(), nearest: Some("x86_64") }.into())]
    #[case("x86_64 ^i386", ArchOverrideError::Mixed("^i386".into()))]
    fn cannot_be_read(#[case] text: &str, #[case] error: ArchOverrideError) {
        assert_eq!(text.parse::<ArchOverride>(), Err(error.clone()));
        assert_eq!(error.class(), Class::Rejected);
    }

    #[test]
    fn bounded() {
        assert_eq!("a ".repeat(600).parse::<ArchOverride>(), Err(ArchOverrideError::TooLong));
        let many: String = (0..33).map(|n| format!("a{n} ")).collect();
        assert_eq!(many.parse::<ArchOverride>(), Err(ArchOverrideError::TooLong));
    }

    #[rstest]
    #[case("^s390x ppc64le", "s390x ppc64le", "x86_64 aarch64 i386")]
    #[case("^i686", "i386 i686", "x86_64")]
    #[case("x86_64 aarch64", "s390x", "x86_64 aarch64")]
    #[case("i386", "x86_64", "i686 i386")]
    #[case("armv7hl", "x86_64", "armhfp")]
    #[case("noarch", "", "x86_64 s390x")]
    #[case("^noarch", "noarch", "x86_64")]
    fn leaves_in(#[case] text: &str, #[case] not: &str, #[case] these: &str) {
        let over = read(text);
        assert!(these.split_whitespace().all(|a| over.allows(a)), "{text} leaves {these} in");
        assert!(!not.split_whitespace().any(|a| over.allows(a)), "{text} leaves {not} out");
    }

    #[rstest]
    #[case("x86_64", false)]
    #[case("x86_64 noarch", true)]
    #[case("^x86_64", true)]
    #[case("^noarch", false)]
    fn and_noarch(#[case] text: &str, #[case] stays: bool) {
        assert_eq!(read(text).leaves_noarch(), stays);
    }

    /// T84: `asdf` is refused, unless the tag really has such an architecture.
    #[rstest]
    #[case("asdf", "", "`asdf` is no architecture; use a name of rpm's")]
    #[case("^asdf", "", "`asdf` is no architecture")]
    #[case("aarhc64", "", "`aarhc64` is no architecture; did you mean `aarch64`?")]
    #[case("x86_64, aarhc64", "", "did you mean `aarch64`?")]
    #[case("^s390x aarhc64", "", "did you mean `aarch64`?")]
    #[case("x86-64", "", "did you mean `x86_64`?")]
    #[case("src", "", "`src` is no architecture")]
    #[case("asdf", "asdf", "")]
    #[case("^i686 ^x86_64_v2", "", "")]
    #[case("riscv64 noarch armv7hl i586", "", "")]
    fn names_are_checked(#[case] text: &str, #[case] tag: &str, #[case] says: &str) {
        let tag: Vec<Name> = tag.split_whitespace().map(Name::from).collect();
        let said = read(text).check(&tag).map_or_else(|e| e.to_string(), |()| String::new());
        assert!(if says.is_empty() { said.is_empty() } else { said.contains(says) }, "{said}");
    }

    #[rstest]
    #[case("^s390x ppc64le", "x86_64 s390x", "ppc64le")]
    #[case("i386 noarch", "i686 x86_64", "")]
    #[case("armv7hl", "aarch64", "armv7hl")]
    fn what_a_tag_lacks(#[case] text: &str, #[case] tag: &str, #[case] absent: &str) {
        let tag: Vec<Name> = tag.split_whitespace().map(Name::from).collect();
        let over = read(text);
        assert_eq!(over.absent(&tag).into_iter().map(Name::as_str).collect::<Vec<_>>().join(" "), absent);
    }
}
