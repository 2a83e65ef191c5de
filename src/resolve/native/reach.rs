//! What libsolv may read for a question, so that its answers can be taken over, too.
//!
//! libsolv decides about the packages that can be reached from the BuildRequires and the base through
//! any provider of a requirement or of a weak dependency, and about those that supplement such
//! packages, update them or replace them. It makes rules for no others. If all these packages are the
//! same in two repositories, with the same order among them, and every dependency of each of them has
//! the same providers, libsolv does the same in both.
//!
//! This is far more than what was read. It is meant for the few questions that our own solver hands
//! over.

use rustc_hash::FxHashMap;

use super::base::Base;
use super::graph::Graph;
use super::provides::Providers;
use super::sets::Rows;
use super::signature::{Key, shared_sig};
use super::{Node, Wish, index32, node, package};
use crate::repodata::{DepId, Dependency, Package, Rich};
use crate::resolve::overlap::matches_nevr;
use crate::resolve::sig::{Mixer, Sig};
use crate::resolve::universe::{PkgId, Universe};

/// Computes hashes of what can be reached. It keeps what it learns about dependencies and packages.
pub(in crate::resolve) struct Reach<'n> {
    graph: &'n Graph,
    providers: &'n Providers<'n>,
    universe: &'n Universe,
    base: Option<&'n Base>,
    keys: &'n [Key],
    deps: FxHashMap<DepId, (Sig, Vec<Node>)>,
    packages: FxHashMap<Node, (Sig, Vec<Node>)>,
    /// For each rank of a name, its packages.
    namesakes: Rows<Node>,
    /// For each package, those of other names that replace it.
    obsoleters: Rows<Node>,
    /// For each package, those that supplement or enhance it.
    supplementing: Rows<Node>,
    /// By node, the round in which it was reached.
    reached: Vec<u32>,
    round: u32,
}

impl<'n> Reach<'n> {
    /// Makes the indexes. Cost: O(packages).
    pub(super) fn new(
        graph: &'n Graph,
        providers: &'n Providers<'n>,
        universe: &'n Universe,
        base: Option<&'n Base>,
        keys: &'n [Key],
    ) -> Self {
        let nodes = graph.nodes();
        let namesakes: Vec<(u32, Node)> = (2..index32(nodes)).map(|p| (graph.traits[p as usize].name, p)).collect();
        let obsoleters: Vec<(u32, Node)> =
            (2..index32(nodes)).flat_map(|p| graph.obsoletes.row(p).iter().map(move |&q| (q, p))).collect();
        let mut reach = Self {
            graph,
            providers,
            universe,
            base,
            keys,
            deps: FxHashMap::default(),
            packages: FxHashMap::default(),
            namesakes: Rows::from_pairs(nodes, &namesakes),
            obsoleters: Rows::from_pairs(nodes, &obsoleters),
            supplementing: Rows::default(),
            reached: vec![0; nodes],
            round: 0,
        };
        let mut supplementing = Vec::new();
        for (index, own) in universe.content().packages().iter().enumerate() {
            for &dep in own.supplements.iter().chain(&own.enhances) {
                supplementing.extend(reach.dep(dep).1.iter().map(|&q| (q, node(index))));
            }
        }
        reach.supplementing = Rows::from_pairs(nodes, &supplementing);
        reach
    }

