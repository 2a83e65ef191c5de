//! Chooses among several candidates as libsolv does (`policy_filter_unwanted`).

use std::cmp::Ordering;

use super::base::Base;
use super::graph::{Flags, Graph, Shared};
use super::state::State;
use super::{Handover, Node};
use crate::resolve::native::weak::WeakCondition;

/// Recommended and suggested packages, as far as the decisions have been processed.
pub(super) struct Wishes {
    /// For each set, the round in which it was recommended.
    recommended: Vec<u32>,
    /// For each set, the round in which it was suggested.
    suggested: Vec<u32>,
    round: u32,
    /// Number of decisions processed.
    seen: usize,
    /// Installed packages with conditional weak dependencies.
    conditional: Vec<Node>,
}

impl Wishes {
    pub(super) fn new(graph: &Graph) -> Self {
        Self {
            recommended: vec![0; graph.members.len()],
            suggested: vec![0; graph.members.len()],
            round: 1,
            seen: 0,
            conditional: Vec::new(),
        }
    }

    /// Forgets everything, because decisions were taken back.
    pub(super) fn forget(&mut self) {
        self.round += 1;
        if self.round == u32::MAX {
            self.recommended.fill(0);
            self.suggested.fill(0);
            self.round = 1;
        }
        self.seen = 0;
        self.conditional.clear();
    }

    fn update(&mut self, graph: &Graph, state: &State) {
        for &l in &state.trail[self.seen..] {
            if l < 0 {
                continue;
            }
            let p = l.unsigned_abs();
            for (rows, marks) in [(&graph.recommends, &mut self.recommended), (&graph.suggests, &mut self.suggested)] {
                for &set in rows.row(p) {
                    marks[set as usize] = self.round;
                }
            }
            if graph.traits[p as usize].flags.has(Flags::WEAK) {
                self.conditional.push(p);
            }
        }
        self.seen = state.trail.len();
    }
}

/// The data that a choice needs.
pub(super) struct Chooser<'a> {
    pub(super) graph: &'a Graph,
    pub(super) base: Option<&'a Base>,
    pub(super) state: &'a State,
    pub(super) wishes: &'a mut Wishes,
}

/// Strength of a wish.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Recommended,
    Suggested,
}

