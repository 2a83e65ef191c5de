//! Reads a recording on a thread of its own, so that the caller need not block on a pipe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Progress, Recording, RecordingError};
use crate::message::entry::Entry;

/// Most lines that are read ahead.
const AHEAD: usize = 64;

/// The entries of a recording as they come.
pub struct Reading {
    entries: mpsc::Receiver<Result<Entry, RecordingError>>,
    read: Arc<AtomicU64>,
    total: Option<u64>,
    stop: CancellationToken,
}

impl Reading {
    /// Starts to read at the recording's current place. The recording counts its bytes in `read`.
    pub(super) fn of(recording: Recording, read: Arc<AtomicU64>, total: Option<u64>, stop: CancellationToken) -> Self {
        let (sender, entries) = mpsc::channel(AHEAD);
        // The thread ends with the recording, or when the receiver is dropped. At a silent pipe it
        // may stand for ever. Nobody joins it, so it does not keep the process from ending.
        std::thread::spawn(move || {
            for entry in recording {
                if sender.blocking_send(entry).is_err() {
                    return;
                }
            }
        });
        Self { entries, read, total, stop }
    }

    /// Adds entries until `entries` has `count`, or until no more come. That is so at the end,
    /// after an error, or if `stop` is cancelled while no line comes.
    pub async fn fill(&mut self, entries: &mut Vec<Result<Entry, RecordingError>>, count: usize) {
        while entries.len() < count {
            let missing = count - entries.len();
            let more = tokio::select! {
                biased;
                n = self.entries.recv_many(entries, missing) => n > 0,
                () = self.stop.cancelled() => false,
            };
            if !more {
                return;
            }
        }
    }

    /// Returns how far reading has come.
    pub fn progress(&self) -> Progress {
        Progress { read: self.read.load(Ordering::Relaxed), total: self.total }
    }
}
