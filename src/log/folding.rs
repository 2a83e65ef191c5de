//! Folding a log again. Acts on nothing.
//!
//! While one page is folded, the next one is hashed and decoded, and the one after that is read, each on a thread of
//! its own.

use tokio::sync::{mpsc, watch};

use crate::event::{ChainHash, Envelope, Record};
use crate::fold::{State, snapshot};
use crate::log::verify::{Damage, VerifyError, step};
use crate::log::{EventLog, Head, LogError, PAGE_MAX, Snapshot};
use crate::model::Seq;

/// Events that are folded while the next ones are read.
const PAGE: usize = if PAGE_MAX < 4000 { PAGE_MAX } else { 4000 };

/// Pages that may wait between one thread and the next.
const PAGES_WAITING: usize = 2;

/// Folds the log up to `until` (to its end if absent), from the newest usable snapshot on. `progress` is told how far
/// it is.
///
/// # Errors
/// See [`LogError`].
pub async fn state(log: &impl EventLog, until: Option<Seq>, progress: &mut dyn FnMut(Seq)) -> Result<State, LogError> {
    let start = newest_snapshot(log, until).await;
    match start {
        Some(state) => run(log, state, None, until, progress).await,
        None => from_start(log, until, progress).await,
    }
}

/// The state of the newest usable snapshot that is not beyond `until`. One that cannot be used, or is of another past
/// than the log's, costs time, nothing else: [`crate::tools::audit`] says what is wrong with it.
pub async fn newest_snapshot(log: &impl EventLog, mut until: Option<Seq>) -> Option<State> {
    loop {
        let snapshot = log.latest_snapshot(until, snapshot::VERSION).await.ok().flatten()?;
        until = Seq::new(snapshot.seq.get() - 1);
        let ours = snapshot.program == crate::model::PROGRAM && is_of(log, &snapshot).await.ok()?;
        let restored = if ours { restore(snapshot).await } else { None };
        if restored.is_some() || until.is_none() {
            return restored;
        }
    }
}

/// What is kept in a snapshot, without the state itself: several of them would fill the memory.
pub(crate) struct Kept {
    /// Its event.
    pub(crate) seq: Seq,
    /// Whether the log has that event: going back to a backup may have put another one in its place.
    pub(crate) is_ours: bool,
    /// Digest of the state in it; `None` when that is not what was put there.
    pub(crate) digest: Option<String>,
}

/// The snapshots this program could begin from, newest first, whether they are right or not. Memory: one of them at a
/// time.
///
/// # Errors
/// See [`LogError`].
pub(crate) async fn snapshots(log: &impl EventLog) -> Result<Vec<Kept>, LogError> {
    let (mut all, mut until) = (Vec::new(), None);
    while let Some(snapshot) = log.latest_snapshot(until, snapshot::VERSION).await? {
        until = Seq::new(snapshot.seq.get() - 1);
        if snapshot.program == crate::model::PROGRAM {
            let is_ours = is_of(log, &snapshot).await?;
            let (seq, digest) = (snapshot.seq, restore(snapshot).await.map(|state| state.digest()));
            all.push(Kept { seq, is_ours, digest });
        }
        if until.is_none() {
            break;
        }
    }
    Ok(all)
}

async fn is_of(log: &impl EventLog, snapshot: &Snapshot) -> Result<bool, LogError> {
    Ok(hash_of(log, snapshot.seq).await? == Some(snapshot.hash))
}

