//! A repository as rules: what the solver reads, computed once and shared by all threads.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use super::clauses::{self, Literal, Normal, positive};
use super::provides::{Providers, matches_nevr};
use super::sets::{Rows, SetId, SetTable};
use super::weak::{Wanted, WeakPackage};
use super::{Node, SYSTEM, index32, node, package};
use crate::model::rpmvercmp;
use crate::repodata::{DepEvr, DepId, Op, Package, Rich};
use crate::resolve::error::ResolveError;
use crate::resolve::solv::Arches;
use crate::resolve::universe::Universe;

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

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn set(&mut self, other: Self) {
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
    /// libsolv's score of its architecture: 0 not installable, 1 `noarch`, else lower is better and the upper half is the class.
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
    rule_starts: Vec<u32>,
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

    /// One more than the highest package.
    pub(super) fn nodes(&self) -> usize {
        self.traits.len()
    }
}

/// A rule while the graph is made.
struct Draft {
    owner: Node,
    /// The literals after the owner's, ascending.
    rest: Rest,
}

enum Rest {
    Set(SetId),
    Literals(Vec<Literal>),
}

pub(super) struct Builder<'u> {
    universe: &'u Universe,
    pub(super) providers: Providers<'u>,
    sets: SetTable,
    dep_sets: Vec<SetId>,
    traits: Vec<Traits>,
    dead: Vec<bool>,
    drafts: Vec<Draft>,
    conflicts: Vec<(u32, Node)>,
    obsoletes: Vec<(u32, Node)>,
    weak: FxHashMap<Node, WeakPackage>,
}

impl<'u> Builder<'u> {
    pub(super) fn new(universe: &'u Universe) -> Result<Self, ResolveError> {
        let arches = Arches::new(universe.arch())?;
        let packages = universe.content().packages();
        let mut scores: FxHashMap<&str, (u32, u8)> = FxHashMap::default();
        let mut colors = Vec::with_capacity(packages.len());
        let mut traits = vec![Traits::default(); packages.len() + 2];
        for (index, p) in packages.iter().enumerate() {
            let (score, color) = match scores.get(p.arch.as_str()) {
                Some(&known) => known,
                None => {
                    let found = (arches.score(&p.arch)?, arches.color(&p.arch)?);
                    scores.insert(&p.arch, found);
                    found
                }
            };
            let own = &mut traits[index + 2];
            own.arch = if p.is_source() { 0 } else { score };
            own.priority = universe.priority(index);
            colors.push(color);
        }
        let installable: Vec<bool> = traits[2..].iter().map(|t| t.arch != 0).collect();
        let providers = Providers::new(universe, &installable);
        let mut sets = SetTable::new();
        let dep_sets = providers.of_all(&mut sets);
        let mut builder = Self {
            universe,
            providers,
            sets,
            dep_sets,
            dead: std::iter::repeat_n(true, 2).chain(installable.iter().map(|&i| !i)).collect(),
            traits,
            drafts: Vec::new(),
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            weak: FxHashMap::default(),
        };
        builder.dead[SYSTEM as usize] = false;
        builder.names(&colors);
        for index in 0..packages.len() {
            if installable[index] {
                builder.package(index);
            }
        }
        Ok(builder)
    }

