//! A single dependency: a name, optionally with a relation to a version; a file path; or a rich
//! dependency.

use std::fmt;

use smol_str::SmolStr;

use crate::model::Evr;

/// Comparison operators: `<`, `=`, `>` and their combinations. libsolv has them as bits: 1 greater,
/// 2 equal, 4 less (`REL_GT`, `REL_EQ`, `REL_LT`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Op {
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `=`
    Eq,
    /// `>=`
    Ge,
    /// `>`
    Gt,
}

impl Op {
    /// Parses rpm's notation. Accepts `=<`, `=>` and `==` too, as rpm's parser does.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "<" => Self::Lt,
            "<=" | "=<" => Self::Le,
            "=" | "==" => Self::Eq,
            ">=" | "=>" => Self::Ge,
            ">" => Self::Gt,
            _ => return None,
        })
    }

    /// Parses the notation of `createrepo_c`: `LT`, `LE`, `EQ`, `GE`, `GT`.
    pub fn parse_rpmmd(text: &str) -> Option<Self> {
        Some(match text {
            "LT" => Self::Lt,
            "LE" => Self::Le,
            "EQ" => Self::Eq,
            "GE" => Self::Ge,
            "GT" => Self::Gt,
            _ => return None,
        })
    }

    /// Returns rpm's notation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Eq => "=",
            Self::Ge => ">=",
            Self::Gt => ">",
        }
    }
}

/// The version in a relation. A missing epoch or release does not count in a comparison. Equality
/// compares the text, unlike that of [`Evr`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DepEvr {
    /// Epoch. We store an epoch of 0 as missing: rpm and libsolv's reader of primary treat both
    /// alike.
    pub epoch: Option<u32>,
    /// Upstream version.
    pub version: SmolStr,
    /// Release. If it is missing, any release matches.
    pub release: Option<SmolStr>,
}

impl DepEvr {
    /// Parses `[epoch:]version[-release]`.
    pub fn parse(text: &str) -> Result<Self, DependencyError> {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (Some(epoch), rest),
            None => (None, text),
        };
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release)),
            None => (rest, None),
        };
        Self::new(epoch, version, release)
    }

    /// Builds the version from the text of its parts. An empty epoch or release counts as missing.
    pub fn new(epoch: Option<&str>, version: &str, release: Option<&str>) -> Result<Self, DependencyError> {
        let epoch = match epoch {
            None | Some("" | "0") => None,
            Some(text) => match text.parse::<u32>() {
                Ok(0) => None,
                Ok(number) => Some(number),
                Err(_) => return Err(DependencyError::Epoch { epoch: text.to_owned() }),
            },
        };
        Ok(Self { epoch, version: version.into(), release: release.filter(|r| !r.is_empty()).map(SmolStr::new) })
    }
}

impl fmt::Display for DepEvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(epoch) = self.epoch {
            write!(f, "{epoch}:")?;
        }
        f.write_str(&self.version)?;
        if let Some(release) = &self.release {
            write!(f, "-{release}")?;
        }
        Ok(())
    }
}

impl From<&Evr> for DepEvr {
    fn from(evr: &Evr) -> Self {
        let release = Some(evr.release.clone()).filter(|r| !r.is_empty());
        Self { epoch: evr.epoch.filter(|&e| e != 0), version: evr.version.clone(), release }
    }
}

/// Checks whether a character separates words for rpm (`risspace`). Neither Rust's ASCII whitespace
/// nor its Unicode whitespace is the same set.
pub(super) const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// A relation to a version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Relation {
    /// The comparison.
    pub op: Op,
    /// The version to compare with.
    pub evr: DepEvr,
}

/// One dependency. A rich dependency is kept as text: its `name` begins with `(` and it has no
/// relation. [`crate::repodata::Rich`] parses it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Dependency {
    /// A capability, a file path (begins with `/`), or a rich dependency (begins with `(`).
    pub name: SmolStr,
    /// Restriction of the version.
    pub relation: Option<Relation>,
}

