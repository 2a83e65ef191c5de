//! Our own solver. It takes libsolv's decisions in libsolv's order, but need not generate its rules
//! anew for each question.
//!
//! A repository becomes a [`Graph`] once: provider sets, clauses and conflicts, all by number. A
//! [`Search`] then decides as libsolv does: unit propagation, jobs, the base, the rules in their
//! order with the policy's preferences, minimisation of choices.
//!
//! The answer is exact for questions that libsolv answers without taking back a decision because of
//! a conflict. In a distribution, these are nearly all questions that have an answer. Any other
//! search ends in [`SearchResult::Handover`] with the reason, unless it proves that there is no solution.
//! The solver never guesses.
//!
//! The order matters. libsolv's answer depends on the order of packages in the repository, on the
//! order of its rules, and on stable sorting. Every place in this module that depends on the order
//! says so. We check the solver against libsolv on every repository in `tests/data` and on random
//! ones (`tests/it/resolve/native.rs`).

mod base;
mod build;
mod clauses;
mod finish;
mod graph;
mod pending;
mod policy;
mod provides;
mod reach;
mod refute;
mod reuse;
mod search;
mod sets;
mod shared;
mod signature;
mod state;
mod trace;
mod weak;

use std::fmt;

use self::base::Base;
use self::build::Builder;
use self::clauses::{Normal, positive};
use self::graph::{Flags, Graph};
use self::provides::Providers;
pub(super) use self::reach::Reach;
pub(super) use self::refute::{Alternatives, End, Refutation};
pub use self::reuse::Again;
pub(super) use self::reuse::{Changes, Checker, Read};
use self::search::Search;
use self::search::SearchResult;
pub(super) use self::signature::{Key, Signatures};
use self::state::{JOBS_MAX, Job};
use super::error::ResolveError;
use super::sig::{Mixer, Sig};
use super::universe::{PkgId, Universe};
use crate::repodata::{Dependency, DependencyError, Rich};

/// A package as the solver numbers it. 1 is the system itself; packages of the repository follow in
/// file order.
type Node = u32;

/// Version of this solver. It is raised when the same question may get another answer than before.
pub(super) const VERSION: u32 = 3;

/// The node that provides `rpmlib(…)` and the like.
const SYSTEM: Node = 1;

fn index32(index: usize) -> u32 {
    u32::try_from(index).expect("Universe::load has checked the number of packages, and there are fewer rules than 2³²")
}

fn node(index: usize) -> Node {
    index32(index) + 2
}

fn package(node: Node) -> usize {
    node as usize - 2
}

/// Why libsolv had to answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Handover {
    /// Decisions contradict each other. libsolv would take some back, or the question has no
    /// answer.
    Conflict,
    /// A package of the build group would have to be removed or replaced.
    BaseChanged,
    /// A candidate would update a package of the build group.
    Update,
    /// Candidates replace each other in a circle.
    Obsoletes,
    /// A candidate is a kernel module or wants a locale. libsolv orders such candidates by what is
    /// installed.
    Reordered,
    /// Candidates provide one name in several versions, and some of these lack the release.
    UnclearVersions,
    /// A BuildRequires forbids something.
    RichRequirement,
    /// BuildConflicts name packages of the repository.
    BuildConflicts,
    /// The rules of a package are not all modelled.
    Unmodelled,
    /// Weak dependencies are to be installed, too.
    WeakDeps,
    /// The caller asked for libsolv.
    Wanted,
}

impl Handover {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::Conflict,
        Self::BaseChanged,
        Self::Update,
        Self::Obsoletes,
        Self::Reordered,
        Self::UnclearVersions,
        Self::RichRequirement,
        Self::BuildConflicts,
        Self::Unmodelled,
        Self::WeakDeps,
        Self::Wanted,
    ];

    /// Returns the reason as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::BaseChanged => "base-changed",
            Self::Update => "update",
            Self::Obsoletes => "obsoletes",
            Self::Reordered => "reordered",
            Self::UnclearVersions => "unclear-versions",
            Self::RichRequirement => "rich-requirement",
            Self::BuildConflicts => "build-conflicts",
            Self::Unmodelled => "unmodelled",
            Self::WeakDeps => "weak-deps",
            Self::Wanted => "wanted",
        }
    }
}

impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A repository as rules, with an index to look up dependencies from outside. It is immutable and
/// shared by threads.
pub(super) struct Native<'u> {
    graph: Graph,
    providers: Providers<'u>,
}

