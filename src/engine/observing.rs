//! The brain with a hub to look at: what was seen, what became of submissions, what operators put into the inbox.

use super::brain::Brain;
use super::buildroots::Buildroot;
use super::error::EngineError;
use super::eyes::Eyes;
use super::hub::differences::differences;
use super::hub::keys::{self, Hint};
use super::hub::seen::Observation;
use super::hub::truth::Truth;
use super::{ingest, operator};
use crate::decide::load::ArchLoads;
use crate::event::{
    BuildrootRecorded, CollectionEdited, CollectionSettings, Envelope, Event, FactId, MessageRetried, NewEvent,
    RebuildNotSubmitted, RebuildRefused, RebuildSubmitted, Reconciled, RepoReady, Source, TargetObserved,
};
use crate::log::{Attachment, Disposition, EventLog, Incoming, Pending, Position, Settled, Subjects};
use crate::model::{Hub, Name, RebuildId, RepoId, Seq, TaskId, Timestamp};

/// Most events of one commit while a long observation is appended.
const COMMIT_MAX: usize = 5_000;
/// A mark is set again after so long, even when nothing differed.
const MARK_EVERY_SECS: i64 = 900;
/// Messages read at once to be tried again: each may have megabytes.
const RETRIED_AT_ONCE: usize = 20;
/// Most words of operators in one commit.
const HEARD_AT_ONCE: usize = 100;
/// How much of a target's history is read.
const TARGETS_READ: usize = 1_000;

/// What an observation brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Facts appended that nobody had told.
    pub missed: u32,
    /// Facts appended that take something back.
    pub invented: u32,
}

/// Words of operators that were handled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// How many.
    pub words: u64,
    /// Of these, set aside: they make no sense now.
    pub parked: u64,
    /// Messages that wait again after they had been set aside, where they have to be looked at: with a hub.
    pub again: Vec<Pending>,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Submission {
    /// The hub has the task.
    Submitted {
        /// Which rebuild.
        rebuild: RebuildId,
        /// On which hub.
        hub: Hub,
        /// The task it became.
        task_id: TaskId,
    },
    /// The hub refused it; no task was made.
    Refused {
        /// Which rebuild.
        rebuild: RebuildId,
        /// The hub's words.
        reason: String,
    },
    /// It was not offered.
    NotSubmitted {
        /// Which rebuild.
        rebuild: RebuildId,
        /// Why.
        reason: String,
    },
}

impl<E: Eyes> Brain<E> {
    /// Appends what an observation tells that is news, and everything that follows; the messages that led to it are
    /// settled in the same commit as its last fact. Flushes in between when there is much, so that a bootstrap is no
    /// giant transaction.
    ///
    /// # Errors
    /// As [`Brain::message`] and [`Brain::flush`].
    pub async fn observed(
        &mut self,
        log: &impl EventLog,
        look: &Observation,
        settled: Vec<Settled>,
    ) -> Result<Observed, EngineError> {
        self.move_clock(look.at);
        self.begin();
        self.tick(log).await?;
        let news = differences(self.state(), look);
        // On a hub nothing is known of there is nothing to meet again. One that only builds has no packages, and is
        // known all the same.
        let fresh = self.state().hubs.get(&look.hub).is_none_or(|h| {
            h.reconciled_through.is_none() && h.tasks.is_empty() && h.tags.values().all(|t| t.packages.is_empty())
        });
        let done = Observed { missed: news.missed, invented: news.invented };
        self.sources_later = Some(std::collections::BTreeSet::new());
        for mut fact in news.facts {
            if !fresh
                && let Some(id) = fact.fact
                && self.has_fact(log, &id).await?
            {
                // It was so before, and then something else was: the identity is taken, the fact is true all the same.
                fact.fact = None;
            }
            let moved = match &fact.event {
                Event::TargetObserved(t) => self.tags_before(log, t).await?.map(|before| (before, t.clone())),
                _ => None,
            };
            let cause = Seq::after(self.state().seq);
            self.fact(log, fact).await?;
            if let Some((before, target)) = moved {
                self.follow_target(log, &before, &target, cause).await?;
            }
            if self.waiting() >= COMMIT_MAX {
                self.flush(log).await?;
            }
        }
        if let (Some(touched), Some(cause)) = (self.sources_later.take(), self.state().seq) {
            let touched: Vec<_> = touched.into_iter().collect();
            self.sources_changed(log, &touched, cause).await?;
            self.settle(log, cause).await?;
        }
        if look.complete {
            self.mark(log, look, done).await?;
        }
        self.commit.settled.extend(settled);
        Ok(done)
    }

