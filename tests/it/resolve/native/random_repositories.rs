//! Random repositories with everything that one can say, and questions about them.

use std::fmt;

use koschei::repodata::{Member, MemberKind};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::tiny::{Pkg, pkg};

/// A package with its lists of dependencies, as text.
#[derive(Clone, Default)]
pub(super) struct Any {
    pub(super) nevra: String,
    /// In the order of [`LISTS`].
    pub(super) lists: [Vec<String>; 8],
}

pub(super) const LISTS: [&str; 8] =
    ["provides", "requires", "conflicts", "obsoletes", "recommends", "suggests", "supplements", "enhances"];

impl fmt::Debug for Any {
    /// Writes the package in the form of a regression test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg({:?})", self.nevra)?;
        let lists = LISTS.iter().zip(&self.lists).filter(|(_, list)| !list.is_empty());
        lists.into_iter().try_for_each(|(name, list)| write!(f, ".{name}(&{list:?})"))
    }
}

impl Any {
    pub(super) fn package(&self) -> Pkg {
        let [provides, requires, conflicts, obsoletes, recommends, suggests, supplements, enhances] =
            self.lists.each_ref().map(|list| list.iter().map(String::as_str).collect::<Vec<_>>());
        pkg(&self.nevra)
            .provides(&provides)
            .requires(&requires)
            .conflicts(&conflicts)
            .obsoletes(&obsoletes)
            .recommends(&recommends)
            .suggests(&suggests)
            .supplements(&supplements)
            .enhances(&enhances)
    }
}

/// A repository, a build group, and the BuildRequires of some source packages.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) packages: Vec<Any>,
    pub(super) group: Vec<Member>,
    pub(super) questions: Vec<Vec<String>>,
}

/// Makes worlds. The same seed gives the same world.
pub(super) struct Maker {
    pub(super) rng: StdRng,
    /// Number of different package names, capabilities and architectures. Few make conflicts, many
    /// make chains.
    pub(super) names: u8,
    pub(super) capabilities: u8,
    pub(super) arches: &'static [&'static str],
}

impl Maker {
    pub(super) fn world(seed: u64) -> World {
        Self::world_and_maker(seed).0
    }

    /// Also returns the maker, for changes of that world.
    pub(super) fn world_and_maker(seed: u64) -> (World, Self) {
        const ARCHES: [&[&str]; 3] = [&["x86_64"], &["x86_64", "noarch"], &["x86_64", "x86_64", "noarch", "i686"]];
        let mut rng = StdRng::seed_from_u64(seed);
        let (names, capabilities) = (rng.random_range(4..40), rng.random_range(2..24));
        let arches = *ARCHES.choose(&mut rng).unwrap();
        let size = rng.random_range(1..=60);
        let mut maker = Self { rng, names, capabilities, arches };
        let mut world = World {
            packages: (0..size).map(|_| maker.package()).collect(),
            group: (0..maker.rng.random_range(0..=4)).map(|_| maker.member()).collect(),
            questions: (0..maker.rng.random_range(1..=6)).map(|_| maker.list(5, Self::dep)).collect(),
        };
        if maker.rng.random_bool(0.4) {
            maker.enemies(&mut world);
        }
        (world, maker)
    }

