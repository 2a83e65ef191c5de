//! Recomputes the whole chain, and says where it first breaks.

use std::collections::BTreeSet;

use super::verify_outbox::OutboxCheck;
use super::{EventLog, Head, PAGE_MAX, ReadError};
use crate::event::{ChainHash, FactId, Record};
use crate::model::{Class, Classified, Seq};

/// Events per page.
const PAGE: usize = if PAGE_MAX < 4096 { PAGE_MAX } else { 4096 };

/// What a clean log looks like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// The end of the log. Publish it: given this, a later verification finds a cut tail or a rewritten log.
    pub head: Head,
    /// Number of events.
    pub events: u64,
    /// Number of different attachments that events name, each read and compared with its digest.
    pub attachments: u64,
    /// Number of commands in the outbox, each compared with the event that decided it.
    pub commands: u64,
    /// Whether a trusted head was given and stands in the log.
    pub head_trusted: bool,
}

/// The log is not what was written, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Something is wrong with it.
    #[error("verify event {seq}: {damage}; everything before it is as it was written")]
    Damaged {
        /// The first place where it shows.
        seq: Seq,
        /// What is wrong.
        damage: Damage,
    },
    /// The database did not answer.
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

/// What is wrong with a log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// Events are missing.
    #[error("it is missing, the next one is {next}")]
    Gap {
        /// The event that stands there.
        next: Seq,
    },
    /// The event, or the one before it, was changed, inserted or swapped.
    #[error(
        "its hash is {found} but follows as {expected} from its content and its predecessor; it was changed, inserted \
            or moved"
    )]
    Hash {
        /// As computed.
        expected: ChainHash,
        /// As stored.
        found: ChainHash,
    },
    /// Recorded time goes back.
    #[error("it is recorded before its predecessor")]
    Time,
    /// The row is not one this program writes.
    #[error("{0}")]
    Row(String),
    /// An attachment that the event names is missing or not what its digest says.
    #[error("its attachment {digest} {problem}")]
    Attachment {
        /// The digest it names.
        digest: String,
        /// What is wrong.
        problem: String,
    },
    /// The same fact was appended before: something was counted twice.
    #[error("its fact stands in the log already, as event {first}")]
    Fact {
        /// Where it stands first.
        first: Seq,
    },
    /// The outbox does not hold what the event decided.
    #[error("{0}")]
    Command(String),
    /// The log ends before the trusted head.
    #[error("the log ends before the trusted head {trusted}: its tail was cut off")]
    Cut {
        /// The trusted head's sequence.
        trusted: Seq,
    },
    /// The log was written anew.
    #[error("its hash is {found}, the trusted one is {trusted}: the log was rewritten")]
    Rewritten {
        /// As trusted.
        trusted: ChainHash,
        /// As stored.
        found: ChainHash,
    },
}

/// Verifies a whole log: contiguous sequence, hash chain, recorded time, attachments that events name, that the outbox
/// holds the commands that were decided, that no fact stands twice, and that `trusted` (a head seen earlier) stands in
/// it. `progress` is called with the number of events done, once per page. Cost: reads and hashes everything; memory:
/// 24 bytes per fact.
///
/// Without a trusted head a tail that was cut off, or a whole log written anew, cannot be noticed.
///
/// # Errors
/// [`VerifyError::Damaged`] (broken) at the first event that is not as written; [`VerifyError::Read`] when the database
/// does not answer.
pub async fn verify(
    log: &impl EventLog,
    trusted: Option<(Seq, ChainHash)>,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<VerifyReport, VerifyError> {
    let mut head = Head::EMPTY;
    let mut seen = BTreeSet::new();
    let mut facts = Vec::new();
    let mut outbox = OutboxCheck::new(log.info().await.map_err(VerifyError::Read)?.log_id);
    loop {
        let records = match log.read(head.seq, PAGE).await {
            Ok(records) => records,
            // A damaged row hides the good ones before it: find them one by one, so that the first bad one is named.
            Err(ReadError::Damaged { .. }) => match log.read(head.seq, 1).await {
                Ok(records) => records,
                Err(e) => return Err(unreadable(e)),
            },
            Err(e) => return Err(unreadable(e)),
        };
        if records.is_empty() {
            break;
        }
        for record in &records {
            head = step(head, record, trusted)?;
            facts.extend(record.fact.map(|fact| (fact, record.seq)));
            outbox.step(log, record).await?;
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
        head_trusted: trusted.is_some(),
    })
}

/// Names the first event whose fact stands before it.
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

/// Checks that `record` is the one that follows `head`, and returns the head after it. Cost: one hash.
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

/// The attachment an event names: field `attachment` of the kinds that have one.
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
