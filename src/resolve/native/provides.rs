//! Finds the packages that provide a dependency, as libsolv does for RPM repositories.
//!
//! The rules (`pool_match_flags_evr` in libsolv, "Versioned dependencies" in the RPM manual):
//! * A provide without a version satisfies every relation.
//! * Two relations match if their ranges of versions have something in common.
//! * A version without release matches every release of it.
//!
//! An owned file only counts as a provide if some dependency of the repository names it.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use super::sets::{SetId, SetTable};
use super::{Node, SYSTEM, index32, node};
use crate::model::rpmvercmp;
use crate::repodata::{DepEvr, DepId, Dependency, Op, Package, RepoContent, Rich, RichOp};
use crate::resolve::universe::Universe;

/// Bits of a comparison, as libsolv's `REL_GT`, `REL_EQ`, `REL_LT`.
const GT: u8 = 1;
const EQ: u8 = 2;
const LT: u8 = 4;

const fn bits(op: Op) -> u8 {
    match op {
        Op::Lt => LT,
        Op::Le => LT | EQ,
        Op::Eq => EQ,
        Op::Ge => GT | EQ,
        Op::Gt => GT,
    }
}

/// The result of comparing two versions if a missing release matches any. The two open cases are
/// the fourth and fifth case of libsolv's `EVRCMP_MATCH_RELEASE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Match {
    Less,
    /// Equal except for the release, which the left one lacks.
    LeftOpen,
    Equal,
    /// Equal except for the release, which the right one lacks.
    RightOpen,
    Greater,
}

fn compare(left: &DepEvr, right: &DepEvr) -> Match {
    let epochs = left.epoch.unwrap_or(0).cmp(&right.epoch.unwrap_or(0));
    let order = epochs.then_with(|| rpmvercmp(&left.version, &right.version));
    let order = match (&left.release, &right.release) {
        (Some(a), Some(b)) => order.then_with(|| rpmvercmp(a, b)),
        _ => order,
    };
    match (order, left.release.is_some(), right.release.is_some()) {
        (Ordering::Less, ..) => Match::Less,
        (Ordering::Greater, ..) => Match::Greater,
        (Ordering::Equal, false, true) => Match::LeftOpen,
        (Ordering::Equal, true, false) => Match::RightOpen,
        (Ordering::Equal, ..) => Match::Equal,
    }
}

/// Checks whether a provide `provided` satisfies a requirement `wanted` of the same name.
fn relations_match(provided: (Op, &DepEvr), wanted: (Op, &DepEvr)) -> bool {
    let (have, want) = (bits(provided.0), bits(wanted.0));
    if have & want & (LT | GT) != 0 {
        return true;
    }
    if provided.1 == wanted.1 {
        return have & want & EQ != 0;
    }
    match compare(provided.1, wanted.1) {
        Match::LeftOpen => have & EQ != 0,
        Match::Less => want & LT != 0 || have & GT != 0,
        Match::Equal => have & want & EQ != 0,
        Match::Greater => want & GT != 0 || have & LT != 0,
        Match::RightOpen => want & EQ != 0,
    }
}

/// Checks whether two dependencies have the same name and a version in common. A dependency without
/// a version has all versions.
pub(super) fn overlap(a: &Dependency, b: &Dependency) -> bool {
    a.name == b.name
        && match (&a.relation, &b.relation) {
            (Some(a), Some(b)) => relations_match((a.op, &a.evr), (b.op, &b.evr)),
            _ => true,
        }
}

/// Checks whether a dependency names a package by its own name and version. Obsoletes match this
/// way, not by provides.
pub(super) fn matches_nevr(package: &Package, dependency: &Dependency) -> bool {
    if package.name != dependency.name {
        return false;
    }
    let Some(relation) = &dependency.relation else { return true };
    let (own, want) = (DepEvr::from(&package.evr), bits(relation.op));
    if own == relation.evr {
        return want & EQ != 0;
    }
    match compare(&own, &relation.evr) {
        Match::LeftOpen => true,
        Match::Less => want & LT != 0,
        Match::Equal | Match::RightOpen => want & EQ != 0,
        Match::Greater => want & GT != 0,
    }
}

/// The source of one provide of a package.
#[derive(Clone, Copy)]
enum Provide {
    /// A provide from its list.
    Listed(DepId),
    /// `name = version` of the package itself.
    Own,
    /// A file that it owns.
    File,
}

