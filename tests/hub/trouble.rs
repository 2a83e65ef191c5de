//! Misbehaviour of a hub on a test's demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::value::V;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Lie {
    /// HTTP status with an HTML page. The call is not executed.
    Status(u16),
    /// Redirect to this location. The call is not executed.
    Redirect(String),
    /// A fault. The call is not executed.
    Fault(i64, String),
    /// The connection is closed. The call is not executed.
    CutBefore,
    /// The call is executed and committed, then the connection is closed. The answer is lost.
    CutAfter,
    /// The database goes away in the middle: the call is rolled back with HTTP 500. Later calls get
    /// fault 1014 until `database_down` is switched off.
    DatabaseDies,
    /// The call is rolled back with HTTP 500.
    Rollback500,
    /// The call is executed and committed, then HTTP 500 is sent. The answer is lost.
    Commit500,
    /// The call is executed and committed. The answer waits until the gate opens.
    GateAfter(Gate),
    /// The call is executed. The connection closes after this many bytes of the answer.
    Truncate(usize),
    /// The call is executed. This value is the answer.
    Answer(V),
    /// The call is executed. The answer is these bytes with status 200.
    Raw(Vec<u8>),
    /// The call is executed. The answer never ends (this many bytes of text in one string).
    Huge(u64),
    /// The call is executed. The answer comes a byte at a time, with this pause.
    Drip(Duration),
    /// The call is executed after this delay.
    Delay(Duration),
    /// The call is executed when the gate opens.
    Gate(Gate),
}

/// A gate at which requests wait.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    open: AtomicBool,
    waiting: AtomicUsize,
    notify: tokio::sync::Notify,
}

impl Gate {
    pub fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// Returns how many requests have come to the gate.
    pub fn arrived(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn arrive(&self) {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) async fn pass(&self) {
        loop {
            let notified = self.0.notify.notified();
            if self.0.open.load(Ordering::SeqCst) {
                return;
            }
            notified.await;
        }
    }
}

/// A misbehaviour for calls of a method (`*`: any): how often, and how many calls pass first.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub method: String,
    pub lie: Lie,
    pub skip: usize,
    pub times: usize,
}

/// What goes wrong with files.
#[derive(Clone, Debug)]
pub enum FileLie {
    Status(u16),
    /// The connection closes after this many bytes.
    Truncate(usize),
    /// A byte in the middle is changed.
    Corrupt,
    /// The file comes in pieces of a kilobyte, with this pause.
    Slow(Duration),
    /// The response waits until the gate opens.
    Gate(Gate),
    /// Ranges are ignored: the whole file comes with status 200.
    NoRange,
}

#[derive(Clone, Debug)]
pub struct FileTrouble {
    /// Part of the path.
    pub path: String,
    pub lie: FileLie,
    pub times: usize,
}

/// Returns the first misbehaviour that fits, and counts it down.
pub fn take(troubles: &mut Vec<Trouble>, method: &str) -> Option<Lie> {
    let at = troubles.iter().position(|t| t.method == method || t.method == "*")?;
    let trouble = &mut troubles[at];
    if trouble.skip > 0 {
        trouble.skip -= 1;
        return None;
    }
    let lie = trouble.lie.clone();
    trouble.times = trouble.times.saturating_sub(1);
    if trouble.times == 0 {
        troubles.remove(at);
    }
    Some(lie)
}

pub fn take_file(troubles: &mut Vec<FileTrouble>, path: &str) -> Option<FileLie> {
    let at = troubles.iter().position(|t| path.contains(&t.path))?;
    let lie = troubles[at].lie.clone();
    troubles[at].times = troubles[at].times.saturating_sub(1);
    if troubles[at].times == 0 {
        troubles.remove(at);
    }
    Some(lie)
}
