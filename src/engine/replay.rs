//! Folding a log again. Acts on nothing.
//!
//! While one page is hashed, decoded and folded on a thread of its own, the next one is read.

use super::error::EngineError;
use crate::event::{Envelope, Record};
use crate::fold::{State, snapshot};
use crate::log::verify::step;
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
    while let Some(last) = page.last().map(|r| r.seq) {
        let over = until.is_some_and(|u| last >= u);
        let work = tokio::task::spawn_blocking(move || {
            fold_page(&mut state, &mut head, page, until)?;
            Ok::<_, EngineError>((state, head))
        });
        let next = async { if over { Ok(Vec::new()) } else { log.read(Some(last), PAGE).await } };
        let (done, next) = tokio::join!(work, next);
        (state, head) = done.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
        page = next?;
        if let Some(seq) = state.seq {
            progress(seq);
        }
    }
    Ok(state)
}

fn fold_page(
    state: &mut State,
    head: &mut Option<Head>,
    page: Vec<Record>,
    until: Option<Seq>,
) -> Result<(), EngineError> {
    for record in page {
        if until.is_some_and(|u| record.seq > u) {
            break;
        }
        if let Some(head) = head {
            *head = step(*head, &record, None)?;
        }
        state.apply(&record.decode()?);
    }
    Ok(())
}

/// Folds the log onto `state`. `see` is shown every event before it is folded, with the state before it.
///
/// # Errors
/// See [`EngineError`].
pub async fn fold(
    log: &impl EventLog,
    mut state: State,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
    see: &mut dyn FnMut(&State, &Envelope),
) -> Result<State, EngineError> {
    loop {
        let page = log.read(state.seq, PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(state);
        }
        for record in page {
            if until.is_some_and(|u| record.seq > u) {
                return Ok(state);
            }
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