    /// Returns the hash of everything that libsolv may read for these BuildRequires and packages.
    /// Cost: what can be reached.
    pub(in crate::resolve) fn of<'w>(
        &mut self,
        asked: impl Iterator<Item = &'w (Dependency, Wish)>,
        named: impl Iterator<Item = PkgId>,
    ) -> Sig {
        self.round += 1;
        let mut mixer = Mixer::default();
        let mut queue: Vec<Node> = Vec::new();
        for (dependency, wish) in asked {
            let (sig, nodes) = self.dependency(dependency);
            mixer.sig(sig);
            queue.extend(nodes.into_iter().chain(wish.matches.iter().copied()));
        }
        for id in named {
            mixer.add(self.keys[node(id.index()) as usize].into());
            queue.push(node(id.index()));
        }
        queue.extend(self.base.map_or(&[][..], |b| &b.packages));
        let mut all: Vec<Node> = Vec::new();
        while let Some(p) = queue.pop() {
            if p < 2 || std::mem::replace(&mut self.reached[p as usize], self.round) == self.round {
                continue;
            }
            all.push(p);
            queue.extend_from_slice(&self.package(p).1);
            queue.extend_from_slice(self.namesakes.row(self.graph.traits[p as usize].name));
            queue.extend_from_slice(self.obsoleters.row(p));
            queue.extend_from_slice(self.supplementing.row(p));
        }
        all.sort_unstable();
        for p in all {
            mixer.add(self.base.is_some_and(|b| b.is_base[p as usize]).into());
            mixer.sig(self.package(p).0);
        }
        mixer.finish()
    }

    /// Returns the hash of a package, and the packages it may bring.
    fn package(&mut self, p: Node) -> &(Sig, Vec<Node>) {
        if !self.packages.contains_key(&p) {
            let found = self.read(p, &self.universe.content().packages()[package(p)]);
            self.packages.insert(p, found);
        }
        &self.packages[&p]
    }

    fn read(&mut self, p: Node, own: &Package) -> (Sig, Vec<Node>) {
        let universe = self.universe;
        let traits = &self.graph.traits[p as usize];
        let mut mixer = Mixer::default();
        mixer.add(self.keys[p as usize].into());
        mixer.add((u64::from(traits.arch) << 32) | u64::from(traits.evr));
        mixer.add(i64::from(traits.priority).cast_unsigned());
        mixer.add(traits.flags.bits().into());
        mixer.sig(shared_sig(p, self.graph));
        let mut brings = Vec::new();
        for requirement in &own.requires {
            mixer.add(requirement.pre.into());
            mixer.sig(self.dep(requirement.dep).0);
            brings.extend_from_slice(&self.dep(requirement.dep).1);
        }
        let lists = [&own.conflicts, &own.obsoletes, &own.recommends, &own.suggests, &own.supplements, &own.enhances];
        for (kind, list) in lists.into_iter().enumerate() {
            mixer.add(list.len() as u64);
            for &dep in list {
                let (sig, nodes) = self.dep(dep);
                mixer.sig(*sig);
                if kind == 2 || kind == 3 {
                    brings.extend_from_slice(nodes);
                }
            }
        }
        for &dep in &own.obsoletes {
            let dependency = universe.content().dependency(dep);
            let nodes = self.dep(dep).1.clone();
            let replaced =
                |q: &&Node| **q >= 2 && matches_nevr(&universe.content().packages()[package(**q)], dependency);
            nodes.iter().filter(replaced).for_each(|&q| mixer.add(self.keys[q as usize].into()));
            mixer.add(0);
        }
        (mixer.finish(), brings)
    }

    fn dep(&mut self, dep: DepId) -> &(Sig, Vec<Node>) {
        if !self.deps.contains_key(&dep) {
            let found = self.dependency(self.universe.content().dependency(dep));
            self.deps.insert(dep, found);
        }
        &self.deps[&dep]
    }

    /// Returns the hash of a dependency: its form and the providers of each part. Also returns these
    /// providers.
    fn dependency(&self, dependency: &Dependency) -> (Sig, Vec<Node>) {
        let (mut mixer, mut nodes) = (Mixer::default(), Vec::new());
        let plain = Rich::Plain(dependency.clone());
        let rich = if dependency.is_rich() && dependency.relation.is_none() {
            Rich::parse(&dependency.name).unwrap_or(plain)
        } else {
            plain
        };
        self.part(&rich, &mut mixer, &mut nodes);
        (mixer.finish(), nodes)
    }

    fn part(&self, rich: &Rich, mixer: &mut Mixer, nodes: &mut Vec<Node>) {
        match rich {
            Rich::Plain(_) => {
                let found = self.providers.rich(rich);
                mixer.add(found.len() as u64 * 2);
                found.iter().for_each(|&p| mixer.add(self.keys[p as usize].into()));
                nodes.extend(found);
            }
            Rich::Node(op, left, right) => {
                mixer.add(*op as u64 * 2 + 1);
                self.part(left, mixer, nodes);
                self.part(right, mixer, nodes);
            }
        }
    }
}
