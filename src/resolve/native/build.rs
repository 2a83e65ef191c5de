//! Turns the dependencies of each package into drafts of rules.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use super::clauses::{self, Literal, Normal, positive};
use super::graph::{Flags, Traits};
use super::provides::{Names, Providers};
use super::sets::{Rows, SetId, SetTable};
use super::weak::{WeakCondition, WeakPackage};
use super::{Node, SYSTEM, index32, node, package};
use crate::repodata::{DepEvr, DepId, Dependency, Package, Rich};
use crate::resolve::error::ResolveError;
use crate::resolve::overlap::matches_nevr;
use crate::resolve::solv::Arches;
use crate::resolve::universe::Universe;

/// Most packages of one name whose relations we model. A repository has at most a few versions of
/// each package.
const NAMESAKES_MAX: usize = 256;
/// Most pairs of packages that exclude each other. A distribution of 60,000 packages has some
/// 200,000.
const CONFLICTS_MAX: usize = 1 << 24;

/// A rule while the graph is being built. It is small and has no memory of its own: there are
/// hundreds of thousands.
#[derive(Clone, Copy, Default)]
pub(super) struct Draft {
    pub(super) owner: Node,
    /// The literals after the owner's, ascending.
    pub(super) rest: Rest,
}

/// The literals of a rule after the first.
#[derive(Clone, Copy)]
pub(super) enum Rest {
    Set(SetId),
    /// A row of [`Builder::literals`].
    Literals(u32),
}

impl Default for Rest {
    fn default() -> Self {
        Self::Set(0)
    }
}

/// What the rules ask of a dependency's text.
#[derive(Clone, Copy, Default)]
struct NameTraits {
    /// It is in parentheses and has no relation.
    rich: bool,
    /// It asks for a locale.
    locale: bool,
}

