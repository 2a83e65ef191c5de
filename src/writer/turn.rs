//! The writer itself: handles messages one by one and appends their events.
//!
//! The writer handles each message completely before the next one. The message's facts, the events
//! that follow from them (resolutions, judgements, state changes), the decisions taken at that
//! point, and the message's disposition go into one commit. A commit holds whole messages, so the
//! log does not depend on how many messages a commit has.
//!
//! Decisions are taken at two points only: at a tick, and when a repository was resolved.

use super::Writer;
use super::persons::Persons;
use crate::base::stage::stage;
use crate::event::{
    CollectionCreated, CollectionEdited, CollectionSettings, CommandId, Envelope, Event, FactId, MessageRetried,
    MessageTimeReplaced, NewEvent, Record, RepoInitialised, RepoReady, Source, Tick, Trigger,
};
use crate::fold::State;
use crate::log::{Disposition, EventLog, Incoming, LogError, Position, Settled};
use crate::message::{self, Interpretation, MessageTimes};
use crate::model::{Hub, Name, PersonId, Seq, Timestamp};

impl Writer {
    /// Returns the state, including everything handled so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the state and drops the writer.
    pub fn into_state(self) -> State {
        self.state
    }

    /// Returns the number of events that wait for [`Writer::flush`].
    pub fn waiting(&self) -> usize {
        self.commit.records.len()
    }

    /// Returns the time by which decisions are taken: that of the current message.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Tells the writer that the inbox does not know the messages of all facts, as after an import.
    /// The writer then looks up each fact before it appends it.
    pub fn expect_known_facts(&mut self) {
        self.facts_unseen = true;
    }

    /// Appends the pending events in one transaction.
    ///
    /// # Errors
    /// Returns the log's error. The writer is then ahead of the log and must be thrown away.
    pub async fn flush(&mut self) -> Result<(), LogError> {
        let commit = std::mem::take(&mut self.commit);
        if commit.records.is_empty() && commit.settled.is_empty() && commit.retried.is_empty() {
            return Ok(());
        }
        let watch = crate::base::clock::Stopwatch::start();
        let head = self.log.append(self.committed, &commit).await?;
        self.metrics.appended(&commit.records, watch.seconds());
        stage!("appended", events = commit.records.len(), commands = commit.commands.len());
        self.committed = head.seq;
        Ok(())
    }

    /// Handles one message from the inbox. Returns `false` if the message was not understood and
    /// was set aside.
    ///
    /// # Errors
    /// Fails if attachments cannot be read; the error is unavailable or broken. A bad message is no
    /// error: it is set aside.
    pub async fn message(
        &mut self,
        position: Position,
        message: &Incoming,
        retried: Option<&str>,
    ) -> Result<bool, LogError> {
        self.follow_tracking().await?;
        self.now = self.now.max(message.received_at);
        self.begin();
        self.tick().await?;
        let sent_at = match self.settings.context.source {
            Source::Bus => self.times.take_live(MessageTimes::of(&message.body), message.received_at),
            // For a hub or a recording, the time was checked when the message came in.
            _ => message.received_at,
        };
        let said = {
            let incoming = message::Incoming { id: &message.id, raw: &message.body, sent_at };
            let (persons, commit) = (&mut self.persons, &mut self.commit);
            message::interpret(incoming, &self.settings.context, &mut |name| persons.stand_in(name, commit))
        };
        if let Some(reason) = retried {
            let understood = !matches!(said, Interpretation::Rejected(_));
            let event = MessageRetried { message: message.id.clone(), understood, reason: reason.to_owned() };
            self.push(event.into(), Source::Operator, None, None);
        }
        let disposition = match said {
            Interpretation::Facts(facts) => {
                let (mut known, mut new) = (false, false);
                for fact in facts {
                    if self.is_known(&fact).await? {
                        known = true;
                    } else {
                        new = true;
                        self.retimed(&fact);
                        self.fact(fact).await?;
                    }
                }
                if known && !new {
                    Disposition::Ignored { reason: "its fact is in the log already".to_owned() }
                } else {
                    Disposition::Done
                }
            }
            Interpretation::Ignored(reason) => Disposition::Ignored { reason: reason.to_owned() },
            Interpretation::Rejected(reason) => Disposition::Parked { reason },
        };
        let understood = !matches!(disposition, Disposition::Parked { .. });
        self.metrics.settled(&message.topic, disposition.label());
        self.commit.settled.push(Settled { position, disposition });
        Ok(understood)
    }

    /// Counts messages whose time was not believed. Logs this at the 1st, 2nd, 4th, 8th time and so
    /// on, because a wrong clock stays wrong.
    fn retimed(&mut self, fact: &NewEvent) {
        let Event::MessageTimeReplaced(replaced) = &fact.event else { return };
        self.retimed += 1;
        if self.retimed.is_power_of_two() {
            let MessageTimeReplaced { message, said, taken } = replaced;
            tracing::warn!(
                message = %message, said = %said, taken = %taken, so_far = self.retimed,
                "a message has an impossible time; the clock of its publisher is wrong"
            );
        }
    }

