//! The build group as installed packages (mode `two`).
//!
//! libsolv sees every package of the group twice then, once installed and once in the repository, and never takes the
//! second. Here each is one package that counts as installed, which comes to the same as long as all of them stay:
//! whatever a package of the base provides is provided for good. Where one would have to go, or where libsolv's
//! preference for updates of installed packages could matter, the question goes to libsolv. It may erase packages of
//! the base, but gives up the rules that keep them only when others contradict them, and a contradiction is a handover
//! here.

use rustc_hash::FxHashMap;

use super::clauses::Literal;
use super::graph::{Graph, Rule};
use super::{Node, index32};

/// What a set means while the base is installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum SetState {
    /// Nothing particular.
    #[default]
    Open,
    /// A package of the base is in it: fulfilled.
    Kept,
    /// It has an update of a package of the base, installable or not, and none of the base: libsolv adds rules of its
    /// own to those who require it (`solver_addchoicerules`), which are not modelled.
    Update,
    /// A package that requires a set of the kind above is in it: those rules may exclude it.
    Unclear,
}

/// The installed packages.
#[derive(Debug)]
pub(super) struct Base {
    /// Ascending.
    pub(super) packages: Vec<Node>,
    /// By package.
    pub(super) is_base: Vec<bool>,
    /// By package: another version of a package of the base, or one that replaces it.
    pub(super) is_update: Vec<bool>,
    /// By package: libsolv's rules about updates may exclude it.
    pub(super) unclear: Vec<bool>,
    /// By clause: a package that is unclear may fulfil it.
    pub(super) unclear_clauses: Vec<bool>,
    /// By set.
    pub(super) sets: Vec<SetState>,
    /// Clauses with a positive literal of the base: fulfilled.
    pub(super) kept_clauses: Vec<bool>,
    /// Where a rule stands in libsolv's order, for the clauses that move because installed packages have the highest
    /// numbers.
    pub(super) moved: FxHashMap<u32, u32>,
    /// The moved clauses as rules, in their order.
    pub(super) first: Vec<u32>,
    /// By package: recommended by the base.
    pub(super) recommended: Vec<bool>,
    /// By package: suggested by the base.
    pub(super) suggested: Vec<bool>,
    /// Packages of the base with conditional weak dependencies.
    pub(super) weak: Vec<Node>,
}

impl Base {
    pub(super) fn new(graph: &Graph, packages: &[Node]) -> Self {
        let nodes = graph.nodes();
        let mut is_base = vec![false; nodes];
        let mut is_update = vec![false; nodes];
        let mut names = vec![false; nodes];
        for &p in packages {
            is_base[p as usize] = true;
            names[graph.traits[p as usize].name as usize] = true;
        }
        for p in 2..index32(nodes) {
            let own = &graph.traits[p as usize];
            let replaces = graph.obsoletes.row(p).iter().any(|&q| is_base[q as usize]);
            is_update[p as usize] = !is_base[p as usize] && (names[own.name as usize] || replaces);
        }
        let (sets, unclear) = set_states(graph, &is_base, &is_update);
        let clauses = 0..index32(graph.clauses.len());
        let open = |l: Literal| l > 0 && unclear[l.unsigned_abs() as usize];
        let unclear_clauses = clauses.map(|c| graph.clauses.row(c).iter().any(|&l| open(l))).collect();
        let mut recommended = vec![false; nodes];
        let mut suggested = vec![false; nodes];
        for &p in packages {
            for (rows, out) in [(&graph.recommends, &mut recommended), (&graph.suggests, &mut suggested)] {
                for &set in rows.row(p) {
                    graph.members.row(set).iter().for_each(|&m| out[m as usize] = true);
                }
            }
        }
        let weak = packages.iter().copied().filter(|p| graph.weak.contains_key(p)).collect();
        let kept = |l: Literal| l > 0 && is_base[l.unsigned_abs() as usize];
        let clauses = 0..index32(graph.clauses.len());
        let kept_clauses = clauses.map(|c| graph.clauses.row(c).iter().any(|&l| kept(l))).collect();
        let (moved, first) = moved_clauses(graph, packages, &is_base);
        Self {
            packages: packages.to_vec(),
            is_base,
            is_update,
            unclear,
            unclear_clauses,
            sets,
            kept_clauses,
            moved,
            first,
            recommended,
            suggested,
            weak,
        }
    }
}

fn set_states(graph: &Graph, is_base: &[bool], is_update: &[bool]) -> (Vec<SetState>, Vec<bool>) {
    let mut states: Vec<SetState> = (0..index32(graph.members.len()))
        .map(|set| {
            let members = graph.members.row(set);
            if members.iter().any(|&m| is_base[m as usize]) {
                SetState::Kept
            } else if members.iter().any(|&m| is_update[m as usize]) {
                SetState::Update
            } else {
                SetState::Open
            }
        })
        .collect();
    let mut unclear = vec![false; graph.nodes()];
    for (rule, &owner) in graph.rules.iter().zip(&graph.owners) {
        match rule {
            Rule::Set(set) if states[*set as usize] == SetState::Update => unclear[owner as usize] = true,
            Rule::Clause(clause) => {
                let literals = graph.clauses.row(*clause);
                if literals.iter().any(|&l| l > 0 && is_update[l.unsigned_abs() as usize]) {
                    literals.iter().filter(|l| **l < 0).for_each(|l| unclear[l.unsigned_abs() as usize] = true);
                }
            }
            Rule::Set(_) | Rule::Nothing => {}
        }
    }
    graph.links().spread(&mut unclear);
    // What the base has is there, whatever else may be doubtful.
    for (p, unclear) in unclear.iter_mut().enumerate() {
        *unclear &= !is_base[p];
    }
    for (set, state) in states.iter_mut().enumerate() {
        if *state == SetState::Open && graph.live.row(index32(set)).iter().any(|&m| unclear[m as usize]) {
            *state = SetState::Unclear;
        }
    }
    (states, unclear)
}

/// Rules are ordered by their highest negative package, and installed packages come after all others in the pool.
fn moved_clauses(graph: &Graph, packages: &[Node], is_base: &[bool]) -> (FxHashMap<u32, u32>, Vec<u32>) {
    let top = Literal::try_from(graph.nodes()).expect("Universe::load has checked the number of packages");
    let renumber = |l: Literal| {
        let p = l.unsigned_abs();
        if !is_base[p as usize] {
            return l;
        }
        let place = packages.binary_search(&p).expect("is_base is made from packages");
        (top + Literal::try_from(place).unwrap_or(Literal::MAX)) * l.signum()
    };
    let mut found: Vec<(Vec<Literal>, u32)> = Vec::new();
    for (index, rule) in graph.rules.iter().enumerate() {
        let Rule::Clause(clause) = rule else { continue };
        let literals = graph.clauses.row(*clause);
        if literals.iter().any(|&l| l < 0 && is_base[l.unsigned_abs() as usize]) {
            let mut renumbered: Vec<Literal> = literals.iter().map(|&l| renumber(l)).collect();
            renumbered.sort_unstable();
            found.push((renumbered, index32(index)));
        }
    }
    found.sort_unstable();
    let moved = found.iter().enumerate().map(|(place, (_, rule))| (*rule, index32(place))).collect();
    (moved, found.into_iter().map(|(_, rule)| rule).collect())
}
