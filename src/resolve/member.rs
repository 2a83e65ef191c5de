//! Members of the build group.

use rustc_hash::FxHashMap;

use super::mode::Mode;
use super::native::{Native, Wish};
use super::need::Need;
use super::overlap::matches_nevr;
use super::solv::{self, Solver};
use super::universe::{PkgId, Universe};
use crate::repodata::{Dependency, Member, MemberKind};

/// A member of the build group that exists in the repository.
pub(super) struct GroupMember {
    name: String,
    /// The member as a requirement. If `packages` is `None`, it is the full meaning; otherwise it
    /// only serves texts.
    dependency: Dependency,
    /// The packages of that name and the packages that obsolete one of them, ascending.
    packages: Option<Vec<PkgId>>,
    wish: Wish,
}

impl GroupMember {
    /// Returns the members that exist, in order, and the names of the others.
    ///
    /// In mode `joint`, members are capabilities or paths, and conditional ones do not count
    /// (Koschei).
    ///
    /// In mode `two`, members mean what dnf 4's `group install` makes of them
    /// (`Base._finalize_comps_trans`):
    /// * A member means all packages of exactly that name, and the packages that obsolete one of
    ///   them. An obsoleter of an obsoleter does not count. With `basearchonly`, only packages of
    ///   the base architecture count.
    /// * A member with `requires` means `(name if requires)` by provides. It exists if a package
    ///   has its name.
    ///
    /// dnf 5 does the same, but does not know `basearchonly`.
    pub(super) fn all(
        group: &[Member],
        mode: Mode,
        universe: &Universe,
        native: &Native<'_>,
    ) -> (Vec<Self>, Vec<String>) {
        let mut skipped = Vec::new();
        let mut found = Vec::new();
        let mut names = Names::default();
        if mode == Mode::Two {
            names = Names::new(group, universe, native);
        }
        for member in group {
            let made = match mode {
                Mode::Joint if member.kind == MemberKind::Conditional => continue,
                Mode::Joint => Self::capability(member, &member.name, universe, native),
                Mode::Two => names.of(member, universe).and_then(|own| match &member.requires {
                    Some(requires) => {
                        Self::capability(member, &format!("({} if {requires})", member.name), universe, native)
                    }
                    None => Some(Self::named(member, names.with_obsoleters(own), native)),
                }),
            };
            match made {
                Some(made) => found.push(made),
                None => skipped.push(member.name.clone()),
            }
        }
        (found, skipped)
    }

    fn capability(member: &Member, text: &str, universe: &Universe, native: &Native<'_>) -> Option<Self> {
        let dependency = Dependency::parse(text).ok()?;
        let wish = native.wish(&dependency, universe).ok()?;
        (!wish.is_empty()).then(|| Self { name: member.name.clone(), dependency, packages: None, wish })
    }

    fn named(member: &Member, packages: Vec<PkgId>, native: &Native<'_>) -> Self {
        let dependency = Dependency { name: member.name.as_str().into(), relation: None };
        let wish = native.wish_for(&packages);
        Self { name: member.name.clone(), dependency, packages: Some(packages), wish }
    }

    /// Checks whether an installed package is there because of this member.
    pub(super) fn is(&self, id: PkgId, universe: &Universe) -> bool {
        match &self.packages {
            Some(packages) => packages.binary_search(&id).is_ok(),
            None => universe.package(id).name == self.name.as_str(),
        }
    }

    /// Returns the member's name in the group.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the member as a requirement, for the search for causes.
    pub(super) fn dependency(&self) -> &Dependency {
        &self.dependency
    }

    pub(super) fn wish(&self) -> &Wish {
        &self.wish
    }

    pub(super) fn for_libsolv(&self, solver: &mut Solver, universe: &Universe) -> Option<solv::Wish> {
        match &self.packages {
            Some(packages) => Some(solver.one_of(packages)),
            None => solver.select(&self.dependency, universe).ok().and_then(|(wish, _)| wish),
        }
    }

    pub(super) fn need(&self, native: &Native<'_>, universe: &Universe) -> Need {
        match &self.packages {
            Some(packages) => Need::AnyOf(packages.clone()),
            None => Need::of_source(&self.dependency, native, universe),
        }
    }
}

/// The packages that have the name of a member, and the packages that obsolete one of those.
#[derive(Default)]
struct Names {
    named: FxHashMap<String, Vec<PkgId>>,
    /// The obsoleters of each package.
    obsoleters: FxHashMap<PkgId, Vec<PkgId>>,
}

impl Names {
    fn new(group: &[Member], universe: &Universe, native: &Native<'_>) -> Self {
        let mut named: FxHashMap<String, Vec<PkgId>> =
            group.iter().map(|member| (member.name.clone(), Vec::new())).collect();
        for id in universe.ids() {
            let package = universe.package(id);
            if !package.is_source()
                && let Some(list) = named.get_mut(package.name.as_str())
            {
                list.push(id);
            }
        }
        let mut obsoleters: FxHashMap<PkgId, Vec<PkgId>> = FxHashMap::default();
        let content = universe.content();
        for id in universe.ids() {
            let package = universe.package(id);
            for dependency in package.obsoletes.iter().map(|dep| content.dependency(*dep)) {
                for &old in named.get(dependency.name.as_str()).into_iter().flatten() {
                    let fits = old != id && !package.is_source() && native.is_installable(old);
                    if fits && matches_nevr(universe.package(old), dependency) {
                        obsoleters.entry(old).or_default().push(id);
                    }
                }
            }
        }
        Self { named, obsoleters }
    }

    /// Returns the packages that have a member's name, or `None` if there are none.
    fn of(&self, member: &Member, universe: &Universe) -> Option<Vec<PkgId>> {
        let mut found = self.named.get(&member.name)?.clone();
        if member.base_arch_only {
            found.retain(|&id| universe.package(id).arch == base_arch(universe.arch()));
        }
        (!found.is_empty()).then_some(found)
    }

    fn with_obsoleters(&self, own: Vec<PkgId>) -> Vec<PkgId> {
        let more: Vec<PkgId> = own.iter().filter_map(|id| self.obsoleters.get(id)).flatten().copied().collect();
        let mut all = own;
        all.extend(more);
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Returns dnf's base architecture: the name of a repository for packages of `arch`. In some
/// families the packages have another name (`i686` for `i386`). Such packages are not of the base
/// architecture, as in dnf.
fn base_arch(arch: &str) -> &str {
    match arch {
        "athlon" | "geode" | "i486" | "i586" | "i686" => "i386",
        "armv6hl" | "armv7hl" | "armv7hnl" | "armv8hl" => "armhfp",
        "armv5tejl" | "armv5tel" | "armv5tl" | "armv6l" | "armv7l" | "armv8l" => "arm",
        "amd64" | "ia32e" => "x86_64",
        "ppc64iseries" | "ppc64p7" | "ppc64pseries" => "ppc64",
        other => other,
    }
}
