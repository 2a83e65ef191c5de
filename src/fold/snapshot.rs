//! Writes a state to bytes and reads it back. Snapshots are disposable: if one cannot be read, it
//! is thrown away and the log is folded again.
//!
//! The bytes are a head of [`HEAD_BYTES`] bytes and three parts: the hubs, the collections, and the
//! rest. Each is in columns of its own ([`super::columns`]), so that two threads write and read
//! them. The head has numbers of eight bytes, lowest first:
//!
//! | at | what |
//! |--:|---|
//! | 0 | [`MAGIC`] |
//! | 8 | [`VERSION`] |
//! | 16 | sequence of the last event, 0 if there is none |
//! | 24 | length of the hubs |
//! | 32 | length of the collections |
//! | 40 | chain hash of the last event |
//! | 72 | BLAKE3 of everything else |

use super::State;
use super::{Map, columns};
use crate::event::ChainHash;
use crate::model::{Class, Classified, Seq};

/// Version of the format. Increase it whenever the shape of [`State`] or the form of its bytes
/// changes. A snapshot of another version is not used.
pub const VERSION: u32 = 14;

/// First bytes of a snapshot.
const MAGIC: [u8; 8] = *b"KoSnap\r\n";
/// Where the chain hash begins.
const HASH_AT: usize = 40;
/// Where the hash of everything else begins.
const SUM_AT: usize = 72;
/// Length of what precedes the parts.
const HEAD_BYTES: usize = 104;

/// An error for a snapshot that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("read snapshot: {what}; it will be rebuilt from the log")]
pub struct SnapshotError {
    what: String,
}

impl SnapshotError {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl Classified for SnapshotError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl State {
    /// Returns the whole state as a snapshot. `hash` is the chain hash of its last event. The same
    /// log gives the same bytes. Cost: O(state), on two threads.
    pub fn to_bytes(&self, hash: ChainHash) -> Vec<u8> {
        let (hubs, collections) = both(|| columns::write(&self.hubs), || columns::write(&self.collections));
        let [hubs, collections, rest] = [hubs, collections, columns::write(&self.frame())]
            .map(|part| part.expect("state holds only what columns can hold"));
        let mut bytes = Vec::with_capacity(HEAD_BYTES + hubs.len() + collections.len() + rest.len());
        bytes.extend_from_slice(&MAGIC);
        for n in [u64::from(VERSION), self.seq.map_or(0, Seq::get), hubs.len() as u64, collections.len() as u64] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        bytes.extend_from_slice(&hash.0);
        bytes.extend_from_slice(&[0; 32]);
        [hubs, collections, rest].iter().for_each(|part| bytes.extend_from_slice(part));
        let sum = sum_of(&bytes);
        bytes[SUM_AT..HEAD_BYTES].copy_from_slice(sum.as_bytes());
        bytes
    }

    /// Reads a state from the bytes of [`State::to_bytes`]. Also returns the chain hash of its last
    /// event. Cost: O(state), on two threads.
    ///
    /// # Errors
    /// Returns [`SnapshotError`] (rejected) if the bytes are not of this version, or were changed.
    /// The log must then be folded again.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, ChainHash), SnapshotError> {
        let Some((head, parts)) = bytes.split_at_checked(HEAD_BYTES) else {
            return Err(SnapshotError::new("it is too short"));
        };
        if head[..8] != MAGIC {
            return Err(SnapshotError::new("it is none"));
        }
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        if number(8) != u64::from(VERSION) {
            return Err(SnapshotError::new(format!("it has version {}, and this program reads {VERSION}", number(8))));
        }
        if *sum_of(bytes).as_bytes() != head[SUM_AT..] {
            return Err(SnapshotError::new("it is damaged"));
        }
        let length = |at: usize| usize::try_from(number(at)).unwrap_or(usize::MAX);
        let split = parts.split_at_checked(length(24)).and_then(|(hubs, others)| {
            let (collections, rest) = others.split_at_checked(length(32))?;
            Some((hubs, collections, rest))
        });
        let (hubs, collections, rest) = split.ok_or_else(|| SnapshotError::new("its parts are too long"))?;
        let (hubs, collections) = both(|| columns::read(hubs), || columns::read(collections));
        let bad = |e| SnapshotError::new(format!("its columns do not fit: {e}"));
        let rest: Self = columns::read(rest).map_err(bad)?;
        let mut state = Self { hubs: hubs.map_err(bad)?, collections: collections.map_err(bad)?, ..rest };
        if state.seq != Seq::new(number(16)) {
            return Err(SnapshotError::new("it is of another event than its head says"));
        }
        state.reindex();
        Ok((state, ChainHash(head[HASH_AT..SUM_AT].try_into().expect("thirty-two bytes"))))
    }

    /// Returns everything except hubs and collections.
    fn frame(&self) -> Self {
        Self {
            seq: self.seq,
            recorded_at: self.recorded_at,
            hubs: Map::default(),
            collections: Map::default(),
            groups: self.groups.clone(),
            policy: self.policy.clone(),
            last_tick: self.last_tick,
            last_evaluation: self.last_evaluation,
            load: self.load.clone(),
            facts_taken: self.facts_taken,
            rebuilds: self.rebuilds.clone(),
            requests: self.requests.clone(),
            cancelled: self.cancelled.clone(),
            orphans: self.orphans.clone(),
            paused: self.paused.clone(),
            anomalies: self.anomalies.clone(),
            touched: None,
        }
    }
}

/// Does two things at the same time, if the system has a thread for that.
fn both<A: Send, B>(one: impl Fn() -> A + Send + Sync, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let begun = std::thread::Builder::new().spawn_scoped(scope, &one);
        let other = other();
        let one = match begun {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => one(),
        };
        (one, other)
    })
}

/// Returns the hash of all bytes except its own place.
fn sum_of(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..SUM_AT]).update(&bytes[HEAD_BYTES..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(bytes: &[u8], at: usize, to: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at..at + to.len()].copy_from_slice(to);
        let sum = sum_of(&bytes);
        bytes[SUM_AT..HEAD_BYTES].copy_from_slice(sum.as_bytes());
        bytes
    }

    fn refused(bytes: &[u8]) -> String {
        State::from_bytes(bytes).unwrap_err().to_string()
    }

    /// The head is checked even if the hash is right.
    #[test]
    fn the_head_is_checked() {
        let state = State { seq: Seq::new(7), ..State::default() };
        let bytes = state.to_bytes(ChainHash([3; 32]));
        let (again, hash) = State::from_bytes(&bytes).unwrap();
        assert_eq!((again.digest(), hash), (state.digest(), ChainHash([3; 32])));
        assert!(refused(&bytes[..HEAD_BYTES - 1]).contains("too short"));
        assert!(refused(&changed(&bytes, 0, b"k")).contains("it is none"));
        assert!(refused(&changed(&bytes, 8, &[VERSION.to_le_bytes()[0] + 1])).contains("has version"));
        assert!(refused(&changed(&bytes, 16, &[8])).contains("another event"));
        assert!(refused(&changed(&bytes, 31, &[1])).contains("too long"));
        assert!(refused(&changed(&bytes, 24, &[1])).contains("do not fit"));
        let mut damaged = bytes;
        damaged[HASH_AT] ^= 1;
        assert!(refused(&damaged).contains("damaged"));
    }
}