    /// Lets time pass without a message, so that ticks also happen on a quiet bus. Ticks begin with
    /// the first message.
    ///
    /// # Errors
    /// Fails like [`Writer::message`].
    pub async fn pass_time(&mut self, now: Timestamp) -> Result<(), LogError> {
        if self.state.last_tick.is_none() {
            return Ok(());
        }
        self.follow_tracking().await?;
        self.now = self.now.max(now);
        self.begin();
        self.tick().await
    }

    /// Appends what an operator did or asked for at `at`, and everything that follows from it.
    /// Decisions wait for the next tick.
    ///
    /// A request to cancel also puts its command into the outbox.
    ///
    /// # Errors
    /// Fails if attachments cannot be read; the error is unavailable or broken.
    pub async fn operator(&mut self, event: Event, at: Timestamp) -> Result<Seq, LogError> {
        self.now = self.now.max(at);
        self.begin();
        self.tick().await?;
        let seq = self.push(event.clone(), Source::Operator, None, None);
        if let Event::RebuildCancelRequested(cancel) = &event {
            self.cancel_command(cancel, seq, None);
        }
        self.settle(seq).await?;
        Ok(seq)
    }

    /// Sets aside a message that is not valid at all.
    pub fn unreadable(&mut self, position: Position, topic: &str, reason: String) {
        self.settle_message(position, topic, Disposition::Parked { reason });
    }

    /// Records the disposition of a message that produces no events by itself.
    pub fn settle_message(&mut self, position: Position, topic: &str, disposition: Disposition) {
        self.metrics.settled(topic, disposition.label());
        self.commit.settled.push(Settled { position, disposition });
    }

    /// Appends one event and folds it at once.
    pub(crate) fn push(&mut self, event: Event, source: Source, cause: Option<Seq>, correlation: Option<Seq>) -> Seq {
        self.append(NewEvent {
            event,
            occurred_at: self.now,
            source,
            fact: None,
            koji_event: None,
            causation: cause,
            correlation,
        })
    }

    /// Returns the id of the command that follows from `seq`, the event appended last.
    pub(crate) fn command_id(&self, seq: Seq) -> String {
        debug_assert_eq!(self.state.seq, Some(seq), "its hash is that of the last event");
        CommandId { log: self.log_id.clone(), seq, hash: self.hash }.to_string()
    }

    /// Returns the id of this log.
    pub(crate) fn log_id(&self) -> &str {
        &self.log_id
    }

    pub(crate) fn append(&mut self, new: NewEvent) -> Seq {
        let seq = Seq::after(self.state.seq);
        let record = Record::new(seq, self.now, &new, self.hash);
        self.hash = record.hash;
        self.announce_event(&record, &new.event);
        self.commit.records.push(record);
        let envelope = Envelope {
            seq,
            recorded_at: self.now,
            occurred_at: new.occurred_at,
            source: new.source,
            fact: new.fact,
            koji_event: new.koji_event,
            causation: new.causation,
            correlation: new.correlation,
            event: new.event,
        };
        self.overrides.folded(&envelope.event);
        self.tracking.folded(&envelope.event, seq);
        self.state.apply(&envelope);
        seq
    }

    pub(crate) fn new_event(&self, event: Event, source: Source) -> NewEvent {
        NewEvent {
            event,
            occurred_at: self.now,
            source,
            fact: None,
            koji_event: None,
            causation: None,
            correlation: None,
        }
    }

    /// Appends a tick if one is due, and decides. After a long silence there is only one tick.
    pub(crate) async fn tick(&mut self) -> Result<(), LogError> {
        let interval = i64::try_from(self.settings.policy.tick_interval_secs).unwrap_or(i64::MAX);
        if self.state.last_tick.is_some_and(|last| self.now < last.plus_secs(interval)) {
            return Ok(());
        }
        let before = self.state.last_tick;
        let tick = self.push(Tick { now: self.now }.into(), Source::Engine, None, None);
        let Some(before) = before else { return Ok(()) };
        self.time_out(tick);
        self.settle(tick).await?;
        self.evaluate(Trigger::Tick, tick, tick);
        self.settle(tick).await?;
        self.rank_suspects(before, tick);
        Ok(())
    }

    /// Checks whether the log already has a fact although its message is new to the inbox.
    async fn is_known(&self, fact: &NewEvent) -> Result<bool, LogError> {
        match fact.fact.filter(|_| self.facts_unseen) {
            Some(id) => self.has_fact(&id).await,
            None => Ok(false),
        }
    }

