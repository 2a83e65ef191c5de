//! Walks from a source package down to the facts that make it unresolvable and did not hold before.

mod proof;

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashSet;

use super::fact::{Fact, Found};
use super::{FirstCause, Generation, Link};
use crate::repodata::{Dependency, Rich, RichOp};
use crate::resolve::mode::Mode;
use crate::resolve::need::rich;
use crate::resolve::universe::PkgId;

/// Most requirements examined per source package. It bounds the walk in repositories in which
/// everything is broken.
const LOOKED_AT_MAX: usize = 20_000;

/// How a proof reached something: the position of a root, and the links from it.
type Way = (usize, Vec<Link>);

/// A requirement of the source package, or a member of the group.
struct Root {
    text: String,
    dependency: Option<Dependency>,
    in_group: bool,
}

/// A requirement that cannot be fulfilled.
struct Item {
    /// The package that has the requirement. `None` means the root.
    owner: Option<PkgId>,
    dependency: Dependency,
    /// The part of it that fails.
    unit: Rich,
    path: Vec<Link>,
    root: usize,
}

pub(super) struct Walk<'a> {
    generations: &'a [Generation<'a>],
    requires: &'a [&'a [String]],
    resolved: usize,
    old: &'a Generation<'a>,
    new: &'a Generation<'a>,
    closure: FxHashSet<PkgId>,
    roots: Vec<Root>,
    queue: VecDeque<Item>,
    /// Dead packages whose requirements are or were in the queue.
    opened: FxHashSet<PkgId>,
    /// The same packages in order, with the way to each.
    opened_by: Vec<(PkgId, Vec<Link>, usize)>,
    looked_at: usize,
    found: Vec<Found>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        generations: &'a [Generation<'a>],
        requires: &'a [&'a [String]],
        resolved: usize,
        closure: &[PkgId],
    ) -> Self {
        let (old, new) = (&generations[resolved], &generations[generations.len() - 1]);
        let group = || {
            new.prepared.members().iter().map(|member| Root {
                text: member.name().to_owned(),
                dependency: Some(member.dependency().clone()),
                in_group: true,
            })
        };
        let asked = requires[generations.len() - 1].iter().map(|text| Root {
            text: text.clone(),
            dependency: Dependency::parse(text).ok(),
            in_group: false,
        });
        let roots = match new.prepared.mode() {
            Mode::Two if !new.prepared.group().ok => group().collect(),
            Mode::Two => asked.collect(),
            Mode::Joint => asked.chain(group()).collect(),
        };
        Self {
            generations,
            requires,
            resolved,
            old,
            new,
            closure: closure.iter().copied().collect(),
            roots,
            queue: VecDeque::new(),
            opened: FxHashSet::default(),
            opened_by: Vec::new(),
            looked_at: 0,
            found: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Vec<FirstCause> {
        for root in 0..self.roots.len() {
            self.root(root);
            self.follow();
        }
        if self.found.is_empty() {
            self.conditions();
        }
        if self.found.is_empty() {
            self.contradiction();
            self.follow();
        }
        if self.found.is_empty() {
            self.conditions();
        }
        let mut found = std::mem::take(&mut self.found);
        // What follows from another change comes last, whichever BuildRequires leads to it.
        found.sort_by_key(|f| (f.fact.follows(self.old, self.new), f.root, f.fact.rank(self.old, self.new)));
        let mut known = BTreeSet::new();
        let causes = found.into_iter().map(|f| f.cause(self.generations, self.requires, self.resolved));
        causes.filter(|cause| known.insert(cause.id())).collect()
    }

    fn note(&mut self, fact: Fact, path: Vec<Link>, root: usize) {
        let before = self.requires[self.resolved];
        if !fact.holds(self.old, before) {
            self.found.push(Found { fact, path, in_group: self.roots[root].in_group, root });
        }
    }

    fn root(&mut self, root: usize) {
        let text = self.roots[root].text.clone();
        let Some(dependency) = self.roots[root].dependency.clone() else {
            // The requirement cannot be parsed. `note` only records it if it is new.
            let path = vec![Link { requirement: text.clone(), package: None }];
            return self.note(Fact::Asks { requirement: text }, path, root);
        };
        for unit in self.failing(&dependency, true) {
            self.queue.push_back(Item { owner: None, dependency: dependency.clone(), unit, path: Vec::new(), root });
        }
    }

    /// Returns the parts of a requirement for which no package can be installed. Returns none if
    /// the requirement can be fulfilled.
    fn failing(&self, dependency: &Dependency, of_source: bool) -> Vec<Rich> {
        let Some(rich) = rich(dependency) else { return Vec::new() };
        let mut units = Vec::new();
        fulfillable(&rich, &|unit| self.possible(unit, of_source), &mut units);
        units
    }

    fn possible(&self, unit: &Rich, of_source: bool) -> bool {
        let found = self.new.providers(unit, of_source);
        found.is_none_or(|list| list.iter().any(|&id| !self.new.is_dead(id)))
    }

    fn follow(&mut self) {
        while let Some(item) = self.queue.pop_front() {
            self.looked_at += 1;
            if self.looked_at > LOOKED_AT_MAX {
                return;
            }
            self.item(item);
        }
    }

    /// Handles a requirement for which no provider can be installed now: finds out what became of
    /// its earlier providers.
    fn item(&mut self, item: Item) {
        let Item { owner, dependency, unit, path, root } = item;
        let of_source = owner.is_none();
        let requirement = dependency.to_string();
        let mut end = path.clone();
        end.push(Link { requirement: requirement.clone(), package: None });
        self.lost(&unit, &dependency, of_source, &path, root);
        let before = self.old.providers(&unit, of_source);
        if before.is_some_and(|list| list.iter().all(|&id| self.old.is_dead(id))) {
            // No installable package provided it before either. The present providers lack
            // something, and that lack may be new.
            for id in self.new.providers(&unit, of_source).unwrap_or_default() {
                self.open(id, &requirement, &path, root);
            }
        }
        if self.roots[root].in_group && of_source {
            self.passed_over(&unit, &end, root);
        }
        self.asked(owner, dependency, end, root);
    }

    /// Handles a member of the group that is provided now and was ignored before because nothing
    /// provided it: notes its providers.
    fn passed_over(&mut self, unit: &Rich, path: &[Link], root: usize) {
        let requirement = self.roots[root].text.clone();
        if !self.old.prepared.group().skipped.contains(&requirement) {
            return;
        }
        for id in self.new.providers(unit, true).unwrap_or_default() {
            let (key, unit, requirement) = (self.new.key(id), unit.clone(), requirement.clone());
            self.note(Fact::Provides { key, unit, requirement }, path.to_vec(), root);
        }
    }

    /// Notes the requirement itself, in case it is new.
    fn asked(&mut self, owner: Option<PkgId>, dependency: Dependency, path: Vec<Link>, root: usize) {
        let requirement = self.roots[root].text.clone();
        let fact = match owner {
            Some(owner) => Fact::Requires { key: self.new.key(owner), dependency },
            None if self.roots[root].in_group => Fact::Member { requirement },
            None => Fact::Asks { requirement },
        };
        self.note(fact, path, root);
    }

    /// Follows the packages that provided a requirement when the source package resolved. These are
    /// the ones in its closure or, if the closure has none of them, all of them.
    fn lost(&mut self, unit: &Rich, dependency: &Dependency, of_source: bool, path: &[Link], root: usize) {
        let Some(mut before) = self.old.providers(unit, of_source) else { return };
        before.retain(|&id| !self.old.is_dead(id));
        if before.iter().any(|id| self.closure.contains(id)) {
            before.retain(|id| self.closure.contains(id));
        }
        let now = self.new.providers(unit, of_source).unwrap_or_default();
        let requirement = dependency.to_string();
        for id in before {
            let key = self.old.key(id);
            let still: Vec<PkgId> = self.new.family(&key).iter().copied().filter(|id| now.contains(id)).collect();
            if still.is_empty() {
                let mut path = path.to_vec();
                path.push(Link { requirement: requirement.clone(), package: None });
                let requirement = requirement.clone();
                self.note(Fact::Lost { key, unit: unit.clone(), requirement, of_source }, path, root);
            } else if still.iter().all(|&id| self.new.is_dead(id)) {
                for id in still {
                    self.open(id, &requirement, path, root);
                }
            }
        }
    }

    /// Examines what a dead package lacks.
    fn open(&mut self, id: PkgId, requirement: &str, path: &[Link], root: usize) {
        if !self.opened.insert(id) {
            return;
        }
        let mut path = path.to_vec();
        path.push(Link { requirement: requirement.to_owned(), package: Some(self.new.nevra(id)) });
        let content = self.new.prepared.universe().content();
        let requires = &content.packages()[id.index()].requires;
        for dependency in requires.iter().map(|r| content.dependency(r.dep)) {
            if rich(dependency).is_none() {
                let mut path = path.clone();
                path.push(Link { requirement: dependency.to_string(), package: None });
                let key = self.new.key(id);
                self.note(Fact::Requires { key, dependency: dependency.clone() }, path, root);
            }
            for unit in self.failing(dependency, false) {
                let (dependency, path) = (dependency.clone(), path.clone());
                self.queue.push_back(Item { owner: Some(id), dependency, unit, path, root });
            }
        }
        self.opened_by.push((id, path, root));
    }

    /// Follows conditional requirements of dead packages. If nothing else makes a package dead,
    /// other requirements of it meet the condition.
    fn conditions(&mut self) {
        while self.found.is_empty() && !self.opened_by.is_empty() {
            for (id, path, root) in std::mem::take(&mut self.opened_by) {
                self.conditional(id, &path, root);
            }
            self.follow();
        }
    }

    /// Queues the parts of a package's conditional requirements that cannot be fulfilled. The
    /// caller knows that the condition is met.
    fn conditional(&mut self, id: PkgId, path: &[Link], root: usize) {
        let content = self.new.prepared.universe().content();
        let requires = &content.packages()[id.index()].requires;
        for dependency in requires.iter().map(|r| content.dependency(r.dep)).filter(|d| d.is_rich()) {
            let mut units = Vec::new();
            if let Some(rich) = rich(dependency) {
                parts(&rich, &mut units);
            }
            units.retain(|unit| !self.possible(unit, false));
            for unit in units {
                let (dependency, path) = (dependency.clone(), path.to_vec());
                self.queue.push_back(Item { owner: Some(id), dependency, unit, path, root });
            }
        }
    }
}

/// Collects the parts of a requirement that packages can fulfil. Leaves out conditions.
fn parts(rich: &Rich, units: &mut Vec<Rich>) {
    match rich {
        Rich::Node(RichOp::And | RichOp::Or, left, right) => {
            parts(left, units);
            parts(right, units);
        }
        Rich::Node(RichOp::If | RichOp::Unless, then, condition) => {
            parts(then, units);
            if let Rich::Node(RichOp::Else, _, otherwise) = &**condition {
                parts(otherwise, units);
            }
        }
        unit => units.push(unit.clone()),
    }
}

/// Checks whether a requirement can be fulfilled, if `possible` says which of its parts can. Adds
/// the parts that cannot to `units`. A requirement with `if` counts as possible, because its
/// condition need not come true.
fn fulfillable(rich: &Rich, possible: &impl Fn(&Rich) -> bool, units: &mut Vec<Rich>) -> bool {
    match rich {
        Rich::Node(RichOp::And, left, right) => {
            let (left, right) = (fulfillable(left, possible, units), fulfillable(right, possible, units));
            left && right
        }
        Rich::Node(RichOp::Or | RichOp::Else, left, right) => {
            let mut both = Vec::new();
            let (left, right) = (fulfillable(left, possible, &mut both), fulfillable(right, possible, &mut both));
            if !left && !right {
                units.extend(both);
            }
            left || right
        }
        Rich::Node(RichOp::If, ..) => true,
        Rich::Node(RichOp::Unless, then, _) => fulfillable(then, possible, units),
        unit => {
            let can = possible(unit);
            if !can {
                units.push(unit.clone());
            }
            can
        }
    }
}
