//! Folding a log again. Acts on nothing.

use super::error::EngineError;
use crate::event::Envelope;
use crate::fold::{State, snapshot};
use crate::log::{EventLog, PAGE_MAX, Snapshot};
use crate::model::Seq;

/// Folds the log up to `until` (to its end if absent), from the newest usable snapshot on. `progress` is told how far it is.
///
/// # Errors
/// See [`EngineError`].
pub async fn state(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<State, EngineError> {
    let start = match log.latest_snapshot(until, snapshot::VERSION).await {
        Ok(Some(s)) if s.program == super::brain::PROGRAM => {
            State::from_bytes(&s.bytes).ok().filter(|x| x.seq == Some(s.seq))
        }
        // A snapshot that cannot be used costs time, nothing else.
        _ => None,
    };
    fold(log, start.unwrap_or_default(), until, progress, &mut |_, _| {}).await
}

/// Folds the log from its beginning, whatever snapshots there are.
///
/// # Errors
/// See [`EngineError`].
pub async fn from_start(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<State, EngineError> {
    fold(log, State::default(), until, progress, &mut |_, _| {}).await
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