impl<'u> Native<'u> {
    /// Builds the rules. Cost: O(packages + dependencies + their providers); about 0.3 s for 63,000
    /// packages.
    pub(super) fn new(universe: &'u Universe) -> Result<Self, ResolveError> {
        let (graph, providers) = Builder::new(universe)?.finish();
        Ok(Self { graph, providers })
    }

    /// Returns what a dependency from outside asks for. If nothing provides it, the wish is empty.
    pub(super) fn wish(&self, dependency: &Dependency, universe: &Universe) -> Result<Wish, DependencyError> {
        if dependency.name.contains('\0') {
            return Err(DependencyError::Form { text: dependency.to_string().replace('\0', "\\0") });
        }
        let mut wish = Wish { matches: Vec::new(), jobs: Jobs::None };
        let rich = dependency.is_rich() && dependency.relation.is_none();
        if rich {
            let rich = Rich::parse(&dependency.name)?;
            wish.matches = self.providers.rich(&rich);
            if clauses::is_complex(&rich) {
                wish.jobs = self.complex(&rich, &wish.matches);
                return Ok(wish);
            }
        } else {
            wish.matches = self.providers.of(dependency);
            if wish.matches.is_empty()
                && let Some(path) = dependency.path()
            {
                let owners = universe.owners(path).iter().map(|id| node(id.index()));
                wish.matches = owners.filter(|&p| self.graph.traits[p as usize].arch != 0).collect();
            }
        }
        wish.jobs = match wish.matches.first() {
            None => Jobs::Impossible,
            Some(&SYSTEM) => Jobs::None,
            Some(_) => Jobs::All(vec![self.job(&wish.matches)]),
        };
        wish.matches.retain(|&p| p != SYSTEM);
        Ok(wish)
    }

    /// Returns the wish for one of these packages, whatever their architecture. libsolv is told
    /// that the architecture was chosen, so that it drops its rules about inferior architectures
    /// for all packages of those names. If there are such rules, libsolv has to answer.
    pub(super) fn wish_for(&self, packages: &[PkgId]) -> Wish {
        let matches: Vec<Node> = packages.iter().map(|id| node(id.index())).collect();
        let inferior = |p: &Node| self.graph.traits[*p as usize].flags.has(Flags::INFERIOR);
        let jobs = if matches.iter().any(inferior) { Jobs::Handover } else { Jobs::All(vec![self.job(&matches)]) };
        Wish { matches, jobs }
    }

    fn job(&self, members: &[Node]) -> Vec<Node> {
        members.iter().copied().filter(|&p| !self.graph.is_dead(p)).collect()
    }

    /// Makes the jobs of a rich dependency. libsolv only makes rules for the packages that provide
    /// it in the best case. If the clauses name other packages, libsolv does not know their
    /// requirements. libsolv has to answer such a question.
    fn complex(&self, rich: &Rich, matches: &[Node]) -> Jobs {
        match clauses::conjunctive(rich, &self.providers) {
            Ok(Normal::Always) => Jobs::None,
            Ok(Normal::Never) => Jobs::Impossible,
            Ok(Normal::Blocks(blocks))
                if blocks.iter().flatten().all(|&l| l > 0 && matches.binary_search(&l.unsigned_abs()).is_ok()) =>
            {
                let nodes = |block: &Vec<i32>| block.iter().map(|l| l.unsigned_abs()).collect::<Vec<_>>();
                Jobs::All(blocks.iter().map(|block| self.job(&nodes(block))).collect())
            }
            Ok(Normal::Blocks(_)) | Err(clauses::TooLarge) => Jobs::Handover,
        }
    }

    /// Makes the base for mode `two`.
    pub(super) fn base(&self, packages: &[PkgId]) -> NativeBase {
        let nodes: Vec<Node> = packages.iter().map(|id| node(id.index())).collect();
        NativeBase(Base::new(&self.graph, &nodes))
    }

    /// Makes a search for this thread.
    pub(super) fn search<'n>(&'n self, base: Option<&'n NativeBase>) -> NativeSearch<'n> {
        let base = base.map(|b| &b.0);
        NativeSearch { search: Search::new(&self.graph, base), graph: &self.graph, base }
    }

    /// Returns the hashes of this repository with its base. `keys` are those of all packages.
    pub(super) fn signatures(&self, base: Option<&NativeBase>, keys: &NodeKeys) -> Signatures {
        Signatures::new(&self.graph, base.map(|b| &b.0), keys)
    }

