//! A repository as rules: the data the solver reads, computed once and shared by all threads.

use rustc_hash::FxHashMap;

use super::Node;
use super::clauses::Literal;
use super::sets::{Rows, SetId};
use super::weak::WeakPackage;
use crate::resolve::sig::Sig;

/// Flags of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// It can never be installed, whatever else is.
    pub(super) const DEAD: Self = Self(1);
    /// The repository has a newer version of it.
    pub(super) const OUTDATED: Self = Self(2);
    /// libsolv orders it by what is already installed (kernel modules, locales). We do not model
    /// that.
    pub(super) const REORDERED: Self = Self(4);
    /// Its rules are not all modelled.
    pub(super) const UNMODELLED: Self = Self(8);
    /// It has conditional recommends or suggests, supplements or enhances.
    pub(super) const WEAK: Self = Self(16);
    /// Its architecture is inferior: a package of the same name has a better one.
    pub(super) const INFERIOR: Self = Self(32);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns all flags as bits.
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The properties of a package that the choice among candidates uses.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Traits {
    /// Rank of its name in bytewise order. Packages of one name share it.
    pub(super) name: u32,
    /// Rank of its version among those of its name.
    pub(super) evr: u32,
    /// libsolv's score of its architecture. 0 means not installable, 1 means `noarch`. Of the other
    /// scores, lower is better. Their upper half is the class.
    pub(super) arch: u32,
    /// Priority of its repository: the higher number wins.
    pub(super) priority: i32,
    pub(super) flags: Flags,
}

/// A provide `name = version` whose name several packages provide.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) name: u32,
    /// Rank of the version. Higher is newer.
    pub(super) rank: u32,
    /// Whether the provide says "less than". Then it counts a little less.
    pub(super) below: bool,
    /// Whether the versions of this name cannot be ranked, because some lack the release that
    /// others have.
    pub(super) unclear: bool,
}

/// What must hold if a package is installed.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// One of a set is installed.
    Set(SetId),
    /// A clause with several negative literals holds.
    Clause(u32),
    #[default]
    Nothing,
}

impl Rule {
    pub(super) fn set(self) -> Option<SetId> {
        if let Self::Set(set) = self { Some(set) } else { None }
    }
}

/// The rules of one repository and architecture.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) traits: Vec<Traits>,
    /// All rules in libsolv's order: packages descending; the rules of one package ascending by
    /// their literals.
    pub(super) rules: Vec<Rule>,
    /// Owner of each rule.
    pub(super) owners: Vec<Node>,
    /// For each package, where its rules start. The rules of package `p` are
    /// `rule_starts[p + 1]..rule_starts[p]`.
    pub(super) rule_starts: Vec<u32>,
    /// For each package, its rules that are sets, with their numbers, in their order.
    pub(super) set_rules: Rows<(u32, SetId)>,
    /// Members of every set, without dead packages.
    pub(super) live: Rows<Node>,
    /// Members of every set, including dead packages.
    pub(super) members: Rows<Node>,
    /// For each set, the packages that require it.
    pub(super) requirers: Rows<Node>,
    /// For each package, the sets it is in that some package requires.
    pub(super) sets_of: Rows<SetId>,
    pub(super) clauses: Rows<Literal>,
    /// For each rich dependency whose clause lost packages that cannot be installed: its owner, and
    /// every package that would have fulfilled it.
    pub(super) lost: Vec<(Node, Vec<Node>)>,
    /// The rule of each clause.
    pub(super) clause_rules: Vec<u32>,
    /// For each set, whether it has a package whose rules are not all modelled.
    pub(super) unclear: Vec<bool>,
    /// For each package, the clauses that have it as a negative literal.
    pub(super) negative_in: Rows<u32>,
    /// For each package, the clauses that have it as a positive literal.
    pub(super) positive_in: Rows<u32>,
    pub(super) conflicts: Rows<Node>,
    /// For each package, the packages of other names that it replaces.
    pub(super) obsoletes: Rows<Node>,
    pub(super) recommends: Rows<SetId>,
    pub(super) suggests: Rows<SetId>,
    /// For each package, the sets it is in that some package recommends.
    pub(super) recommended_in: Rows<SetId>,
    /// For each package, the sets it is in that some package suggests.
    pub(super) suggested_in: Rows<SetId>,
    pub(super) shared: Rows<Shared>,
    /// Hash of each shared name, by [`Shared::name`].
    pub(super) shared_names: FxHashMap<u32, Sig>,
    pub(super) weak: FxHashMap<Node, WeakPackage>,
    /// For each package, the sets of its requirements outside of scriptlets. Distances use these.
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

    /// Returns the number of nodes: one more than the highest package.
    pub(super) fn nodes(&self) -> usize {
        self.traits.len()
    }
}

/// The dependencies between packages along which doubt spreads.
pub(super) struct Links<'g> {
    pub(super) live: &'g Rows<Node>,
    pub(super) requirers: &'g Rows<Node>,
    pub(super) sets_of: &'g Rows<SetId>,
    pub(super) positive_in: &'g Rows<u32>,
    pub(super) clauses: &'g Rows<Literal>,
}

impl Links<'_> {
    /// Spreads doubt. For a doubtful package, we do not know whether libsolv would allow it. A
    /// package that needs doubtful packages becomes doubtful, too. For a requirement, this happens
    /// if all packages that may fulfil it are doubtful. For a clause, to be safe, it happens if any
    /// of them is.
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
