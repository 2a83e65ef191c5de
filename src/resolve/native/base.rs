//! Models the build group as installed packages (mode `two`).
//!
//! libsolv then sees every package of the group twice: once installed and once in the repository.
//! It never takes the second one. Here each is one package that counts as installed. Both models
//! agree as long as all packages of the base stay: whatever a package of the base provides is then
//! provided for good.
//!
//! libsolv has to answer in two cases: if a package of the base would have to go, or if libsolv's
//! preference for updates of installed packages could matter. libsolv may erase packages of the
//! base. But it gives up the rules that keep them only when other rules contradict them, and a
//! contradiction is a handover here.

use rustc_hash::FxHashMap;

use super::clauses::Literal;
use super::graph::{Graph, Rule};
use super::sets::{Rows, SetId};
use super::{Node, index32};

/// The meaning of a set while the base is installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum SetState {
    /// No special meaning.
    #[default]
    Open,
    /// A package of the base is in the set: it is fulfilled.
    Kept,
    /// The set has no package of the base but an update of one, installable or not. libsolv adds
    /// rules of its own to the packages that require the set (`solver_addchoicerules`). We do not
    /// model those rules.
    Update,
    /// A package that requires a set in state `Update` is in this set. The rules of that state may
    /// exclude the package.
    Unclear,
}

/// The installed packages.
#[derive(Debug)]
pub(super) struct Base {
    /// The packages of the base, ascending.
    pub(super) packages: Vec<Node>,
    /// For each package, whether it is in the base.
    pub(super) is_base: Vec<bool>,
    /// For each package, whether it is another version of a package of the base, or replaces one.
    pub(super) is_update: Vec<bool>,
    /// For each package, whether libsolv's rules about updates may exclude it.
    pub(super) unclear: Vec<bool>,
    /// For each clause, whether an unclear package may fulfil it.
    pub(super) unclear_clauses: Vec<bool>,
    /// The state of each set.
    pub(super) sets: Vec<SetState>,
    /// [`Graph::set_rules`] without what the base fulfils. The packages of the base have none.
    pub(super) open_rules: Rows<(u32, SetId)>,
    /// [`Graph::sets_of`] without the sets that the base fulfils.
    pub(super) open_sets_of: Rows<SetId>,
    /// For each clause, whether a positive literal of it is in the base. Then it is fulfilled.
    pub(super) kept_clauses: Vec<bool>,
    /// Position in libsolv's order of each rule that moves. Clauses move because installed packages
    /// have the highest numbers.
    pub(super) moved: FxHashMap<u32, u32>,
    /// The rules of the moved clauses, in their order.
    pub(super) first: Vec<u32>,
    /// For each package, whether the base recommends it.
    pub(super) recommended: Vec<bool>,
    /// For each package, whether the base suggests it.
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
        let is_open = |set: SetId| sets[set as usize] != SetState::Kept;
        let open_rules = graph.set_rules.filtered(|p, (_, set)| !is_base[p as usize] && is_open(set));
        let open_sets_of = graph.sets_of.filtered(|_, set| is_open(set));
        let (moved, first) = moved_clauses(graph, packages, &is_base);
        Self {
            packages: packages.to_vec(),
            is_base,
            is_update,
            unclear,
            unclear_clauses,
            sets,
            open_rules,
            open_sets_of,
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
    // libsolv also counts packages that cannot be installed, and conditions that cannot hold.
    for (owner, packages) in &graph.lost {
        if packages.iter().any(|&p| is_update[p as usize]) {
            unclear[*owner as usize] = true;
        }
    }
    graph.links().spread(&mut unclear);
    // Packages of the base are there, whatever else is unclear.
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

/// Orders the clauses that name packages of the base. libsolv orders rules by their highest
/// negative package, and installed packages come after all others in its pool.
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
