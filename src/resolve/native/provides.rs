//! Finds the packages that provide a dependency, as libsolv does for RPM repositories.
//!
//! [`crate::resolve::overlap`] has the rules for versions.
//!
//! An owned file only counts as a provide if some dependency of the repository names it.

use rustc_hash::FxHashMap;

use super::sets::{SetId, SetTable};
use super::{Node, SYSTEM, index32, node};
use crate::repodata::{DepEvr, DepId, Dependency, Op, Package, RepoContent, Rich, RichOp};
use crate::resolve::overlap::relations_match;
use crate::resolve::universe::Universe;

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

/// Numbers of the names of packages and dependencies. Equal names have equal numbers.
pub(super) struct Names {
    /// By [`DepId`].
    pub(super) of_dependencies: Vec<u32>,
    /// By package.
    pub(super) of_packages: Vec<u32>,
    /// Every number is below it.
    pub(super) count: usize,
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
    /// Indexes all installable packages, and numbers all names. Cost: O(provides).
    pub(super) fn new(universe: &'u Universe, installable: &[bool]) -> (Self, Names) {
        let content = universe.content();
        let mut names: FxHashMap<&'u str, u32> = FxHashMap::default();
        names.reserve(content.dependencies().len());
        let mut name_of = |name: &'u str| {
            let next = index32(names.len());
            *names.entry(name).or_insert(next)
        };
        let of_dependencies: Vec<u32> = content.dependencies().map(|d| name_of(d.name.as_str())).collect();
        let of_packages: Vec<u32> = content.packages().iter().map(|p| name_of(p.name.as_str())).collect();
        let provides: usize = content.packages().iter().map(|p| p.provides.len() + 1).sum();
        let mut found: Vec<(u32, Node, Provide)> = Vec::with_capacity(provides);
        for (index, package) in content.packages().iter().enumerate() {
            if !installable[index] {
                continue;
            }
            let node = node(index);
            for &dep in &package.provides {
                found.push((of_dependencies[dep.index()], node, Provide::Listed(dep)));
            }
            found.push((of_packages[index], node, Provide::Own));
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
        let count = names.len();
        (Self { universe, names, starts, entries }, Names { of_dependencies, of_packages, count })
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
        let (providers, _) = Providers::new(&universe, &installable);
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
