//! Folds a log again, without acting on anything.
//!
//! Three threads work at the same time: one reads a page, one hashes and decodes the page before
//! it, and one folds the page before that. [`keeping`] stores snapshots.

pub mod keeping;

use tokio::sync::{mpsc, watch};

pub use self::keeping::{Keeping, Made, keep};
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
pub async fn state(
    log: &impl EventLog,
    until: Option<Seq>,
    progress: &mut (dyn FnMut(Seq) + Send),
) -> Result<State, LogError> {
    match newest_snapshot(log, until).await {
        Some(state) => run(log, (state, None), until, None, progress).await,
        None => from_start(log, until, progress).await,
    }
}

/// Folds the whole log like [`state`], and leaves snapshots behind where the way is long: as many
/// as `keeping` needs, so that a later fold to any moment is short. That one cannot be stored
/// changes nothing else.
///
/// # Errors
/// Returns the errors of [`state`].
pub async fn state_keeping(
    log: &impl EventLog,
    keeping: &Keeping<'_>,
    progress: &mut (dyn FnMut(Seq) + Send),
) -> Result<State, LogError> {
    match newest_snapshot(log, None).await {
        Some(state) => run(log, (state, None), None, Some(keeping), progress).await,
        None => from_start_keeping(log, keeping, progress).await,
    }
}

/// Folds the whole log like [`from_start`], and leaves snapshots behind like [`state_keeping`].
///
/// # Errors
/// Returns the errors of [`from_start`].
pub async fn from_start_keeping(
    log: &impl EventLog,
    keeping: &Keeping<'_>,
    progress: &mut (dyn FnMut(Seq) + Send),
) -> Result<State, LogError> {
    run(log, (State::default(), Some(Head::EMPTY)), None, Some(keeping), progress).await
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
        let (state, hash) = State::from_bytes(&snapshot.bytes).ok()?;
        (state.seq == Some(snapshot.seq) && hash == snapshot.hash).then_some(state)
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
    progress: &mut (dyn FnMut(Seq) + Send),
) -> Result<State, LogError> {
    run(log, (State::default(), Some(Head::EMPTY)), until, None, progress).await
}

/// Folds the log onto `state`, and verifies that it follows `head` if that is given. Stores
/// snapshots on the way if `keeping` is given.
async fn run(
    log: &impl EventLog,
    (state, head): (State, Option<Head>),
    until: Option<Seq>,
    keeping: Option<&Keeping<'_>>,
    progress: &mut (dyn FnMut(Seq) + Send),
) -> Result<State, LogError> {
    let (to_keep, mut made) = mpsc::channel(1);
    let mut to_keep = keeping.map(|k| (k.spacing.stride(), to_keep));
    let (mut last, folded) = (state.seq, watch::Sender::new(state.seq));
    let mut done = folded.subscribe();
    let (to_decode, pages) = mpsc::channel(PAGES_WAITING);
    let (to_fold, decoded) = mpsc::channel(PAGES_WAITING);
    let decoding = tokio::task::spawn_blocking(move || decode(pages, &to_fold, (last, head), until));
    let folding = tokio::task::spawn_blocking(move || fold_all(state, decoded, &folded, to_keep.as_mut()));
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
        // A snapshot that waits to be stored holds up the folding, and so the decoder.
        let room = loop {
            tokio::select! {
                room = to_decode.reserve() => break room,
                Some(made) = made.recv() => if let Some(keeping) = keeping {
                    keeping.store(log, made).await;
                },
            }
        };
        // If the decoder has stopped, its error is returned below.
        let Ok(room) = room else { break };
        room.send(page);
        if until.is_some_and(|u| end >= u) {
            break;
        }
        if done.has_changed().unwrap_or(false)
            && let Some(seq) = *done.borrow_and_update()
        {
            progress(seq);
        }
    }
    drop(to_decode);
    let rest = async {
        while let Some(made) = made.recv().await {
            if let Some(keeping) = keeping {
                keeping.store(log, made).await;
            }
        }
    };
    let (decoded, state, ()) = tokio::join!(decoding, folding, rest);
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
    to_fold: &mpsc::Sender<Page>,
    (mut last, mut head): (Option<Seq>, Option<Head>),
    until: Option<Seq>,
) -> Result<(), LogError> {
    while let Some(page) = pages.blocking_recv() {
        check_sequence(last, &page)?;
        last = page.last().map_or(last, |r| Some(r.seq));
        let (decoded, now) = decode_page(&page, head, until)?;
        head = now;
        let decoded = Page { hash: page[..decoded.len()].last().map(|r| r.hash), events: decoded };
        if to_fold.blocking_send(decoded).is_err() {
            break;
        }
    }
    Ok(())
}

/// Events to fold, and the chain hash of the last of them.
struct Page {
    events: Vec<Envelope>,
    hash: Option<ChainHash>,
}

/// Folds pages as they come, and publishes the last event folded. Hands out a snapshot after each
/// stride, if there is one and somebody takes it.
fn fold_all(
    mut state: State,
    mut decoded: mpsc::Receiver<Page>,
    folded: &watch::Sender<Option<Seq>>,
    mut to_keep: Option<&mut (u64, mpsc::Sender<Made>)>,
) -> State {
    let mut kept = state.seq;
    while let Some(page) = decoded.blocking_recv() {
        page.events.iter().for_each(|e| state.apply(e));
        folded.send_replace(state.seq);
        if let (Some((stride, to)), Some(hash), Some(seq)) = (to_keep.as_deref_mut(), page.hash, state.seq)
            && seq.get() - kept.map_or(0, Seq::get) >= *stride
        {
            kept = Some(seq);
            // A reader that gave up has an error to tell.
            let _gone = to.blocking_send(Made::of(&state, hash));
        }
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
    progress: &mut (dyn FnMut(Seq) + Send),
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