    /// Checks whether a fact is in the log or in the pending commit.
    pub(crate) async fn has_fact(&self, id: &FactId) -> Result<bool, LogError> {
        Ok(self.commit.records.iter().any(|r| r.fact == Some(*id)) || self.log.has_fact(id).await?)
    }

    /// Moves the writer's time forward. It never goes back.
    pub(crate) fn move_clock(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Runs `work` on the state. It may ask for the stand-ins of people.
    pub(crate) fn stand_ins<T>(&mut self, work: impl FnOnce(&State, &mut dyn FnMut(&str) -> PersonId) -> T) -> T {
        let (persons, commit) = (&mut self.persons, &mut self.commit);
        work(&self.state, &mut |name| persons.stand_in(name, commit))
    }

    /// Returns the stand-in of a person, and makes one if there is none.
    pub(crate) fn person(&mut self, name: &str) -> PersonId {
        self.persons.stand_in(name, &mut self.commit)
    }

    /// Reads the stand-ins again if somebody was erased, because an erased person's stand-in must
    /// not be used any more. Call this only between two commits.
    pub(crate) async fn notice_erasures(&mut self) -> Result<(), LogError> {
        if self.log.erasures().await? != self.persons.as_of {
            self.persons = Persons::read(&self.log).await?;
        }
        Ok(())
    }

    /// Appends a fact and everything that follows from it.
    pub(crate) async fn fact(&mut self, mut fact: NewEvent) -> Result<(), LogError> {
        if let Event::RepoReady(r) = &mut fact.event {
            let seen = self.resolver.repo(&r.hub, &r.tag, r.repo_id);
            r.create_event = r.create_event.or(seen.create_event);
            r.arches = r.arches.take().or(seen.arches);
            fact.koji_event = r.create_event;
        }
        if let Event::TaskChanged(task) = &mut fact.event
            && task.decision.is_some()
        {
            task.decision = self.decided(task).await?.map(|rebuild| rebuild.to_string());
        }
        let event = fact.event.clone();
        let seq = self.append(fact);
        if let Event::RepoInitialised(RepoInitialised { hub, tag, .. }) | Event::RepoReady(RepoReady { hub, tag, .. }) =
            &event
        {
            self.found(hub, tag, seq);
        }
        if let Event::RepoReady(ready) = &event {
            self.repo_ready(ready, seq).await?;
        }
        self.settle(seq).await
    }

    pub(crate) async fn repo_ready(&mut self, r: &RepoReady, cause: Seq) -> Result<(), LogError> {
        if self.resolve(r, cause).await? {
            self.settle(cause).await?;
            stage!("settled", repo = r.repo_id);
            self.evaluate(Trigger::RepoResolved, cause, cause);
            stage!("decided", repo = r.repo_id);
        }
        Ok(())
    }

    /// Makes a collection of a tag that gets repositories, if the settings ask for that.
    ///
    /// The dest tag is the tag it inherits from, if known. Otherwise it is the tag's name without
    /// `-build`.
    fn found(&mut self, hub: &Hub, tag: &Name, cause: Seq) {
        if !self.settings.find_collections {
            return;
        }
        let state = self.state.hubs.get(hub);
        let parent = state.and_then(|h| h.tags.get(tag)?.inheritance.as_ref()?.iter().min_by_key(|l| l.priority));
        let dest_tag: Name = match parent {
            Some(link) => link.tag.clone(),
            None => tag.strip_suffix("-build").filter(|t| !t.is_empty()).unwrap_or(tag).into(),
        };
        let target = state
            .and_then(|h| h.targets.iter().find(|(_, (build, dest))| build == tag && *dest == dest_tag))
            .map_or_else(|| dest_tag.clone(), |(name, _)| name.clone());
        // A second hub may have a tag of the same name.
        let mut name = tag.clone();
        if self.state.collections.get(&name).is_some_and(|c| c.settings.hub != *hub) {
            name = Name::from(format!("{hub}-{tag}"));
        }
        let settings = CollectionSettings {
            display_name: name.to_string(),
            hub: hub.clone(),
            target,
            build_tag: tag.clone(),
            dest_tag,
            build_group: self.settings.policy.build_group.clone(),
            coefficient: 1000,
            arches: self.settings.policy.build_arches.clone(),
            track_all: true,
            max_builds: None,
            found: true,
            builds_on: None,
        };
        match self.state.collections.get(&name) {
            Some(c) if !c.settings.found || c.settings == settings => {}
            Some(_) => {
                self.push(
                    CollectionEdited { collection: name, settings }.into(),
                    Source::Engine,
                    Some(cause),
                    Some(cause),
                );
            }
            None => {
                self.push(
                    CollectionCreated { collection: name, settings }.into(),
                    Source::Engine,
                    Some(cause),
                    Some(cause),
                );
            }
        }
    }
}
