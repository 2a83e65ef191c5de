//! State as bytes and back. Snapshots are disposable: whatever cannot be read is thrown away and the log folded again.

use super::State;
use crate::model::{Class, Classified};

/// Counts up whenever the shape of [`State`] changes; a snapshot of another version is not used.
pub const VERSION: u32 = 8;

/// A snapshot that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("read snapshot: {0}; it will be rebuilt from the log")]
pub struct SnapshotError(#[from] serde_json::Error);

impl Classified for SnapshotError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl State {
    /// The whole state as JSON, the same bytes for the same log. Cost: O(state).
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("state holds only what JSON can say")
    }

    /// The state from what [`State::to_bytes`] gave.
    ///
    /// # Errors
    /// [`SnapshotError`] (rejected): not such bytes; fold the log instead.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut state: Self = serde_json::from_slice(bytes)?;
        state.reindex();
        Ok(state)
    }
}
