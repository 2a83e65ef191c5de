//! Recomputes the whole hash chain, and reports where it first breaks.

mod announced;
mod outbox;

use std::collections::BTreeSet;

use self::announced::AnnouncedCheck;
use self::outbox::OutboxCheck;
use super::{EventLog, Head, PAGE_MAX, ReadError};
use crate::event::{ChainHash, FactId, Record};
use crate::model::{Class, Classified, Seq};

/// Number of events per page.
const PAGE: usize = if PAGE_MAX < 4096 { PAGE_MAX } else { 4096 };

/// The result for an undamaged log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// The end of the log. Publish it: with it, a later verification finds a cut tail or a
    /// rewritten log.
    pub head: Head,
    /// Number of events.
    pub events: u64,
    /// Number of different attachments that events name. Each was read and compared with its
    /// digest.
    pub attachments: u64,
    /// Number of commands in the outbox. Each was compared with the event that decided it.
    pub commands: u64,
    /// Number of announcements. Each belongs to its event.
    pub announcements: u64,
    /// Whether a trusted head was given and is in the log.
    pub head_trusted: bool,
}

/// An error for a log that differs from what was written, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log is damaged.
    #[error("verify event {seq}: {damage}; everything before it is unchanged")]
    Damaged {
        /// The first event where the damage shows.
        seq: Seq,
        /// The damage.
        damage: Damage,
    },
    /// The database did not respond.
    #[error(transparent)]
    Read(ReadError),
}

impl Classified for VerifyError {
    fn class(&self) -> Class {
        match self {
            Self::Damaged { .. } => Class::Broken,
            Self::Read(e) => e.class(),
        }
    }
}

/// A kind of damage to a log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// Events are missing.
    #[error("it is missing, the next one is {next}")]
    Gap {
        /// The event found in place of the missing one.
        next: Seq,
    },
    /// The event, or the one before it, was changed, inserted or swapped.
    #[error(
        "its hash is {found}, but its content and its predecessor give {expected}; it was changed, inserted or moved"
    )]
    Hash {
        /// The hash as computed.
        expected: ChainHash,
        /// The hash as stored.
        found: ChainHash,
    },
    /// The event is recorded before its predecessor.
    #[error("it is recorded before its predecessor")]
    Time,
    /// This program does not write such a row.
    #[error("{0}")]
    Row(String),
    /// An attachment that the event names is missing, or does not match its digest.
    #[error("its attachment {digest} {problem}")]
    Attachment {
        /// The digest in the event.
        digest: String,
        /// The problem.
        problem: String,
    },
    /// The same fact was appended before, so something was counted twice.
    #[error("its fact is already in the log, as event {first}")]
    Fact {
        /// The first event with that fact.
        first: Seq,
    },
    /// The outbox does not match what the event decided.
    #[error("{0}")]
    Command(String),
    /// The log ends before the trusted head.
    #[error("the log ends before the trusted head {trusted}: its tail was cut off")]
    Cut {
        /// Sequence of the trusted head.
        trusted: Seq,
    },
    /// The log was rewritten.
    #[error("its hash is {found}, the trusted one is {trusted}: the log was rewritten")]
    Rewritten {
        /// The trusted hash.
        trusted: ChainHash,
        /// The hash as stored.
        found: ChainHash,
    },
}

/// Verifies a whole log:
///
/// - the sequence is contiguous, the hash chain is intact, and recorded time does not go back
/// - the attachments that events name are there
/// - the outbox holds the commands that were decided
/// - each announcement belongs to an event
/// - no fact occurs twice
/// - `trusted` (a head seen earlier) is in the log
///
/// `progress` is called with the number of events done, once per page. Cost: reads and hashes
/// everything. Memory: 24 bytes per fact.
///
/// Without a trusted head, a cut tail or a completely rewritten log cannot be detected.
///
/// # Errors
/// Returns [`VerifyError::Damaged`] (broken) at the first event that differs from what was written,
/// and [`VerifyError::Read`] if the database does not respond.
pub async fn verify(
    log: &impl EventLog,
    trusted: Option<(Seq, ChainHash)>,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<VerifyReport, VerifyError> {
    let mut head = Head::EMPTY;
    let mut seen = BTreeSet::new();
    let mut facts = Vec::new();
    let log_id = log.info().await.map_err(VerifyError::Read)?.log_id;
    let (mut outbox, mut announced) = (OutboxCheck::new(log_id.clone()), AnnouncedCheck::new(log_id));
    loop {
        let records = read(log, head.seq).await?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            head = step(head, record, trusted)?;
            facts.extend(record.fact.map(|fact| (fact, record.seq)));
            outbox.step(log, record).await?;
            announced.step(log, record).await?;
            if let Some(digest) = attachment_of(record)?
                && !seen.contains(&digest)
            {
                check_attachment(log, record.seq, &digest).await?;
                seen.insert(digest);
            }
        }
        progress(head.seq.map_or(0, Seq::get));
    }
    if let Some((seq, _)) = trusted
        && head.seq < Some(seq)
    {
        return Err(VerifyError::Damaged { seq: Seq::after(head.seq), damage: Damage::Cut { trusted: seq } });
    }
    once_each(facts)?;
    Ok(VerifyReport {
        head,
        events: head.seq.map_or(0, Seq::get),
        attachments: seen.len() as u64,
        commands: outbox.finish(log).await?,
        announcements: announced.finish(log).await?,
        head_trusted: trusted.is_some(),
    })
}