/// All provided names, each with its providers in ascending order.
pub(super) struct Providers<'u> {
    universe: &'u Universe,
    names: FxHashMap<&'u str, u32>,
    /// For each name, where its entries start. There is one start more than there are names.
    starts: Vec<u32>,
    entries: Vec<(Node, Provide)>,
}

impl<'u> Providers<'u> {
    /// Indexes all installable packages. Cost: O(provides).
    pub(super) fn new(universe: &'u Universe, installable: &[bool]) -> Self {
        let content = universe.content();
        let mut names: FxHashMap<&'u str, u32> = FxHashMap::default();
        let mut name_of = |name: &'u str| {
            let next = index32(names.len());
            *names.entry(name).or_insert(next)
        };
        let dep_names: Vec<u32> = content.dependencies().map(|d| name_of(d.name.as_str())).collect();
        let mut found: Vec<(u32, Node, Provide)> = Vec::new();
        for (index, package) in content.packages().iter().enumerate() {
            if !installable[index] {
                continue;
            }
            let node = node(index);
            for &dep in &package.provides {
                found.push((dep_names[dep.index()], node, Provide::Listed(dep)));
            }
            found.push((name_of(package.name.as_str()), node, Provide::Own));
            for path in package.files.iter().filter(|path| universe.is_file_dependency(path)) {
                found.push((name_of(path.as_str()), node, Provide::File));
            }
        }
        let mut starts = vec![0_u32; names.len() + 1];
        for (name, ..) in &found {
            starts[*name as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut at = starts.clone();
        let mut entries = vec![(0, Provide::Own); found.len()];
        for (name, node, provide) in found {
            let place = &mut at[name as usize];
            entries[*place as usize] = (node, provide);
            *place += 1;
        }
        Self { universe, names, starts, entries }
    }

    fn content(&self) -> &'u RepoContent {
        self.universe.content()
    }

    fn of_name(&self, name: &str) -> &[(Node, Provide)] {
        match self.names.get(name) {
            Some(&n) => &self.entries[self.starts[n as usize] as usize..self.starts[n as usize + 1] as usize],
            None => &[],
        }
    }

    /// Adds the providers of a dependency that is not rich to `out`, ascending and without
    /// repetitions.
    fn plain(&self, dependency: &Dependency, out: &mut Vec<Node>) {
        for &(provider, provide) in self.of_name(&dependency.name) {
            if out.last() == Some(&provider) {
                continue;
            }
            let matches = match (&dependency.relation, provide) {
                (None, _) | (_, Provide::File) => true,
                (Some(wanted), Provide::Own) => {
                    let own = DepEvr::from(&self.universe.content().packages()[super::package(provider)].evr);
                    relations_match((Op::Eq, &own), (wanted.op, &wanted.evr))
                }
                (Some(wanted), Provide::Listed(dep)) => match &self.content().dependency(dep).relation {
                    Some(have) => relations_match((have.op, &have.evr), (wanted.op, &wanted.evr)),
                    None => true,
                },
            };
            if matches {
                out.push(provider);
            }
        }
        if out.is_empty() && dependency.relation.is_some() && dependency.name.starts_with("rpmlib(") {
            out.push(SYSTEM);
        }
    }

    /// Returns the providers of a rich dependency in the best case. For `and` and `or`, these are
    /// the providers of both sides. For a condition, these are the providers of its left side and
    /// its alternative. libsolv gives the same answer to "what provides this"
    /// (`pool_addrelproviders`).
    pub(super) fn rich(&self, rich: &Rich) -> Vec<Node> {
        let Rich::Node(op, left, right) = rich else {
            let mut out = Vec::new();
            if let Rich::Plain(dependency) = rich {
                self.plain(dependency, &mut out);
            }
            return out;
        };
        let left = self.rich(left);
        match op {
            RichOp::With => {
                let right = self.rich(right);
                left.into_iter().filter(|p| right.binary_search(p).is_ok()).collect()
            }
            RichOp::Without => {
                let right = self.rich(right);
                left.into_iter().filter(|p| right.binary_search(p).is_err()).collect()
            }
            RichOp::And | RichOp::Or => union(left, self.rich(right)),
            // `else` outside of a condition has no meaning. libsolv accepts it and finds no
            // providers for it.
            RichOp::Else => Vec::new(),
            RichOp::If | RichOp::Unless => match &**right {
                Rich::Node(RichOp::Else, _, alternative) => union(left, self.rich(alternative)),
                _ => left,
            },
        }
    }

