//! Finds which installed packages fulfil a requirement.

use super::native::Native;
use super::universe::{PkgId, Universe};
use crate::repodata::{Dependency, Rich, RichOp};

/// A requirement with the packages that can fulfil it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// The system itself fulfils it (`rpmlib(…)`).
    System,
    /// One of these packages fulfils it, ascending.
    AnyOf(Vec<PkgId>),
    /// `and`, `or`, `if`, `unless` or `else`, as [`Rich`] nests them.
    Node(RichOp, Box<Need>, Box<Need>),
}

impl Need {
    /// Reads a requirement of a package. A requirement that cannot be parsed has no providers.
    /// Cost: the providers of the names in it.
    pub(super) fn of(dependency: &Dependency, native: &Native<'_>) -> Self {
        match rich(dependency) {
            Some(rich) => Self::of_rich(&rich, native),
            None => Self::AnyOf(Vec::new()),
        }
    }

    /// Reads a requirement of a source package. It may name any file, even one that no package of
    /// the repository requires.
    pub(super) fn of_source(dependency: &Dependency, native: &Native<'_>, universe: &Universe) -> Self {
        match (Self::of(dependency, native), dependency.path()) {
            (Self::AnyOf(found), Some(path)) if found.is_empty() => Self::AnyOf(owners(path, native, universe)),
            (need, _) => need,
        }
    }

    fn of_rich(rich: &Rich, native: &Native<'_>) -> Self {
        match rich {
            Rich::Node(op, left, right) if !matches!(op, RichOp::With | RichOp::Without) => {
                Self::Node(*op, Box::new(Self::of_rich(left, native)), Box::new(Self::of_rich(right, native)))
            }
            one => native.providers(one).map_or(Self::System, Self::AnyOf),
        }
    }

    /// Checks whether the packages that are `there` fulfil the need. Adds all packages that could
    /// fulfil it to `by`, not only one. A condition decides whether there is a need, but fulfils
    /// none.
    pub(super) fn fulfilled(&self, there: &impl Fn(PkgId) -> bool, by: &mut Vec<PkgId>) -> bool {
        match self {
            Self::System => true,
            Self::AnyOf(list) => {
                let before = by.len();
                by.extend(list.iter().copied().filter(|&id| there(id)));
                by.len() > before
            }
            Self::Node(RichOp::If, then, condition) => match &**condition {
                Self::Node(RichOp::Else, condition, otherwise) => {
                    let chosen = if condition.holds(there) { then } else { otherwise };
                    chosen.fulfilled(there, by)
                }
                condition => !condition.holds(there) || then.fulfilled(there, by),
            },
            Self::Node(RichOp::Unless, then, condition) => match &**condition {
                Self::Node(RichOp::Else, condition, otherwise) => {
                    let chosen = if condition.holds(there) { otherwise } else { then };
                    chosen.fulfilled(there, by)
                }
                condition => !condition.holds(there) && then.fulfilled(there, by),
            },
            // `else` outside of a condition has no meaning.
            Self::Node(RichOp::Else, ..) => false,
            Self::Node(op, left, right) => {
                let (left, right) = (left.fulfilled(there, by), right.fulfilled(there, by));
                if *op == RichOp::And { left && right } else { left || right }
            }
        }
    }

    fn holds(&self, there: &impl Fn(PkgId) -> bool) -> bool {
        self.fulfilled(there, &mut Vec::new())
    }
}

/// Parses any dependency as a rich one. Returns `None` if it cannot be parsed.
pub(super) fn rich(dependency: &Dependency) -> Option<Rich> {
    if dependency.is_rich() && dependency.relation.is_none() {
        return Rich::parse(&dependency.name).ok();
    }
    Some(Rich::Plain(dependency.clone()))
}

/// Returns the packages that own a path and can be installed, ascending.
pub(super) fn owners(path: &str, native: &Native<'_>, universe: &Universe) -> Vec<PkgId> {
    universe.owners(path).iter().copied().filter(|&id| native.is_installable(id)).collect()
}
