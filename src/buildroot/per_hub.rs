//! The service's resolver. The mirror of a hub is in a cache directory with the layout of an
//! archive. The resolver works from there.

use std::collections::HashMap;

use super::archive_resolver::ArchiveResolver;
use super::repo_resolver::{CannotResolve, RepoLayout, RepoResolver, Unit};
use super::verdicts::UnitVerdicts;
use crate::event::Event;
use crate::model::{Hub, RepoId};

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
        let Some(resolver) = self.caches.get(unit.hub) else {
            return Err(CannotResolve(format!("no hub `{}` is configured", unit.hub)));
        };
        // This takes seconds, so other tasks of this thread move to another thread meanwhile.
        tokio::task::block_in_place(|| resolver.resolve(unit))
    }
}
