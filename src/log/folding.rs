//! Folds a log again, without acting on anything.
//!
//! Three threads work at the same time: one reads a page, one hashes and decodes the page before
//! it, and one folds the page before that.

use tokio::sync::{mpsc, watch};

use crate::event::{ChainHash, Envelope, Record};
use crate::fold::{State, snapshot};
use crate::log::verify::{Damage, VerifyError, step};
use crate::log::{EventLog, Head, LogError, PAGE_MAX, Snapshot};
use crate::model::Seq;

/// Number of events that are read and folded at once.
const PAGE: usize = if PAGE_MAX < 4000 { PAGE_MAX } else { 4000 };

/// Number of pages that may wait between two threads.
const PAGES_WAITING: usize = 2;

/// Folds the log up to `until` (to its end if absent), starting at the newest usable snapshot.
/// `progress` is called with the last event folded.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read, decoded or verified.
pub async fn state(log: &impl EventLog, until: Option<Seq>, progress: &mut dyn FnMut(Seq)) -> Result<State, LogError> {
    let start = newest_snapshot(log, until).await;
    match start {
        Some(state) => run(log, state, None, until, progress).await,
        None => from_start(log, until, progress).await,
    }
}

/// Returns the state of the newest usable snapshot that is not beyond `until`. A snapshot that
/// cannot be used, or does not belong to this log's history, only costs time.
/// [`crate::tools::audit`] reports what is wrong with it.
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

/// A stored snapshot without the state itself. Several states would fill the memory.
pub(crate) struct Kept {
    /// The snapshot's event.
    pub(crate) seq: Seq,
    /// Whether the log has that event. After a backup was restored, the log may have another event
    /// in its place.
    pub(crate) is_ours: bool,
    /// Digest of the state in the snapshot. `None` if the snapshot is damaged.
    pub(crate) digest: Option<String>,
}

/// Returns the snapshots from which this program could start, newest first, whether they are valid
/// or not. Holds only one state in memory at a time.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
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

/// Returns the state in a snapshot, or `None` if the snapshot is damaged.
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

/// Folds the log from its beginning without any snapshot, and verifies its hash chain on the way.
/// (It does not check attachments; [`crate::log::verify()`] does.)
///
/// # Errors
/// Returns [`LogError::Verify`] (broken) at the first event that differs from what was written, and
/// another [`LogError`] if the log cannot be read or decoded.
pub async fn from_start(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut dyn FnMut(Seq),
) -> Result<State, LogError> {
    run(log, State::default(), Some(Head::EMPTY), until, progress).await
}

/// Folds the log onto `state`, and verifies that it follows `head` if that is given.
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
        // If the decoder has stopped, its error is returned below.
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
    // The decoder's error comes first, because it is about an earlier event than the one that could
    // not be read.
    decoded.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
    read?;
    if let Some(seq) = state.seq {
        progress(seq);
    }
    Ok(state)
}

/// Verifies and decodes pages as they come, and passes them on. The first record must follow `last`
/// without a gap.
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

/// Folds pages as they come, and publishes the last event folded.
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

/// Checks that the records of a page follow `last` and each other without a gap. A missing event
/// must not look like one that never existed.
///
/// # Errors
/// Returns [`LogError::Verify`] (broken) at the first missing event.
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

/// Decodes a page up to `until`. If there is a head, also verifies that the page follows it.
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

/// Folds the log from its beginning up to `until` (to its end if absent), and verifies its hash
/// chain on the way. `see` is called with every event before it is folded, and with the state
/// before it.
///
/// # Errors
/// Returns the errors of [`from_start`].
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

/// Stores a snapshot of `state`, which must come from this log.
///
/// # Errors
/// Returns [`LogError::Broken`] if the log has no such event, and another [`LogError`] if the
/// database cannot be read or changed.
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
