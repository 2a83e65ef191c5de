//! Folds the verdicts of resolutions.

use smol_str::SmolStr;

use super::arch::{Allowed, collection_allows};
use super::package::ArchVerdict;
use super::state::State;
use crate::event::{
    BuildrootBroken, BuildrootResolved, DependenciesMeasured, DependencyMove, RepoNotResolved, RepoResolved,
    ResolutionExamined,
};
use crate::model::{Name, RepoId, Seq};

/// Sets the verdict of one architecture. `before` is the repository of the verdict before.
fn put(verdicts: &mut Vec<ArchVerdict>, mut new: ArchVerdict, before: Option<RepoId>) {
    match verdicts.iter_mut().find(|v| v.arch == new.arch) {
        Some(old) => {
            if new.ok == Some(false) {
                if old.ok == Some(false) {
                    new.causes = std::mem::take(&mut old.causes);
                }
                (new.explained, new.good) = match old.ok {
                    Some(false) => (old.explained, old.good),
                    Some(true) => (None, before),
                    None => (None, None),
                };
            }
            *old = new;
        }
        None => verdicts.push(new),
    }
}

impl State {
    pub(super) fn repo_resolved(&mut self, e: &RepoResolved, seq: Seq) {
        if let Some(repo) = self.hub_mut(&e.hub).repos.get_mut(&e.repo_id) {
            match repo.resolved.iter_mut().find(|(c, a, _)| (c, a) == (&e.collection, &e.arch)) {
                // Resolved again, because other sources turned out to count.
                Some((.., attachment)) => attachment.clone_from(&e.attachment),
                None => repo.resolved.push((e.collection.clone(), e.arch.clone(), e.attachment.clone())),
            }
        }
        let Some(index) = self.collections.get_index_of(&e.collection) else {
            return self.anomaly("resolution of an unknown collection");
        };
        let collection = &mut self.collections[index];
        collection.history.resolved(e.repo_id);
        let moves: Vec<u32> = e.moves.iter().map(|m| intern(&mut collection.moves, m)).collect();
        let arch = collection.arch_mut(&e.arch);
        let before = arch.repo_id.replace(e.repo_id);
        arch.attachment = Some(e.attachment.clone());
        arch.content.clone_from(&e.content);
        arch.examined = false;
        arch.corrected.clone_from(&e.solver_mismatches);
        arch.tracked.clone_from(&e.tracked);
        arch.of_packages.clone_from(&e.of_packages);
        collection.resolved_at = Some(seq);
        // The collection stays stale if another architecture of this repository, or a newer
        // repository, is the reason.
        let hub = self.hubs.get(&e.hub);
        let over = |stale: RepoId| match hub.and_then(|h| h.repos.get(&stale)) {
            Some(repo) if stale == e.repo_id => {
                let mut all =
                    repo.arches.iter().flatten().filter(|a| collection_allows(&collection.settings.arches, a));
                all.all(|a| collection.arches.get(a).is_some_and(|a| a.repo_id == Some(stale)))
            }
            _ => hub.is_none_or(|h| h.is_newer(e.repo_id, stale)),
        };
        if collection.stale.as_ref().is_some_and(|(stale, _)| over(*stale)) {
            collection.stale = None;
        }
        let (own, tag) = (collection.settings.arches.clone(), collection.tag_arches.clone());
        let allowed = Allowed { own: &own, tag: &tag };
        let mut touched = Vec::with_capacity(e.packages.len());
        for p in &e.packages {
            let i = collection.package_index(&p.package);
            let package = &mut collection.packages[i];
            let changes = p.changes.iter().filter_map(|(m, d)| Some((*moves.get(*m as usize)?, *d))).collect();
            let mut base = p.base;
            if base.is_none() && p.ok == Some(true) && assume_base(package, &p.source, e.repo_id) {
                base = Some(e.repo_id);
            }
            put(
                &mut package.verdicts,
                ArchVerdict {
                    arch: e.arch.clone(),
                    source: p.source.clone(),
                    buildroot_has: p.buildroot_has.clone(),
                    noarch: p.noarch,
                    ok: p.ok,
                    problem: p.problem.as_deref().map(Box::from),
                    explained: None,
                    good: None,
                    causes: Vec::new(),
                    changes,
                    base,
                    truth: p.truth,
                },
                before,
            );
            package.judge(allowed, &collection.moves);
            touched.push(i);
        }
        for name in &e.gone {
            if let Some(i) = collection.packages.get_index_of(name) {
                let package = &mut collection.packages[i];
                package.verdicts.retain(|v| v.arch != e.arch);
                package.judge(allowed, &collection.moves);
                touched.push(i);
            }
        }
        collection.compact_moves();
        for i in touched {
            self.touch(index, i);
        }
    }

