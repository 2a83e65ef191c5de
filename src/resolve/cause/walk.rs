//! From a source package down to the facts that make it unresolvable and did not hold before.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashSet;

use super::fact::{Fact, Found};
use super::{FirstCause, Generation, Link};
use crate::repodata::{Dependency, Rich, RichOp};
use crate::resolve::native::{Alternatives, End, Reason, Refutation};
use crate::resolve::need::rich;
use crate::resolve::resolver::Mode;
use crate::resolve::universe::PkgId;

/// Requirements looked at per source package; a bound for repositories in which everything is broken.
const LOOKED_AT_MAX: usize = 20_000;

/// How a proof came somewhere: the position of a root, and the links from it.
type Way = (usize, Vec<Link>);

/// A requirement of the source package, or a member of the group.
struct Root {
    text: String,
    dependency: Option<Dependency>,
    in_group: bool,
}

/// A requirement that cannot be fulfilled.
struct Item {
    /// Whose; `None`: the root's.
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
            new.prepared.members().iter().map(|(dependency, _)| Root {
                text: dependency.to_string(),
                dependency: Some(dependency.clone()),
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
            self.contradiction();
            self.follow();
        }
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|f| (f.root, f.fact.rank(self.old)));
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
            // Not understood, which it was not before either if it was there.
            let path = vec![Link { requirement: text.clone(), package: None }];
            return self.note(Fact::Asks { requirement: text }, path, root);
        };
        for unit in self.failing(&dependency, true) {
            self.queue.push_back(Item { owner: None, dependency: dependency.clone(), unit, path: Vec::new(), root });
        }
    }

    /// The parts of a requirement for which no package can be installed; none when it can be fulfilled.
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

    /// Nothing that provides `item` can be installed now: what became of those that did provide it?
    fn item(&mut self, item: Item) {
        let Item { owner, dependency, unit, path, root } = item;
        let of_source = owner.is_none();
        let requirement = dependency.to_string();
        let mut end = path.clone();
        end.push(Link { requirement: requirement.clone(), package: None });
        self.lost(&unit, &dependency, of_source, &path, root);
        if self.roots[root].in_group && of_source {
            // A member that nothing provides is passed over: it counts only since something provides it.
            let providers = self.new.providers(&unit, of_source).unwrap_or_default();
            for id in providers {
                let (key, unit, requirement) = (self.new.key(id), unit.clone(), requirement.clone());
                if self.old.prepared.group().skipped.contains(&requirement) {
                    self.note(Fact::Provides { key, unit, requirement }, end.clone(), root);
                }
            }
        }
        self.asked(owner, dependency, end, root);
    }

    /// Notes that this is required, should that be new.
    fn asked(&mut self, owner: Option<PkgId>, dependency: Dependency, path: Vec<Link>, root: usize) {
        let requirement = self.roots[root].text.clone();
        let fact = match owner {
            Some(owner) => Fact::Requires { key: self.new.key(owner), dependency },
            None if self.roots[root].in_group => Fact::Member { requirement },
            None => Fact::Asks { requirement },
        };
        self.note(fact, path, root);
    }

    /// Follows the packages that provided a requirement where the source package resolved: those it was resolved with, or if none of
    /// them did, all.
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

    /// Looks at what a dead package lacks.
    fn open(&mut self, id: PkgId, requirement: &str, path: &[Link], root: usize) {
        if !self.opened.insert(id) {
            return;
        }
        let mut path = path.to_vec();
        path.push(Link { requirement: requirement.to_owned(), package: Some(self.new.nevra(id)) });
        let content = self.new.prepared.universe().content();
        let requires = &content.packages()[id.index()].requires;
        let before = (self.queue.len(), self.found.len());
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
        if before == (self.queue.len(), self.found.len()) {
            self.conditional(id, &path, root);
        }
    }

    /// Queues what conditional requirements of a package ask for and cannot have: the condition is met then.
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

    /// Everything could be installed for itself, but not together.
    fn contradiction(&mut self) {
        let native = self.new.prepared.native();
        let universe = self.new.prepared.universe();
        let mut wishes = Vec::new();
        let mut places = Vec::new();
        for (place, root) in self.roots.iter().enumerate() {
            if let Some(wish) = root.dependency.as_ref().and_then(|d| native.wish(d, universe).ok()) {
                wishes.push(wish);
                places.push(place);
            }
        }
        let base = match self.new.prepared.mode() {
            Mode::Two => self.new.prepared.group().closure.clone(),
            Mode::Joint => Vec::new(),
        };
        let wishes: Vec<_> = wishes.iter().collect();
        let Some(refutation) = native.refute(&wishes, &base) else { return };
        let mut proof = Proof { refutation: &refutation, places: &places, done: BTreeSet::new() };
        match &refutation.end {
            End::Conflict(a, b) => {
                self.conflict(&proof, *a, *b, None);
                self.because(&mut proof, *a);
                self.because(&mut proof, *b);
            }
            End::Nothing(alternatives) => self.alternatives(&mut proof, alternatives),
        }
    }

    /// Notes that two packages conflict. `way` is how the proof came there if it does not follow from either.
    fn conflict(&mut self, proof: &Proof<'_>, a: PkgId, b: PkgId, way: Option<Way>) {
        let first = match (self.path(proof, a), self.path(proof, b)) {
            (Some(a), Some(b)) if b.0 < a.0 => Some(b),
            (Some(a), _) => Some(a),
            (None, b) => b,
        };
        let (root, path) = first.or(way).unwrap_or_default();
        if root >= self.roots.len() {
            return;
        }
        if self.new.conflicts_itself(a, b) {
            self.note(Fact::Conflict { a: self.new.key(a), b: self.new.key(b) }, path, root);
            return;
        }
        // They only conflict because one asks for something that cannot be had if the other is there.
        for id in [a, b] {
            self.conditional(id, &path, root);
        }
    }

    /// Follows why packages have to be there.
    fn because(&mut self, proof: &mut Proof<'_>, id: PkgId) {
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            if !proof.done.insert(id) {
                continue;
            }
            if let Some(Reason::Only(alternatives)) = proof.refutation.there.get(&id) {
                next.extend(self.one(proof, alternatives));
            }
        }
    }

    fn alternatives(&mut self, proof: &mut Proof<'_>, alternatives: &Alternatives) {
        for id in self.one(proof, alternatives) {
            self.because(proof, id);
        }
    }

    /// Looks at one need of which not all candidates are left; returns the packages it follows from.
    fn one(&mut self, proof: &Proof<'_>, alternatives: &Alternatives) -> Vec<PkgId> {
        let mut from: Vec<PkgId> = alternatives.owners.clone();
        let mut way = None;
        if let Some((owner, dependency, (root, path))) = self.named(proof, alternatives) {
            if let Some(rich) = rich(&dependency) {
                let mut units = Vec::new();
                parts(&rich, &mut units);
                for unit in units {
                    self.lost(&unit, &dependency, owner.is_none(), &path, root);
                }
            }
            let mut path = path;
            let only = alternatives.members.first().filter(|_| alternatives.members.len() == 1);
            path.push(Link { requirement: dependency.to_string(), package: only.map(|&id| self.new.nevra(id)) });
            way = Some((root, path.clone()));
            self.asked(owner, dependency, path, root);
        }
        for member in &alternatives.members {
            if let Some(&by) = proof.refutation.excluded.get(member) {
                self.conflict(proof, by, *member, way.clone());
                from.push(by);
            }
        }
        from
    }

    /// Whose requirement it is, which, and how the proof came there.
    fn named(&self, proof: &Proof<'_>, alternatives: &Alternatives) -> Option<(Option<PkgId>, Dependency, Way)> {
        if let Some(wish) = alternatives.wish {
            let root = *proof.places.get(wish)?;
            return Some((None, self.roots[root].dependency.clone()?, (root, Vec::new())));
        }
        let content = self.new.prepared.universe().content();
        for &owner in &alternatives.owners {
            for required in &content.packages()[owner.index()].requires {
                let dependency = content.dependency(required.dep);
                let Some(providers) = rich(dependency).and_then(|rich| self.new.providers(&rich, false)) else {
                    continue;
                };
                let mut alive = providers.iter().copied().filter(|&id| !self.new.is_dead(id));
                let same = if dependency.is_rich() {
                    !alternatives.members.is_empty() && alternatives.members.iter().all(|id| providers.contains(id))
                } else {
                    alive.by_ref().eq(alternatives.members.iter().copied())
                };
                if same {
                    let way = self.path(proof, owner).unwrap_or_default();
                    return (way.0 < self.roots.len()).then_some((Some(owner), dependency.clone(), way));
                }
            }
        }
        None
    }

    /// How the proof came to a package that has to be there. `None`: it is in the base, or only a candidate.
    fn path(&self, proof: &Proof<'_>, id: PkgId) -> Option<Way> {
        let mut path = Vec::new();
        let mut at = id;
        let content = self.new.prepared.universe().content();
        // No package follows from itself, so this ends.
        loop {
            let Some(Reason::Only(alternatives)) = proof.refutation.there.get(&at) else { return None };
            let package = Some(self.new.nevra(at));
            if let Some(wish) = alternatives.wish {
                let root = *proof.places.get(wish)?;
                path.push(Link { requirement: self.roots[root].text.clone(), package });
                path.reverse();
                return Some((root, path));
            }
            let owner = *alternatives.owners.first()?;
            let gives = |dependency: &&Dependency| {
                let found = rich(dependency).and_then(|rich| self.new.providers(&rich, false));
                found.is_some_and(|list| list.contains(&at))
            };
            let requires = &content.packages()[owner.index()].requires;
            let requirement = requires.iter().map(|r| content.dependency(r.dep)).find(gives);
            path.push(Link { requirement: requirement.map(ToString::to_string).unwrap_or_default(), package });
            at = owner;
        }
    }
}

/// A refutation while it is read.
struct Proof<'r> {
    refutation: &'r Refutation,
    /// The root of each wish.
    places: &'r [usize],
    done: BTreeSet<PkgId>,
}

/// The parts of a requirement that packages can fulfil, conditions left out.
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

/// Can a requirement be fulfilled, if `possible` says which of its parts can? Those for which it cannot go into `units`. A condition
/// need not come true, so it counts as possible.
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