    /// Makes packages that conflict with or replace members of the build group, and requests some
    /// of them.
    pub(super) fn enemies(&mut self, world: &mut World) {
        for package in &mut world.packages {
            let Some(member) = world.group.choose(&mut self.rng).filter(|_| self.rng.random_bool(0.3)) else {
                continue;
            };
            package.lists[self.one(&[2, 2, 3])].push(member.name.clone());
            let name = package.nevra.split('-').next().unwrap_or_default().to_owned();
            let question = self.rng.random_range(0..world.questions.len());
            if self.rng.random_bool(0.5) {
                world.questions[question].push(name);
            }
        }
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).unwrap()
    }

    pub(super) fn list(&mut self, max: usize, make: fn(&mut Self) -> String) -> Vec<String> {
        (0..self.rng.random_range(0..=max)).map(|_| make(self)).collect()
    }

    /// Returns a list that is mostly empty.
    pub(super) fn seldom(&mut self, max: usize, make: fn(&mut Self) -> String) -> Vec<String> {
        if self.rng.random_bool(0.2) { self.list(max, make) } else { Vec::new() }
    }

    pub(super) fn name(&mut self) -> String {
        if self.rng.random_bool(0.5) {
            format!("n{}", self.rng.random_range(0..self.names))
        } else {
            format!("c{}", self.rng.random_range(0..self.capabilities))
        }
    }

    /// Returns a member, mostly without conditions.
    pub(super) fn member(&mut self) -> Member {
        let mut member = Member::from(self.name());
        if self.rng.random_bool(0.1) {
            (member.kind, member.requires) = (MemberKind::Conditional, Some(self.name()));
        }
        member.base_arch_only = self.rng.random_bool(0.05);
        member
    }

    pub(super) fn version(&mut self) -> &'static str {
        self.one(&["1", "2", "1-1", "1-2", "2-1", "1:1-1"])
    }

    pub(super) fn plain(&mut self) -> String {
        let name = self.name();
        if self.rng.random_bool(0.75) {
            return name;
        }
        format!("{name} {} {}", self.one(&["=", "<", "<=", ">", ">="]), self.version())
    }

    pub(super) fn rich(&mut self, depth: u32) -> String {
        let part = |maker: &mut Self| {
            if depth > 1 && maker.rng.random_bool(0.4) { maker.rich(depth - 1) } else { maker.plain() }
        };
        let (a, b) = (part(self), part(self));
        if self.rng.random_bool(0.75) {
            let op = self.one(&["or", "or", "and", "if", "unless", "with", "without"]);
            return format!("({a} {op} {b})");
        }
        let (op, c) = (self.one(&["if", "unless"]), part(self));
        format!("({a} {op} {b} else {c})")
    }

    pub(super) fn dep(&mut self) -> String {
        if self.rng.random_bool(0.83) { self.plain() } else { self.rich(2) }
    }

    pub(super) fn provide(&mut self) -> String {
        let name = format!("c{}", self.rng.random_range(0..self.capabilities));
        if self.rng.random_bool(0.6) {
            return name;
        }
        format!("{name} {} {}", self.one(&["=", "=", "=", "<", "<="]), self.version())
    }

    pub(super) fn package(&mut self) -> Any {
        let evr = self.one(&["1-1", "1-1", "1-1", "1-2", "2-1", "1:1-1"]);
        let arch = self.one(self.arches);
        Any {
            nevra: format!("n{}-{evr}.{arch}", self.rng.random_range(0..self.names)),
            lists: [
                self.list(3, Self::provide),
                self.list(3, Self::dep),
                self.seldom(2, Self::dep),
                self.seldom(1, Self::plain),
                self.seldom(2, Self::dep),
                self.seldom(2, Self::dep),
                self.seldom(1, Self::dep),
                self.seldom(1, Self::dep),
            ],
        }
    }
}

impl World {
    /// Returns a smaller world that still fails, without everything that can be left out.
    pub(super) fn shrink(mut self, fails: impl Fn(&Self) -> bool) -> Self {
        loop {
            let before = format!("{self:?}").len();
            for smaller in [Self::without_question, Self::without_package, Self::without_member, Self::without_dep] {
                let mut at = 0;
                while let Some(less) = smaller(&self, at) {
                    if fails(&less) {
                        self = less;
                    } else {
                        at += 1;
                    }
                }
            }
            if format!("{self:?}").len() == before {
                return self;
            }
        }
    }

    pub(super) fn without_question(&self, at: usize) -> Option<Self> {
        let mut less = self.clone();
        (at < less.questions.len()).then(|| less.questions.remove(at))?;
        Some(less)
    }

    pub(super) fn without_package(&self, at: usize) -> Option<Self> {
        let mut less = self.clone();
        (at < less.packages.len()).then(|| less.packages.remove(at))?;
        Some(less)
    }

    pub(super) fn without_member(&self, at: usize) -> Option<Self> {
        let mut less = self.clone();
        (at < less.group.len()).then(|| less.group.remove(at))?;
        Some(less)
    }

    pub(super) fn without_dep(&self, mut at: usize) -> Option<Self> {
        let mut less = self.clone();
        let lists = less.packages.iter_mut().flat_map(|p| &mut p.lists).chain(&mut less.questions);
        for list in lists {
            if at < list.len() {
                list.remove(at);
                return Some(less);
            }
            at -= list.len();
        }
        None
    }
}