    pub(super) fn dependencies_measured(&mut self, e: &DependenciesMeasured) {
        let Some(index) = self.collections.get_index_of(&e.collection) else {
            return self.anomaly("measurement in an unknown collection");
        };
        let collection = &mut self.collections[index];
        let Some(i) = collection.packages.get_index_of(&e.package) else {
            return self.anomaly("measurement of an unknown package");
        };
        let changes =
            e.moves.iter().map(|m| intern(&mut collection.moves, m)).zip(e.distances.iter().copied()).collect();
        let (own, tag) = (collection.settings.arches.clone(), collection.tag_arches.clone());
        let allowed = Allowed { own: &own, tag: &tag };
        let package = &mut collection.packages[i];
        let of_arch = package.verdicts.iter().position(|v| v.arch == e.arch);
        if let Some(at) = of_arch {
            let source = package.verdicts[at].source.clone();
            let assumed = e.base.is_none() && assume_base(package, &source, e.repo_id);
            let v = &mut package.verdicts[at];
            v.changes = changes;
            v.base = if assumed { Some(e.repo_id) } else { e.base };
            v.truth = e.truth;
        }
        package.judge(allowed, &collection.moves);
        self.touch(index, i);
    }

    pub(super) fn repo_not_resolved(&mut self, e: &RepoNotResolved) {
        match self.collections.get_mut(&e.collection) {
            Some(c) => c.stale = Some((e.repo_id, e.reason.clone())),
            None => self.anomaly("resolution of an unknown collection"),
        }
    }

    pub(super) fn resolution_examined(&mut self, e: &ResolutionExamined) {
        let Some(index) = self.collections.get_index_of(&e.collection) else {
            return self.anomaly("examination in an unknown collection");
        };
        let collection = &mut self.collections[index];
        let arch = collection.arch_mut(&e.arch);
        if e.complete && arch.repo_id == Some(e.repo_id) {
            arch.examined = true;
        }
        let mut touched = Vec::with_capacity(e.problems.len());
        for p in &e.problems {
            let Some((i, _, package)) = collection.packages.get_full_mut(&p.package) else { continue };
            let of_arch = package.verdicts.iter_mut().find(|v| v.arch == e.arch && v.ok == Some(false));
            if let Some(verdict) = of_arch {
                verdict.problem = Some(p.problem.as_str().into());
                touched.push(i);
            }
        }
        for i in touched {
            self.touch(index, i);
        }
    }

    pub(super) fn buildroot_resolved(&mut self, e: &BuildrootResolved) {
        self.group(&e.collection, &e.arch, e.repo_id, true, &[]);
    }

    pub(super) fn buildroot_broken(&mut self, e: &BuildrootBroken) {
        self.group(&e.collection, &e.arch, e.repo_id, false, &e.problems);
    }

    fn group(&mut self, collection: &Name, arch: &Name, repo: RepoId, ok: bool, problems: &[String]) {
        match self.collections.get_mut(collection) {
            Some(c) => {
                let arch = c.arch_mut(arch);
                match (arch.group_ok, ok) {
                    (_, true) => {
                        (arch.explained, arch.group_good) = (None, None);
                        arch.causes.clear();
                    }
                    (Some(true), false) => (arch.explained, arch.group_good) = (None, arch.group_repo),
                    (Some(false) | None, false) => {}
                }
                arch.group_ok = Some(ok);
                arch.group_repo = Some(repo);
                arch.problems = problems.to_vec();
            }
            None => self.anomaly("build group of an unknown collection"),
        }
    }
}

fn intern(moves: &mut indexmap::IndexSet<DependencyMove, rustc_hash::FxBuildHasher>, new: &DependencyMove) -> u32 {
    let index = match moves.get_index_of(new) {
        Some(index) => index,
        None => moves.insert_full(new.clone()).0,
    };
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Takes `repo` as the repository of the build from which changes are measured, if that build has
/// none to compare with. Changes from now on are then not lost. Returns `false` if there is no such
/// build, or if it is of another source.
fn assume_base(package: &mut super::Package, source: &SmolStr, repo: RepoId) -> bool {
    match package.base_index().map(|i| &mut package.evidence[i]) {
        Some(base) if base.names().any(|n| n == source) || base.source.is_empty() => {
            base.built_in = base.built_in.or(base.repo);
            base.repo = Some(repo);
            base.assumed = true;
            true
        }
        _ => false,
    }
}
