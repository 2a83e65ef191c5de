//! Turns of the writer that begin with something read from a hub.

use super::diff::differences;
use super::installed::InstalledPackages;
use super::snapshot::Observation;
use crate::buildroot::installed::Buildroot;
use crate::event::{
    BuildrootRecorded, CollectionEdited, CollectionSettings, Envelope, Event, FactId, NewEvent, Reconciled, Source,
    TargetObserved,
};
use crate::log::{Attachment, EventLog, LogError, Settled, Subjects};
use crate::model::{Name, Seq, Timestamp};
use crate::writer::Writer;

/// Maximum number of events in one commit while a long observation is appended.
const COMMIT_MAX: usize = 5_000;
/// Time after which a reconciliation mark is set again, even if nothing differed.
const MARK_EVERY_SECS: i64 = 900;
/// Maximum number of events read from a target's history.
const TARGETS_READ: usize = 1_000;

/// What an observation brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Facts that no message had told.
    pub missed: u32,
    /// Facts that take something back.
    pub invented: u32,
}

impl Writer {
    /// Appends what is new in an observation, and everything that follows from it. The messages
    /// that led to the observation are settled in the same commit as its last fact. If there is
    /// much to append, flushes in between, so that a bootstrap is not one giant transaction.
    ///
    /// # Errors
    /// Fails in the same cases as [`Writer::message`] and [`Writer::flush`].
    pub async fn observed(&mut self, look: &Observation, settled: Vec<Settled>) -> Result<Observed, LogError> {
        self.move_clock(look.at);
        self.begin();
        self.tick().await?;
        let news = self.stand_ins(|state, person| differences(state, look, person));
        // On a hub we know nothing of, no fact can repeat an old one. A hub that is only used for
        // building has no packages, but has tasks, and so is not new.
        let fresh = self.state().hubs.get(&look.hub).is_none_or(|h| {
            h.reconciled_through.is_none() && h.tasks.is_empty() && h.tags.values().all(|t| t.packages.is_empty())
        });
        let done = Observed { missed: news.missed, invented: news.invented };
        self.sources_later = Some(std::collections::BTreeSet::new());
        for mut fact in news.facts {
            if !fresh
                && let Some(id) = fact.fact
                && self.has_fact(&id).await?
            {
                // The same thing was true before, and something else in between. The identity is
                // already used, but the fact is true again, so it is appended without one.
                fact.fact = None;
            }
            let moved = match &fact.event {
                Event::TargetObserved(t) => self.tags_before(t).await?.map(|before| (before, t.clone())),
                _ => None,
            };
            let cause = Seq::after(self.state().seq);
            self.fact(fact).await?;
            if let Some((before, target)) = moved {
                self.follow_target(&before, &target, cause).await?;
            }
            if self.waiting() >= COMMIT_MAX {
                self.flush().await?;
            }
        }
        if let (Some(touched), Some(cause)) = (self.sources_later.take(), self.state().seq) {
            let touched: Vec<_> = touched.into_iter().collect();
            self.sources_changed(&touched, cause).await?;
            self.settle(cause).await?;
        }
        if look.complete {
            self.mark(look, done).await?;
        }
        self.commit.settled.extend(settled);
        Ok(done)
    }

    /// Returns the tags that a target led to before this observation, even if the target was gone
    /// for a while. `None` if they are the same, or none are known.
    async fn tags_before(&self, seen: &TargetObserved) -> Result<Option<(Name, Name)>, LogError> {
        let Some(now) = seen.build_tag.clone().zip(seen.dest_tag.clone()) else { return Ok(None) };
        let known = self.state().hubs.get(&seen.hub).and_then(|h| h.targets.get(&seen.target)).cloned();
        let before = match known {
            Some(known) => Some(known),
            None => {
                let subject = format!("{}/target/{}", seen.hub, seen.target);
                let told = self.log.read_subject(Subjects::Exactly(&subject), None, TARGETS_READ).await?;
                let led_to = |r: &crate::event::Record| match r.decode() {
                    Ok(Envelope { event: Event::TargetObserved(t), .. }) => t.build_tag.zip(t.dest_tag),
                    _ => None,
                };
                told.iter().rev().find_map(led_to)
            }
        };
        Ok(before.filter(|before| *before != now))
    }

