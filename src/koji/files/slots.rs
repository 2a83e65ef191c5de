//! Makes sure that the same thing is fetched only once at a time, even if several callers want it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::OwnedMutexGuard;

use super::error::FetchError;

/// One slot for each thing that is being fetched.
#[derive(Debug)]
pub(super) struct Slots<K> {
    slots: Mutex<BTreeMap<K, Weak<Slot>>>,
}

impl<K> Default for Slots<K> {
    fn default() -> Self {
        Self { slots: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Slot {
    /// Locked by the caller that fetches. Has the last failure, for the callers that wait.
    last: Arc<tokio::sync::Mutex<Option<Arc<FetchError>>>>,
    failures: AtomicU64,
    waiting: AtomicU64,
}

/// The right to fetch something.
#[derive(Debug)]
pub(super) struct Turn {
    slot: Arc<Slot>,
    last: OwnedMutexGuard<Option<Arc<FetchError>>>,
}

/// Counts as waiting until it is dropped.
struct WaitCount<'a>(&'a AtomicU64);

impl Drop for WaitCount<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<K: Ord + Clone> Slots<K> {
    /// Waits until nobody else fetches the same. If another caller failed meanwhile, returns that
    /// failure.
    pub(super) async fn turn(&self, key: &K) -> Result<Turn, FetchError> {
        let slot = {
            let mut slots = self.slots.lock().expect("no thread panics while it holds the lock");
            slots.retain(|_, slot| slot.strong_count() > 0);
            slots.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
                let slot = Arc::new(Slot::default());
                slots.insert(key.clone(), Arc::downgrade(&slot));
                slot
            })
        };
        slot.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = WaitCount(&slot.waiting);
        let before = slot.failures.load(Ordering::SeqCst);
        let last = Arc::clone(&slot.last).lock_owned().await;
        drop(waiting);
        let failed = (slot.failures.load(Ordering::SeqCst) != before).then(|| last.clone()).flatten();
        match failed {
            Some(failed) => Err(FetchError::Shared(failed)),
            None => Ok(Turn { slot, last }),
        }
    }
}

impl Turn {
    /// Reports a failure, and passes it on to the callers that wait.
    pub(super) fn failed(mut self, error: FetchError) -> FetchError {
        if self.slot.waiting.load(Ordering::SeqCst) == 0 {
            return error;
        }
        let error = Arc::new(error);
        *self.last = Some(Arc::clone(&error));
        self.slot.failures.fetch_add(1, Ordering::SeqCst);
        FetchError::Shared(error)
    }
}
