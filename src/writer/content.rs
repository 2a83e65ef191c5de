//! Handles repository content that becomes available after the repository was reported ready.

use std::sync::Arc;

use super::Writer;
use crate::event::{FactId, NewEvent, RepoReady, Source};
use crate::fold::Tracked;
use crate::log::{EventLog, LogError, Subjects};
use crate::model::{Hub, Name, RepoId, Timestamp};

impl Writer {
    /// Resolves a repository whose content was not available when it became ready, and decides.
    ///
    /// If the repository was already resolved, resolves it again in two cases: other packages are
    /// tracked now, or the requirements of some packages were unknown. `of` lists the tracked
    /// packages, by collection, whose requirements are available now; `None` means all. If others
    /// are tracked by now, their requirements are fetched as well, and this is called again.
    ///
    /// # Errors
    /// Fails like [`Writer::message`].
    pub async fn content(
        &mut self,
        hub: &Hub,
        repo_id: RepoId,
        of: Option<&[Arc<Tracked>]>,
        now: Timestamp,
    ) -> Result<(), LogError> {
        self.move_clock(now);
        self.begin();
        self.tick().await?;
        let Some(seen) = self.state().as_ready(hub, repo_id) else { return Ok(()) };
        let ours = |c: &crate::fold::Collection| c.settings.hub == *hub && c.settings.build_tag == seen.tag;
        if !self.state().collections.values().any(ours) {
            return Ok(());
        }
        let found = self.resolver.repo(hub, &seen.tag, repo_id);
        let is_more = |found: &Vec<Name>| found.iter().any(|a| !seen.arches.iter().flatten().any(|known| known == a));
        let arches = found.arches.filter(is_more);
        // The repository may have been resolved meanwhile, through another request for its content.
        let waits = |c: &crate::fold::Collection| ours(c) && !c.arches.values().any(|a| a.repo_id == Some(repo_id));
        let waits = self.state().collections.values().any(waits);
        let subject = format!("{hub}/repo/{repo_id}");
        let told = self.log.read_subject(Subjects::Exactly(&subject), None, 100).await?;
        let cause = told.iter().rev().find(|r| r.kind == "repo_ready").map(|r| r.seq).or(self.state().seq);
        let Some(cause) = cause else { return Ok(()) };
        // An earlier attempt could not see these architectures, so they never became a fact. They
        // become one now, in addition to the fact that the repository is ready.
        if let Some(arches) = arches {
            let fact = FactId::of(&format!("{hub}/repo/{repo_id}/content/{}", arches.join(" ")));
            let koji_event = seen.create_event;
            let event = RepoReady { arches: Some(arches), ..seen }.into();
            let (causation, correlation) = (Some(cause), Some(cause));
            let source = if self.settings.context.source == Source::Hub { Source::Hub } else { Source::Archive };
            let fact = Some(fact);
            return self
                .fact(NewEvent { event, occurred_at: now, source, fact, koji_event, causation, correlation })
                .await;
        }
        if !waits {
            return self.tracked_content(hub, repo_id, of, cause).await;
        }
        self.repo_ready(&seen, cause).await?;
        self.settle(cause).await
    }
}
