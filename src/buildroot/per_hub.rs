//! The service's resolver. The mirror of a hub is in a cache directory with the layout of an
//! archive. The resolver works from there.

use std::collections::HashMap;

use super::archive_resolver::ArchiveResolver;
use super::repo_resolver::{CannotResolve, RepoLayout, RepoResolver, Resolved, Unit};
use super::verdicts::UnitVerdicts;
use crate::event::Event;
use crate::model::{Hub, Name, RepoId};
use crate::resolve::FirstCause;

/// Has one cache for each hub.
#[derive(Debug, Default)]
pub struct PerHubResolver {
    caches: HashMap<Hub, ArchiveResolver>,
}

impl PerHubResolver {
    /// Makes a resolver on these caches.
    pub fn new(caches: HashMap<Hub, ArchiveResolver>) -> Self {
        Self { caches }
    }
}

impl RepoResolver for PerHubResolver {
    fn observations(&self) -> Vec<Event> {
        // The hub itself is asked for tags and targets, not the files beside its repositories.
        Vec::new()
    }

    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> RepoLayout {
        self.caches.get(hub).map(|resolver| resolver.repo(hub, tag, repo)).unwrap_or_default()
    }

    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve> {
        let resolver = self.caches.get(unit.hub).ok_or_else(|| no_hub(unit))?;
        // This takes seconds, so other tasks of this thread move to another thread meanwhile.
        tokio::task::block_in_place(|| resolver.resolve(unit))
    }

    fn resolve_first(&self, units: &[Unit<'_>]) -> Vec<Result<Resolved, CannotResolve>> {
        match units.first().and_then(|unit| self.caches.get(unit.hub)) {
            Some(resolver) => tokio::task::block_in_place(|| resolver.resolve_first(units)),
            None => units.iter().map(|unit| Err(no_hub(unit))).collect(),
        }
    }

    fn causes(&self, units: &[Unit<'_>], packages: &[Name]) -> Result<Vec<(Name, Vec<FirstCause>)>, CannotResolve> {
        let Some(first) = units.first() else { return Ok(Vec::new()) };
        let resolver = self.caches.get(first.hub).ok_or_else(|| no_hub(first))?;
        tokio::task::block_in_place(|| resolver.causes(units, packages))
    }
}

fn no_hub(unit: &Unit<'_>) -> CannotResolve {
    CannotResolve(format!("no hub `{}` is configured", unit.hub))
}