/// Returns the next page. A damaged row hides the good ones before it. They are then returned first,
/// so that the first bad row is named.
async fn read(log: &impl EventLog, after: Option<Seq>) -> Result<Vec<Record>, VerifyError> {
    let mut page = PAGE;
    loop {
        match log.read(after, page).await {
            Err(ReadError::Damaged { seq, .. }) if page > 1 => {
                let before = seq.get().saturating_sub(Seq::after(after).get());
                page = usize::try_from(before).unwrap_or(page).clamp(1, page - 1);
            }
            // A row whose payload is in a missing row is no gap of its own.
            Err(ReadError::Damaged { seq, .. }) if seq > Seq::after(after) => {
                return Err(VerifyError::Damaged { seq: Seq::after(after), damage: Damage::Gap { next: seq } });
            }
            result => return result.map_err(unreadable),
        }
    }
}

/// Returns an error for the first event whose fact occurs in an earlier event.
fn once_each(mut facts: Vec<(FactId, Seq)>) -> Result<(), VerifyError> {
    facts.sort_unstable();
    let twice = facts.windows(2).filter(|w| w[0].0 == w[1].0).map(|w| (w[1].1, w[0].1)).min();
    twice.map_or(Ok(()), |(seq, first)| Err(VerifyError::Damaged { seq, damage: Damage::Fact { first } }))
}

fn unreadable(error: ReadError) -> VerifyError {
    match error {
        ReadError::Damaged { seq, what } => VerifyError::Damaged { seq, damage: Damage::Row(what) },
        e => VerifyError::Read(e),
    }
}

/// Checks that `record` follows `head`, and returns the head after it. Cost: one hash.
pub(crate) fn step(head: Head, record: &Record, trusted: Option<(Seq, ChainHash)>) -> Result<Head, VerifyError> {
    let expected_seq = Seq::after(head.seq);
    if record.seq != expected_seq {
        return Err(VerifyError::Damaged { seq: expected_seq, damage: Damage::Gap { next: record.seq } });
    }
    let bad = |damage| Err(VerifyError::Damaged { seq: record.seq, damage });
    let expected = record.chained(head.hash);
    if expected != record.hash {
        return bad(Damage::Hash { expected, found: record.hash });
    }
    if record.recorded_at < head.recorded_at {
        return bad(Damage::Time);
    }
    match trusted {
        Some((seq, hash)) if seq == record.seq && hash != record.hash => {
            bad(Damage::Rewritten { trusted: hash, found: record.hash })
        }
        _ => Ok(Head::of(record)),
    }
}

/// Returns the attachment that an event names: the field `attachment` of the kinds that have it.
fn attachment_of(record: &Record) -> Result<Option<String>, VerifyError> {
    #[derive(serde::Deserialize)]
    struct Named {
        attachment: String,
    }
    if !matches!(record.kind.as_str(), "repo_resolved" | "buildroot_recorded") {
        return Ok(None);
    }
    serde_json::from_str::<Named>(&record.payload).map(|n| Some(n.attachment)).map_err(|e| VerifyError::Damaged {
        seq: record.seq,
        damage: Damage::Row(format!("its payload does not name an attachment ({e})")),
    })
}

async fn check_attachment(log: &impl EventLog, seq: Seq, digest: &str) -> Result<(), VerifyError> {
    let problem = match log.attachment(digest).await {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => "is missing".to_owned(),
        Err(ReadError::Content { what }) => format!("is not what was written ({what})"),
        Err(e) => return Err(VerifyError::Read(e)),
    };
    Err(VerifyError::Damaged { seq, damage: Damage::Attachment { digest: digest.to_owned(), problem } })
}
