//! What a search may read of a repository, as hashes by package, so that two repositories can be
//! compared without keeping both.

use rustc_hash::FxHashMap;

use super::base::{Base, SetState};
use super::clauses::Literal;
use super::graph::{Flags, Graph, Rule};
use super::sets::{Rows, SetId};
use super::state::place;
use super::weak::WeakCondition;
use super::{Node, NodeKeys, index32};
use crate::resolve::sig::{Mixer, Sig};

/// Number of a package that it keeps from one repository to the next. 0 is the system itself.
pub(in crate::resolve) type Key = u32;

/// What is known of one package.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// Its number in its repository; 0 if it is not there.
    pub(super) node: Node,
    /// Whether it can be installed at all.
    pub(super) alive: bool,
    /// What the search reads once it is decided for: its rules, in their order.
    pub(super) rules: Sig,
    /// What the policy reads of it as a candidate.
    pub(super) traits: Sig,
    /// The packages that exclude it.
    pub(super) conflicts: Sig,
    /// What it recommends and suggests without conditions.
    pub(super) wishes: Sig,
    /// What distances read: its requirements outside of scriptlets.
    pub(super) steps: Sig,
}

/// The hashes of one repository with its base.
#[derive(Default)]
pub(in crate::resolve) struct Signatures {
    /// By key.
    pub(super) packages: Vec<Known>,
    /// The packages of the base, in file order.
    pub(super) base: Vec<Key>,
    /// For each set that is required and not fulfilled by the base, its hash, and that of all
    /// packages that require it.
    pub(super) sets: FxHashMap<Sig, Sig>,
    /// The hash of each set; of those that nothing requires, that of nothing.
    pub(super) set_sigs: Vec<Sig>,
    /// For each node, the packages that exclude it.
    pub(super) conflicts: Rows<Key>,
    /// For each node, the numbers of the sets it wishes for, times two; odd for those it only
    /// suggests.
    pub(super) wishes: Rows<u32>,
    /// The members of each set that something wishes for, without those that cannot be installed.
    pub(super) wished: Rows<Key>,
}

impl Signatures {
    /// Computes the hashes. `keys` are the keys of the nodes. Cost: linear in the rules.
    pub(super) fn new(graph: &Graph, base: Option<&Base>, node_keys: &NodeKeys) -> Self {
        let keys = node_keys.of.as_slice();
        let mut signer = Signer::new(graph, base, keys);
        let nodes = index32(graph.nodes());
        let mut packages = vec![Known::default(); node_keys.end];
        let mut conflicts = Rows::default();
        conflicts.push_row([]);
        conflicts.push_row([]);
        for p in 2..nodes {
            conflicts.push_row(graph.conflicts.row(p).iter().map(|&q| keys[q as usize]));
            packages[keys[p as usize] as usize] = signer.package(p);
        }
        let (wishes, wished) = signer.wishes();
        let base = base.map_or(&[][..], |b| &b.packages).iter().map(|&p| keys[p as usize]).collect();
        Self { packages, base, sets: signer.sets(), set_sigs: signer.set_sigs, conflicts, wishes, wished }
    }

    /// Returns what is known of a package; nothing if it is not there.
    pub(super) fn get(&self, key: Key) -> Known {
        self.packages.get(key as usize).copied().unwrap_or_default()
    }

