//! Folding a log again. Acts on nothing.
//!
//! While one page is folded, the next one is hashed and decoded, and the one after that is read.

use super::error::EngineError;
use crate::event::{Envelope, Record};
use crate::fold::{State, snapshot};
use crate::log::verify::{Damage, VerifyError, step};
use crate::log::{EventLog, Head, PAGE_MAX, Snapshot};
use crate::model::Seq;

/// Events that are folded while the next ones are read.
const PAGE: usize = if PAGE_MAX < 4000 { PAGE_MAX } else { 4000 };

/// Folds the log up to `until` (to its end if absent), from the newest usable snapshot on. `progress` is told how far it is.
///
/// # Errors
/// See [`EngineError`].
pub async fn state(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<State, EngineError> {
    let start = newest_snapshot(log, until).await;
    match start {
        Some(state) => run(log, state, None, until, progress).await,
        None => from_start(log, until, progress).await,
    }
}

/// The state of the newest usable snapshot that is not beyond `until`. One that cannot be used costs time, nothing else: what is wrong
/// with it is not said.
pub async fn newest_snapshot(log: &impl EventLog, until: Option<Seq>) -> Option<State> {
    let snapshot = log.latest_snapshot(until, snapshot::VERSION).await.ok().flatten()?;
    if snapshot.program != super::brain::PROGRAM {
        return None;
    }
    let restored = tokio::task::spawn_blocking(move || {
        let state = State::from_bytes(&snapshot.bytes).ok()?;
        (state.seq == Some(snapshot.seq) && state.digest() == snapshot.digest).then_some(state)
    });
    restored.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

/// Folds the log from its beginning, whatever snapshots there are, and verifies its hash chain on the way (attachments are for
/// [`crate::log::verify()`]).
///
/// # Errors
/// [`EngineError::Verify`] (broken) at the first event that is not as it was written; others see there.
pub async fn from_start(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<State, EngineError> {
    run(log, State::default(), Some(Head::EMPTY), until, progress).await
}

/// Folds the log onto `state`, and verifies that it follows `head` where that is given.
async fn run(
    log: &impl EventLog,
    mut state: State,
    mut head: Option<Head>,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<State, EngineError> {
    let mut page = log.read(state.seq, PAGE).await?;
    let mut read = state.seq;
    let mut decoded: Vec<Envelope> = Vec::new();
    while !page.is_empty() || !decoded.is_empty() {
        let last = page.last().map(|r| r.seq).filter(|last| until.is_none_or(|until| *last < until));
        let folding = tokio::task::spawn_blocking(move || {
            decoded.iter().for_each(|e| state.apply(e));
            state
        });
        let before = read;
        read = page.last().map_or(read, |r| Some(r.seq));
        let decoding = tokio::task::spawn_blocking(move || {
            check_sequence(before, &page)?;
            decode_page(&page, head, until)
        });
        let next = async {
            match last {
                Some(_) => log.read(last, PAGE).await,
                None => Ok(Vec::new()),
            }
        };
        let (folded, done, next) = tokio::join!(folding, decoding, next);
        state = folded.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        (decoded, head) = done.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
        page = next?;
        if let Some(seq) = state.seq {
            progress(seq);
        }
    }
    Ok(state)
}

/// Whether records follow each other and an event; an event that is missing must not pass for one that never was.
///
/// # Errors
/// [`EngineError::Verify`] (broken) at the first that is missing.
pub(crate) fn check_sequence(mut last: Option<Seq>, page: &[Record]) -> Result<(), EngineError> {
    for record in page {
        let expected = Seq::after(last);
        if record.seq != expected {
            let damage = Damage::Gap { next: record.seq };
            return Err(VerifyError::Damaged { seq: expected, damage }.into());
        }
        last = Some(record.seq);
    }
    Ok(())
}

/// Verifies a page where there is a head it has to follow, and decodes it, up to `until`.
fn decode_page(
    page: &[Record],
    mut head: Option<Head>,
    until: Option<Seq>,
) -> Result<(Vec<Envelope>, Option<Head>), EngineError> {
    let mut decoded = Vec::with_capacity(page.len());
    for record in page.iter().take_while(|r| until.is_none_or(|u| r.seq <= u)) {
        if let Some(head) = &mut head {
            *head = step(*head, record, None)?;
        }
        decoded.push(record.decode()?);
    }
    Ok((decoded, head))
}

/// Folds the log from its beginning, and verifies its hash chain on the way. `see` is shown every event before it is folded, with the state
/// before it.
///
/// # Errors
/// See [`from_start`].
pub async fn fold(
    log: &impl EventLog,
    progress: &mut dyn FnMut(Seq),
    see: &mut dyn FnMut(&State, &Envelope),
) -> Result<State, EngineError> {
    let (mut state, mut head) = (State::default(), Head::EMPTY);
    loop {
        let page = log.read(state.seq, PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(state);
        }
        for record in page {
            head = step(head, &record, None)?;
            let envelope = record.decode()?;
            see(&state, &envelope);
            state.apply(&envelope);
        }
        if let Some(seq) = state.seq {
            progress(seq);
        }
    }
}

/// Puts a snapshot of `state` into the database.
///
/// # Errors
/// See [`EngineError`].
pub async fn keep(log: &impl EventLog, state: &State) -> Result<(), EngineError> {
    let Some(seq) = state.seq else { return Ok(()) };
    let snapshot = Snapshot {
        seq,
        program: super::brain::PROGRAM.to_owned(),
        state_version: snapshot::VERSION,
        digest: state.digest(),
        bytes: state.to_bytes(),
    };
    Ok(log.put_snapshot(&snapshot).await?)
}