/// The state in a snapshot; `None` when it is not what was put there.
async fn restore(snapshot: Snapshot) -> Option<State> {
    let restored = tokio::task::spawn_blocking(move || {
        let state = State::from_bytes(&snapshot.bytes).ok()?;
        (state.seq == Some(snapshot.seq) && state.digest() == snapshot.digest).then_some(state)
    });
    restored.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

async fn hash_of(log: &impl EventLog, seq: Seq) -> Result<Option<ChainHash>, LogError> {
    let page = log.read(Seq::new(seq.get() - 1), 1).await?;
    Ok(page.first().filter(|r| r.seq == seq).map(|r| r.hash))
}

/// Folds the log from its beginning, whatever snapshots there are, and verifies its hash chain on the way (attachments
/// are for [`crate::log::verify()`]).
///
/// # Errors
/// [`LogError::Verify`] (broken) at the first event that is not as it was written; others see there.
pub async fn from_start(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<State, LogError> {
    run(log, State::default(), Some(Head::EMPTY), until, progress).await
}

/// Folds the log onto `state`, and verifies that it follows `head` where that is given.
async fn run(
    log: &impl EventLog,
    state: State,
    head: Option<Head>,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<State, LogError> {
    let (mut last, folded) = (state.seq, watch::Sender::new(state.seq));
    let mut done = folded.subscribe();
    let (to_decode, pages) = mpsc::channel(PAGES_WAITING);
    let (to_fold, decoded) = mpsc::channel(PAGES_WAITING);
    let decoding = tokio::task::spawn_blocking(move || decode(pages, &to_fold, (last, head), until));
    let folding = tokio::task::spawn_blocking(move || fold_all(state, decoded, &folded));
    let mut read = Ok(());
    loop {
        let page = match log.read(last, PAGE).await {
            Ok(page) => page,
            Err(e) => {
                read = Err(e);
                break;
            }
        };
        let Some(end) = page.last().map(|r| r.seq) else { break };
        last = Some(end);
        // Nobody takes it any more: why, is said below.
        if to_decode.send(page).await.is_err() || until.is_some_and(|u| end >= u) {
            break;
        }
        if done.has_changed().unwrap_or(false)
            && let Some(seq) = *done.borrow_and_update()
        {
            progress(seq);
        }
    }
    drop(to_decode);
    let (decoded, state) = tokio::join!(decoding, folding);
    let state = state.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
    // What is wrong with an event comes before what could not be read after it.
    decoded.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
    read?;
    if let Some(seq) = state.seq {
        progress(seq);
    }
    Ok(state)
}

/// Verifies and decodes pages as they come, and hands them on. What comes after `last` must follow it without a gap.
fn decode(
    mut pages: mpsc::Receiver<Vec<Record>>,
    to_fold: &mpsc::Sender<Vec<Envelope>>,
    (mut last, mut head): (Option<Seq>, Option<Head>),
    until: Option<Seq>,
) -> Result<(), LogError> {
    while let Some(page) = pages.blocking_recv() {
        check_sequence(last, &page)?;
        last = page.last().map_or(last, |r| Some(r.seq));
        let (decoded, now) = decode_page(&page, head, until)?;
        head = now;
        if to_fold.blocking_send(decoded).is_err() {
            break;
        }
    }
    Ok(())
}

/// Folds pages as they come, and says how far it is.
fn fold_all(
    mut state: State,
    mut decoded: mpsc::Receiver<Vec<Envelope>>,
    folded: &watch::Sender<Option<Seq>>,
) -> State {
    while let Some(page) = decoded.blocking_recv() {
        page.iter().for_each(|e| state.apply(e));
        folded.send_replace(state.seq);
    }
    state
}

/// Whether records follow each other and an event; an event that is missing must not pass for one that never was.
///
/// # Errors
/// [`LogError::Verify`] (broken) at the first that is missing.
pub(crate) fn check_sequence(mut last: Option<Seq>, page: &[Record]) -> Result<(), LogError> {
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
) -> Result<(Vec<Envelope>, Option<Head>), LogError> {
    let mut decoded = Vec::with_capacity(page.len());
    for record in page.iter().take_while(|r| until.is_none_or(|u| r.seq <= u)) {
        if let Some(head) = &mut head {
            *head = step(*head, record, None)?;
        }
        decoded.push(record.decode()?);
    }
    Ok((decoded, head))
}

/// Folds the log from its beginning up to `until` (to its end if absent), and verifies its hash chain on the way. `see`
/// is shown every event before it is folded, with the state before it.
///
/// # Errors
/// See [`from_start`].
pub async fn fold(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
    see: &mut dyn FnMut(&State, &Envelope),
) -> Result<State, LogError> {
    let (mut state, mut head) = (State::default(), Head::EMPTY);
    loop {
        let mut page = log.read(state.seq, PAGE_MAX).await?;
        page.retain(|record| until.is_none_or(|u| record.seq <= u));
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

/// Puts a snapshot of `state`, as this log gives it, into the database.
///
/// # Errors
/// Broken when the log has no such event; others see [`LogError`].
pub async fn keep(log: &impl EventLog, state: &State) -> Result<(), LogError> {
    let Some(seq) = state.seq else { return Ok(()) };
    let hash = hash_of(log, seq).await?;
    let hash = hash.ok_or_else(|| LogError::Broken(format!("the log has no event {seq} to keep the state of")))?;
    let snapshot = Snapshot {
        seq,
        hash,
        program: crate::model::PROGRAM.to_owned(),
        state_version: snapshot::VERSION,
        digest: state.digest(),
        bytes: state.to_bytes(),
    };
    Ok(log.put_snapshot(&snapshot).await?)
}
