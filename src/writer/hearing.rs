//! Handles the operators' words in the inbox: what they did and what they ask for.

use super::Writer;
use crate::event::{Event, MessageRetried, Source};
use crate::log::{Disposition, EventLog, Incoming, LogError, Pending, Position, Settled};
use crate::message::{self, CommandResult, Interpretation, RESULT_SOURCE, UNREADABLE};
use crate::model::{PersonId, Timestamp};
use crate::operator::{self, Maintainers};

/// Set-aside messages that are read at once for a retry. Each may have megabytes.
const RETRIED_AT_ONCE: usize = 20;
/// Most operators' words in one commit.
const HEARD_AT_ONCE: usize = 100;

/// Counts of the operators' words that were handled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WordsTaken {
    /// Number of words.
    pub words: u64,
    /// Number of words among them that were set aside because they make no sense now.
    pub parked: u64,
    /// Messages that were set aside and now wait again. Filled only with a hub, where each must be
    /// looked up there.
    pub again: Vec<Pending>,
}

impl Writer {
    /// Handles the operators' words that wait, and appends the resulting events. Other messages
    /// that wait before them do not delay them.
    ///
    /// A caller that works on a log calls this at least once in
    /// [`HEAR_EVERY`](crate::operator::HEAR_EVERY).
    ///
    /// # Errors
    /// Fails like [`Writer::message`] and [`Writer::flush`].
    pub async fn hear(&mut self) -> Result<WordsTaken, LogError> {
        // The log still reports a word as waiting until its commit is flushed.
        self.flush().await?;
        self.notice_erasures().await?;
        let mut heard = WordsTaken::default();
        loop {
            let (words, through) = self.log.pending_of(operator::SOURCE, self.heard, HEARD_AT_ONCE).await?;
            self.heard = through;
            for p in &words {
                heard.words += 1;
                let understood = self.operator_message(p.position, &p.message, &mut heard.again).await?;
                heard.parked += u64::from(!understood);
            }
            self.flush().await?;
            if words.len() < HEARD_AT_ONCE {
                return Ok(heard);
            }
        }
    }

    /// Handles one operator's message from the inbox. Returns `false` if the message was not
    /// understood and was set aside.
    ///
    /// With a hub, messages to retry are added to `again`. Without a hub they are handled here.
    ///
    /// # Errors
    /// Fails like [`Writer::message`].
    pub async fn operator_message(
        &mut self,
        position: Position,
        message: &Incoming,
        again: &mut Vec<Pending>,
    ) -> Result<bool, LogError> {
        let disposition = match message.topic.as_str() {
            operator::TOPIC => self.word(message).await?,
            operator::RETRY_TOPIC => self.retry(message, again).await?,
            other => Disposition::Parked { reason: format!("`{other}` is nothing an operator says") },
        };
        let understood = matches!(disposition, Disposition::Done);
        self.metrics.settled(&message.topic, disposition.label());
        self.commit.settled.push(Settled { position, disposition });
        Ok(understood)
    }

    async fn word(&mut self, message: &Incoming) -> Result<Disposition, LogError> {
        let word = match operator::read(&message.body) {
            Ok(word) => word,
            Err(reason) => return Ok(Disposition::Parked { reason }),
        };
        if let Err(reason) = operator::check_word(self.state(), &word) {
            return Ok(Disposition::Parked { reason });
        }
        if word.event.is_of_group() {
            // The configuration may be about the same group, and it comes first.
            self.move_clock(self.said_at(message));
            self.begin();
            if let Err(reason) = operator::check_word(self.state(), &word) {
                return Ok(Disposition::Parked { reason });
            }
        }
        let mut event = word.event;
        if let Err(reason) = self.maintain(&mut event, &word.maintainers) {
            return Ok(Disposition::Parked { reason });
        }
        if let Event::MessageDismissed(dismissed) = &event {
            let found = self.log.parked_messages(&[&dismissed.message]).await?;
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
        self.operator(event, self.said_at(message)).await?;
        Ok(Disposition::Done)
    }

    /// Puts the stand-ins of maintainers into an event about a group.
    fn maintain(&mut self, event: &mut Event, named: &Maintainers) -> Result<(), String> {
        if !event.is_of_group() {
            return Ok(());
        }
        // Who is to be removed and has no stand-in is no maintainer either.
        let remove: Vec<PersonId> =
            named.remove.iter().map(|name| self.persons.known(name).unwrap_or_else(|| PersonId::new(name))).collect();
        let add = named.add.iter().map(|name| self.person(name)).collect();
        operator::groups::maintain(&self.state, event, add, &remove)
    }

    /// Retries messages that were set aside. Without a hub they are handled at once. With a hub
    /// they wait until they are looked up there.
    async fn retry(&mut self, message: &Incoming, again: &mut Vec<Pending>) -> Result<Disposition, LogError> {
        let retry = match operator::read_retry(&message.body) {
            Ok(retry) => retry,
            Err(reason) => return Ok(Disposition::Parked { reason }),
        };
        self.move_clock(self.said_at(message));
        self.begin();
        let ids: Vec<&str> = retry.messages.iter().map(String::as_str).collect();
        for ids in ids.chunks(RETRIED_AT_ONCE) {
            for (pending, reason) in self.log.parked_messages(ids).await? {
                if self.commit.retried.contains(&pending.position) {
                    continue;
                }
                self.commit.retried.push(pending.position);
                self.try_again(pending, &reason, again).await?;
            }
        }
        Ok(Disposition::Done)
    }

    async fn try_again(&mut self, pending: Pending, reason: &str, again: &mut Vec<Pending>) -> Result<(), LogError> {
        let Pending { position, message } = &pending;
        let theirs = message.source == operator::SOURCE;
        if theirs && message.topic == operator::TOPIC {
            let disposition = Box::pin(self.word(message)).await?;
            self.settle_message(*position, &message.topic, disposition);
        } else if theirs || message.topic == UNREADABLE {
            self.unreadable(*position, &message.topic, reason.to_owned());
        } else if self.settings.context.source == Source::Hub {
            let understood = if message.source == RESULT_SOURCE {
                CommandResult::read(&message.body).is_ok()
            } else {
                let incoming = message::Incoming { id: &message.id, raw: &message.body, sent_at: message.received_at };
                // The interpretation is thrown away, so the persons named in it need no stand-ins.
                let said = message::interpret(incoming, &self.settings.context, &mut |_| PersonId::new(""));
                !matches!(said, Interpretation::Rejected(_))
            };
            let event = MessageRetried { message: message.id.clone(), understood, reason: reason.to_owned() };
            self.push(event.into(), Source::Operator, None, None);
            again.push(pending);
        } else {
            self.message(*position, message, Some(reason)).await?;
        }
        Ok(())
    }

    /// Returns when an operator said something. With a recording that is the recording's own time:
    /// the word came into the inbox by the machine's clock, and that clock plays no part in a
    /// recording.
    fn said_at(&self, message: &Incoming) -> Timestamp {
        match self.settings.context.source {
            Source::Recording => self.now(),
            _ => message.received_at,
        }
    }
}