    /// Returns what changed since an earlier repository. `new` are the hashes of this one.
    pub(super) fn changes<'n>(
        &'n self,
        base: Option<&'n NativeBase>,
        keys: &'n NodeKeys,
        old: &Signatures,
        new: &Signatures,
    ) -> Changes<'n> {
        Changes::between(old, new, &self.graph, base.map(|b| &b.0), &keys.of)
    }

    /// Makes hashes of what libsolv may read for a question.
    pub(super) fn reach<'n>(
        &'n self,
        universe: &'n Universe,
        base: Option<&'n NativeBase>,
        keys: &'n NodeKeys,
    ) -> Reach<'n> {
        Reach::new(&self.graph, &self.providers, universe, base.map(|b| &b.0), &keys.of)
    }

    /// Returns the hash of what a wish asks for, and of the packages that match it.
    pub(super) fn wish_sig(&self, wish: &Wish, base: Option<&NativeBase>, keys: &NodeKeys) -> Sig {
        let mut mixer = Mixer::default();
        match &wish.jobs {
            Jobs::None => mixer.add(1),
            Jobs::Impossible => mixer.add(2),
            Jobs::Handover => mixer.add(3),
            Jobs::All(lists) => {
                mixer.add(4 + lists.len() as u64);
                for list in lists {
                    signature::candidates(list, &self.graph, base.map(|b| &b.0), &keys.of, &mut mixer);
                }
            }
        }
        wish.matches.iter().for_each(|&p| mixer.add(keys.of[p as usize].into()));
        mixer.finish()
    }

    /// Returns the sets that a package requires outside of scriptlets.
    pub(super) fn steps(&self, id: PkgId) -> &[u32] {
        self.graph.steps.row(node(id.index()))
    }

    /// Returns the packages of a set of [`Native::steps`], ascending.
    pub(super) fn members(&self, set: u32) -> impl Iterator<Item = PkgId> {
        self.graph.members.row(set).iter().filter(|&&p| p != SYSTEM).map(|&p| PkgId::from_index(package(p)))
    }

    /// Returns the number of sets.
    pub(super) fn sets(&self) -> usize {
        self.graph.members.len()
    }

    /// Returns the packages that provide a dependency, ascending, including those that cannot be
    /// installed. For a rich dependency, they are the same as [`Wish::matches`]. Returns `None` if
    /// the system itself provides it.
    pub(super) fn providers(&self, rich: &Rich) -> Option<Vec<PkgId>> {
        let found = self.providers.rich(rich);
        (found.first() != Some(&SYSTEM)).then(|| packages(&found))
    }

    /// Checks whether a package can never be installed, because of what it lacks or because of its
    /// architecture.
    pub(super) fn is_dead(&self, id: PkgId) -> bool {
        self.graph.is_dead(node(id.index()))
    }

    /// Returns the packages that cannot be installed together with a package, ascending.
    pub(super) fn excluded(&self, id: PkgId) -> Vec<PkgId> {
        packages(self.graph.conflicts.row(node(id.index())))
    }

    /// Checks whether the architecture of a package may be installed.
    pub(super) fn is_installable(&self, id: PkgId) -> bool {
        self.graph.traits[node(id.index()) as usize].arch != 0
    }

    /// Returns why wishes cannot be fulfilled together, whatever is installed before. Returns
    /// `None` if this does not follow without trying alternatives.
    pub(super) fn refute(&self, wishes: &[&Wish]) -> Option<Refutation> {
        refute::refute(&self.graph, wishes)
    }
}

fn packages(nodes: &[Node]) -> Vec<PkgId> {
    nodes.iter().filter(|&&p| p != SYSTEM).map(|&p| PkgId::from_index(package(p))).collect()
}

/// The keys of a repository's packages.
pub(super) struct NodeKeys {
    /// By the solver's numbers.
    of: Vec<Key>,
    /// One more than the highest key of this repository and of those before.
    end: usize,
}

impl NodeKeys {
    /// `keys` are those of all packages in their order. All keys ever given out are below `end`.
    pub(super) fn new(keys: impl Iterator<Item = Key>, end: usize) -> Self {
        Self { of: [0, 0].into_iter().chain(keys).collect(), end }
    }

    /// Returns the key of a package.
    pub(super) fn of(&self, id: PkgId) -> Key {
        self.of[node(id.index()) as usize]
    }
}

/// What a search read, by keys.
#[derive(Default)]
pub(super) struct ReadKeys {
    pub(super) there: Vec<Key>,
    pub(super) against: Vec<Key>,
    pub(super) emptied: Vec<Key>,
    pub(super) compared: Vec<Key>,
}

