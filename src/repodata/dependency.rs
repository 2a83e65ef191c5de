//! One dependency: a name, perhaps with a relation to a version; a file path; or a rich dependency.

use std::fmt;

use smol_str::SmolStr;

use crate::model::Evr;

/// `<`, `=`, `>` and their combinations, as bits: 1 greater, 2 equal, 4 less (libsolv's `REL_GT`, `REL_EQ`, `REL_LT`).
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
    /// As rpm writes it, `=<` and `=>` and `==` included (rpm's parser takes them).
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

    /// As `createrepo_c` writes it: `LT`, `LE`, `EQ`, `GE`, `GT`.
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

    /// As rpm writes it.
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

/// The version in a relation: epoch and release may be missing, and then do not count in comparison.
/// Equality is of the text, unlike [`Evr`]'s.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DepEvr {
    /// 0 is written as missing: rpm treats them alike, and so does libsolv's reader of primary.
    pub epoch: Option<u32>,
    /// Upstream's version.
    pub version: SmolStr,
    /// Missing: any release matches.
    pub release: Option<SmolStr>,
}

impl DepEvr {
    /// From `[epoch:]version[-release]`.
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

    /// From its parts as text; an empty epoch or release counts as missing.
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

/// What separates words for rpm (`risspace`), and nothing else does: neither Rust's ASCII nor its Unicode whitespace is
/// the same.
pub(super) const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// A relation to a version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Relation {
    /// The comparison.
    pub op: Op,
    /// What is compared with.
    pub evr: DepEvr,
}

/// One dependency. A rich one is kept as its text: `name` begins with `(` and there is no relation
/// ([`crate::repodata::Rich`] parses it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Dependency {
    /// A capability, a file path (begins with `/`), or a rich dependency (begins with `(`).
    pub name: SmolStr,
    /// Restricts the version.
    pub relation: Option<Relation>,
}

/// Why a dependency is not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DependencyError {
    /// The epoch has to be a number below 2³².
    #[error("epoch `{epoch}` is not a number")]
    Epoch {
        /// As written.
        epoch: String,
    },
    /// Neither `name` nor `name operator version`.
    #[error("`{text}` is neither a name, nor a name with operator and version, nor a rich dependency")]
    Form {
        /// As written.
        text: String,
    },
    /// A rich dependency that does not follow rpm's grammar.
    #[error("rich dependency `{text}`: {problem}")]
    Rich {
        /// As written, shortened.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A rich dependency beyond a bound of ours.
    #[error("rich dependency `{text}`: {problem}")]
    RichBound {
        /// As written, shortened.
        text: String,
        /// Which bound.
        problem: &'static str,
    },
}

impl Dependency {
    /// A name without relation.
    pub fn named(name: impl Into<SmolStr>) -> Self {
        Self { name: name.into(), relation: None }
    }

    /// From the form a spec file or `rpm -qR` has: `foo`, `foo >= 1.2`, `/usr/bin/x`, `pkgconfig(x)`, `(a if b)`.
    ///
    /// # Errors
    /// [`DependencyError`]: an epoch that is not a number, or another number of words than one or three.
    /// The inside of a rich dependency is not looked at here.
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

    /// Begins with a parenthesis.
    pub fn is_rich(&self) -> bool {
        self.name.starts_with('(')
    }

    /// The file path this names, also with a version: the owner of the file then counts as a provider of every version,
    /// as for libsolv.
    pub fn file(&self) -> Option<&str> {
        self.name.starts_with('/').then_some(self.name.as_str())
    }

    /// The file path this asks for, if it is one.
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

    /// Parsed and written again; the epoch 0 and superfluous space disappear.
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
