//! The resolver of the service: what was mirrored of a hub lies in a cache directory laid out like an archive, and is
//! resolved from there.

use std::collections::HashMap;

use super::archive_resolver::ArchiveResolver;
use super::repo_resolver::{CannotResolve, RepoLayout, RepoResolver, Unit};
use super::verdicts::UnitVerdicts;
use crate::event::Event;
use crate::model::{Hub, RepoId};

/// A cache per hub.
#[derive(Debug, Default)]
pub struct PerHubResolver {
    caches: HashMap<Hub, ArchiveResolver>,
}

impl PerHubResolver {
    /// A resolver on these caches.
    pub fn new(caches: HashMap<Hub, ArchiveResolver>) -> Self {
        Self { caches }
    }
}

impl RepoResolver for PerHubResolver {
    fn observations(&self) -> Vec<Event> {
        // Tags and targets are asked for from the hub, not from what lies beside its repositories.
        Vec::new()
    }

    fn repo(&self, hub: &Hub, tag: &str, repo: RepoId) -> RepoLayout {
        self.caches.get(hub).map(|resolver| resolver.repo(hub, tag, repo)).unwrap_or_default()
    }

    fn resolve(&self, unit: &Unit<'_>) -> Result<UnitVerdicts, CannotResolve> {
        let Some(resolver) = self.caches.get(unit.hub) else {
            return Err(CannotResolve(format!("no hub `{}` is configured", unit.hub)));
        };
        // Seconds of work: other tasks of this thread go elsewhere meanwhile.
        tokio::task::block_in_place(|| resolver.resolve(unit))
    }
}
