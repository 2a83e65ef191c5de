//! Repositories that reach an archive after the message about them: looked for again until they are there.
//!
//! What a failed first attempt saw is no fact. With a hub, whoever fetches repositories tries again
//! ([`crate::hub::repositories`]); here nobody fetches. Only the newest repository of a collection is looked for: it is
//! the one that verdicts should be from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::backoff::Backoff;
use crate::base::clock;
use crate::log::LogError;
use crate::model::{Hub, RepoId};
use crate::writer::turn::Writer;

/// First pause between two looks at the archive.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause: a repository that will never be there costs a look at the file system so often.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What is looked for, and when again.
#[derive(Default)]
pub(crate) struct Late(BTreeMap<(Hub, RepoId), (Backoff, Instant)>);

impl Late {
    /// Resolves what has come, and decides.
    ///
    /// # Errors
    /// As [`Writer::message`].
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
                writer.content(&hub, repo, clock::now()).await?;
                writer.flush().await?;
            }
        }
        Ok(())
    }
}

impl Writer {
    /// The newest repository of each collection.
    fn newest_repos(&self) -> BTreeSet<(Hub, RepoId)> {
        let collections = self.state().collections.values();
        collections.filter_map(|c| Some((c.settings.hub.clone(), c.newest_repo?))).collect()
    }

    /// Whether more of a repository can be seen than is known, or it can be seen and nothing of it was resolved.
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
