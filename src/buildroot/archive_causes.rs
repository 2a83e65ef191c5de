//! Finds out why packages stopped resolving between two repositories of an archive.

use std::sync::Arc;

use super::archive_resolver::{ArchiveResolver, SourcePackage, group, translate, unreadable};
use super::repo_resolver::{CannotResolve, Unit};
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
    /// Returns the first causes of packages that resolve in `resolved` but not in `unit`, by
    /// package. The two units differ in the repository and in the collection's own sources. A
    /// package is left out if one of the units lacks it, or if we get another verdict here. Cost:
    /// reading both repositories, seconds for a distribution.
    ///
    /// # Errors
    /// Returns [`CannotResolve`] if one of the repositories is not in the archive or cannot be
    /// read.
    pub fn first_causes(
        &self,
        unit: &Unit<'_>,
        resolved: &Unit<'_>,
        packages: &[Name],
    ) -> Result<Vec<(Name, Vec<FirstCause>)>, CannotResolve> {
        let before = self.load(resolved, packages)?;
        let now = self.load(unit, packages)?;
        let before_prepared = before.universe.prepare(&before.group, self.mode()).map_err(unreadable)?;
        let now_prepared = now.universe.prepare(&now.group, self.mode()).map_err(unreadable)?;
        let generations = [
            Generation::new(resolved.repo.to_string(), &before_prepared),
            Generation::new(unit.repo.to_string(), &now_prepared),
        ];
        let mut resolvers = (before_prepared.resolver().without_texts(), now_prepared.resolver().without_texts());
        let mut found = Vec::new();
        for package in packages {
            let Some((old, new)) = needs(&before.sources, package).zip(needs(&now.sources, package)) else {
                continue;
            };
            let then = resolvers.0.resolve_source(old);
            if then.ok && !resolvers.1.resolve_source(new).ok {
                let requires = [old.requires.as_slice(), new.requires.as_slice()];
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
        let content = dir.load(sources.iter().flat_map(SourcePackage::requires)).map_err(unreadable)?;
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
