//! Weak dependencies. They install nothing here, but libsolv prefers candidates that another
//! package wants.

use super::clauses::{Literal, is_complex};
use super::sets::SetId;
use crate::repodata::{Rich, RichOp};

/// The weak dependencies of a package that are more than a list of providers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct WeakPackage {
    /// Clauses of conditional recommends. The positive literals are recommended once all negative
    /// ones are installed.
    pub(super) recommends: Vec<Vec<Literal>>,
    /// Clauses of conditional suggests, in the same form.
    pub(super) suggests: Vec<Vec<Literal>>,
    /// The package is wanted if one of these holds.
    pub(super) supplements: Vec<WeakCondition>,
    /// The package is weakly wanted if one of these holds.
    pub(super) enhances: Vec<WeakCondition>,
}

/// A dependency seen backwards: whether it holds for the installed packages
/// (`solver_dep_fulfilled`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum WeakCondition {
    /// One package of a set is installed.
    AnyOf(SetId),
    /// Both hold.
    And(Box<[WeakCondition; 2]>),
    /// At least one of them holds.
    Or(Box<[WeakCondition; 2]>),
    /// The first holds, or the second does not.
    If(Box<[WeakCondition; 2]>),
    /// If the second holds, the first must hold. Otherwise the third must hold.
    IfElse(Box<[WeakCondition; 3]>),
    /// The first holds and the second does not.
    Unless(Box<[WeakCondition; 2]>),
    /// If the second holds, the third must hold. Otherwise the first must hold.
    UnlessElse(Box<[WeakCondition; 3]>),
}

impl WeakCondition {
    pub(super) fn new(rich: &Rich, set: &mut impl FnMut(&Rich) -> SetId) -> Self {
        let Rich::Node(op, left, right) = rich else { return Self::AnyOf(set(rich)) };
        if !is_complex(rich) && *op != RichOp::Or {
            return Self::AnyOf(set(rich));
        }
        let first = Self::new(left, set);
        match (op, &**right) {
            (RichOp::If, Rich::Node(RichOp::Else, condition, other)) => {
                Self::IfElse(Box::new([first, Self::new(condition, set), Self::new(other, set)]))
            }
            (RichOp::Unless, Rich::Node(RichOp::Else, condition, other)) => {
                Self::UnlessElse(Box::new([first, Self::new(condition, set), Self::new(other, set)]))
            }
            _ => {
                let both = Box::new([first, Self::new(right, set)]);
                match op {
                    RichOp::And => Self::And(both),
                    RichOp::Or => Self::Or(both),
                    RichOp::If => Self::If(both),
                    RichOp::Unless => Self::Unless(both),
                    RichOp::Else | RichOp::With | RichOp::Without => Self::AnyOf(set(rich)),
                }
            }
        }
    }

    /// Checks whether it holds. `there` says whether a package of a set is installed.
    pub(super) fn holds(&self, there: &impl Fn(SetId) -> bool) -> bool {
        match self {
            Self::AnyOf(set) => there(*set),
            Self::And(both) => both.iter().all(|w| w.holds(there)),
            Self::Or(both) => both.iter().any(|w| w.holds(there)),
            Self::If(both) => both[0].holds(there) || !both[1].holds(there),
            Self::IfElse(all) => all[if all[1].holds(there) { 0 } else { 2 }].holds(there),
            Self::Unless(both) => both[0].holds(there) && !both[1].holds(there),
            Self::UnlessElse(all) => all[if all[1].holds(there) { 2 } else { 0 }].holds(there),
        }
    }
}
