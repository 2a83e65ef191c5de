//! Eyes of the service: what was mirrored of a hub lies in a cache directory laid out like an archive, and is resolved
//! from there.

use std::collections::HashMap;

use crate::engine::archive_eyes::ArchiveEyes;
use crate::engine::eyes::{Eyes, NotSeen, RepoSeen, Unit};
use crate::engine::verdicts::UnitVerdicts;
use crate::event::Event;
use crate::model::{Hub, RepoId};

/// A cache per hub.
#[derive(Debug, Default)]
pub struct HubEyes {
    caches: HashMap<Hub, ArchiveEyes>,
}

impl HubEyes {
    /// Eyes on these caches.
    pub fn new(caches: HashMap<Hub, ArchiveEyes>) -> Self {
        Self { caches }
    }
}

impl Eyes for HubEyes {
    fn observations(&mut self) -> Vec<Event> {
        // Tags and targets are asked for from the hub, not from what lies beside its repositories.
        Vec::new()
    }

    fn repo(&mut self, hub: &Hub, tag: &str, repo: RepoId) -> RepoSeen {
        self.caches.get_mut(hub).map(|eyes| eyes.repo(hub, tag, repo)).unwrap_or_default()
    }

    fn resolve(&mut self, unit: &Unit<'_>) -> Result<UnitVerdicts, NotSeen> {
        let Some(eyes) = self.caches.get_mut(unit.hub) else {
            return Err(NotSeen(format!("no hub `{}` is configured", unit.hub)));
        };
        // Seconds of work: other tasks of this thread go elsewhere meanwhile.
        tokio::task::block_in_place(|| eyes.resolve(unit))
    }
}
