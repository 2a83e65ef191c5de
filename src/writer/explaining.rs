//! Appends which changes made packages unresolvable.
//!
//! This reads the last repository in which they resolved, and takes seconds for a distribution. With
//! a hub it follows what libsolv says ([`super::examining`]), so commands do not wait for it.

use std::collections::BTreeMap;

use indexmap::IndexSet;

use super::Writer;
use crate::buildroot::repo_resolver::{CannotResolve, OwnSources, Unit};
use crate::event::{CausesFound, PackageCauses, RepoReady, ResolutionCause, Source};
use crate::fold::{FoundCause, stands_for};
use crate::model::{Name, RepoId, Seq};
use crate::resolve::{Culprit, FirstCause, cause_text};

/// Most packages that are explained at once. The others follow with the next repository.
const AT_ONCE: usize = 5_000;

type Found = Vec<(Name, Vec<FirstCause>)>;

impl Writer {
    /// Finds the causes of packages, or of the build group, that do not resolve in a repository and
    /// whose present problem has no cause yet.
    pub(super) fn explain(&mut self, index: usize, r: &RepoReady, arch: &Name, cause: Seq) {
        for (good, packages) in self.unexplained(index, r.repo_id, arch) {
            let mut event = CausesFound {
                collection: self.collection_name(index),
                hub: r.hub.clone(),
                repo_id: r.repo_id,
                arch: arch.clone(),
                good_repo: good,
                unknown: None,
                causes: Vec::new(),
                packages: Vec::new(),
            };
            let found = match good {
                Some(good) => self.first_causes(index, r, (good, arch), &packages),
                None => Err(CannotResolve("no repository is known in which they resolved".to_owned())),
            };
            let found = found.unwrap_or_else(|CannotResolve(why)| {
                event.unknown = Some(why);
                (Vec::new(), Vec::new())
            });
            let mut causes: IndexSet<ResolutionCause> = IndexSet::new();
            let mut by_package: BTreeMap<&Name, Vec<u32>> = packages.iter().map(|p| (p, Vec::new())).collect();
            for (package, first) in &found.0 {
                let Some(of) = by_package.get_mut(package) else { continue };
                let known = self.known_causes(index, package, arch);
                for one in first {
                    let mut one = as_cause(one, &found.1);
                    // A cause that was there in the repository before may be older than that.
                    let name = one.known_by(package);
                    if one.repo_id != r.repo_id
                        && let Some(before) = known.iter().find(|before| before.known_by == name)
                    {
                        one.repo_id = before.repo;
                    }
                    let at = causes.insert_full(one).0;
                    of.push(u32::try_from(at).unwrap_or(u32::MAX));
                }
            }
            event.packages = by_package
                .into_iter()
                .map(|(package, causes)| PackageCauses { package: package.clone(), causes })
                .collect();
            event.causes = causes.into_iter().collect();
            self.push(event.into(), Source::Engine, Some(cause), Some(cause));
        }
    }

    /// Returns the causes that were found for a package, or for the build group, before.
    fn known_causes(&self, index: usize, package: &Name, arch: &Name) -> &[FoundCause] {
        let c = &self.state.collections[index];
        if package.as_str() == CausesFound::GROUP {
            return c.arches.get(arch).map_or(&[], |a| &a.causes);
        }
        let verdict = c.packages.get(package).and_then(|p| p.verdicts.iter().find(|v| v.arch == *arch));
        verdict.map_or(&[], |v| &v.causes)
    }

    /// Returns the packages to explain, by the last repository in which they resolved.
    fn unexplained(&self, index: usize, repo: RepoId, arch: &Name) -> BTreeMap<Option<RepoId>, Vec<Name>> {
        let mut open: BTreeMap<Option<RepoId>, Vec<Name>> = BTreeMap::new();
        let c = &self.state.collections[index];
        let Some(a) = c.arches.get(arch) else { return open };
        if a.group_ok == Some(false) {
            let present = stands_for(&a.problems.join("\n"));
            if a.group_repo == Some(repo) && a.explained != Some(present) {
                open.insert(a.group_good, vec![CausesFound::GROUP.into()]);
            }
            return open;
        }
        let mut all = 0;
        for (name, package) in &c.packages {
            let verdict = package.verdicts.iter().find(|v| v.arch == *arch && v.ok == Some(false));
            let Some(v) = verdict.filter(|_| all < AT_ONCE) else { continue };
            if v.explained != Some(stands_for(v.problem.as_deref().unwrap_or_default())) {
                open.entry(v.good).or_default().push(name.clone());
                all += 1;
            }
        }
        open
    }

    /// Returns the first causes, and the repositories that they count.
    ///
    /// The repository before this one tells what changed now from what changed earlier. It is left
    /// out if it is not at hand.
    fn first_causes(
        &mut self,
        index: usize,
        r: &RepoReady,
        (good, arch): (RepoId, &Name),
        packages: &[Name],
    ) -> Result<(Found, Vec<RepoId>), CannotResolve> {
        let bases = self.bases(index, arch);
        let age = |repo: RepoId| self.state.hubs.get(&r.hub).and_then(|h| h.repos.get(&repo)).map(|x| x.age(repo));
        let before = age(r.repo_id).and_then(|now| {
            let mut tried = bases.tried(bases.first(now)).map(|(repo, _)| repo);
            tried.find(|repo| *repo != r.repo_id)
        });
        let between = before.filter(|repo| *repo != good && age(*repo) > age(good));
        if let Some(between) = between {
            let repos = vec![good, between, r.repo_id];
            if let Ok(found) = self.causes_between(index, r, arch, &repos, packages) {
                return Ok((found, repos));
            }
        }
        let repos = vec![good, r.repo_id];
        let found = self.causes_between(index, r, arch, &repos, packages)?;
        Ok((found, repos))
    }

    fn causes_between(
        &mut self,
        index: usize,
        r: &RepoReady,
        arch: &Name,
        repos: &[RepoId],
        packages: &[Name],
    ) -> Result<Found, CannotResolve> {
        let own: Vec<OwnSources> = repos.iter().map(|repo| self.own_sources(index, *repo)).collect();
        let collection = &self.collection_name(index);
        let options = *self.settings.resolve_options.of(collection);
        let group = &self.state.collections[index].settings.build_group;
        let (hub, tag) = (&r.hub, &r.tag);
        let unit = |(repo, own): (&RepoId, _)| Unit { collection, hub, tag, repo: *repo, arch, group, own, options };
        let units: Vec<Unit<'_>> = repos.iter().zip(&own).map(unit).collect();
        self.resolver.causes(&units, packages)
    }
}

fn as_cause(cause: &FirstCause, repos: &[RepoId]) -> ResolutionCause {
    let version = |nvr: &crate::model::Nvr| smol_str::format_smolstr!("{}-{}", nvr.version, nvr.release);
    let built = match &cause.culprit {
        Culprit::Package(change) => change.source.as_ref(),
        Culprit::BuildRequires | Culprit::BuildGroup => None,
    };
    ResolutionCause {
        source: built.map(|(before, after)| after.as_ref().unwrap_or(before).name.clone()),
        old: built.map(|(before, _)| version(before)),
        new: built.and_then(|(_, after)| after.as_ref()).map(version),
        repo_id: repos.get(cause.step).or(repos.last()).copied().unwrap_or(RepoId(0)),
        what: cause_text::sentence(cause),
        in_group: cause.in_group,
    }
}