/// Why a dependency cannot be parsed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DependencyError {
    /// The epoch is not a number below 2³².
    #[error("epoch `{epoch}` is not a number")]
    Epoch {
        /// The epoch as written.
        epoch: String,
    },
    /// The text is neither `name` nor `name operator version`.
    #[error("`{text}` is neither a name, nor a name with operator and version, nor a rich dependency")]
    Form {
        /// The text as written.
        text: String,
    },
    /// The text of a rich dependency does not follow the grammar ([`crate::repodata::Rich::parse`]).
    #[error("rich dependency `{text}`: {problem}")]
    Rich {
        /// The text as written, shortened.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A rich dependency exceeds one of our bounds.
    #[error("rich dependency `{text}`: {problem}")]
    RichBound {
        /// The text as written, shortened.
        text: String,
        /// Which bound.
        problem: &'static str,
    },
}

impl Dependency {
    /// Makes a dependency without relation.
    pub fn named(name: impl Into<SmolStr>) -> Self {
        Self { name: name.into(), relation: None }
    }

    /// Parses the form that spec files and `rpm -qR` use: `foo`, `foo >= 1.2`, `/usr/bin/x`,
    /// `pkgconfig(x)`, `(a if b)`.
    ///
    /// # Errors
    /// Returns [`DependencyError::Epoch`] if the epoch is not a number. Returns
    /// [`DependencyError::Form`] if the text is neither `name` nor `name operator version`. This
    /// function does not look inside a rich dependency.
    pub fn parse(text: &str) -> Result<Self, DependencyError> {
        let text = text.trim_matches(is_space);
        if text.starts_with('(') {
            return Ok(Self::named(text));
        }
        let form = || DependencyError::Form { text: text.to_owned() };
        let mut words = text.split(is_space).filter(|word| !word.is_empty());
        let name = words.next().ok_or_else(form)?;
        let relation = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some(op), Some(evr), None) => {
                Some(Relation { op: Op::parse(op).ok_or_else(form)?, evr: DepEvr::parse(evr)? })
            }
            _ => return Err(form()),
        };
        Ok(Self { name: name.into(), relation })
    }

    /// Checks whether the name begins with a parenthesis.
    pub fn is_rich(&self) -> bool {
        self.name.starts_with('(')
    }

    /// Returns the file path that this dependency names, with or without a version. The owner of
    /// the file counts as a provider of every version, as in libsolv.
    pub fn file(&self) -> Option<&str> {
        self.name.starts_with('/').then_some(self.name.as_str())
    }

    /// Returns the file path if this is a plain path without a version.
    pub fn path(&self) -> Option<&str> {
        (self.relation.is_none() && self.name.starts_with('/')).then_some(self.name.as_str())
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(Relation { op, evr }) = &self.relation {
            write!(f, " {} {evr}", op.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Parsing and writing drops the epoch 0 and superfluous space.
    #[rstest]
    #[case("foo", "foo")]
    #[case("  foo   >=  1.2 ", "foo >= 1.2")]
    #[case("foo => 1:1.2-3", "foo >= 1:1.2-3")]
    #[case("foo\u{b}>=\r3\u{c}", "foo >= 3")]
    #[case("foo\u{a0} >= 3", "foo\u{a0} >= 3")]
    #[case("foo == 0:1.2-3.fc99", "foo = 1.2-3.fc99")]
    #[case("foo < 1-2-3", "foo < 1-2-3")]
    #[case("pkgconfig(foo) > 1~rc1", "pkgconfig(foo) > 1~rc1")]
    #[case("/usr/bin/x", "/usr/bin/x")]
    #[case("(a if b >= 2)", "(a if b >= 2)")]
    fn reads_and_writes(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Dependency::parse(text).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("", "neither a name")]
    #[case("foo bar", "neither a name")]
    #[case("foo <> 1", "neither a name")]
    #[case("foo >= 1 2", "neither a name")]
    #[case("foo >= a:1", "epoch `a` is not a number")]
    #[case("foo >= 99999999999:1", "is not a number")]
    fn refuses(#[case] text: &str, #[case] expected: &str) {
        let error = Dependency::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn only_a_plain_path_is_a_path() {
        assert_eq!(Dependency::parse("/bin/sh").unwrap().path(), Some("/bin/sh"));
        assert_eq!(Dependency::parse("/bin/sh = 1").unwrap().path(), None);
        assert_eq!(Dependency::parse("(/bin/sh or b)").unwrap().path(), None);
    }
}