    /// Moves collections with their target. A collection that had exactly the tags of its target
    /// gets the target's new tags, so that we resolve what would be built. A collection with tags
    /// of its own stays.
    async fn follow_target(
        &mut self,
        before: &(Name, Name),
        target: &TargetObserved,
        cause: Seq,
    ) -> Result<(), LogError> {
        let (Some(build_tag), Some(dest_tag)) = (&target.build_tag, &target.dest_tag) else { return Ok(()) };
        let theirs = |s: &CollectionSettings| {
            (&s.hub, &s.target) == (&target.hub, &target.target)
                && (&s.build_tag, &s.dest_tag) == (&before.0, &before.1)
        };
        let moving = self.state().collections.iter().filter(|(_, c)| theirs(&c.settings));
        let edits: Vec<CollectionEdited> = moving
            .map(|(name, c)| CollectionEdited {
                collection: name.clone(),
                settings: CollectionSettings {
                    build_tag: build_tag.clone(),
                    dest_tag: dest_tag.clone(),
                    ..c.settings.clone()
                },
            })
            .collect();
        for edit in edits {
            tracing::warn!(
                collection = %edit.collection,
                build_tag = %build_tag,
                dest_tag = %dest_tag,
                "its target now has other tags, and the collection uses them"
            );
            let seq = self.push(edit.into(), Source::Engine, Some(cause), Some(cause));
            self.settle(seq).await?;
        }
        Ok(())
    }

    async fn mark(&mut self, look: &Observation, done: Observed) -> Result<(), LogError> {
        let marked = self.marks.get(&look.hub).copied();
        let due = marked.is_none_or(|at| look.at >= at.plus_secs(MARK_EVERY_SECS));
        let through = self.state().hubs.get(&look.hub).and_then(|h| h.reconciled_through);
        if (done != Observed::default() || due) && through.is_none_or(|t| t <= look.event) {
            self.marks.insert(look.hub.clone(), look.at);
            let event =
                Reconciled { hub: look.hub.clone(), through: look.event, missed: done.missed, invented: done.invented };
            let seq = self.push(event.into(), Source::Reconciliation, None, None);
            self.settle(seq).await?;
        }
        Ok(())
    }

    /// Appends what a builder had installed.
    ///
    /// # Errors
    /// Fails in the same cases as [`Writer::message`].
    pub async fn installed(&mut self, installed: InstalledPackages, now: Timestamp) -> Result<(), LogError> {
        self.move_clock(now);
        self.begin();
        self.tick().await?;
        let InstalledPackages { hub, task_id, nvr, arches } = installed;
        for arch in arches {
            let id = FactId::of(&format!("{hub}/buildroot/{}", arch.buildroot));
            if self.has_fact(&id).await? {
                continue;
            }
            let buildroot = match Buildroot::new(arch.packages) {
                Ok(buildroot) => buildroot,
                Err(e) => {
                    tracing::warn!(
                        hub = %hub,
                        buildroot = arch.buildroot,
                        error = %crate::model::causes::with_causes(&e),
                        "a buildroot cannot be stored"
                    );
                    continue;
                }
            };
            let attachment = Attachment::new(buildroot.to_bytes());
            let event = BuildrootRecorded {
                hub: hub.clone(),
                task_id,
                nvr: nvr.clone(),
                arch: arch.arch,
                repo_id: arch.repo_id,
                attachment: attachment.digest.clone(),
                count: u32::try_from(buildroot.packages().len()).unwrap_or(u32::MAX),
                complete: buildroot.is_complete(arch.closed, true),
            };
            if !self.commit.attachments.iter().any(|a| a.digest == attachment.digest) {
                self.commit.attachments.push(attachment);
            }
            let fact = NewEvent {
                event: event.into(),
                occurred_at: now,
                source: Source::Hub,
                fact: Some(id),
                koji_event: None,
                causation: None,
                correlation: None,
            };
            self.fact(fact).await?;
        }
        Ok(())
    }
}
