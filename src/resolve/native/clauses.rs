//! Turns rich dependencies into clauses.
//!
//! libsolv turns a rich dependency into conjunctive form by plain distribution, without further
//! simplification. Each clause becomes a rule (`cplxdeps.c`). The order in which libsolv visits the
//! rules decides which package it chooses. We must therefore produce the same clauses, including
//! redundant ones.

use super::provides::Providers;
use super::{Node, SYSTEM};
use crate::repodata::{Rich, RichOp};

/// A package. A negative number means that the package must not be installed.
pub(super) type Literal = i32;

/// Most literals that one dependency may expand to. libsolv has to handle larger ones.
const LITERALS_MAX: usize = 1 << 20;

/// A rich dependency in conjunctive or disjunctive form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Normal {
    /// It cannot be fulfilled.
    Never,
    /// It is fulfilled, whatever is installed.
    Always,
    /// Blocks of ascending literals.
    Blocks(Vec<Vec<Literal>>),
}

/// The error for a dependency that expands to more than [`LITERALS_MAX`] literals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLarge;

pub(super) fn positive(node: Node) -> Literal {
    Literal::try_from(node).expect("Universe::load has checked the number of packages")
}

/// Checks whether a dependency needs clauses, because it has `and`, `if` or `unless` at a relevant
/// place. Others are lists of providers (`pool_is_complex_dep`).
pub(super) fn is_complex(rich: &Rich) -> bool {
    match rich {
        Rich::Plain(_) => false,
        Rich::Node(RichOp::And | RichOp::If | RichOp::Unless, ..) => true,
        Rich::Node(RichOp::Or, left, right) => is_complex(left) || is_complex(right),
        Rich::Node(RichOp::With | RichOp::Without | RichOp::Else, ..) => false,
    }
}

/// Returns the clauses that must all hold for the dependency to be fulfilled.
pub(super) fn conjunctive(rich: &Rich, providers: &Providers<'_>) -> Result<Normal, TooLarge> {
    Normalizer { providers, literals: 0 }.normal(rich, false)
}

/// Returns the clauses that must all hold for the dependency *not* to be fulfilled. Conflicts need
/// these.
pub(super) fn negated(rich: &Rich, providers: &Providers<'_>) -> Result<Normal, TooLarge> {
    Normalizer { providers, literals: 0 }.normal(rich, true).map(invert)
}

struct Normalizer<'p, 'u> {
    providers: &'p Providers<'u>,
    literals: usize,
}

impl Normalizer<'_, '_> {
    /// Normalizes a dependency. If `disjunctive`, the blocks are alternatives, and all literals of
    /// one must hold. Otherwise the blocks are clauses that must all hold.
    fn normal(&mut self, rich: &Rich, disjunctive: bool) -> Result<Normal, TooLarge> {
        let Rich::Node(op, left, right) = rich else { return self.list(rich, disjunctive) };
        if !is_complex(rich) {
            return self.list(rich, disjunctive);
        }
        match (op, &**right) {
            (RichOp::If, Rich::Node(RichOp::Else, condition, alternative)) => {
                // (left or not condition) and (condition or alternative)
                let then = self.either(left, condition, true, disjunctive)?;
                if then == Normal::Never {
                    return Ok(Normal::Never);
                }
                let otherwise = self.either(condition, alternative, false, disjunctive)?;
                self.all(then, otherwise, disjunctive)
            }
            (RichOp::Unless, Rich::Node(RichOp::Else, condition, alternative)) => {
                // (left and not condition) or (condition and alternative)
                let then = self.both(left, condition, true, disjunctive)?;
                if then == Normal::Always {
                    return Ok(Normal::Always);
                }
                let otherwise = self.both(condition, alternative, false, disjunctive)?;
                self.any(then, otherwise, disjunctive)
            }
            (RichOp::If, _) => self.either(left, right, true, disjunctive),
            (RichOp::Unless, _) => self.both(left, right, true, disjunctive),
            (RichOp::Or, _) => self.either(left, right, false, disjunctive),
            (RichOp::And, _) => self.both(left, right, false, disjunctive),
            (RichOp::Else | RichOp::With | RichOp::Without, _) => self.list(rich, disjunctive),
        }
    }

