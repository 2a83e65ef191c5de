//! Builds the graph from the drafts: removes dead packages, orders the rules, and builds the
//! reverse indexes for propagation.

use std::cmp::Ordering;

use super::build::{Builder, Draft, Rest};
use super::clauses::{Literal, positive};
use super::graph::{Flags, Graph, Links, Rule};
use super::provides::Providers;
use super::sets::{Rows, SetId};
use super::shared::shared_provides;
use super::{Node, index32};
use crate::repodata::{DepId, Package};

impl<'u> Builder<'u> {
    /// Finishes the graph: removes packages that can never be installed and orders the rules.
    pub(super) fn finish(mut self) -> (Graph, Providers<'u>) {
        let nodes = self.traits.len();
        self.bury(nodes);
        for (p, &dead) in self.dead.iter().enumerate() {
            if dead || p < 2 {
                self.traits[p].flags.set(Flags::DEAD);
            }
        }
        let (recommends, suggests) = (self.simple(|p| &p.recommends), self.simple(|p| &p.suggests));
        let (recommended_in, suggested_in) = (self.wished_sets(&recommends), self.wished_sets(&suggests));
        let steps = self.steps();
        let (shared, shared_names) = shared_provides(self.universe, &self.names, &self.dead);
        self.order();
        let mut pairs = std::mem::take(&mut self.conflicts);
        pairs.retain(|&(a, b)| !self.dead[a as usize] && !self.dead[b as usize]);
        let mut rules = Vec::new();
        let mut owners = Vec::new();
        let mut clause_rows = Rows::default();
        let mut clause_rules = Vec::new();
        let (mut where_negative, mut where_positive) = (Vec::new(), Vec::new());
        let lost = self.lost();
        for draft in &self.drafts {
            match &draft.rest {
                Rest::Set(set) => rules.push(Rule::Set(*set)),
                Rest::Literals(row) => match self.reduce(draft.owner, self.literals.row(*row)) {
                    Reduced::Satisfied => continue,
                    Reduced::Pair(a, b) => {
                        pairs.push((a, b));
                        continue;
                    }
                    Reduced::Clause(literals) => {
                        let clause = index32(clause_rows.len());
                        for &l in &literals {
                            let into = if l < 0 { &mut where_negative } else { &mut where_positive };
                            into.push((l.unsigned_abs(), clause));
                        }
                        clause_rows.push_row(literals);
                        clause_rules.push(index32(rules.len()));
                        rules.push(Rule::Clause(clause));
                    }
                },
            }
            owners.push(draft.owner);
        }
        let mut symmetric: Vec<(u32, Node)> = pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]).collect();
        symmetric.sort_unstable();
        symmetric.dedup();
        let mut rule_starts = vec![0_u32; nodes + 1];
        let mut at = index32(rules.len());
        let mut owner_of_next = owners.len();
        // Rules are ordered by descending owner, so walk both from the end.
        for (p, start) in rule_starts.iter_mut().enumerate() {
            *start = at;
            while owner_of_next > 0 && owners[owner_of_next - 1] as usize == p {
                owner_of_next -= 1;
            }
            at = index32(owner_of_next);
        }
        let mut set_rules = Rows::default();
        for p in 0..index32(nodes) {
            let own = rule_starts[p as usize + 1]..rule_starts[p as usize];
            set_rules.push_row(own.filter_map(|rule| rules[rule as usize].set().map(|set| (rule, set))));
        }
        let (requirers, sets_of, live, members) = self.set_rows(&rules, &owners);
        let positive_in = Rows::from_pairs(nodes, &where_positive);
        let mut doubtful: Vec<bool> = self.traits.iter().map(|t| t.flags.has(Flags::UNMODELLED)).collect();
        let links = Links {
            live: &live,
            requirers: &requirers,
            sets_of: &sets_of,
            positive_in: &positive_in,
            clauses: &clause_rows,
        };
        links.spread(&mut doubtful);
        for (own, doubtful) in self.traits.iter_mut().zip(doubtful) {
            if doubtful {
                own.flags.set(Flags::UNMODELLED);
            }
        }
        let unmodelled = |&m: &Node| self.traits[m as usize].flags.has(Flags::UNMODELLED);
        let unclear = (0..index32(live.len())).map(|set| live.row(set).iter().any(unmodelled)).collect();
        let graph = Graph {
            rules,
            owners,
            rule_starts,
            set_rules,
            live,
            members,
            requirers,
            sets_of,
            clauses: clause_rows,
            clause_rules,
            lost,
            unclear,
            negative_in: Rows::from_pairs(nodes, &where_negative),
            positive_in,
            conflicts: Rows::from_pairs(nodes, &symmetric),
            obsoletes: Rows::from_pairs(nodes, &self.obsoletes),
            recommends,
            suggests,
            recommended_in,
            suggested_in,
            shared,
            shared_names,
            weak: self.weak,
            steps,
            traits: self.traits,
        };
        (graph, self.providers)
    }

    /// Marks the packages that cannot be installed because other packages cannot. This is libsolv's
    /// propagation at level 1, done once for all source packages.
    fn bury(&mut self, nodes: usize) {
        let mut requirers: Vec<(u32, Node)> = Vec::new();
        let mut wanted = vec![false; self.sets.len()];
        let mut clauses: Vec<(Node, u32)> = Vec::new();
        for draft in &self.drafts {
            match &draft.rest {
                Rest::Set(set) => {
                    requirers.push((*set, draft.owner));
                    wanted[*set as usize] = true;
                }
                Rest::Literals(row) => clauses.push((draft.owner, *row)),
            }
        }
        let requirers = Rows::from_pairs(self.sets.len(), &requirers);
        let mut holders: Vec<(u32, SetId)> = Vec::new();
        let mut alive: Vec<u32> = vec![0; self.sets.len()];
        let mut queue: Vec<Node> = Vec::new();
        for set in 0..index32(self.sets.len()) {
            if wanted[set as usize] {
                alive[set as usize] = index32(self.sets.get(set).len());
                holders.extend(self.sets.get(set).iter().map(|&m| (m, set)));
            }
        }
        let holders = Rows::from_pairs(nodes, &holders);
        // A source package or a package of an unfitting architecture provides nothing, so it is in
        // no set. A package that lacks a provider is in sets and is processed here.
        queue.extend((2..index32(nodes)).filter(|&p| self.dead[p as usize] && self.traits[p as usize].arch != 0));
        loop {
            while let Some(p) = queue.pop() {
                for &set in holders.row(p) {
                    alive[set as usize] -= 1;
                    if alive[set as usize] == 0 {
                        for &r in requirers.row(set) {
                            if !std::mem::replace(&mut self.dead[r as usize], true) {
                                queue.push(r);
                            }
                        }
                    }
                }
            }
            for &(owner, row) in &clauses {
                if let Some(p) = self.only_negative(owner, self.literals.row(row))
                    && !std::mem::replace(&mut self.dead[p as usize], true)
                {
                    queue.push(p);
                }
            }
            if queue.is_empty() {
                return;
            }
        }
    }

    /// Returns the package that a clause forbids, if nothing else can fulfil the clause any more.
    fn only_negative(&self, owner: Node, rest: &[Literal]) -> Option<Node> {
        let mut open = std::iter::once(-positive(owner))
            .chain(rest.iter().copied())
            .filter(|l| *l < 0 || !self.dead[l.unsigned_abs() as usize]);
        let first = open.next()?;
        let one = open.next().is_none() && first < 0;
        one.then(|| first.unsigned_abs()).filter(|&p| !self.dead[p as usize])
    }

    fn reduce(&self, owner: Node, rest: &[Literal]) -> Reduced {
        let dead = |l: Literal| self.dead[l.unsigned_abs() as usize];
        let all = || std::iter::once(-positive(owner)).chain(rest.iter().copied());
        if all().any(|l| l < 0 && dead(l)) {
            return Reduced::Satisfied;
        }
        let literals: Vec<Literal> = all().filter(|&l| l < 0 || !dead(l)).collect();
        match literals[..] {
            [a, b] if b < 0 => Reduced::Pair(a.unsigned_abs(), b.unsigned_abs()),
            _ => Reduced::Clause(literals),
        }
    }

    /// Returns [`Graph::lost`].
    fn lost(&self) -> Vec<(Node, Vec<Node>)> {
        let dead = |l: &Literal| self.dead[l.unsigned_abs() as usize];
        let of = |draft: &Draft| {
            let Rest::Literals(row) = draft.rest else { return None };
            let rest = self.literals.row(row);
            let all: Vec<Node> = rest.iter().filter(|l| **l > 0).map(|l| l.unsigned_abs()).collect();
            (!all.is_empty() && rest.iter().any(dead)).then_some((draft.owner, all))
        };
        self.drafts.iter().filter_map(of).collect()
    }

    /// Puts the rules in libsolv's order, without repetitions. Leaves out the rules of dead
    /// packages.
    fn order(&mut self) {
        let rank = self.ranks();
        let literals = &self.literals;
        let compare = |a: &Draft, b: &Draft| match (&a.rest, &b.rest) {
            (Rest::Literals(x), Rest::Literals(y)) => literals.row(*x).cmp(literals.row(*y)),
            (Rest::Literals(_), Rest::Set(_)) => Ordering::Less,
            (Rest::Set(_), Rest::Literals(_)) => Ordering::Greater,
            (Rest::Set(x), Rest::Set(y)) => rank[*x as usize].cmp(&rank[*y as usize]),
        };
        // A package has few rules, so most of the order is that of the owners.
        let drafts = std::mem::take(&mut self.drafts);
        let alive = drafts.into_iter().filter(|d| !self.dead[d.owner as usize]);
        let by_owner: Vec<(u32, Draft)> = alive.map(|d| (d.owner, d)).collect();
        let by_owner = Rows::from_pairs(self.traits.len(), &by_owner);
        let mut ordered = Vec::with_capacity(by_owner.items().len());
        for owner in (0..index32(by_owner.len())).rev() {
            let start = ordered.len();
            ordered.extend_from_slice(by_owner.row(owner));
            ordered[start..].sort_unstable_by(compare);
        }
        ordered.dedup_by(|a, b| a.owner == b.owner && compare(a, b) == Ordering::Equal);
        self.drafts = ordered;
    }

    /// Returns the place of each set in the order of their members.
    fn ranks(&self) -> Vec<u32> {
        let sets = &self.sets;
        // The first two members decide in most cases. A set that ends before comes first, as no
        // package has the number 0.
        let first_two = |set: SetId| {
            let mut members = sets.get(set).iter().map(|&m| u64::from(m));
            members.next().unwrap_or(0) << 32 | members.next().unwrap_or(0)
        };
        let mut order: Vec<(u64, SetId)> = (0..index32(sets.len())).map(|set| (first_two(set), set)).collect();
        order.sort_unstable_by(|(x, a), (y, b)| x.cmp(y).then_with(|| sets.get(*a).cmp(sets.get(*b))));
        let mut rank = vec![0_u32; sets.len()];
        for (place, (_, set)) in order.into_iter().enumerate() {
            rank[set as usize] = index32(place);
        }
        rank
    }

    fn simple(&self, list: impl Fn(&Package) -> &[DepId]) -> Rows<SetId> {
        let mut rows = Rows::default();
        rows.push_row([]);
        rows.push_row([]);
        for p in self.universe.content().packages() {
            let simple = list(p).iter().filter(|&&dep| self.rich(dep).is_none()).map(|dep| self.dep_sets[dep.index()]);
            rows.push_row(simple.collect::<Vec<_>>());
        }
        rows
    }

    /// Reverses a list of wished sets by package: returns for each package the wished sets that it
    /// is in.
    fn wished_sets(&self, wishes: &Rows<SetId>) -> Rows<SetId> {
        let mut sets: Vec<SetId> = wishes.items().to_vec();
        sets.sort_unstable();
        sets.dedup();
        let pairs: Vec<(u32, SetId)> =
            sets.into_iter().flat_map(|set| self.sets.get(set).iter().map(move |&m| (m, set))).collect();
        Rows::from_pairs(self.traits.len(), &pairs)
    }

    fn steps(&self) -> Rows<SetId> {
        let mut rows = Rows::default();
        rows.push_row([]);
        rows.push_row([]);
        for p in self.universe.content().packages() {
            let mut sets: Vec<SetId> =
                p.requires.iter().filter(|r| !r.pre).map(|r| self.dep_sets[r.dep.index()]).collect();
            sets.sort_unstable();
            sets.dedup();
            sets.retain(|&set| !self.sets.get(set).is_empty());
            rows.push_row(sets);
        }
        rows
    }

    fn set_rows(&mut self, rules: &[Rule], owners: &[Node]) -> (Rows<Node>, Rows<SetId>, Rows<Node>, Rows<Node>) {
        let sets = std::mem::take(&mut self.sets);
        let count = sets.len();
        let mut required = vec![false; count];
        let mut requirers = Vec::new();
        for (rule, &owner) in rules.iter().zip(owners) {
            if let Rule::Set(set) = rule {
                required[*set as usize] = true;
                requirers.push((*set, owner));
            }
        }
        let mut live = Rows::default();
        let mut sets_of = Vec::new();
        for set in 0..index32(count) {
            live.push_row(sets.get(set).iter().copied().filter(|&m| !self.dead[m as usize]));
            if required[set as usize] {
                sets_of.extend(live.row(set).iter().map(|&m| (m, set)));
            }
        }
        let nodes = self.traits.len();
        (Rows::from_pairs(count, &requirers), Rows::from_pairs(nodes, &sets_of), live, sets.finish())
    }
}

enum Reduced {
    Satisfied,
    Pair(Node, Node),
    Clause(Vec<Literal>),
}