impl Chooser<'_> {
    fn is_base(&self, p: Node) -> bool {
        self.base.is_some_and(|b| b.is_base[p as usize])
    }

    /// Checks whether a package is installed. With `future`, undecided packages of the base count
    /// as installed.
    fn there(&self, p: Node, future: bool) -> bool {
        let value = self.state.value(p);
        value > 0 || (future && value == 0 && self.is_base(p))
    }

    /// Checks whether an installed package wants `p`, or whether `p` supplements or enhances an
    /// installed package.
    fn wished(&self, p: Node, wish: Wish, future: bool) -> bool {
        let (marks, sets) = match wish {
            Wish::Recommended => (&self.wishes.recommended, &self.graph.recommended_in),
            Wish::Suggested => (&self.wishes.suggested, &self.graph.suggested_in),
        };
        if sets.row(p).iter().any(|&set| marks[set as usize] == self.wishes.round) {
            return true;
        }
        if future && let Some(base) = self.base {
            let marks = if wish == Wish::Recommended { &base.recommended } else { &base.suggested };
            if marks[p as usize] {
                return true;
            }
        }
        if self.graph.traits[p as usize].flags.has(Flags::WEAK)
            && let Some(weak) = self.graph.weak.get(&p)
        {
            let wants: &[WeakCondition] = if wish == Wish::Recommended { &weak.supplements } else { &weak.enhances };
            let there = |set| self.graph.members.row(set).iter().any(|&m| self.there(m, future));
            if wants.iter().any(|w| w.holds(&there)) {
                return true;
            }
        }
        let literal = super::clauses::positive(p);
        let later: &[Node] = if future { self.base.map_or(&[], |b| &b.weak) } else { &[] };
        self.wishes.conditional.iter().chain(later).any(|q| {
            let Some(weak) = self.graph.weak.get(q) else { return false };
            let clauses = if wish == Wish::Recommended { &weak.recommends } else { &weak.suggests };
            clauses.iter().any(|clause| {
                clause.contains(&literal)
                    && clause.iter().take_while(|l| **l < 0).all(|l| self.there(l.unsigned_abs(), future))
            })
        })
    }

    /// Checks whether a package is recommended, or supplements something. Minimisation uses this.
    pub(super) fn recommended(&mut self, p: Node) -> bool {
        self.wishes.update(self.graph, self.state);
        self.wished(p, Wish::Recommended, false)
    }

    /// Reduces the candidates to those among which libsolv would choose, the chosen one first.
    /// Without `reorder`, it only drops candidates.
    pub(super) fn filter(&mut self, candidates: &mut Vec<Node>, reorder: bool) -> Result<(), Handover> {
        if candidates.len() < 2 {
            return Ok(());
        }
        if self.base.is_some_and(|b| candidates.iter().any(|&p| b.is_update[p as usize])) {
            return Err(Handover::Update);
        }
        self.best_priority(candidates);
        self.best_arch(candidates);
        if candidates.len() > 1 {
            self.best_versions(candidates)?;
        }
        if candidates.len() > 1 {
            self.prune_to_recommended(candidates);
        }
        if candidates.len() > 1 && reorder {
            self.reorder(candidates)?;
        }
        Ok(())
    }

    fn best_priority(&self, candidates: &mut Vec<Node>) {
        let traits = &self.graph.traits;
        let best = candidates.iter().filter(|&&p| !self.is_base(p)).map(|&p| traits[p as usize].priority).max();
        if let Some(best) = best {
            candidates.retain(|&p| traits[p as usize].priority == best || self.is_base(p));
        }
    }

    fn best_arch(&self, candidates: &mut Vec<Node>) {
        let arch = |p: Node| self.graph.traits[p as usize].arch;
        let best = candidates.iter().map(|&p| arch(p)).filter(|&a| a > 1).min();
        if let Some(best) = best {
            candidates.retain(|&p| arch(p) == 1 || (arch(p) ^ best) & 0xffff_0000 == 0);
        }
    }

    fn best_versions(&self, candidates: &mut Vec<Node>) -> Result<(), Handover> {
        let traits = &self.graph.traits;
        let order = |a: &Node, b: &Node| {
            let (x, y) = (&traits[*a as usize], &traits[*b as usize]);
            let arch = if x.arch > 1 && y.arch > 1 { x.arch.cmp(&y.arch) } else { Ordering::Equal };
            x.name.cmp(&y.name).then(arch).then_with(|| self.is_base(*b).cmp(&self.is_base(*a))).then(a.cmp(b))
        };
        merge_sort(candidates, &order);
        let mut best: Vec<Node> = Vec::with_capacity(candidates.len());
        for &p in candidates.iter() {
            match best.last_mut() {
                Some(last) if traits[*last as usize].name == traits[p as usize].name => {
                    if traits[*last as usize].evr < traits[p as usize].evr {
                        *last = p;
                    }
                }
                _ => best.push(p),
            }
        }
        *candidates = best;
        self.drop_obsoleted(candidates)
    }

    fn drop_obsoleted(&self, candidates: &mut Vec<Node>) -> Result<(), Handover> {
        let obsoletes = |p: Node, q: Node| self.graph.obsoletes.row(p).contains(&q);
        if candidates.iter().all(|&p| self.graph.obsoletes.row(p).is_empty()) {
            return Ok(());
        }
        if let [a, b] = candidates[..] {
            match (obsoletes(a, b), obsoletes(b, a)) {
                (true, false) => candidates.truncate(1),
                (false, true) => drop(candidates.remove(0)),
                _ => {}
            }
            return Ok(());
        }
        let all = candidates.clone();
        if has_cycle(&all, &obsoletes) {
            return Err(Handover::Obsoletes);
        }
        candidates.retain(|&p| !all.iter().any(|&q| obsoletes(q, p)));
        Ok(())
    }

    /// Keeps only the recommended candidates, if there are any. Packages of the base always stay.
    fn prune_to_recommended(&mut self, candidates: &mut Vec<Node>) {
        let base = candidates.iter().filter(|&&p| self.is_base(p)).count();
        if candidates.len() - base < 2 {
            return;
        }
        self.wishes.update(self.graph, self.state);
        let wished = |p: Node| self.wished(p, Wish::Recommended, false);
        if candidates.iter().any(|&p| !self.is_base(p) && wished(p)) {
            candidates.retain(|&p| self.is_base(p) || wished(p));
        }
    }

    fn reorder(&mut self, candidates: &mut Vec<Node>) -> Result<(), Handover> {
        let traits = &self.graph.traits;
        if candidates.iter().any(|&p| traits[p as usize].flags.has(Flags::REORDERED)) {
            return Err(Handover::Reordered);
        }
        let outdated = |p: &Node| traits[*p as usize].flags.has(Flags::OUTDATED) && !self.is_base(*p);
        candidates.sort_by_key(outdated);
        self.sort_by_shared(candidates)?;
        self.wishes.update(self.graph, self.state);
        candidates.sort_by_key(|&p| !(self.is_base(p) || self.wished(p, Wish::Suggested, false)));
        Ok(())
    }

    /// Moves a candidate behind another one if it provides a shared name in a lower version
    /// (`sort_by_common_dep`).
    fn sort_by_shared(&self, candidates: &mut Vec<Node>) -> Result<(), Handover> {
        let mut entries: Vec<(Shared, usize)> = Vec::new();
        for (place, &p) in candidates.iter().enumerate() {
            entries.extend(self.graph.shared.row(p).iter().map(|&s| (s, place)));
        }
        let rank = |s: &Shared| (s.rank, !s.below);
        entries.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name).then_with(|| rank(b).cmp(&rank(a))));
        let mut malus = vec![0_u32; candidates.len()];
        for group in entries.chunk_by(|(a, _), (b, _)| a.name == b.name) {
            if group[0].0.unclear && group.iter().any(|(_, place)| *place != group[0].1) {
                return Err(Handover::UnclearVersions);
            }
            let mut bad = 0;
            for (i, (shared, place)) in group.iter().enumerate() {
                if i > 0 && group[i - 1].1 != *place && rank(&group[i - 1].0) > rank(shared) {
                    bad += 1;
                }
                malus[*place] += bad;
            }
        }
        if malus.iter().any(|&m| m > 0) {
            let mut order: Vec<usize> = (0..candidates.len()).collect();
            order.sort_by_key(|&i| if self.is_base(candidates[i]) { 0 } else { malus[i] });
            *candidates = order.into_iter().map(|i| candidates[i]).collect();
        }
        Ok(())
    }

    /// Puts the candidates first that the base will want. While jobs are being decided, the base is
    /// not decided yet (`reorder_dq_for_future_installed`).
    pub(super) fn reorder_for_base(&mut self, candidates: &mut [Node]) {
        let Some(base) = self.base else { return };
        if base.packages.iter().all(|&p| self.state.value(p) != 0) {
            return;
        }
        self.wishes.update(self.graph, self.state);
        candidates.sort_by_key(|&p| !(self.is_base(p) || self.wished(p, Wish::Suggested, true)));
        candidates.sort_by_key(|&p| !(self.is_base(p) || self.wished(p, Wish::Recommended, true)));
    }
}