    /// Returns the providers of any dependency. A dependency that cannot be parsed has none.
    pub(super) fn of(&self, dependency: &Dependency) -> Vec<Node> {
        if dependency.is_rich() && dependency.relation.is_none() {
            return Rich::parse(&dependency.name).map(|rich| self.rich(&rich)).unwrap_or_default();
        }
        let mut out = Vec::new();
        self.plain(dependency, &mut out);
        out
    }

    /// Returns the provider set of every dependency of the repository, by [`DepId`]. The set is
    /// empty for dependencies that are only provided. Cost:
    /// O(dependencies × providers of their names).
    pub(super) fn of_all(&self, sets: &mut SetTable) -> Vec<SetId> {
        let mut asked = vec![false; self.content().dependencies().len()];
        for dep in self.content().packages().iter().flat_map(Package::dependencies) {
            asked[dep.index()] = true;
        }
        let nothing = sets.intern(&[]);
        let mut found = Vec::new();
        self.content()
            .dependencies()
            .zip(asked)
            .map(|(dependency, asked)| {
                if !asked {
                    return nothing;
                }
                if dependency.is_rich() && dependency.relation.is_none() {
                    return sets.intern(&self.of(dependency));
                }
                found.clear();
                self.plain(dependency, &mut found);
                sets.intern(&found)
            })
            .collect()
    }
}

fn union(mut left: Vec<Node>, right: Vec<Node>) -> Vec<Node> {
    left.extend(right);
    left.sort_unstable();
    left.dedup();
    left
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;
    use crate::repodata::RepoDir;
    use crate::resolve::native::package;
    use crate::resolve::solv::Solver;

    /// Every dependency of a repository has the providers that libsolv finds.
    #[rstest]
    #[case("distro/small/binary")]
    #[case("koji/repos/f99-build/26/x86_64")]
    #[case("koji/repos/f99-build/26/aarch64")]
    fn equals_libsolv(#[case] repo: &str) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(repo);
        let arch = if repo.ends_with("aarch64") { "aarch64" } else { "x86_64" };
        let content = RepoDir::open(dir).unwrap().load([]).unwrap();
        let universe = Universe::load(Arc::new(content), arch).unwrap();
        let content = universe.content();
        let installable: Vec<bool> = content.packages().iter().map(|p| !p.is_source()).collect();
        let providers = Providers::new(&universe, &installable);
        let mut sets = SetTable::new();
        let ours = providers.of_all(&mut sets);
        let mut solver = Solver::new(&universe).unwrap();
        let asked = content.packages().iter().flat_map(Package::dependencies);
        let asked: std::collections::BTreeSet<usize> = asked.map(DepId::index).collect();
        for (index, dependency) in content.dependencies().enumerate() {
            if !asked.contains(&index) {
                continue;
            }
            let nodes = sets.get(ours[index]).iter().filter(|&&p| p != SYSTEM);
            let ours: Vec<usize> = nodes.map(|&p| package(p)).collect();
            let theirs = solver.providers(DepId(index32(index)));
            assert_eq!(ours, theirs.iter().map(|id| id.index()).collect::<Vec<_>>(), "{dependency}");
        }
    }

    /// A provide, a requirement, and whether the one satisfies the other (libsolv's rules, `rpm`
    /// manual "Dependencies").
    #[rstest]
    #[case("= 1-1", ">= 1", true)]
    #[case("= 1", "= 1-5", true)]
    #[case("= 1-5", "= 1", true)]
    #[case("= 1-5", "> 1", false)]
    #[case("= 1", "< 1-5", true)]
    #[case("< 2", ">= 2", false)]
    #[case("<= 2", ">= 2", true)]
    #[case("> 1", "< 1", false)]
    #[case("> 1", "> 5", true)]
    #[case("= 1:1", "> 9", true)]
    #[case("= 1~rc1", "< 1", true)]
    fn relations(#[case] have: &str, #[case] want: &str, #[case] expected: bool) {
        let relation = |text: &str| Dependency::parse(&format!("x {text}")).unwrap().relation.unwrap();
        let (have, want) = (relation(have), relation(want));
        assert_eq!(relations_match((have.op, &have.evr), (want.op, &want.evr)), expected);
    }
}