    /// What a target led to before this was seen, also if it was gone for a while. `None`: it did not lead anywhere
    /// else.
    async fn tags_before(
        &self,
        log: &impl EventLog,
        seen: &TargetObserved,
    ) -> Result<Option<(Name, Name)>, EngineError> {
        let Some(now) = seen.build_tag.clone().zip(seen.dest_tag.clone()) else { return Ok(None) };
        let known = self.state().hubs.get(&seen.hub).and_then(|h| h.targets.get(&seen.target)).cloned();
        let before = match known {
            Some(known) => Some(known),
            None => {
                let subject = format!("{}/target/{}", seen.hub, seen.target);
                let told = log.read_subject(Subjects::Exactly(&subject), None, TARGETS_READ).await?;
                let led_to = |r: &crate::event::Record| match r.decode() {
                    Ok(Envelope { event: Event::TargetObserved(t), .. }) => t.build_tag.zip(t.dest_tag),
                    _ => None,
                };
                told.iter().rev().find_map(led_to)
            }
        };
        Ok(before.filter(|before| *before != now))
    }

    /// A collection that was made of exactly what its target said goes where the target goes: what is resolved must be
    /// what would be built. One with tags of its own stays.
    async fn follow_target(
        &mut self,
        log: &impl EventLog,
        before: &(Name, Name),
        target: &TargetObserved,
        cause: Seq,
    ) -> Result<(), EngineError> {
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
            tracing::warn!(collection = %edit.collection, build_tag = %build_tag, dest_tag = %dest_tag, "its target leads elsewhere now, and the collection with it");
            let seq = self.push(edit.into(), Source::Engine, Some(cause), Some(cause));
            self.settle(log, seq).await?;
        }
        Ok(())
    }

    async fn mark(&mut self, log: &impl EventLog, look: &Observation, done: Observed) -> Result<(), EngineError> {
        let marked = self.marks.get(&look.hub).copied();
        let due = marked.is_none_or(|at| look.at >= at.plus_secs(MARK_EVERY_SECS));
        let through = self.state().hubs.get(&look.hub).and_then(|h| h.reconciled_through);
        if (done != Observed::default() || due) && through.is_none_or(|t| t <= look.event) {
            self.marks.insert(look.hub.clone(), look.at);
            let event =
                Reconciled { hub: look.hub.clone(), through: look.event, missed: done.missed, invented: done.invented };
            let seq = self.push(event.into(), Source::Reconciliation, None, None);
            self.settle(log, seq).await?;
        }
        Ok(())
    }

    /// Resolves a repository whose content could not be had when it became ready, and decides; again, where it was
    /// resolved for other packages than those that are tracked now, or when requirements of some were not known.
    ///
    /// # Errors
    /// As [`Brain::message`].
    pub async fn content(
        &mut self,
        log: &impl EventLog,
        hub: &Hub,
        repo_id: RepoId,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        self.move_clock(now);
        self.begin();
        self.tick(log).await?;
        let Some(repo) = self.state().hubs.get(hub).and_then(|h| h.repos.get(&repo_id)) else { return Ok(()) };
        let seen = RepoReady {
            hub: hub.clone(),
            repo_id,
            tag: repo.tag.clone(),
            tag_id: None,
            create_event: repo.create_event,
            arches: repo.arches.clone(),
        };
        let ours = |c: &crate::fold::Collection| c.settings.hub == *hub && c.settings.build_tag == seen.tag;
        if !self.state().collections.values().any(ours) {
            return Ok(());
        }
        let found = self.eyes.repo(hub, &seen.tag, repo_id);
        let is_more = |found: &Vec<Name>| found.iter().any(|a| !seen.arches.iter().flatten().any(|known| known == a));
        let arches = found.arches.filter(is_more);
        // Asked for again meanwhile, it has been looked at.
        let waits = |c: &crate::fold::Collection| ours(c) && !c.arches.values().any(|a| a.repo_id == Some(repo_id));
        let waits = self.state().collections.values().any(waits);
        let subject = format!("{hub}/repo/{repo_id}");
        let told = log.read_subject(Subjects::Exactly(&subject), None, 100).await?;
        let cause = told.iter().rev().find(|r| r.kind == "repo_ready").map(|r| r.seq).or(self.state().seq);
        let Some(cause) = cause else { return Ok(()) };
        // What an earlier attempt could not see was never a fact; now it is one, besides that the repository became
        // ready.
        if let Some(arches) = arches {
            let fact = FactId::of(&format!("{hub}/repo/{repo_id}/content/{}", arches.join(" ")));
            let koji_event = seen.create_event;
            let event = RepoReady { arches: Some(arches), ..seen }.into();
            let (causation, correlation) = (Some(cause), Some(cause));
            let source = if self.settings.context.source == Source::Hub { Source::Hub } else { Source::Archive };
            let fact = Some(fact);
            return self
                .fact(log, NewEvent { event, occurred_at: now, source, fact, koji_event, causation, correlation })
                .await;
        }
        if !waits {
            return self.tracked_content(log, hub, repo_id, cause).await;
        }
        self.repo_ready(log, &seen, cause).await?;
        self.settle(log, cause).await
    }

    /// Appends what became of a command. Said twice, it is appended once.
    ///
    /// # Errors
    /// As [`Brain::message`].
    pub async fn submission(
        &mut self,
        log: &impl EventLog,
        what: Submission,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        self.move_clock(now);
        self.begin();
        self.tick(log).await?;
        let rebuild = match &what {
            Submission::Submitted { rebuild, .. }
            | Submission::Refused { rebuild, .. }
            | Submission::NotSubmitted { rebuild, .. } => *rebuild,
        };
        let Some(open) = self.state().rebuilds.get(&rebuild) else { return Ok(()) };
        let (collection, package) = (open.collection.clone(), open.package.clone());
        let event: Event = match what {
            Submission::Submitted { hub, task_id, .. } => {
                RebuildSubmitted { rebuild, collection, package, hub, task_id }.into()
            }
            Submission::Refused { reason, .. } => RebuildRefused { rebuild, collection, package, reason }.into(),
            Submission::NotSubmitted { reason, .. } => {
                RebuildNotSubmitted { rebuild, collection, package, reason }.into()
            }
        };
        // Heard of twice after a crash, it is said once.
        let fact = FactId::of(&format!("submission/{}/{}", rebuild, event.payload()));
        if self.has_fact(log, &fact).await? {
            return Ok(());
        }
        let cause = Seq::new(rebuild.0);
        let fact = NewEvent {
            event,
            occurred_at: now,
            source: Source::Engine,
            fact: Some(fact),
            koji_event: None,
            causation: cause,
            correlation: cause,
        };
        self.fact(log, fact).await
    }

    /// Appends what a builder had installed.
    ///
    /// # Errors
    /// As [`Brain::message`].
    pub async fn truth(&mut self, log: &impl EventLog, truth: Truth, now: Timestamp) -> Result<(), EngineError> {
        self.move_clock(now);
        self.begin();
        self.tick(log).await?;
        let Truth { hub, task_id, nvr, arches } = truth;
        for arch in arches {
            let id = FactId::of(&format!("{hub}/buildroot/{}", arch.buildroot));
            if self.has_fact(log, &id).await? {
                continue;
            }
            let buildroot = match Buildroot::new(arch.packages) {
                Ok(buildroot) => buildroot,
                Err(e) => {
                    tracing::warn!(hub = %hub, buildroot = arch.buildroot, error = %crate::model::causes::with_causes(&e), "a buildroot cannot be kept");
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
            self.fact(log, fact).await?;
        }
        Ok(())
    }

    /// Takes over how busy the builders of a hub are, for the next decisions about what is built there.
    pub fn load(&mut self, hub: &Hub, loads: ArchLoads) {
        self.loads.insert(hub.clone(), loads);
    }

    /// Handles operators' words that wait, however many messages wait before them, and appends what comes of it.
    /// Whoever works on a log calls this at least once in [`HEAR_EVERY`](super::operator::HEAR_EVERY).
    ///
    /// # Errors
    /// As [`Brain::message`] and [`Brain::flush`].
    pub async fn hear(&mut self, log: &impl EventLog) -> Result<Heard, EngineError> {
        // A word in hand still waits as far as the log knows.
        self.flush(log).await?;
        self.notice_erasures(log).await?;
        let mut heard = Heard::default();
        loop {
            let (words, through) = log.pending_of(operator::SOURCE, self.heard, HEARD_AT_ONCE).await?;
            self.heard = through;
            for p in &words {
                heard.words += 1;
                let understood = self.operator_message(log, p.position, &p.message, &mut heard.again).await?;
                heard.parked += u64::from(!understood);
            }
            self.flush(log).await?;
            if words.len() < HEARD_AT_ONCE {
                return Ok(heard);
            }
        }
    }

    /// Handles what an operator put into the inbox. `false`: it was not understood and is set aside. With a hub `again`
    /// gets messages that wait again; without one they are handled here.
    ///
    /// # Errors
    /// As [`Brain::message`].
    pub async fn operator_message(
        &mut self,
        log: &impl EventLog,
        position: Position,
        message: &Incoming,
        again: &mut Vec<Pending>,
    ) -> Result<bool, EngineError> {
        let disposition = match message.topic.as_str() {
            operator::TOPIC => self.word(log, message).await?,
            operator::RETRY_TOPIC => self.retry(log, message, again).await?,
            other => Disposition::Parked { reason: format!("`{other}` is nothing an operator says") },
        };
        let understood = matches!(disposition, Disposition::Done);
        self.metrics.settled(&message.topic, &disposition);
        self.commit.settled.push(Settled { position, disposition });
        Ok(understood)
    }

    async fn word(&mut self, log: &impl EventLog, message: &Incoming) -> Result<Disposition, EngineError> {
        let word = match operator::read(&message.body) {
            Ok(word) => word,
            Err(reason) => return Ok(Disposition::Parked { reason }),
        };
        if let Err(reason) = operator::check(self.state(), &word.event) {
            return Ok(Disposition::Parked { reason });
        }
        let mut event = word.event;
        if let Event::MessageDismissed(dismissed) = &event {
            let found = log.parked_messages(&[&dismissed.message]).await?;
            let Some((dismissed_at, _)) = found.first().filter(|(p, _)| !self.commit.retried.contains(&p.position))
            else {
                let reason = format!("message {} is not set aside", dismissed.message);
                return Ok(Disposition::Parked { reason });
            };
            let disposition = Disposition::Ignored { reason: format!("dismissed: {}", dismissed.reason) };
            self.commit.retried.push(dismissed_at.position);
            self.settle_message(dismissed_at.position, &dismissed_at.message.topic, disposition);
        }
        if let Some(name) = &word.by {
            let person = self.person(name);
            operator::sign(&mut event, person);
        }
        self.operator(log, event, self.said_at(message)).await?;
        Ok(Disposition::Done)
    }

    /// Tries messages again that were set aside. Without a hub they are handled at once; with one they wait to be
    /// looked at.
    async fn retry(
        &mut self,
        log: &impl EventLog,
        message: &Incoming,
        again: &mut Vec<Pending>,
    ) -> Result<Disposition, EngineError> {
        let retry = match operator::read_retry(&message.body) {
            Ok(retry) => retry,
            Err(reason) => return Ok(Disposition::Parked { reason }),
        };
        self.move_clock(self.said_at(message));
        self.begin();
        let ids: Vec<&str> = retry.messages.iter().map(String::as_str).collect();
        for ids in ids.chunks(RETRIED_AT_ONCE) {
            for (pending, reason) in log.parked_messages(ids).await? {
                if self.commit.retried.contains(&pending.position) {
                    continue;
                }
                self.commit.retried.push(pending.position);
                self.try_again(log, pending, &reason, again).await?;
            }
        }
        Ok(Disposition::Done)
    }

    async fn try_again(
        &mut self,
        log: &impl EventLog,
        pending: Pending,
        reason: &str,
        again: &mut Vec<Pending>,
    ) -> Result<(), EngineError> {
        let Pending { position, message } = &pending;
        let theirs = message.source == operator::SOURCE;
        if theirs && message.topic == operator::TOPIC {
            let disposition = Box::pin(self.word(log, message)).await?;
            self.settle_message(*position, &message.topic, disposition);
        } else if theirs || message.topic == ingest::UNREADABLE {
            self.unreadable(*position, &message.topic, reason.to_owned());
        } else if self.settings.context.source == Source::Hub {
            let hint = keys::hint(message, &self.settings.context, self.state());
            let understood = !matches!(hint, Hint::Rejected(_));
            let event = MessageRetried { message: message.id.clone(), understood, reason: reason.to_owned() };
            self.push(event.into(), Source::Operator, None, None);
            again.push(pending);
        } else {
            self.message(log, *position, message, Some(reason)).await?;
        }
        Ok(())
    }

    /// When an operator said something. A recording has its own time; the machine's clock, by which the word was put
    /// into the inbox, plays no part in it.
    fn said_at(&self, message: &Incoming) -> Timestamp {
        match self.settings.context.source {
            Source::Recording => self.now(),
            _ => message.received_at,
        }
    }
}
