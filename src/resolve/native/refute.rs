//! Explains why a question has no answer, if that follows from the rules without trying
//! alternatives.
//!
//! The proof starts from the packages that have to be installed: those that are the only candidate
//! left for a wish. It then draws conclusions. If such a package has a requirement with a single
//! possible provider, that provider has to be installed, too. A package that conflicts with such a
//! package cannot be installed. There is no answer if two packages that have to be installed
//! conflict, or if a requirement has no candidate left. Every conclusion records what it was drawn
//! from.
//!
//! Packages that were installed before (the base of mode `two`) prove nothing, because they may be
//! erased. The proof therefore ignores them and holds for every base.
//!
//! This is an explanation, not a solver. If only trying shows that there is no answer, it returns
//! nothing. It need not be fast, because it only runs for unresolvable source packages. Unlike the
//! search, it starts from nothing each time.

use std::collections::BTreeMap;

use super::clauses::Literal;
use super::graph::{Graph, Rule};
use super::{Jobs, Node, Wish, package, packages};
use crate::resolve::universe::PkgId;

/// A need: one of several packages has to be installed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::resolve) struct Alternatives {
    /// The packages that need it, all of which have to be installed. A conditional requirement may have
    /// several. Empty if the need is a wish ([`Alternatives::wish`]).
    pub(in crate::resolve) owners: Vec<PkgId>,
    /// Index of the wish, if no package has the need.
    pub(in crate::resolve) wish: Option<usize>,
    /// The candidates, ascending. None of them is dead.
    pub(in crate::resolve) members: Vec<PkgId>,
}

/// The contradiction at the end of a proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::resolve) enum End {
    /// Both packages have to be installed, but they exclude each other.
    Conflict(PkgId, PkgId),
    /// None of the candidates can be installed.
    Nothing(Alternatives),
}

/// A proof that there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::resolve) struct Refutation {
    /// The packages that have to be installed, each with the need for which it is the only
    /// candidate left.
    pub(in crate::resolve) there: BTreeMap<PkgId, Alternatives>,
    /// The packages that cannot be installed, each with the package that has to be installed and
    /// forbids it.
    pub(in crate::resolve) excluded: BTreeMap<PkgId, PkgId>,
    /// The contradiction.
    pub(in crate::resolve) end: End,
}

pub(super) fn refute(graph: &Graph, wishes: &[&Wish]) -> Option<Refutation> {
    let mut state = State { graph, there: BTreeMap::new(), order: Vec::new(), excluded: BTreeMap::new(), end: None };
    let mut jobs: Vec<(usize, Vec<Node>)> = Vec::new();
    for (index, wish) in wishes.iter().enumerate() {
        if let Jobs::All(lists) = &wish.jobs {
            jobs.extend(lists.iter().map(|list| (index, list.clone())));
        }
    }
    loop {
        let before = (state.there.len(), state.excluded.len());
        for (index, list) in &jobs {
            state.one_of(list, |members| Alternatives { owners: Vec::new(), wish: Some(*index), members });
        }
        let mut at = 0;
        while let Some(&p) = state.order.get(at) {
            state.rules(p);
            at += 1;
        }
        if let Some(end) = state.end {
            let package = |p: Node| PkgId::from_index(package(p));
            let there = state.there.into_iter().map(|(p, reason)| (package(p), reason)).collect();
            let excluded = state.excluded.into_iter().map(|(p, by)| (package(p), package(by))).collect();
            return Some(Refutation { there, excluded, end });
        }
        if before == (state.there.len(), state.excluded.len()) {
            return None;
        }
    }
}

struct State<'g> {
    graph: &'g Graph,
    there: BTreeMap<Node, Alternatives>,
    /// The packages that have to be installed, in the order of discovery.
    order: Vec<Node>,
    excluded: BTreeMap<Node, Node>,
    end: Option<End>,
}

impl State<'_> {
    fn add(&mut self, p: Node, why: Alternatives) {
        if self.end.is_some() || self.there.contains_key(&p) {
            return;
        }
        self.there.insert(p, why);
        self.order.push(p);
        for &q in self.graph.conflicts.row(p) {
            if self.there.contains_key(&q) {
                self.end = Some(End::Conflict(PkgId::from_index(package(p)), PkgId::from_index(package(q))));
                return;
            }
            self.excluded.entry(q).or_insert(p);
        }
    }

    fn one_of(&mut self, list: &[Node], why: impl FnOnce(Vec<PkgId>) -> Alternatives) {
        if self.end.is_some() || list.iter().any(|p| self.there.contains_key(p)) {
            return;
        }
        let mut open = list.iter().filter(|p| !self.excluded.contains_key(p) && !self.graph.is_dead(**p));
        match (open.next(), open.next()) {
            (None, _) => self.end = Some(End::Nothing(why(packages(list)))),
            (Some(&only), None) => self.add(only, why(packages(list))),
            _ => {}
        }
    }

    fn rules(&mut self, p: Node) {
        let graph = self.graph;
        for rule in graph.rules_of(p) {
            if let Rule::Set(set) = graph.rules[rule as usize] {
                let owners = vec![PkgId::from_index(package(p))];
                self.one_of(graph.live.row(set), |members| Alternatives { owners, wish: None, members });
            }
        }
        for &clause in graph.negative_in.row(p) {
            self.clause(graph.clauses.row(clause));
        }
    }

    fn clause(&mut self, literals: &[Literal]) {
        let (negative, positive): (Vec<Literal>, Vec<Literal>) = literals.iter().partition(|l| **l < 0);
        let mut owners: Vec<Node> = negative.iter().map(|l| l.unsigned_abs()).collect();
        let members: Vec<Node> = positive.iter().map(|l| l.unsigned_abs()).collect();
        let absent: Vec<Node> = owners.iter().copied().filter(|p| !self.there.contains_key(p)).collect();
        match absent[..] {
            [] => {
                let owners = packages(&owners);
                self.one_of(&members, |members| Alternatives { owners, wish: None, members });
            }
            // All packages but one that the clause forbids together have to be installed. If
            // nothing else fulfils the clause, the remaining one cannot be installed.
            [last] => {
                let lost = |p: &Node| self.excluded.contains_key(p) || self.graph.is_dead(*p);
                if members.iter().all(lost) {
                    owners.retain(|&p| p != last);
                    if let Some(&by) = owners.first() {
                        self.excluded.entry(last).or_insert(by);
                    }
                }
            }
            _ => {}
        }
    }
}
