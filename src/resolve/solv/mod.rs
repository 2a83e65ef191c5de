//! The system's libsolv as a solver over a [`Universe`].
//!
//! It fills libsolv's pool from our own records, in file order, exactly as libsolv's reader of
//! primary would: the same strings and lists; a package provides itself; owned files that some
//! dependency names become provides. It does not do SUSE's rewriting of `packageand(…)` and
//! `locale(…)`: no RPM distribution that Koji builds uses it.
//!
//! A pool is bound to its thread. Every thread makes its own pool from the shared universe (0.2 s
//! for 63,000 packages).

mod ffi;
#[cfg(test)]
mod tests;

use self::ffi::{Dep, HasNul, Job, List, Place, Pool, Repo, SolvableId, Solved};
use super::error::ResolveError;
use super::universe::{PkgId, Universe};
use crate::repodata::{DepEvr, DepId, Dependency, DependencyError, Package, RepoContent, Rich};

/// Returns name and version of the solver, which are recorded with every resolution.
pub(super) fn version() -> String {
    format!("libsolv {}", ffi::version())
}

/// The priority that libsolv gives to packages of the rpm database. libsolv only reads it if a
/// candidate has the name and architecture of an installed package.
const INSTALLED_PRIORITY: i32 = 0;

/// libsolv's rules about architectures, for one architecture.
pub(super) struct Arches(std::cell::RefCell<Pool>);

impl Arches {
    /// Makes the rules for `arch`.
    pub(super) fn new(arch: &str) -> Result<Self, ResolveError> {
        Pool::new(arch).map(|pool| Self(pool.into())).map_err(|HasNul| ResolveError::Nul)
    }

    /// Returns libsolv's score of an architecture. 0 means not installable, 1 means `noarch`. Of
    /// the other scores, lower is better. Their upper half is the class: architectures of one class
    /// go together.
    pub(super) fn score(&self, arch: &str) -> Result<u32, ResolveError> {
        let mut pool = self.0.borrow_mut();
        let id = pool.intern(arch).map_err(|HasNul| ResolveError::Nul)?;
        Ok(pool.arch_score(id))
    }

    /// Returns libsolv's color of an architecture, as bits. Packages of one name exclude each other
    /// if their architectures share a bit.
    pub(super) fn color(&self, arch: &str) -> Result<u8, ResolveError> {
        let mut pool = self.0.borrow_mut();
        let id = pool.intern(arch).map_err(|HasNul| ResolveError::Nul)?;
        Ok(pool.arch_color(id))
    }
}

/// A line of a problem.
pub(super) struct Line {
    /// The text, as libsolv words it.
    pub(super) text: String,
    /// What the text leaves out.
    pub(super) about: About,
}

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// Nothing beyond its text.
    Itself,
    /// The wish with this index.
    Wish(usize),
    /// A dependency that nothing provides.
    Missing(DepId),
}

/// A thing to install or to keep out, in libsolv's form.
pub(super) struct Wish(Job);

/// A libsolv solver, loaded with one universe.
pub(super) struct Solver {
    pool: Pool,
    /// libsolv's number of each [`DepId`].
    deps: Vec<Dep>,
    /// The repositories. Their packages follow one another as in the universe.
    repos: Vec<Repo>,
    packages: usize,
    /// Copies of the base packages that count as installed, and the package that each is a copy of.
    base: Option<(Repo, Vec<PkgId>)>,
}

impl Solver {
    /// Loads a universe.
    pub(super) fn new(universe: &Universe) -> Result<Self, ResolveError> {
        let nul = |HasNul| ResolveError::Nul;
        let content = universe.content();
        let mut pool = Pool::new(universe.arch()).map_err(nul)?;
        pool.weak_deps = universe.has_weak_deps();
        let mut repos = Vec::new();
        for (packages, priority) in universe.repositories() {
            repos.push(pool.add_repo(c"repo", packages, priority).ok_or(ResolveError::TooMany)?);
        }
        let mut deps = Vec::with_capacity(content.dependencies().len());
        for dependency in content.dependencies() {
            deps.push(match dependency_id(&mut pool, dependency) {
                Ok(id) => id,
                // A rich dependency that cannot be parsed: nothing provides it, and the problem
                // text shows it.
                Err(_) => pool.intern(&dependency.name).map_err(nul)?.into(),
            });
        }
        let mut solver = Self { pool, deps, repos, packages: content.packages().len(), base: None };
        for (offset, package) in content.packages().iter().enumerate() {
            let p = solver.nth(offset);
            solver.fill(p, package, content, universe).map_err(nul)?;
        }
        solver.pool.index();
        Ok(solver)
    }