    fn list(&mut self, rich: &Rich, disjunctive: bool) -> Result<Normal, TooLarge> {
        let found = self.providers.rich(rich);
        self.count(found.len())?;
        let literals = found.iter().map(|&p| positive(p));
        Ok(match found.first() {
            None => Normal::Never,
            Some(&SYSTEM) => Normal::Always,
            Some(_) if disjunctive => Normal::Blocks(literals.map(|l| vec![l]).collect()),
            Some(_) => Normal::Blocks(vec![literals.collect()]),
        })
    }

    fn side(&mut self, rich: &Rich, negate: bool, disjunctive: bool) -> Result<Normal, TooLarge> {
        let normal = self.normal(rich, disjunctive ^ negate)?;
        Ok(if negate { invert(normal) } else { normal })
    }

    fn either(&mut self, left: &Rich, right: &Rich, negate: bool, disjunctive: bool) -> Result<Normal, TooLarge> {
        let left = self.normal(left, disjunctive)?;
        if left == Normal::Always {
            return Ok(left);
        }
        let right = self.side(right, negate, disjunctive)?;
        self.any(left, right, disjunctive)
    }

    fn both(&mut self, left: &Rich, right: &Rich, negate: bool, disjunctive: bool) -> Result<Normal, TooLarge> {
        let left = self.normal(left, disjunctive)?;
        if left == Normal::Never {
            return Ok(left);
        }
        let right = self.side(right, negate, disjunctive)?;
        self.all(left, right, disjunctive)
    }

    fn any(&mut self, left: Normal, right: Normal, disjunctive: bool) -> Result<Normal, TooLarge> {
        match (left, right) {
            (Normal::Always, _) | (_, Normal::Always) => Ok(Normal::Always),
            (Normal::Never, other) | (other, Normal::Never) => Ok(other),
            (Normal::Blocks(left), Normal::Blocks(right)) if disjunctive => Ok(Normal::Blocks(join(left, right))),
            (Normal::Blocks(left), Normal::Blocks(right)) => self.distribute(&left, &right, Normal::Always),
        }
    }

    fn all(&mut self, left: Normal, right: Normal, disjunctive: bool) -> Result<Normal, TooLarge> {
        match (left, right) {
            (Normal::Never, _) | (_, Normal::Never) => Ok(Normal::Never),
            (Normal::Always, other) | (other, Normal::Always) => Ok(other),
            (Normal::Blocks(left), Normal::Blocks(right)) if disjunctive => {
                self.distribute(&left, &right, Normal::Never)
            }
            (Normal::Blocks(left), Normal::Blocks(right)) => Ok(Normal::Blocks(join(left, right))),
        }
    }

    /// Unites every block of one side with every block of the other. Drops blocks with a literal
    /// and its opposite. Returns `empty` if no block is left.
    fn distribute(&mut self, left: &[Vec<Literal>], right: &[Vec<Literal>], empty: Normal) -> Result<Normal, TooLarge> {
        let mut blocks = Vec::new();
        for a in left {
            for b in right {
                self.count(a.len() + b.len())?;
                let mut block: Vec<Literal> = a.iter().chain(b).copied().collect();
                block.sort_unstable();
                block.dedup();
                if !block.iter().any(|&l| l < 0 && block.binary_search(&-l).is_ok()) {
                    blocks.push(block);
                }
            }
        }
        Ok(if blocks.is_empty() { empty } else { Normal::Blocks(blocks) })
    }

    fn count(&mut self, more: usize) -> Result<(), TooLarge> {
        self.literals += more;
        if self.literals > LITERALS_MAX { Err(TooLarge) } else { Ok(()) }
    }
}

fn join(mut left: Vec<Vec<Literal>>, right: Vec<Vec<Literal>>) -> Vec<Vec<Literal>> {
    left.extend(right);
    left
}

/// Returns the opposite. A conjunctive form becomes disjunctive and vice versa.
fn invert(normal: Normal) -> Normal {
    match normal {
        Normal::Never => Normal::Always,
        Normal::Always => Normal::Never,
        Normal::Blocks(blocks) => {
            Normal::Blocks(blocks.into_iter().map(|block| block.into_iter().rev().map(|l| -l).collect()).collect())
        }
    }
}
