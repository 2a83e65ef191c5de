//! Records what a search reads, so that a later repository can tell whether its answer still holds
//! ([`super::reuse`]).

use super::Node;
use super::base::Base;
use super::graph::Graph;
use super::state::State;

/// What a search read that ended without handing over. The lists have no repetitions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Trace {
    /// Packages that were decided for at some time, without those of the base.
    pub(super) there: Vec<Node>,
    /// Packages that were decided against at some time.
    pub(super) against: Vec<Node>,
    /// Those of `against` that were decided against because a set that they require ran empty.
    pub(super) emptied: Vec<Node>,
    /// Packages that the policy compared as candidates.
    pub(super) compared: Vec<Node>,
}

impl Trace {
    /// Collects what the search in `state` read. Call it before the decisions are taken back.
    pub(super) fn of(state: &State, base: Option<&Base>, compared: Vec<Node>) -> Self {
        let mut trace = Self { compared, emptied: state.emptied.clone(), ..Self::default() };
        for &l in state.trail.iter().chain(&state.undone) {
            let p = l.unsigned_abs();
            if l < 0 {
                trace.against.push(p);
            } else if base.is_none_or(|b| !b.is_base[p as usize]) {
                trace.there.push(p);
            }
        }
        for list in [&mut trace.there, &mut trace.against, &mut trace.emptied] {
            list.sort_unstable();
            list.dedup();
        }
        trace
    }
}

/// The candidates that the policy compared in the current search.
pub(super) struct Compared {
    /// For each package, the round in which it was last noted.
    marks: Vec<u32>,
    round: u32,
    list: Vec<Node>,
}

impl Compared {
    pub(super) fn new(graph: &Graph) -> Self {
        Self { marks: vec![0; graph.nodes()], round: 1, list: Vec::new() }
    }

    pub(super) fn add(&mut self, candidates: &[Node]) {
        for &p in candidates {
            if std::mem::replace(&mut self.marks[p as usize], self.round) != self.round {
                self.list.push(p);
            }
        }
    }

    /// Returns the candidates of this search and starts the next one.
    pub(super) fn take(&mut self) -> Vec<Node> {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.marks.fill(0);
            self.round = 1;
        }
        std::mem::take(&mut self.list)
    }
}