/// A graph while it is being built.
pub(super) struct Builder<'u> {
    pub(super) universe: &'u Universe,
    pub(super) providers: Providers<'u>,
    pub(super) names: Names,
    pub(super) sets: SetTable,
    pub(super) dep_sets: Vec<SetId>,
    pub(super) traits: Vec<Traits>,
    pub(super) dead: Vec<bool>,
    /// By [`DepId`]. A text is read once, not once for each package that has the dependency.
    named: Vec<NameTraits>,
    pub(super) drafts: Vec<Draft>,
    pub(super) literals: Rows<Literal>,
    pub(super) conflicts: Vec<(u32, Node)>,
    pub(super) obsoletes: Vec<(u32, Node)>,
    pub(super) weak: FxHashMap<Node, WeakPackage>,
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
        let (providers, names) = Providers::new(universe, &installable);
        let mut sets = SetTable::new();
        let dep_sets = providers.of_all(&mut sets);
        let named = universe.content().dependencies().map(NameTraits::of).collect();
        let requirements = packages.iter().map(|p| p.requires.len()).sum();
        let mut builder = Self {
            universe,
            providers,
            names,
            sets,
            dep_sets,
            dead: std::iter::repeat_n(true, 2).chain(installable.iter().map(|&i| !i)).collect(),
            traits,
            named,
            drafts: Vec::with_capacity(requirements),
            literals: Rows::default(),
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            weak: FxHashMap::default(),
        };
        builder.dead[SYSTEM as usize] = false;
        builder.families(&colors);
        for (index, _) in installable.iter().enumerate().filter(|(_, installable)| **installable) {
            builder.package(index);
        }
        Ok(builder)
    }

    /// Models the relations between packages of one name: ranks, conflicts, architectures.
    fn families(&mut self, colors: &[u8]) {
        let packages = self.universe.content().packages();
        let numbers = self.names.of_packages.iter().copied();
        let by_name: Vec<(u32, u32)> = numbers.zip(0..).collect();
        let families = Rows::from_pairs(self.names.count, &by_name);
        let name = |number: u32| packages[families.row(number)[0] as usize].name.as_str();
        // The first eight bytes decide in most cases.
        let numbers = (0..index32(families.len())).filter(|number| !families.row(*number).is_empty());
        let mut order: Vec<(u64, u32)> = numbers.map(|number| (first_bytes(name(number)), number)).collect();
        order.sort_unstable_by(|(x, a), (y, b)| x.cmp(y).then_with(|| name(*a).cmp(name(*b))));
        for (rank, (_, number)) in order.into_iter().enumerate() {
            let group = families.row(number);
            for &i in group {
                self.traits[i as usize + 2].name = index32(rank);
            }
            if group.len() > 1 {
                let group: Vec<usize> =
                    group.iter().map(|&i| i as usize).filter(|&i| self.traits[i + 2].arch != 0).collect();
                if group.len() > NAMESAKES_MAX {
                    group.iter().for_each(|&i| self.traits[i + 2].flags.set(Flags::UNMODELLED));
                } else {
                    self.namesakes(&group, packages, colors);
                }
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

    /// Models inferior architectures. A package of an inferior architecture may only be installed
    /// together with the package of the same name that has the better architecture
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
            // The best architecture follows from the packages that libsolv examines. libsolv always
            // examines the package of a better architecture in the same version. It never examines
            // a package of another version or of `noarch` for this purpose.
            let mut partners = group.iter().filter(same).copied();
            let partner = partners.next().filter(|&q| score(q) > 1 && partners.next().is_none());
            found.push((p, partner));
        }
        for (p, partner) in found {
            self.traits[p + 2].flags.set(Flags::INFERIOR);
            if let Some(partner) = partner {
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
            let providers = self.sets.get(self.dep_sets[dep.index()]);
            if self.conflicts.len() + providers.len() > CONFLICTS_MAX {
                self.traits[p as usize].flags.set(Flags::UNMODELLED);
                continue;
            }
            for &q in providers {
                if q == p || q == SYSTEM || !matches_nevr(&content.packages()[package(q)], dependency) {
                    continue;
                }
                self.conflicts.push((p, q));
                if self.traits[q as usize].name != self.traits[p as usize].name {
                    self.obsoletes.push((p, q));
                }
            }
        }
        if self.is_reordered(own) {
            self.traits[p as usize].flags.set(Flags::REORDERED);
        }
        self.weak_dependencies(p, own);
    }

    pub(super) fn rich(&self, dep: DepId) -> Option<Rich> {
        if !self.named[dep.index()].rich {
            return None;
        }
        Rich::parse(&self.universe.content().dependency(dep).name).ok().filter(clauses::is_complex)
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
            members if members.binary_search(&p).is_ok() => {}
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
        let providers = self.sets.get(self.dep_sets[dep.index()]);
        if self.conflicts.len() + providers.len() > CONFLICTS_MAX {
            self.traits[p as usize].flags.set(Flags::UNMODELLED);
            return;
        }
        for &q in providers {
            if q == SYSTEM {
                self.dead[p as usize] = true;
            } else if q != p {
                self.conflicts.push((p, q));
            }
        }
    }

    /// Adds every block as a rule with the package's own negative literal. `conflict` says that the
    /// blocks come from a conflict: a package does not conflict with itself.
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
                let row = index32(self.literals.len());
                self.literals.push_row(block[1..].iter().copied());
                self.drafts.push(Draft { owner, rest: Rest::Literals(row) });
            }
        }
    }

    /// Checks for packages that libsolv reorders by what is installed: kernel modules and packages
    /// that want a locale (`urpm_reorder`).
    fn is_reordered(&self, package: &Package) -> bool {
        is_kernel_module(&package.name) || package.requires.iter().any(|r| self.named[r.dep.index()].locale)
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
                    Some(rich) => WeakCondition::new(&rich, &mut |r: &Rich| self.sets.intern(&self.providers.rich(r))),
                    None => WeakCondition::AnyOf(self.dep_sets[dep.index()]),
                });
            }
        }
        if weak != WeakPackage::default() {
            self.traits[p as usize].flags.set(Flags::WEAK);
            self.weak.insert(p, weak);
        }
    }
}

impl NameTraits {
    fn of(dependency: &Dependency) -> Self {
        Self {
            rich: dependency.is_rich() && dependency.relation.is_none(),
            locale: dependency.name.contains("locales-"),
        }
    }
}

/// Checks whether a name is that of a kernel module.
fn is_kernel_module(name: &str) -> bool {
    if name.starts_with("kernel-") {
        return name.contains("-devel-");
    }
    name.split_once("-kernel-").is_some_and(|(_, rest)| {
        let mut bytes = rest.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_digit()) && bytes.next() == Some(b'.')
    })
}

/// Returns the first eight bytes as a number. Numbers are ordered as the bytes are.
fn first_bytes(text: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = text.len().min(8);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

fn compare_evr(a: &Package, b: &Package) -> Ordering {
    a.evr.cmp(&b.evr)
}