    fn fill(
        &mut self,
        p: SolvableId,
        package: &Package,
        content: &RepoContent,
        universe: &Universe,
    ) -> Result<(), HasNul> {
        let pool = &mut self.pool;
        let name = pool.intern(&package.name)?;
        let evr = pool.intern(&DepEvr::from(&package.evr).to_string())?;
        let arch = pool.intern(&package.arch)?;
        pool.set_nevra(p, name, evr, arch);
        let id = |dep: &DepId| self.deps[dep.index()];
        for dep in &package.provides {
            pool.add_dep(p, List::Provides, id(dep), Place::Only);
        }
        if !package.is_source() {
            let itself = pool.relation(name, crate::repodata::Op::Eq, evr);
            pool.add_dep(p, List::Provides, itself, Place::Only);
        }
        for path in package.files.iter().filter(|path| universe.is_file_dependency(path)) {
            let path = pool.intern(path)?;
            pool.add_dep(p, List::Provides, path.into(), Place::File);
        }
        for requirement in &package.requires {
            let place = if requirement.pre { Place::Pre } else { Place::Normal };
            pool.add_dep(p, List::Requires, id(&requirement.dep), place);
        }
        let lists = [
            (List::Conflicts, &package.conflicts),
            (List::Obsoletes, &package.obsoletes),
            (List::Recommends, &package.recommends),
            (List::Suggests, &package.suggests),
            (List::Supplements, &package.supplements),
            (List::Enhances, &package.enhances),
        ];
        for (list, deps) in lists {
            for dep in deps {
                pool.add_dep(p, list, id(dep), Place::Only);
            }
        }
        debug_assert!(content.packages().len() == self.packages, "one universe per solver");
        Ok(())
    }

    /// Marks the packages of `base` as installed. Call it at most once per solver.
    pub(super) fn install(&mut self, base: &[PkgId], universe: &Universe) -> Result<(), ResolveError> {
        let nul = |HasNul| ResolveError::Nul;
        let repo = self.pool.add_repo(c"installed", base.len(), INSTALLED_PRIORITY).ok_or(ResolveError::TooMany)?;
        let content = universe.content();
        for (offset, id) in base.iter().enumerate() {
            self.fill(repo.nth(offset), universe.package(*id), content, universe).map_err(nul)?;
        }
        self.base = Some((repo, base.to_vec()));
        self.pool.set_installed(repo);
        self.pool.index();
        Ok(())
    }

    /// Returns the packages that provide a dependency of the universe, ascending.
    #[cfg(test)]
    pub(super) fn providers(&mut self, dep: DepId) -> Vec<PkgId> {
        let found = self.pool.providers(self.deps[dep.index()]);
        self.packages(found)
    }

    /// Returns the wish for a dependency from outside, and the packages that satisfy it: its
    /// providers or else the owners of the path. Returns `None` and an empty list if there are
    /// none. The caller may still wish for a rich dependency ([`Solver::insist`]).
    pub(super) fn select(
        &mut self,
        dependency: &Dependency,
        universe: &Universe,
    ) -> Result<(Option<Wish>, Vec<PkgId>), DependencyError> {
        let id = dependency_id(&mut self.pool, dependency)?;
        let found = self.pool.providers(id);
        if !found.is_empty() {
            return Ok((Some(Wish(Job::Provides(id))), self.packages(found)));
        }
        let Some(path) = dependency.path() else { return Ok((None, Vec::new())) };
        let mut owners: Vec<SolvableId> = Vec::new();
        for owner in universe.owners(path) {
            owners.push(self.nth(owner.index()));
        }
        if let Some((repo, base)) = &self.base {
            let copies = base.iter().enumerate().filter(|(_, id)| universe.owners(path).contains(id));
            owners.extend(copies.map(|(offset, _)| repo.nth(offset)));
        }
        owners.retain(|&p| self.pool.installable(p));
        if owners.is_empty() {
            return Ok((None, Vec::new()));
        }
        let packages = self.packages(owners.clone());
        Ok((Some(Wish(Job::OneOf(owners))), packages))
    }

    /// Returns the wish for a dependency, even if nothing provides it.
    pub(super) fn insist(&mut self, dependency: &Dependency) -> Result<Wish, DependencyError> {
        dependency_id(&mut self.pool, dependency).map(|id| Wish(Job::Provides(id)))
    }

