//! A repository as rules: what the solver reads, computed once and shared by all threads.

use rustc_hash::FxHashMap;

use super::Node;
use super::clauses::Literal;
use super::sets::{Rows, SetId};
use super::weak::WeakPackage;

/// What is particular about a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// Cannot be installed at all, whatever else is.
    pub(super) const DEAD: Self = Self(1);
    /// A newer version of it is there.
    pub(super) const OUTDATED: Self = Self(2);
    /// libsolv orders it by what is installed already (kernel modules, locales): not modelled.
    pub(super) const REORDERED: Self = Self(4);
    /// Its rules are not all modelled.
    pub(super) const UNMODELLED: Self = Self(8);
    /// Has conditional recommends or suggests, supplements or enhances.
    pub(super) const WEAK: Self = Self(16);
    /// Of an inferior architecture: one of the same name is of a better one.
    pub(super) const INFERIOR: Self = Self(32);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What the choice among candidates reads of a package.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Traits {
    /// Rank of its name, bytewise; packages of one name share it.
    pub(super) name: u32,
    /// Rank of its version among those of its name.
    pub(super) evr: u32,
    /// libsolv's score of its architecture: 0 not installable, 1 `noarch`, else lower is better and the upper half is
    /// the class.
    pub(super) arch: u32,
    /// Of its repository; higher wins.
    pub(super) priority: i32,
    pub(super) flags: Flags,
}

/// `name = version` that several packages provide.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) name: u32,
    /// Higher is newer.
    pub(super) rank: u32,
    /// Provided as "less than", which counts a little less.
    pub(super) below: bool,
    /// The versions of this name cannot be ranked: some lack the release that others have.
    pub(super) unclear: bool,
}

/// What has to hold when a package is there.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// One of a set.
    Set(SetId),
    /// A clause with several negative literals.
    Clause(u32),
    #[default]
    Nothing,
}

/// The rules of one repository and architecture.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) traits: Vec<Traits>,
    /// All rules in libsolv's order: packages descending, the rules of one ascending by their literals.
    pub(super) rules: Vec<Rule>,
    /// Owner of each rule.
    pub(super) owners: Vec<Node>,
    /// Per package where its rules start; those of package `p` are `rule_starts[p + 1]..rule_starts[p]`.
    pub(super) rule_starts: Vec<u32>,
    /// Members of every set as they can be installed; none is dead.
    pub(super) live: Rows<Node>,
    /// Members of every set, dead ones too.
    pub(super) members: Rows<Node>,
    /// Who requires a set.
    pub(super) requirers: Rows<Node>,
    /// The sets a package is in that somebody requires.
    pub(super) sets_of: Rows<SetId>,
    pub(super) clauses: Rows<Literal>,
    /// The rule of each clause.
    pub(super) clause_rules: Vec<u32>,
    /// By set: a package whose rules are not all modelled is in it.
    pub(super) unclear: Vec<bool>,
    /// Clauses with a package as negative literal.
    pub(super) negative_in: Rows<u32>,
    /// Clauses with a package as positive literal.
    pub(super) positive_in: Rows<u32>,
    pub(super) conflicts: Rows<Node>,
    /// Packages of other names that a package replaces.
    pub(super) obsoletes: Rows<Node>,
    pub(super) recommends: Rows<SetId>,
    pub(super) suggests: Rows<SetId>,
    /// The sets a package is in that somebody recommends.
    pub(super) recommended_in: Rows<SetId>,
    /// The sets a package is in that somebody suggests.
    pub(super) suggested_in: Rows<SetId>,
    pub(super) shared: Rows<Shared>,
    pub(super) weak: FxHashMap<Node, WeakPackage>,
    /// Per package the sets of what it requires outside of scriptlets, for distances.
    pub(super) steps: Rows<SetId>,
}

impl Graph {
    pub(super) fn rules_of(&self, p: Node) -> std::ops::Range<u32> {
        self.rule_starts[p as usize + 1]..self.rule_starts[p as usize]
    }

    pub(super) fn is_dead(&self, p: Node) -> bool {
        self.traits[p as usize].flags.has(Flags::DEAD)
    }

    pub(super) fn links(&self) -> Links<'_> {
        Links {
            live: &self.live,
            requirers: &self.requirers,
            sets_of: &self.sets_of,
            positive_in: &self.positive_in,
            clauses: &self.clauses,
        }
    }

    /// One more than the highest package.
    pub(super) fn nodes(&self) -> usize {
        self.traits.len()
    }
}

/// Who depends on whom, as far as doubt spreads.
pub(super) struct Links<'g> {
    pub(super) live: &'g Rows<Node>,
    pub(super) requirers: &'g Rows<Node>,
    pub(super) sets_of: &'g Rows<SetId>,
    pub(super) positive_in: &'g Rows<u32>,
    pub(super) clauses: &'g Rows<Literal>,
}

impl Links<'_> {
    /// Of some packages it is not known whether libsolv would allow them. Then neither is it of those that need one of
    /// them: where all that may fulfil a requirement is doubtful, and, to be on the safe side, where any of what may
    /// fulfil a clause is.
    pub(super) fn spread(&self, doubtful: &mut [bool]) {
        let mut queue: Vec<Node> = (0..super::index32(doubtful.len())).filter(|&p| doubtful[p as usize]).collect();
        if queue.is_empty() {
            return;
        }
        let mut certain: Vec<u32> =
            (0..super::index32(self.live.len())).map(|set| super::index32(self.live.row(set).len())).collect();
        while let Some(p) = queue.pop() {
            let mut also = Vec::new();
            for &set in self.sets_of.row(p) {
                certain[set as usize] -= 1;
                if certain[set as usize] == 0 {
                    also.extend_from_slice(self.requirers.row(set));
                }
            }
            for &clause in self.positive_in.row(p) {
                also.extend(self.clauses.row(clause).iter().filter(|l| **l < 0).map(|l| l.unsigned_abs()));
            }
            for q in also {
                if !std::mem::replace(&mut doubtful[q as usize], true) {
                    queue.push(q);
                }
            }
        }
    }
}
