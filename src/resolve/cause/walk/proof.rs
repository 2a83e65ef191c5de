//! Finds causes when each package could be installed alone but not all of them together. It reads
//! the solver's proof backwards.

use std::collections::BTreeSet;

use super::{Link, Walk, Way, parts};
use crate::repodata::Dependency;
use crate::resolve::cause::fact::Fact;
use crate::resolve::native::{Alternatives, End, Refutation};
use crate::resolve::need::rich;
use crate::resolve::universe::PkgId;

/// A refutation while it is being read.
struct Proof<'r> {
    refutation: &'r Refutation,
    /// The root of each wish.
    places: &'r [usize],
    done: BTreeSet<PkgId>,
}

impl Walk<'_> {
    /// Handles the case that everything can be installed alone, but not together.
    pub(super) fn contradiction(&mut self) {
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
        let wishes: Vec<_> = wishes.iter().collect();
        let Some(refutation) = native.refute(&wishes) else { return };
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

    /// Notes that two packages conflict. `way` is how the proof reached the conflict if it follows
    /// from neither of them.
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
        // They only conflict because one requires something that cannot be installed beside the
        // other.
        for id in [a, b] {
            self.conditional(id, &path, root);
        }
    }

    /// Follows the reasons why a package has to be installed.
    fn because(&mut self, proof: &mut Proof<'_>, id: PkgId) {
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            if !proof.done.insert(id) {
                continue;
            }
            if let Some(alternatives) = proof.refutation.there.get(&id) {
                next.extend(self.one(proof, alternatives));
            }
        }
    }

    fn alternatives(&mut self, proof: &mut Proof<'_>, alternatives: &Alternatives) {
        for id in self.one(proof, alternatives) {
            self.because(proof, id);
        }
    }

    /// Examines one need that has lost candidates. Returns the packages it follows from.
    fn one(&mut self, proof: &Proof<'_>, alternatives: &Alternatives) -> Vec<PkgId> {
        let mut from: Vec<PkgId> = alternatives.owners.clone();
        let mut way = None;
        if let Some((owner, dependency, (root, path))) = self.named(proof, alternatives) {
            if let Some(rich) = rich(&dependency) {
                let mut units = Vec::new();
                parts(&rich, &mut units);
                for unit in units {
                    self.lost(&unit, &dependency, owner.is_none(), &path, root);
                    if owner.is_none() && self.roots[root].in_group {
                        self.passed_over(&unit, &path, root);
                    }
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

    /// Returns the package that has the requirement, the requirement, and how the proof reached it.
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

    /// Returns how the proof reached a package that has to be installed. Returns `None` if the
    /// package is only a candidate.
    fn path(&self, proof: &Proof<'_>, id: PkgId) -> Option<Way> {
        let mut path = Vec::new();
        let mut at = id;
        let content = self.new.prepared.universe().content();
        // No package follows from itself, so this loop ends.
        loop {
            let alternatives = proof.refutation.there.get(&at)?;
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
