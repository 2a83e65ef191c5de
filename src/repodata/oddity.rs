//! What of single packages is passed over, and counted: what they say wrongly, as one package is no reason to refuse
//! all others, and those that modules hide.

use std::collections::BTreeMap;
use std::fmt;

/// Examples kept.
const EXAMPLES_MAX: usize = 10;
/// Characters of an example.
const EXAMPLE_CHARS_MAX: usize = 300;

/// What is wrong with a package or with one of its dependencies, and what comes of it. A dependency that cannot be read
/// is dropped, as by `createrepo_c` and, for rich ones, by libsolv.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Oddity {
    /// The package is left out: nothing could ask for it.
    PackageWithoutName,
    /// The package is left out: which one it is cannot be told.
    PackageEpoch,
    /// The package is left out: no name or version has a zero byte in it.
    PackageNul,
    /// The package is left out, and nothing is wrong with it: modules hide it ([`super::ModuleFilter`]). The packages
    /// themselves are in [`super::RepoContent::filtered`].
    PackageHiddenByModules,
    /// The package is taken for `noarch`, as by libsolv.
    PackageWithoutArch,
    /// The package has the empty version, as for libsolv.
    PackageWithoutVersion,
    /// The dependency is dropped.
    DependencyWithoutName,
    /// The dependency is dropped: its `flags` are none of `LT`, `LE`, `EQ`, `GE`, `GT`.
    DependencyComparison,
    /// The dependency is dropped: its epoch is not a number below 2³².
    DependencyEpoch,
    /// The dependency is dropped: it begins with a parenthesis and is not a rich one.
    DependencyRich,
    /// The dependency is dropped: it has a zero byte in it.
    DependencyNul,
    /// The dependency stays and nothing fulfils it: it is rich beyond a bound of ours ([`super::RICH_DEPTH_MAX`] and
    /// its like).
    DependencyTooLarge,
}

impl Oddity {
    /// All there are.
    pub const ALL: [Self; 12] = [
        Self::PackageWithoutName,
        Self::PackageEpoch,
        Self::PackageNul,
        Self::PackageHiddenByModules,
        Self::PackageWithoutArch,
        Self::PackageWithoutVersion,
        Self::DependencyWithoutName,
        Self::DependencyComparison,
        Self::DependencyEpoch,
        Self::DependencyRich,
        Self::DependencyNul,
        Self::DependencyTooLarge,
    ];

    /// Its name in metrics and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PackageWithoutName => "package_without_name",
            Self::PackageEpoch => "package_epoch",
            Self::PackageNul => "package_nul",
            Self::PackageHiddenByModules => "package_hidden_by_modules",
            Self::PackageWithoutArch => "package_without_arch",
            Self::PackageWithoutVersion => "package_without_version",
            Self::DependencyWithoutName => "dependency_without_name",
            Self::DependencyComparison => "dependency_comparison",
            Self::DependencyEpoch => "dependency_epoch",
            Self::DependencyRich => "dependency_rich",
            Self::DependencyNul => "dependency_nul",
            Self::DependencyTooLarge => "dependency_too_large",
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PackageWithoutName => "package left out: it has no name",
            Self::PackageEpoch => "package left out: its epoch is not a number",
            Self::PackageNul => "package left out: a zero byte in its name or version",
            Self::PackageHiddenByModules => "package left out: modules hide it",
            Self::PackageWithoutArch => "package without architecture, taken for noarch",
            Self::PackageWithoutVersion => "package without version",
            Self::DependencyWithoutName => "dependency dropped: it has no name",
            Self::DependencyComparison => "dependency dropped: its comparison is not known",
            Self::DependencyEpoch => "dependency dropped: its epoch is not a number",
            Self::DependencyRich => "dependency dropped: it is not a rich one and looks like one",
            Self::DependencyNul => "dependency dropped: a zero byte in it",
            Self::DependencyTooLarge => "dependency that nothing fulfils: it is larger than this program handles",
        })
    }
}

/// What was passed over in a repository, or in several.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Oddities {
    counts: BTreeMap<Oddity, u64>,
    examples: Vec<String>,
}

impl Oddities {
    /// How often, by reason; reasons that did not occur are not there.
    pub fn counts(&self) -> impl Iterator<Item = (Oddity, u64)> {
        self.counts.iter().map(|(oddity, n)| (*oddity, *n))
    }

    /// The first of them, in words, shortened.
    pub fn examples(&self) -> &[String] {
        &self.examples
    }

    pub(super) fn add(&mut self, oddity: Oddity, example: impl FnOnce() -> String) {
        *self.counts.entry(oddity).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example().chars().take(EXAMPLE_CHARS_MAX).collect());
        }
    }

    /// Counts what needs no example.
    pub(super) fn count(&mut self, oddity: Oddity) {
        *self.counts.entry(oddity).or_default() += 1;
    }

    pub(super) fn append(&mut self, other: Self) {
        for (oddity, n) in other.counts {
            *self.counts.entry(oddity).or_default() += n;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }
}