    /// Returns the wish for one of these packages, as libdnf requests packages that it has chosen
    /// by name.
    pub(super) fn one_of(&self, packages: &[PkgId]) -> Wish {
        Wish(Job::Chosen(packages.iter().map(|id| self.nth(id.index())).collect()))
    }

    /// Returns the wish to have none of these packages, neither from a repository nor in the base.
    /// Packages of the base that only they need may be removed, too.
    pub(super) fn none_of(&self, packages: &[PkgId]) -> Wish {
        let mut all: Vec<SolvableId> = packages.iter().map(|id| self.nth(id.index())).collect();
        all.extend(self.of_base(packages));
        Wish(Job::NoneOf(all))
    }

    /// Returns the wish to treat these packages of the base as wanted for themselves. They are not
    /// removed together with the packages that need them.
    pub(super) fn kept(&self, packages: &[PkgId]) -> Wish {
        Wish(Job::Kept(self.of_base(packages).collect()))
    }

    /// Returns the installed copies of those packages that are in the base.
    fn of_base<'a>(&'a self, packages: &'a [PkgId]) -> impl Iterator<Item = SolvableId> + 'a {
        let base = self.base.iter().flat_map(|(repo, base)| base.iter().enumerate().map(|(at, id)| (repo.nth(at), id)));
        base.filter(|(_, id)| packages.contains(id)).map(|(copy, _)| copy)
    }

    /// Solves the wishes. Returns everything that is installed at the end, ascending. If that
    /// fails, returns the problems; the first line of each is its main one.
    pub(super) fn solve(&mut self, wishes: Vec<Wish>) -> Result<Vec<PkgId>, Vec<Vec<Line>>> {
        let jobs: Vec<Job> = wishes.into_iter().map(|wish| wish.0).collect();
        match self.pool.solve(&jobs) {
            Solved::Installed(found) => Ok(self.packages(found)),
            Solved::Problems(problems) => {
                Err(problems.into_iter().map(|lines| lines.into_iter().map(|line| self.line(line)).collect()).collect())
            }
        }
    }

    fn line(&self, line: ffi::Line) -> Line {
        let about = match line.about {
            ffi::About::Itself => About::Itself,
            ffi::About::Job(place) => About::Wish(place),
            // libsolv may have built the dependency from parts. Then it is not a dependency of a
            // package.
            ffi::About::Missing(dep) => {
                let known = self.deps.iter().position(|own| *own == dep).and_then(|at| u32::try_from(at).ok());
                known.map_or(About::Itself, |at| About::Missing(DepId(at)))
            }
        };
        Line { text: line.text, about }
    }

    fn packages(&self, found: Vec<SolvableId>) -> Vec<PkgId> {
        let mut ids: Vec<PkgId> = found.into_iter().map(|p| self.package(p)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn package(&self, p: SolvableId) -> PkgId {
        let offset = p.index() - self.repos.first().map_or(0, Repo::first);
        if offset < self.packages {
            return PkgId::from_index(offset);
        }
        let (repo, base) = self.base.as_ref().expect("there are no other packages before install()");
        base[p.index() - repo.first()]
    }

    /// Returns libsolv's number of a package of the universe.
    fn nth(&self, index: usize) -> SolvableId {
        let start = self.repos.first().map_or(0, Repo::first);
        let after = self.repos.partition_point(|repo| repo.first() - start <= index);
        let repo = &self.repos[after.checked_sub(1).expect("a RepoContent is at least one repository")];
        repo.nth(index - (repo.first() - start))
    }
}

/// Returns the number of a dependency inside the pool.
fn dependency_id(pool: &mut Pool, dependency: &Dependency) -> Result<Dep, DependencyError> {
    if dependency.is_rich() && dependency.relation.is_none() {
        return rich_id(pool, &Rich::parse(&dependency.name)?);
    }
    let nul = |HasNul| DependencyError::Form { text: dependency.to_string().replace('\0', "\\0") };
    let name = pool.intern(&dependency.name).map_err(nul)?;
    let Some(relation) = &dependency.relation else { return Ok(name.into()) };
    let evr = pool.intern(&relation.evr.to_string()).map_err(nul)?;
    Ok(pool.relation(name, relation.op, evr))
}

fn rich_id(pool: &mut Pool, rich: &Rich) -> Result<Dep, DependencyError> {
    match rich {
        Rich::Plain(dependency) => dependency_id(pool, dependency),
        Rich::Node(op, left, right) => {
            let left = rich_id(pool, left)?;
            let right = rich_id(pool, right)?;
            Ok(pool.rich(*op, left, right))
        }
    }
}