    /// Returns what a package that is there recommends (even) and suggests (odd), by key times two,
    /// ascending.
    pub(super) fn wishes_of(&self, known: Known) -> Vec<u64> {
        let mut found: Vec<u64> = Vec::new();
        for &wish in self.wishes.row(known.node) {
            let members = self.wished.row(wish / 2);
            found.extend(members.iter().map(|&key| u64::from(key) * 2 + u64::from(wish % 2)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Returns the packages that exclude one that is there, ascending.
    pub(super) fn conflicts_of(&self, known: Known) -> Vec<Key> {
        let mut found = self.conflicts.row(known.node).to_vec();
        found.sort_unstable();
        found
    }

    /// Checks whether two repositories have the same base, by name and architecture.
    pub(in crate::resolve) fn same_base(&self, other: &Self) -> bool {
        self.base == other.base
    }

    /// Drops what only the repository itself needs.
    pub(in crate::resolve) fn kept(self) -> Self {
        Self { set_sigs: Vec::new(), ..self }
    }

    /// Returns about how many bytes this takes.
    pub(in crate::resolve) fn bytes(&self) -> usize {
        let rows = self.conflicts.items().len() + self.wishes.items().len() + self.wished.items().len();
        let starts = self.conflicts.len() + self.wishes.len() + self.wished.len();
        size_of_val(self.packages.as_slice()) + self.sets.capacity() * (2 * size_of::<Sig>() + 1) + (rows + starts) * 4
    }
}

/// Checks whether the base leaves a set open.
pub(super) fn is_open(set: SetId, base: Option<&Base>) -> bool {
    base.is_none_or(|b| b.sets[set as usize] != SetState::Kept)
}

struct Signer<'g> {
    graph: &'g Graph,
    base: Option<&'g Base>,
    keys: &'g [Key],
    /// Hash of the key of each node.
    node_sigs: Vec<Sig>,
    /// For each set, the hash of its members that can be installed, in their order, and of what else
    /// the search reads of it.
    set_sigs: Vec<Sig>,
    /// For each set, the hash of all members, without their order.
    member_sigs: Vec<Sig>,
    clause_sigs: Vec<Sig>,
    /// For each package, the clauses that have it as a negative literal, in the order in which they
    /// are visited.
    buffer: Vec<(u32, u32)>,
}

impl<'g> Signer<'g> {
    fn new(graph: &'g Graph, base: Option<&'g Base>, keys: &'g [Key]) -> Self {
        let node_sigs: Vec<Sig> = keys.iter().map(|&key| Sig::of(key.into())).collect();
        let sets = 0..index32(graph.live.len());
        let set_sig = |set: SetId| {
            let mut mixer = Mixer::default();
            mixer.add(base.map_or(0, |b| b.sets[set as usize] as u64) * 2 + u64::from(graph.unclear[set as usize]));
            graph.live.row(set).iter().for_each(|&m| mixer.add(keys[m as usize].into()));
            mixer.finish()
        };
        let required = |set: &SetId| !graph.requirers.row(*set).is_empty();
        let set_sigs = sets.clone().map(|set| if required(&set) { set_sig(set) } else { Sig::default() }).collect();
        let members = |set: SetId| graph.members.row(set).iter();
        let member_sigs =
            sets.map(|set| members(set).fold(Sig::default(), |sum, &m| sum.plus(node_sigs[m as usize]))).collect();
        let clause_sig = |clause: u32| {
            let mut mixer = Mixer::default();
            let bits = base.map_or(0, |b| {
                u64::from(b.kept_clauses[clause as usize]) * 2 + u64::from(b.unclear_clauses[clause as usize])
            });
            mixer.add(bits);
            graph.clauses.row(clause).iter().for_each(|&l| mixer.add(literal(l, keys)));
            mixer.finish()
        };
        let clause_sigs = (0..index32(graph.clauses.len())).map(clause_sig).collect();
        Self { graph, base, keys, node_sigs, set_sigs, member_sigs, clause_sigs, buffer: Vec::new() }
    }

    fn package(&mut self, p: Node) -> Known {
        let graph = self.graph;
        let steps = graph.steps.row(p).iter().map(|&set| {
            let mut mixer = Mixer::default();
            mixer.sig(self.member_sigs[set as usize]);
            mixer.finish()
        });
        let steps = steps.fold(Sig::of(0), Sig::plus);
        if graph.is_dead(p) {
            return Known { node: p, steps, ..Known::default() };
        }
        let excluded = graph.conflicts.row(p).iter().map(|&q| self.node_sigs[q as usize]);
        let conflicts = excluded.fold(Sig::default(), Sig::plus);
        let mut wishes = Sig::default();
        for (kind, rows) in [&graph.recommends, &graph.suggests].into_iter().enumerate() {
            for &set in rows.row(p) {
                let mut mixer = Mixer::default();
                mixer.add(kind as u64);
                mixer.sig(self.member_sigs[set as usize]);
                wishes = wishes.plus(mixer.finish());
            }
        }
        let (rules, traits) = (self.rules(p), self.traits(p));
        Known { node: p, alive: true, rules, traits, conflicts, wishes, steps }
    }

    fn rules(&mut self, p: Node) -> Sig {
        let graph = self.graph;
        let mut mixer = Mixer::default();
        mixer.add(graph.traits[p as usize].flags.has(Flags::UNMODELLED).into());
        if self.base.is_none_or(|b| !b.is_base[p as usize]) {
            for rule in graph.rules_of(p) {
                if let Rule::Set(set) = graph.rules[rule as usize]
                    && is_open(set, self.base)
                {
                    mixer.sig(self.set_sigs[set as usize]);
                }
            }
        }
        mixer.add(1);
        // Clauses are visited in an order of their own when some name packages of the base.
        let clauses = graph.negative_in.row(p).iter();
        let places = clauses.map(|&clause| (place(graph.clause_rules[clause as usize], self.base), clause));
        self.buffer.clear();
        self.buffer.extend(places);
        self.buffer.sort_unstable();
        for (_, clause) in &self.buffer {
            mixer.sig(self.clause_sigs[*clause as usize]);
        }
        if let Some(weak) = graph.weak.get(&p) {
            for list in [&weak.recommends, &weak.suggests] {
                mixer.add(2);
                for clause in list {
                    mixer.add(clause.len() as u64);
                    clause.iter().for_each(|&l| mixer.add(literal(l, self.keys)));
                }
            }
        }
        mixer.finish()
    }

    fn traits(&self, p: Node) -> Sig {
        let graph = self.graph;
        let own = &graph.traits[p as usize];
        let mut mixer = Mixer::default();
        let flag = |flag| own.flags.has(flag);
        let bits = [flag(Flags::OUTDATED), flag(Flags::REORDERED)];
        let of_base = self.base.map_or([false; 4], |b| {
            [b.is_base[p as usize], b.is_update[p as usize], b.recommended[p as usize], b.suggested[p as usize]]
        });
        mixer.add(bits.iter().chain(&of_base).fold(1, |bits, &bit| bits * 2 + u64::from(bit)));
        mixer.add((u64::from(own.arch) << 32) | u64::from(own.evr));
        mixer.add(i64::from(own.priority).cast_unsigned());
        let obsoletes = graph.obsoletes.row(p).iter().map(|&q| self.node_sigs[q as usize]);
        mixer.sig(obsoletes.fold(Sig::default(), Sig::plus));
        mixer.sig(shared_sig(p, graph));
        if let Some(weak) = graph.weak.get(&p) {
            for list in [&weak.supplements, &weak.enhances] {
                mixer.add(list.len() as u64);
                list.iter().for_each(|condition| self.condition(condition, &mut mixer));
            }
        }
        mixer.finish()
    }

    fn condition(&self, condition: &WeakCondition, mixer: &mut Mixer) {
        let (kind, parts): (u64, &[WeakCondition]) = match condition {
            WeakCondition::AnyOf(set) => return mixer.sig(self.member_sigs[*set as usize]),
            WeakCondition::And(parts) => (1, &**parts),
            WeakCondition::Or(parts) => (2, &**parts),
            WeakCondition::If(parts) => (3, &**parts),
            WeakCondition::IfElse(parts) => (4, &**parts),
            WeakCondition::Unless(parts) => (5, &**parts),
            WeakCondition::UnlessElse(parts) => (6, &**parts),
        };
        mixer.add(kind);
        parts.iter().for_each(|part| self.condition(part, mixer));
    }

    /// Returns [`Signatures::sets`]. Sets that differ only in members that cannot be installed count
    /// as one.
    fn sets(&self) -> FxHashMap<Sig, Sig> {
        let mut sets: FxHashMap<Sig, Sig> = FxHashMap::default();
        for set in 0..index32(self.graph.live.len()) {
            let requirers = self.graph.requirers.row(set);
            if requirers.is_empty() || !is_open(set, self.base) {
                continue;
            }
            let sum = sets.entry(self.set_sigs[set as usize]).or_default();
            *sum = requirers.iter().fold(*sum, |sum, &r| sum.plus(self.node_sigs[r as usize]));
        }
        sets
    }

    /// Returns [`Signatures::wishes`] and [`Signatures::wished`].
    fn wishes(&self) -> (Rows<u32>, Rows<Key>) {
        let graph = self.graph;
        let mut numbers: FxHashMap<SetId, u32> = FxHashMap::default();
        let (mut wishes, mut wished) = (Rows::default(), Rows::default());
        for p in 0..index32(graph.nodes()) {
            let mut row = Vec::new();
            for (kind, rows) in [&graph.recommends, &graph.suggests].into_iter().enumerate() {
                for &set in rows.row(p) {
                    let next = index32(wished.len());
                    let number = *numbers.entry(set).or_insert_with(|| {
                        let live = graph.members.row(set).iter().filter(|&&m| !graph.is_dead(m));
                        wished.push_row(live.map(|&m| self.keys[m as usize]));
                        next
                    });
                    row.push(number * 2 + index32(kind));
                }
            }
            wishes.push_row(row);
        }
        (wishes, wished)
    }
}

/// Returns the hash of a list of candidates: the packages in their order, and which are in the base.
pub(super) fn candidates(list: &[Node], graph: &Graph, base: Option<&Base>, keys: &[Key], mixer: &mut Mixer) {
    mixer.add(list.len() as u64);
    let mut bits = 0;
    for &p in list {
        mixer.add(u64::from(keys[p as usize]) * 2 + u64::from(base.is_some_and(|b| b.is_base[p as usize])));
        let doubtful = base.is_some_and(|b| b.is_update[p as usize] || b.unclear[p as usize]);
        let unmodelled = graph.traits[p as usize].flags.has(Flags::UNMODELLED);
        bits |= u64::from(doubtful) | (u64::from(unmodelled) << 1);
    }
    mixer.add(bits);
}

fn literal(l: Literal, keys: &[Key]) -> u64 {
    u64::from(keys[l.unsigned_abs() as usize]) * 2 + u64::from(l < 0)
}

/// Returns the hash of the names that a package provides in a version and shares with others, and of
/// its places among them.
pub(super) fn shared_sig(p: Node, graph: &Graph) -> Sig {
    let shared = graph.shared.row(p).iter().map(|shared| {
        let mut mixer = Mixer::default();
        mixer.sig(graph.shared_names[&shared.name]);
        mixer.add(u64::from(shared.rank) * 4 + u64::from(shared.below) * 2 + u64::from(shared.unclear));
        mixer.finish()
    });
    shared.fold(Sig::default(), Sig::plus)
}