    /// What packages of one name have to do with each other: ranks, conflicts, architectures.
    fn names(&mut self, colors: &[u8]) {
        let packages = self.universe.content().packages();
        let mut by_name: Vec<u32> = (0..index32(packages.len())).collect();
        by_name.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            packages[a].name.cmp(&packages[b].name).then(a.cmp(&b))
        });
        for (rank, group) in
            by_name.chunk_by(|&a, &b| packages[a as usize].name == packages[b as usize].name).enumerate()
        {
            for &i in group {
                self.traits[i as usize + 2].name = index32(rank);
            }
            if group.len() > 1 {
                let group: Vec<usize> =
                    group.iter().map(|&i| i as usize).filter(|&i| self.traits[i + 2].arch != 0).collect();
                self.namesakes(&group, packages, colors);
            }
        }
    }

    fn namesakes(&mut self, group: &[usize], packages: &[Package], colors: &[u8]) {
        let order = |a: usize, b: usize| compare_evr(&packages[a], &packages[b]);
        let mut sorted = group.to_vec();
        sorted.sort_by(|&a, &b| order(a, b));
        let mut rank = 0;
        for (i, &p) in sorted.iter().enumerate() {
            if i > 0 && order(sorted[i - 1], p) != Ordering::Equal {
                rank += 1;
            }
            self.traits[p + 2].evr = rank;
        }
        for &a in group {
            for &b in group {
                if a == b {
                    continue;
                }
                if packages[a].arch == packages[b].arch || colors[a] & colors[b] != 0 {
                    self.conflicts.push((node(a), node(b)));
                }
                if packages[a].arch == packages[b].arch {
                    let (own, other) = (self.traits[a + 2], self.traits[b + 2]);
                    let newer = other.priority.cmp(&own.priority).then(other.evr.cmp(&own.evr)).is_gt();
                    if newer {
                        self.traits[a + 2].flags.set(Flags::OUTDATED);
                    }
                }
            }
        }
        self.inferior_arches(group, packages);
    }

    /// Of the packages of one name those of an inferior architecture may only come together with the better one
    /// (`solver_addinfarchrules`).
    fn inferior_arches(&mut self, group: &[usize], packages: &[Package]) {
        let score = |i: usize| self.traits[i + 2].arch;
        let Some(best) = group.iter().map(|&i| score(i)).filter(|&a| a > 1).min() else { return };
        let fits = |a: u32| a == 1 || (a ^ best) & 0xffff_0000 == 0;
        let mut found = Vec::new();
        for &p in group.iter().filter(|&&p| !fits(score(p))) {
            let same = |&&q: &&usize| {
                q != p
                    && fits(score(q))
                    && DepEvr::from(&packages[q].evr) == DepEvr::from(&packages[p].evr)
                    && packages[q].arch != packages[p].arch
            };
            let partners: Vec<usize> = group.iter().filter(same).copied().collect();
            found.push((p, partners));
        }
        for (p, partners) in found {
            if let [partner] = partners[..] {
                let set = self.sets.intern(&[node(partner)]);
                self.drafts.push(Draft { owner: node(p), rest: Rest::Set(set) });
            } else {
                self.traits[p + 2].flags.set(Flags::UNMODELLED);
            }
        }
    }

    fn package(&mut self, index: usize) {
        let content = self.universe.content();
        let p = node(index);
        let own = &content.packages()[index];
        for requirement in &own.requires {
            self.requirement(p, requirement.dep);
        }
        for &dep in &own.conflicts {
            self.conflict(p, dep);
        }
        for &dep in &own.obsoletes {
            let dependency = content.dependency(dep);
            for &q in self.sets.get(self.dep_sets[dep.index()]) {
                if q == p || q == SYSTEM || !matches_nevr(&content.packages()[package(q)], dependency) {
                    continue;
                }
                self.conflicts.push((p, q));
                if self.traits[q as usize].name != self.traits[p as usize].name {
                    self.obsoletes.push((p, q));
                }
            }
        }
        if is_reordered(own, content) {
            self.traits[p as usize].flags.set(Flags::REORDERED);
        }
        self.weak_dependencies(p, own);
    }

    fn rich(&self, dep: DepId) -> Option<Rich> {
        let dependency = self.universe.content().dependency(dep);
        if !dependency.is_rich() || dependency.relation.is_some() {
            return None;
        }
        Rich::parse(&dependency.name).ok().filter(clauses::is_complex)
    }

    fn requirement(&mut self, p: Node, dep: DepId) {
        if let Some(rich) = self.rich(dep) {
            match clauses::conjunctive(&rich, &self.providers) {
                Ok(normal) => self.clauses(p, normal, false),
                Err(clauses::TooLarge) => self.traits[p as usize].flags.set(Flags::UNMODELLED),
            }
            return;
        }
        let set = self.dep_sets[dep.index()];
        match self.sets.get(set) {
            [] => self.dead[p as usize] = true,
            [SYSTEM, ..] => {}
            members if members.contains(&p) => {}
            _ => self.drafts.push(Draft { owner: p, rest: Rest::Set(set) }),
        }
    }

    fn conflict(&mut self, p: Node, dep: DepId) {
        if let Some(rich) = self.rich(dep) {
            match clauses::negated(&rich, &self.providers) {
                Ok(normal) => self.clauses(p, normal, true),
                Err(clauses::TooLarge) => self.traits[p as usize].flags.set(Flags::UNMODELLED),
            }
            return;
        }
        for &q in self.sets.get(self.dep_sets[dep.index()]) {
            if q == SYSTEM {
                self.dead[p as usize] = true;
            } else if q != p {
                self.conflicts.push((p, q));
            }
        }
    }

    /// Every block with the package's own negative literal is a rule. `conflict`: a package does not conflict with itself.
    fn clauses(&mut self, p: Node, normal: Normal, conflict: bool) {
        let blocks = match normal {
            Normal::Always => return,
            Normal::Never => {
                self.dead[p as usize] = true;
                return;
            }
            Normal::Blocks(blocks) => blocks,
        };
        let own = positive(p);
        for mut block in blocks {
            if block == [-own] {
                if !conflict {
                    self.dead[p as usize] = true;
                }
                continue;
            }
            if block.contains(&own) {
                continue;
            }
            if !block.contains(&-own) {
                block.push(-own);
            }
            block.sort_unstable();
            block.dedup();
            let owner = block[0].unsigned_abs();
            if block[1] > 0 {
                let members: Vec<Node> = block[1..].iter().map(|l| l.unsigned_abs()).collect();
                let set = self.sets.intern(&members);
                self.drafts.push(Draft { owner, rest: Rest::Set(set) });
            } else if block.len() == 2 {
                self.conflicts.push((owner, block[1].unsigned_abs()));
            } else {
                self.drafts.push(Draft { owner, rest: Rest::Literals(block[1..].to_vec()) });
            }
        }
    }

    fn weak_dependencies(&mut self, p: Node, own: &Package) {
        let mut weak = WeakPackage::default();
        for (list, out) in [(&own.recommends, &mut weak.recommends), (&own.suggests, &mut weak.suggests)] {
            for &dep in list {
                if let Some(rich) = self.rich(dep) {
                    match clauses::conjunctive(&rich, &self.providers) {
                        Ok(Normal::Blocks(blocks)) => out.extend(blocks),
                        Ok(Normal::Always | Normal::Never) => {}
                        Err(clauses::TooLarge) => self.traits[p as usize].flags.set(Flags::UNMODELLED),
                    }
                }
            }
        }
        for (list, out) in [(&own.supplements, &mut weak.supplements), (&own.enhances, &mut weak.enhances)] {
            for &dep in list {
                out.push(match self.rich(dep) {
                    Some(rich) => Wanted::new(&rich, &mut |r: &Rich| self.sets.intern(&self.providers.rich(r))),
                    None => Wanted::AnyOf(self.dep_sets[dep.index()]),
                });
            }
        }
        if weak != WeakPackage::default() {
            self.traits[p as usize].flags.set(Flags::WEAK);
            self.weak.insert(p, weak);
        }
    }

    /// Finishes: what can never be installed is taken out, rules are put in order.
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
        let shared = shared_provides(self.universe, &self.dead);
        self.order();
        let mut pairs = std::mem::take(&mut self.conflicts);
        pairs.retain(|&(a, b)| !self.dead[a as usize] && !self.dead[b as usize]);
        let mut rules = Vec::new();
        let mut owners = Vec::new();
        let mut clause_rows = Rows::default();
        let mut clause_rules = Vec::new();
        let mut occurrences: (Vec<(u32, u32)>, Vec<(u32, u32)>) = Default::default();
        for draft in &self.drafts {
            match &draft.rest {
                Rest::Set(set) => rules.push(Rule::Set(*set)),
                Rest::Literals(rest) => match self.reduce(draft.owner, rest) {
                    Reduced::Satisfied => continue,
                    Reduced::Pair(a, b) => {
                        pairs.push((a, b));
                        continue;
                    }
                    Reduced::Clause(literals) => {
                        let clause = index32(clause_rows.len());
                        for &l in &literals {
                            let into = if l < 0 { &mut occurrences.0 } else { &mut occurrences.1 };
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
        // Rules are ordered by descending owner: walk both from the end.
        for p in 0..nodes {
            rule_starts[p] = at;
            while owner_of_next > 0 && owners[owner_of_next - 1] as usize == p {
                owner_of_next -= 1;
            }
            at = index32(owner_of_next);
        }
        rule_starts[nodes] = at;
        self.mark_unclear(&clause_rows);
        let (requirers, sets_of, live, members) = self.set_rows(&rules, &owners);
        let unmodelled = |&m: &Node| self.traits[m as usize].flags.has(Flags::UNMODELLED);
        let unclear = (0..index32(live.len())).map(|set| live.row(set).iter().any(unmodelled)).collect();
        let graph = Graph {
            rules,
            owners,
            rule_starts,
            live,
            members,
            requirers,
            sets_of,
            clauses: clause_rows,
            clause_rules,
            unclear,
            negative_in: Rows::from_pairs(nodes, &occurrences.0),
            positive_in: Rows::from_pairs(nodes, &occurrences.1),
            conflicts: Rows::from_pairs(nodes, &symmetric),
            obsoletes: Rows::from_pairs(nodes, &self.obsoletes),
            recommends,
            suggests,
            recommended_in,
            suggested_in,
            shared,
            weak: self.weak,
            steps,
            traits: self.traits,
        };
        (graph, self.providers)
    }

    /// Who cannot be installed because of who cannot: libsolv's propagation at level 1, once for all source packages.
    fn bury(&mut self, nodes: usize) {
        let mut requirers: Vec<(u32, Node)> = Vec::new();
        let mut wanted = vec![false; self.sets.len()];
        let mut clauses: Vec<(Node, Vec<Literal>)> = Vec::new();
        for draft in &self.drafts {
            match &draft.rest {
                Rest::Set(set) => {
                    requirers.push((*set, draft.owner));
                    wanted[*set as usize] = true;
                }
                Rest::Literals(rest) => clauses.push((draft.owner, rest.clone())),
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
        // What is not installable is no provider of anything; what lacks a provider is, and is buried here.
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
            for (owner, rest) in &clauses {
                if let Some(p) = self.only_negative(*owner, rest)
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

    /// Where a clause may be fulfilled by a package that is not modelled, what it is about is not modelled either.
    fn mark_unclear(&mut self, clauses: &Rows<Literal>) {
        for clause in 0..index32(clauses.len()) {
            let literals = clauses.row(clause);
            let unmodelled =
                |l: &Literal| *l > 0 && self.traits[l.unsigned_abs() as usize].flags.has(Flags::UNMODELLED);
            if literals.iter().any(unmodelled) {
                for l in literals.iter().filter(|l| **l < 0) {
                    self.traits[l.unsigned_abs() as usize].flags.set(Flags::UNMODELLED);
                }
            }
        }
    }

    /// The package a clause forbids, when nothing else can fulfil it any more.
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

    /// libsolv's order of rules, without repetition; those of the dead are left out.
    fn order(&mut self) {
        let mut drafts = std::mem::take(&mut self.drafts);
        drafts.retain(|d| !self.dead[d.owner as usize]);
        let sets = &self.sets;
        let mut by_members: Vec<SetId> = (0..index32(sets.len())).collect();
        by_members.sort_unstable_by(|&a, &b| sets.get(a).cmp(sets.get(b)));
        let mut rank = vec![0_u32; sets.len()];
        for (place, &set) in by_members.iter().enumerate() {
            rank[set as usize] = index32(place);
        }
        let compare = |a: &Draft, b: &Draft| {
            b.owner.cmp(&a.owner).then_with(|| match (&a.rest, &b.rest) {
                (Rest::Literals(x), Rest::Literals(y)) => x.cmp(y),
                (Rest::Literals(_), Rest::Set(_)) => Ordering::Less,
                (Rest::Set(_), Rest::Literals(_)) => Ordering::Greater,
                (Rest::Set(x), Rest::Set(y)) => rank[*x as usize].cmp(&rank[*y as usize]),
            })
        };
        drafts.sort_unstable_by(compare);
        drafts.dedup_by(|a, b| compare(a, b) == Ordering::Equal);
        self.drafts = drafts;
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

    /// Turns "who wishes for which sets" round: which of those sets a package is in.
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

    #[expect(clippy::type_complexity, reason = "four tables that are made in one pass and taken apart at once")]
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

fn compare_evr(a: &Package, b: &Package) -> Ordering {
    a.evr.cmp(&b.evr)
}

/// libsolv reorders kernel modules and packages that want a locale by what is installed (`urpm_reorder`).
fn is_reordered(package: &Package, content: &crate::repodata::RepoContent) -> bool {
    let name = package.name.as_str();
    let kernel = if name.starts_with("kernel-") {
        name.contains("-devel-")
    } else {
        name.split_once("-kernel-").is_some_and(|(_, rest)| {
            let mut bytes = rest.bytes();
            bytes.next().is_some_and(|b| b.is_ascii_digit()) && bytes.next() == Some(b'.')
        })
    };
    kernel || package.requires.iter().any(|r| content.dependency(r.dep).name.contains("locales-"))
}

/// Looks like a hash: such versions say nothing about which is newer.
fn is_hash(evr: &DepEvr) -> bool {
    let text = evr.to_string();
    text.len() >= 4 && text.bytes().all(|b| matches!(b, b'a'..=b'f' | b'0'..=b'9'))
}

/// Names that several packages provide with `=`, `<=` or `<`, and how their versions compare.
fn shared_provides(universe: &Universe, dead: &[bool]) -> Rows<Shared> {
    struct Entry {
        name: u32,
        node: Node,
        evr: DepEvr,
        below: bool,
    }
    let content = universe.content();
    let mut names: FxHashMap<&str, u32> = FxHashMap::default();
    // Of each name the one package that has it, or SYSTEM when several have.
    let mut holder: Vec<Node> = Vec::new();
    let mut seen = |names: &mut FxHashMap<_, u32>, name, p: Node| {
        let next = index32(holder.len());
        let id = *names.entry(name).or_insert(next);
        if id == next {
            holder.push(p);
        } else if holder[id as usize] != p {
            holder[id as usize] = SYSTEM;
        }
    };
    let counts = |op: Op, evr: &DepEvr| match op {
        Op::Eq => !is_hash(evr),
        Op::Le | Op::Lt => true,
        Op::Ge | Op::Gt => false,
    };
    let alive = || content.packages().iter().enumerate().filter(|(i, _)| !dead[i + 2]);
    for (index, p) in alive() {
        seen(&mut names, p.name.as_str(), node(index));
        for &dep in &p.provides {
            let dependency = content.dependency(dep);
            if dependency.relation.is_some() && dependency.name != p.name {
                seen(&mut names, dependency.name.as_str(), node(index));
            }
        }
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (index, p) in alive() {
        let mut add = |name: &str, op: Op, evr: &DepEvr, own: bool| {
            let id = names[name];
            if holder[id as usize] == SYSTEM && (own || counts(op, evr)) {
                entries.push(Entry { name: id, node: node(index), evr: evr.clone(), below: op == Op::Lt });
            }
        };
        let own = DepEvr::from(&p.evr);
        let mut listed = false;
        for &dep in &p.provides {
            let dependency = content.dependency(dep);
            if let Some(r) = &dependency.relation {
                listed |= dependency.name == p.name && r.op == Op::Eq && r.evr == own;
                add(&dependency.name, r.op, &r.evr, false);
            }
        }
        if !listed && !is_hash(&own) {
            add(&p.name, Op::Eq, &own, true);
        }
    }
    let mut order: Vec<u32> = (0..index32(entries.len())).collect();
    let full = |a: &DepEvr, b: &DepEvr| {
        (a.epoch.unwrap_or(0).cmp(&b.epoch.unwrap_or(0)))
            .then_with(|| rpmvercmp(&a.version, &b.version))
            .then_with(|| a.release.is_some().cmp(&b.release.is_some()))
            .then_with(|| rpmvercmp(a.release.as_deref().unwrap_or(""), b.release.as_deref().unwrap_or("")))
    };
    order.sort_by(|&a, &b| {
        let (a, b) = (&entries[a as usize], &entries[b as usize]);
        a.name.cmp(&b.name).then_with(|| full(&a.evr, &b.evr))
    });
    let mut ranked: Vec<Shared> = vec![Shared::default(); entries.len()];
    for group in order.chunk_by(|&a, &b| entries[a as usize].name == entries[b as usize].name) {
        let mut rank = 0;
        let mut unclear = false;
        for pair in group.windows(2) {
            let (a, b) = (&entries[pair[0] as usize].evr, &entries[pair[1] as usize].evr);
            let same = a.epoch.unwrap_or(0) == b.epoch.unwrap_or(0) && rpmvercmp(&a.version, &b.version).is_eq();
            unclear |= same && a.release.is_some() != b.release.is_some();
        }
        for (i, &e) in group.iter().enumerate() {
            if i > 0 && full(&entries[group[i - 1] as usize].evr, &entries[e as usize].evr).is_ne() {
                rank += 1;
            }
            let entry = &entries[e as usize];
            ranked[e as usize] = Shared { name: entry.name, rank, below: entry.below, unclear };
        }
    }
    let pairs: Vec<(u32, Shared)> = entries.iter().zip(&ranked).map(|(e, s)| (e.node, *s)).collect();
    Rows::from_pairs(dead.len(), &pairs)
}