/// Checks whether some of these packages replace each other in a circle.
fn has_cycle(all: &[Node], edge: &impl Fn(Node, Node) -> bool) -> bool {
    let mut rest: Vec<Node> = all.to_vec();
    loop {
        let before = rest.len();
        let kept: Vec<Node> = rest.iter().copied().filter(|&p| rest.iter().any(|&q| q != p && edge(q, p))).collect();
        rest = kept;
        if rest.is_empty() {
            return false;
        }
        if rest.len() == before {
            return true;
        }
    }
}

/// Sorts as glibc's `qsort_r` does, on which libsolv's results rely. The algorithm matters, because
/// the order of architectures is not transitive if `noarch` is among them.
fn merge_sort(list: &mut [Node], order: &impl Fn(&Node, &Node) -> Ordering) {
    if list.len() < 2 {
        return;
    }
    let (left, right) = list.split_at_mut(list.len() / 2);
    merge_sort(left, order);
    merge_sort(right, order);
    let (left, right) = (left.to_vec(), right.to_vec());
    let (mut a, mut b) = (left.into_iter().peekable(), right.into_iter().peekable());
    for place in list {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if order(x, y).is_le() => a.next(),
            (Some(_), None) => a.next(),
            _ => b.next(),
        };
        *place = next.expect("both halves together have as many as the list");
    }
}
