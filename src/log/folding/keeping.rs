//! Stores snapshots, and drops those that are not needed any more.

use std::sync::Arc;

use super::hash_of;
use crate::event::ChainHash;
use crate::fold::spacing::{Spacing, Stored};
use crate::fold::{State, snapshot};
use crate::log::{EventLog, LogError, Snapshot};
use crate::model::{PROGRAM, Seq};

/// A state as bytes, to be stored.
#[derive(Clone, Debug)]
pub struct Made {
    seq: Option<Seq>,
    hash: ChainHash,
    bytes: Arc<Vec<u8>>,
}

impl Made {
    /// Takes a state. `hash` is the chain hash of its last event. Cost: O(state); the state may
    /// change afterwards.
    pub fn of(state: &State, hash: ChainHash) -> Self {
        Self { seq: state.seq, hash, bytes: Arc::new(state.to_bytes(hash)) }
    }
}

/// What a log has of snapshots after one was stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Event of the newest one.
    pub newest: Option<Seq>,
    /// How many there are.
    pub number: usize,
    /// What all of them take of the disk.
    pub bytes: u64,
}

/// How a long fold leaves snapshots behind.
pub struct Keeping<'a> {
    /// Where.
    pub spacing: Spacing,
    /// Is told what became of each.
    pub told: &'a (dyn Fn(Result<Kept, LogError>) + Sync),
}

impl Keeping<'_> {
    pub(super) async fn store(&self, log: &impl EventLog, made: Made) {
        (self.told)(store(log, made, &self.spacing).await);
    }
}

/// Stores a snapshot of `state`, which must come from this log, and drops what the usual spacing
/// spares.
///
/// # Errors
/// Returns the errors of [`store`].
pub async fn keep(log: &impl EventLog, state: &State) -> Result<(), LogError> {
    let Some(seq) = state.seq else { return Ok(()) };
    let hash = hash_of(log, seq).await?;
    let hash = hash.ok_or_else(|| LogError::Broken(format!("the log has no event {seq} to keep the state of")))?;
    store(log, Made::of(state, hash), &Spacing::default()).await.map(drop)
}

/// Stores a snapshot, and drops those that `spacing` spares, those that another program made, and
/// those of events that the log does not have.
///
/// # Errors
/// Returns [`LogError::Broken`] if the log has no such event, and another [`LogError`] if the
/// database cannot be read or changed. Then nothing has changed.
pub async fn store(log: &impl EventLog, made: Made, spacing: &Spacing) -> Result<Kept, LogError> {
    let Made { seq, hash, bytes } = made;
    let seq = seq.ok_or_else(|| LogError::Broken("an empty state is nothing to keep".to_owned()))?;
    if hash_of(log, seq).await? != Some(hash) {
        return Err(LogError::Broken(format!("the log has no such event {seq} to keep the state of")));
    }
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let (program, state_version) = (PROGRAM.to_owned(), snapshot::VERSION);
    let new = Snapshot { seq, hash, program, state_version, digest, bytes };
    let (usable, mut without) = usable(log).await?;
    let all = log.snapshots().await?;
    // The size of the new one is known once it is packed; until then it is taken to be like the one
    // before it, or like a third of its bytes.
    let guess = usable.last().map_or(new.bytes.len() as u64 / 3, |last| last.bytes);
    let mut stored: Vec<Stored> = usable.into_iter().filter(|s| s.seq < seq).collect();
    stored.push(Stored { seq, bytes: guess });
    without.extend(spacing.spare(&stored, all.others_bytes).into_iter().map(|seq| (seq, snapshot::VERSION)));
    log.put_snapshot(&new, &without).await?;
    let left = log.snapshots().await?.kept;
    let bytes = left.iter().map(|s| s.stored_bytes).sum();
    Ok(Kept { newest: left.last().map(|s| s.seq), number: left.len(), bytes })
}

/// Returns the snapshots that this program could begin from, and those that nobody can: of another
/// program, or of an event that the log does not have.
async fn usable(log: &impl EventLog) -> Result<(Vec<Stored>, Vec<(Seq, u32)>), LogError> {
    let (mut usable, mut useless) = (Vec::new(), Vec::new());
    for s in log.snapshots().await?.kept {
        let ours = s.program == PROGRAM && s.state_version == snapshot::VERSION;
        if ours && hash_of(log, s.seq).await? == Some(s.hash) {
            usable.push(Stored { seq: s.seq, bytes: s.stored_bytes });
        } else {
            useless.push((s.seq, s.state_version));
        }
    }
    Ok((usable, useless))
}

/// Returns the event of the newest snapshot that this program could begin from. Reads none of them.
///
/// # Errors
/// Returns a [`LogError`] if the log cannot be read.
pub async fn newest(log: &impl EventLog) -> Result<Option<Seq>, LogError> {
    Ok(usable(log).await?.0.last().map(|s| s.seq))
}
