//! Looks again for repositories that reach an archive after the message about them.
//!
//! A failed first attempt appends no fact. With a hub, the part that fetches repositories tries
//! again ([`crate::hub::repositories`]). With an archive nothing fetches, so this module looks
//! again. It looks only for the newest repository of a collection, because verdicts should come
//! from that one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::log::LogError;
use crate::model::{Hub, RepoId};
use crate::writer::Writer;

/// First pause between two looks at the archive.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause. A repository that never comes costs one look at the file system in this time.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The repositories it looks for, and when it looks again.
#[derive(Default)]
pub(crate) struct Late(BTreeMap<(Hub, RepoId), (Backoff, Instant)>);

impl Late {
    /// Resolves repositories that have come, and decides.
    ///
    /// # Errors
    /// Fails like [`Writer::message`].
    pub(crate) async fn look(&mut self, writer: &mut Writer) -> Result<(), LogError> {
        let newest: BTreeSet<(Hub, RepoId)> = writer.newest_repos();
        self.0.retain(|repo, _| newest.contains(repo));
        let now = Instant::now();
        for (hub, repo) in newest {
            let entry = self.0.entry((hub.clone(), repo));
            let (backoff, due) = entry.or_insert_with(|| (Backoff::new(PAUSE_FIRST, PAUSE_MAX), now));
            if *due > now {
                continue;
            }
            *due = now + backoff.pause();
            if writer.has_come(&hub, repo) {
                writer.content(&hub, repo, None, clock::now()).await?;
                writer.flush().await?;
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Returns the newest repository of each collection.
    fn newest_repos(&self) -> BTreeSet<(Hub, RepoId)> {
        let collections = self.state().collections.values();
        collections.filter_map(|c| Some((c.settings.hub.clone(), c.newest_repo?))).collect()
    }

    /// Checks whether a repository has come: it has more architectures than known, or it is visible
    /// and nothing of it was resolved.
    fn has_come(&mut self, hub: &Hub, id: RepoId) -> bool {
        let Some(repo) = self.state.hubs.get(hub).and_then(|h| h.repos.get(&id)) else { return false };
        let found = self.resolver.repo(hub, &repo.tag, id).arches.unwrap_or_default();
        let knows = |arch| repo.arches.iter().flatten().any(|known| known == arch);
        if found.iter().any(|arch| !knows(arch)) {
            return true;
        }
        let waits = |c: &crate::fold::Collection| {
            let resolved = c.arches.values().any(|a| a.repo_id == Some(id) || a.group_repo == Some(id));
            c.settings.hub == *hub && c.newest_repo == Some(id) && !resolved
        };
        !found.is_empty() && self.state.collections.values().any(waits)
    }
}
