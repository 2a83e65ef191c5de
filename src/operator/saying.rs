//! Puts operators' words into the inbox of a log, and reports what became of them. The command line
//! and the pages both use it.

use std::time::Duration;

use super::{RETRIES_MAX, Retry, Word, check_word, message, reason, retry_message};
use crate::event::MessageDismissed;
use crate::fold::State;
use crate::log::{Disposition, EventLog, Fate, Incoming, LogError};
use crate::model::{Class, Classified, Seq, Timestamp};

/// Interval of checks whether a word was handled while nothing is appended. A refused word appends
/// no event.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Messages that were checked and make sense. Nothing else gets into the inbox.
#[derive(Clone, Debug)]
pub struct Checked {
    messages: Vec<Incoming>,
}

/// What became of the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reception {
    /// The process that works on the log has handled all of them.
    Taken,
    /// They are not handled yet. They stay in the inbox, and the next process that works on the log
    /// handles them.
    Waiting,
}

/// Error: a word was not said, or not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SayError {
    /// The word makes no sense in the current state. Says why.
    #[error("run the command: {0}")]
    Refused(String),
    /// The inbox does not take the word, or the log does not tell what became of it.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Classified for SayError {
    fn class(&self) -> Class {
        match self {
            Self::Refused(_) => Class::Rejected,
            Self::Log(error) => error.class(),
        }
    }
}

impl Checked {
    /// Checks that all words make sense in a state.
    ///
    /// # Errors
    /// Returns [`SayError::Refused`] if one of them does not.
    pub fn words(state: &State, words: &[Word], now: Timestamp) -> Result<Self, SayError> {
        for word in words {
            check_word(state, word).map_err(SayError::Refused)?;
        }
        Ok(Self { messages: words.iter().map(|word| message(word, now)).collect() })
    }

    /// Makes the words that dismiss set-aside messages, by their ids.
    ///
    /// # Errors
    /// Returns [`SayError::Refused`] if no reason is given.
    pub fn dismissals(ids: &[String], why: &str, by: Option<&str>, now: Timestamp) -> Result<Self, SayError> {
        let why = reason(why).map_err(SayError::Refused)?;
        let word = |id: &String| {
            let event = MessageDismissed { message: id.clone(), reason: why.to_owned(), by: None };
            message(&Word::new(event, by.map(str::to_owned)), now)
        };
        Ok(Self { messages: ids.iter().map(word).collect() })
    }

    /// Makes the requests to retry set-aside messages, by their ids.
    pub fn retries(ids: &[String], now: Timestamp) -> Self {
        let wish = |ids: &[String]| retry_message(&Retry { messages: ids.to_vec() }, now);
        Self { messages: ids.chunks(RETRIES_MAX).map(wish).collect() }
    }

    /// Returns the number of messages.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// Puts all messages into the inbox at once, or none. Waits up to `wait` until all of them are
    /// settled. Without `wait` it does not wait.
    ///
    /// # Errors
    /// Returns [`SayError::Refused`] if the process that works on the log does not accept one of
    /// the messages. The others stay said. Returns [`SayError::Log`] if the log fails.
    pub async fn say(&self, log: &impl EventLog, wait: Option<Duration>) -> Result<Reception, SayError> {
        let after = log.head().await.map_err(LogError::from)?.seq;
        log.receive(&self.messages).await.map_err(LogError::from)?;
        match wait {
            Some(wait) => self.settled(log, wait, after).await,
            None => Ok(Reception::Waiting),
        }
    }

    /// Waits until all messages are settled. Wakes up when events are appended.
    async fn settled(
        &self,
        log: &impl EventLog,
        wait: Duration,
        mut after: Option<Seq>,
    ) -> Result<Reception, SayError> {
        let ids: Vec<&str> = self.messages.iter().map(|m| m.id.as_str()).collect();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let fates = log.fates(&ids).await.map_err(LogError::from)?;
            let refused = fates.iter().find_map(|fate| match fate {
                Some(Fate::Settled(Disposition::Parked { reason })) => Some(reason),
                _ => None,
            });
            if let Some(why) = refused {
                return Err(SayError::Refused(why.clone()));
            }
            if fates.iter().all(|fate| matches!(fate, Some(Fate::Settled(_)))) {
                return Ok(Reception::Taken);
            }
            let now = tokio::time::Instant::now();
            if now >= deadline {
                return Ok(Reception::Waiting);
            }
            if let Ok(head) = tokio::time::timeout_at(deadline.min(now + LOOK_AGAIN), log.changed(after)).await {
                after = head.map_err(LogError::from)?.seq;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SubmissionsPaused;
    use crate::log::{AnyLog, Options, open};
    use crate::operator::SOURCE;

    fn pause(collection: Option<&str>) -> Word {
        let event = SubmissionsPaused { collection: collection.map(Into::into), by: None, reason: String::new() };
        Word::new(event, None)
    }

    async fn waiting(log: &AnyLog) -> usize {
        log.pending_of(SOURCE, None, 10).await.unwrap().0.len()
    }

    /// Only words that make sense can be said. A word that no process handles stays in the inbox.
    #[tokio::test]
    async fn what_is_checked_goes_into_the_inbox() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path().join("log.db").to_str().unwrap(), &Options::default()).await.unwrap();
        let now = Timestamp::from_secs(1_795_164_251);
        let words = [pause(None), pause(Some("f99"))];
        let refused = Checked::words(&State::default(), &words, now).unwrap_err();
        assert_eq!(refused.to_string(), "run the command: there is no collection `f99`");
        assert_eq!(refused.class(), Class::Rejected);
        assert!(Checked::dismissals(&["x".to_owned()], " ", None, now).is_err(), "a reason is needed");
        assert_eq!(waiting(&log).await, 0);
        let checked = Checked::words(&State::default(), &[pause(None), pause(None)], now).unwrap();
        assert_eq!(checked.say(&log, Some(Duration::ZERO)).await.unwrap(), Reception::Waiting);
        assert_eq!(waiting(&log).await, 2);
        let ids: Vec<String> = (0..=RETRIES_MAX).map(|i| i.to_string()).collect();
        let retries = Checked::retries(&ids, now);
        assert_eq!((retries.count(), retries.say(&log, None).await.unwrap()), (2, Reception::Waiting));
        assert_eq!(waiting(&log).await, 4);
        log.close().await;
    }
}
