//! Finds out why packages stopped resolving between two repositories of an archive.

use std::sync::Arc;

use super::archive_resolver::{ArchiveResolver, SourcePackage, group, translate, unreadable};
use super::repo_resolver::{CannotResolve, Unit};
use crate::event::CausesFound;
use crate::model::Name;
use crate::model::arch::of_packages;
use crate::repodata::{Member, RepoDir};
use crate::resolve::{BuildRequires, FirstCause, Generation, Universe, first_causes};

/// One of the two repositories, loaded.
struct Loaded {
    universe: Universe,
    group: Vec<Member>,
    sources: Vec<SourcePackage>,
}

impl ArchiveResolver {
    /// Returns the first causes of packages that resolve in the first of `units` but not in the last,
    /// by package ([`RepoResolver::causes`](super::repo_resolver::RepoResolver::causes)). The units
    /// differ in the repository and in the collection's own sources. A package is left out if one of
    /// these two units lacks it, or if we get another verdict here. Cost: reading all repositories,
    /// seconds for a distribution.
    ///
    /// # Errors
    /// Returns [`CannotResolve`] if one of the repositories is not in the archive or cannot be
    /// read.
    pub fn first_causes(
        &self,
        units: &[Unit<'_>],
        packages: &[Name],
    ) -> Result<Vec<(Name, Vec<FirstCause>)>, CannotResolve> {
        if units.len() < 2 {
            return Ok(Vec::new());
        }
        let loaded = units.iter().map(|unit| self.load(unit, packages)).collect::<Result<Vec<_>, _>>()?;
        let prepared = loaded
            .iter()
            .map(|l| l.universe.prepare(&l.group, self.mode()).map_err(unreadable))
            .collect::<Result<Vec<_>, _>>()?;
        let labelled = units.iter().zip(&prepared).map(|(unit, p)| Generation::new(unit.repo.to_string(), p));
        let generations: Vec<Generation<'_>> = labelled.collect();
        let (Some(before), Some(now)) = (prepared.first(), prepared.last()) else { return Ok(Vec::new()) };
        let mut resolvers = (before.resolver().without_texts(), now.resolver().without_texts());
        let mut found = Vec::new();
        for package in packages {
            if package.as_str() == CausesFound::GROUP {
                if before.group().ok && !now.group().ok {
                    let nothing: Vec<&[String]> = vec![&[]; units.len()];
                    let causes = first_causes(&generations, &nothing, 0, &before.group().closure);
                    found.push((package.clone(), causes));
                }
                continue;
            }
            let asked: Vec<Option<&BuildRequires>> = loaded.iter().map(|l| needs(&l.sources, package)).collect();
            let (Some(Some(old)), Some(Some(new))) = (asked.first(), asked.last()) else { continue };
            let then = resolvers.0.resolve_source(old);
            if then.ok && !resolvers.1.resolve_source(new).ok {
                // A repository in between may lack the package. What it requires then does not matter.
                let requires: Vec<&[String]> =
                    asked.iter().map(|build| build.unwrap_or(old).requires.as_slice()).collect();
                found.push((package.clone(), first_causes(&generations, &requires, 0, &then.closure)));
            }
        }
        Ok(found)
    }

    fn load(&self, unit: &Unit<'_>, packages: &[Name]) -> Result<Loaded, CannotResolve> {
        let found = self.find(unit.hub, unit.tag, unit.repo)?;
        let mut sources = self.sources(&found, unit)?;
        sources.retain(|s| packages.contains(&s.nvr.name));
        let dir = RepoDir::open(found.dir.join(unit.arch)).map_err(unreadable)?;
        let dir = dir.with_module_hotfixes(unit.options.module_hotfixes);
        let packages = dir.packages_with(&self.known).map_err(unreadable)?;
        let content = dir.complete(packages, sources.iter().flat_map(SourcePackage::requires)).map_err(unreadable)?;
        translate(&mut sources, &content, of_packages(unit.arch));
        let group = group(&found.dir, &content, unit.group)?;
        let universe = Universe::load(Arc::new(content), of_packages(unit.arch)).map_err(unreadable)?;
        let universe = universe.with_weak_deps(unit.options.weak_deps);
        Ok(Loaded { universe, group, sources })
    }
}

fn needs<'a>(sources: &'a [SourcePackage], package: &Name) -> Option<&'a BuildRequires> {
    sources.iter().find(|s| s.nvr.name == *package && s.excluded.is_none())?.build.as_ref()
}
