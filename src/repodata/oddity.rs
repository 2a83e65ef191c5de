//! Counts what the reader skips in single packages: errors in their metadata, and packages that
//! modules hide. One faulty package is no reason to refuse all others.

use std::collections::BTreeMap;
use std::fmt;

/// Most examples that are kept.
const EXAMPLES_MAX: usize = 10;
/// Most characters of an example.
const EXAMPLE_CHARS_MAX: usize = 300;

/// What is wrong with a package or one of its dependencies, and what we do about it. We drop a
/// dependency that cannot be parsed, as `createrepo_c` does, and as libsolv does with rich ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Oddity {
    /// The package is left out: nothing could request it.
    PackageWithoutName,
    /// The package is left out: its epoch is not a number, so we cannot tell which version it is.
    PackageEpoch,
    /// The package is left out: its name, version or architecture contains a zero byte, which no
    /// valid one does.
    PackageNul,
    /// The package is left out although nothing is wrong with it: modules hide it
    /// ([`super::ModuleFilter`]). [`super::RepoContent::filtered`] lists these packages.
    PackageHiddenByModules,
    /// The package has no architecture and counts as `noarch`, as in libsolv.
    PackageWithoutArch,
    /// The package gets an empty version, as in libsolv.
    PackageWithoutVersion,
    /// The dependency is dropped: it has no name.
    DependencyWithoutName,
    /// The dependency is dropped: its `flags` are none of `LT`, `LE`, `EQ`, `GE`, `GT`.
    DependencyComparison,
    /// The dependency is dropped: its epoch is not a number below 2³².
    DependencyEpoch,
    /// The dependency is dropped: it begins with a parenthesis but is not a rich one.
    DependencyRich,
    /// The dependency is dropped: it contains a zero byte.
    DependencyNul,
    /// The dependency is kept, but nothing fulfils it: it is rich and exceeds one of our bounds,
    /// such as [`super::RICH_DEPTH_MAX`].
    DependencyTooLarge,
}

impl Oddity {
    /// All kinds of oddities.
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

    /// Returns the name used in metrics and JSON.
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

/// What the reader skipped in one repository, or in several.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Oddities {
    counts: BTreeMap<Oddity, u64>,
    examples: Vec<String>,
}

impl Oddities {
    /// Returns how often each kind occurred. Kinds that did not occur are absent.
    pub fn counts(&self) -> impl Iterator<Item = (Oddity, u64)> {
        self.counts.iter().map(|(oddity, n)| (*oddity, *n))
    }

    /// Returns the first few oddities as shortened text.
    pub fn examples(&self) -> &[String] {
        &self.examples
    }

    pub(super) fn add(&mut self, oddity: Oddity, example: impl FnOnce() -> String) {
        *self.counts.entry(oddity).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example().chars().take(EXAMPLE_CHARS_MAX).collect());
        }
    }

    /// Counts an oddity without keeping an example.
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