impl Changes<'_> {
    /// Checks whether the distances of an answer to these wishes may have changed although its
    /// packages did not.
    pub(super) fn touch_distances(&self, wish: &Wish) -> bool {
        self.moves_distances(wish.matches.iter().copied())
    }
}

impl Checker<'_, '_> {
    /// Checks whether an answer with this trace to these wishes still holds, if base and candidates
    /// are the same.
    pub(super) fn holds<'w>(
        &mut self,
        read: &Read<'_>,
        wishes: impl IntoIterator<Item = &'w Wish>,
    ) -> Result<(), Again> {
        let lists = wishes.into_iter().flat_map(|wish| match &wish.jobs {
            Jobs::All(lists) => lists.as_slice(),
            Jobs::None | Jobs::Impossible | Jobs::Handover => &[],
        });
        self.check(read, lists.flatten())
    }
}

/// A [`Base`], for code that only passes it on.
pub(super) struct NativeBase(Base);

/// The meaning of a BuildRequires for the solver.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// All packages that match it, chosen or not.
    matches: Vec<Node>,
    jobs: Jobs,
}

#[derive(Clone, Debug)]
enum Jobs {
    /// It is fulfilled in any case; there is nothing to do.
    None,
    /// Nothing provides it.
    Impossible,
    /// One package of each list has to be installed.
    All(Vec<Vec<Node>>),
    /// Only libsolv can answer.
    Handover,
}

impl Wish {
    /// Returns the packages that match.
    pub(super) fn matches(&self) -> impl Iterator<Item = PkgId> {
        self.matches.iter().map(|&p| PkgId::from_index(package(p)))
    }

    /// Checks whether no package matches, not even in part.
    pub(super) fn is_empty(&self) -> bool {
        self.matches.is_empty()
    }
}

/// The answer of our own solver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NativeAnswer {
    /// The packages of the closure, ascending.
    Closure(Vec<PkgId>),
    /// There is no solution. This is proven.
    Unsolvable,
    /// libsolv has to answer.
    Handover(Handover),
}

/// A search bound to one graph and base.
pub(super) struct NativeSearch<'n> {
    search: Search<'n>,
    graph: &'n Graph,
    base: Option<&'n Base>,
}

impl NativeSearch<'_> {
    /// Records from now on what each search reads.
    pub(super) fn record(&mut self) {
        self.search.record();
    }

    /// Returns what the last search read. Nothing if it ended before it began.
    pub(super) fn take_read(&mut self, keys: &NodeKeys) -> ReadKeys {
        let trace = self.search.take_trace().unwrap_or_default();
        let keys = |list: &[Node]| list.iter().map(|&p| keys.of[p as usize]).collect();
        ReadKeys {
            there: keys(&trace.there),
            against: keys(&trace.against),
            emptied: keys(&trace.emptied),
            compared: keys(&trace.compared),
        }
    }

    /// Solves all wishes together.
    pub(super) fn solve<'w>(&mut self, wishes: impl IntoIterator<Item = &'w Wish>) -> NativeAnswer {
        let mut jobs = Vec::new();
        for wish in wishes {
            match &wish.jobs {
                Jobs::None => {}
                Jobs::Impossible => return NativeAnswer::Unsolvable,
                Jobs::Handover => return NativeAnswer::Handover(Handover::RichRequirement),
                Jobs::All(lists) => {
                    for list in lists {
                        let unmodelled = |p: &Node| self.graph.traits[*p as usize].flags.has(Flags::UNMODELLED);
                        if list.iter().any(unmodelled) {
                            return NativeAnswer::Handover(Handover::Unmodelled);
                        }
                        let base = self.base.is_some_and(|b| list.iter().any(|&p| b.is_base[p as usize]));
                        let unclear = |b: &Base| list.iter().any(|&p| b.is_update[p as usize] || b.unclear[p as usize]);
                        if !base && self.base.is_some_and(unclear) {
                            return NativeAnswer::Handover(Handover::Update);
                        }
                        jobs.push(Job { literals: list.iter().map(|&p| positive(p)).collect(), base });
                    }
                }
            }
        }
        if jobs.len() > JOBS_MAX {
            return NativeAnswer::Handover(Handover::RichRequirement);
        }
        match self.search.run(&jobs) {
            SearchResult::Closure(closure) => {
                NativeAnswer::Closure(closure.into_iter().map(|p| PkgId::from_index(package(p))).collect())
            }
            SearchResult::Unsolvable => NativeAnswer::Unsolvable,
            SearchResult::Handover(reason) => NativeAnswer::Handover(reason),
        }
    }
}
