//! Whether two versioned dependencies have a version in common, as libsolv decides it.
//!
//! The rules (`pool_match_flags_evr` in libsolv, "Versioned dependencies" in the RPM manual):
//! * A provide without a version satisfies every relation.
//! * Two relations match if their ranges of versions have something in common.
//! * A version without release matches every release of it.

use std::cmp::Ordering;

use crate::model::rpmvercmp;
use crate::repodata::{DepEvr, Dependency, Op, Package};

/// Bits of a comparison, as libsolv's `REL_GT`, `REL_EQ`, `REL_LT`.
const GT: u8 = 1;
const EQ: u8 = 2;
const LT: u8 = 4;

const fn bits(op: Op) -> u8 {
    match op {
        Op::Lt => LT,
        Op::Le => LT | EQ,
        Op::Eq => EQ,
        Op::Ge => GT | EQ,
        Op::Gt => GT,
    }
}

/// The result of comparing two versions if a missing release matches any. The two open cases are
/// the fourth and fifth case of libsolv's `EVRCMP_MATCH_RELEASE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Match {
    Less,
    /// Equal except for the release, which the left one lacks.
    LeftOpen,
    Equal,
    /// Equal except for the release, which the right one lacks.
    RightOpen,
    Greater,
}

fn compare(left: &DepEvr, right: &DepEvr) -> Match {
    let epochs = left.epoch.unwrap_or(0).cmp(&right.epoch.unwrap_or(0));
    let order = epochs.then_with(|| rpmvercmp(&left.version, &right.version));
    let order = match (&left.release, &right.release) {
        (Some(a), Some(b)) => order.then_with(|| rpmvercmp(a, b)),
        _ => order,
    };
    match (order, left.release.is_some(), right.release.is_some()) {
        (Ordering::Less, ..) => Match::Less,
        (Ordering::Greater, ..) => Match::Greater,
        (Ordering::Equal, false, true) => Match::LeftOpen,
        (Ordering::Equal, true, false) => Match::RightOpen,
        (Ordering::Equal, ..) => Match::Equal,
    }
}

/// Checks whether a provide `provided` satisfies a requirement `wanted` of the same name.
pub(super) fn relations_match(provided: (Op, &DepEvr), wanted: (Op, &DepEvr)) -> bool {
    let (have, want) = (bits(provided.0), bits(wanted.0));
    if have & want & (LT | GT) != 0 {
        return true;
    }
    if provided.1 == wanted.1 {
        return have & want & EQ != 0;
    }
    match compare(provided.1, wanted.1) {
        Match::LeftOpen => have & EQ != 0,
        Match::Less => want & LT != 0 || have & GT != 0,
        Match::Equal => have & want & EQ != 0,
        Match::Greater => want & GT != 0 || have & LT != 0,
        Match::RightOpen => want & EQ != 0,
    }
}

/// Checks whether two dependencies have the same name and a version in common. A dependency without
/// a version has all versions.
pub(super) fn overlap(a: &Dependency, b: &Dependency) -> bool {
    a.name == b.name
        && match (&a.relation, &b.relation) {
            (Some(a), Some(b)) => relations_match((a.op, &a.evr), (b.op, &b.evr)),
            _ => true,
        }
}

/// Checks whether a dependency names a package by its own name and version. Obsoletes match this
/// way, not by provides.
pub(super) fn matches_nevr(package: &Package, dependency: &Dependency) -> bool {
    if package.name != dependency.name {
        return false;
    }
    let Some(relation) = &dependency.relation else { return true };
    let (own, want) = (DepEvr::from(&package.evr), bits(relation.op));
    if own == relation.evr {
        return want & EQ != 0;
    }
    match compare(&own, &relation.evr) {
        Match::LeftOpen => true,
        Match::Less => want & LT != 0,
        Match::Equal | Match::RightOpen => want & EQ != 0,
        Match::Greater => want & GT != 0,
    }
}
