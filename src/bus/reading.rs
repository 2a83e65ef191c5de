//! A recording that is read by a thread of its own: whoever waits for the next line of a pipe can do something else
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::recording::{Progress, Recording, RecordingError};
use crate::message::entry::Entry;

/// Lines read and not taken yet, at most.
const AHEAD: usize = 64;

/// What a recording holds, as it comes.
pub struct Reading {
    entries: mpsc::Receiver<Result<Entry, RecordingError>>,
    read: Arc<AtomicU64>,
    total: Option<u64>,
    stop: CancellationToken,
}

impl Reading {
    /// Reads on where `recording` is; `read` is what it counts its bytes with.
    pub(super) fn of(recording: Recording, read: Arc<AtomicU64>, total: Option<u64>, stop: CancellationToken) -> Self {
        let (sender, entries) = mpsc::channel(AHEAD);
        // It ends with the recording, or with whoever takes what it reads. At a pipe that gives nothing it may stand
        // for ever: nobody waits for it, so that it does not keep the process from ending.
        std::thread::spawn(move || {
            for entry in recording {
                if sender.blocking_send(entry).is_err() {
                    return;
                }
            }
        });
        Self { entries, read, total, stop }
    }

    /// Adds what comes next until `entries` has `count`, or until there is no more: at the end, behind an error, or
    /// when it was told to stop while no line came.
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

    /// How far reading has come.
    pub fn progress(&self) -> Progress {
        Progress { read: self.read.load(Ordering::Relaxed), total: self.total }
    }
}
