//! Writes a state to bytes and reads it back. Snapshots are disposable: if one cannot be read, it
//! is thrown away and the log is folded again.

use super::State;
use crate::model::{Class, Classified};

/// Version of the format. Increase it whenever the shape of [`State`] changes. A snapshot of
/// another version is not used.
pub const VERSION: u32 = 8;

/// An error for a snapshot that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("read snapshot: {0}; it will be rebuilt from the log")]
pub struct SnapshotError(#[from] serde_json::Error);

impl Classified for SnapshotError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl State {
    /// Returns the whole state as JSON. The same log gives the same bytes. Cost: O(state).
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("state holds only what JSON can say")
    }

    /// Reads a state from the bytes of [`State::to_bytes`].
    ///
    /// # Errors
    /// Returns [`SnapshotError`] (rejected) if the bytes are not of that format. The log must then
    /// be folded again.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut state: Self = serde_json::from_slice(bytes)?;
        state.reindex();
        Ok(state)
    }
}
