//! How a hub misbehaves when a test tells it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::value::V;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Lie {
    /// HTTP status with an HTML page; the call is not executed.
    Status(u16),
    /// Status and location; the call is not executed.
    Redirect(String),
    /// A fault; the call is not executed.
    Fault(i64, String),
    /// The connection is closed, the call not executed.
    CutBefore,
    /// The call is executed and committed, then the connection closed: the answer is lost.
    CutAfter,
    /// The database goes away in the middle: rolled back, HTTP 500, and faults 1014 from then on until `database_down`
    /// is switched off.
    DatabaseDies,
    /// Rolled back, HTTP 500.
    Rollback500,
    /// Executed and committed, then HTTP 500: the answer is lost.
    Commit500,
    /// Executed and committed; the answer waits until the gate opens.
    GateAfter(Gate),
    /// Executed; the connection closes after that many bytes of the answer.
    Truncate(usize),
    /// Executed; what is answered is this.
    Answer(V),
    /// Executed; what is answered are these bytes with status 200.
    Raw(Vec<u8>),
    /// Executed; the answer never ends (this many bytes of text in one string).
    Huge(u64),
    /// Executed; the answer comes a byte at a time, this far apart.
    Drip(Duration),
    /// Executed later.
    Delay(Duration),
    /// Executed when the gate opens.
    Gate(Gate),
}

/// A request waits at it.
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

    /// How many requests have come to it.
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

/// A lie about calls of a method (`*`: any), how often, and how many calls it lets pass first.
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
    /// The connection closes after that many bytes.
    Truncate(usize),
    /// A byte in the middle is another one.
    Corrupt,
    /// In pieces of a kilobyte, this far apart.
    Slow(Duration),
    /// The answer waits until the gate opens.
    Gate(Gate),
    /// Ranges are not understood: the whole file with status 200.
    NoRange,
}

#[derive(Clone, Debug)]
pub struct FileTrouble {
    /// Part of the path.
    pub path: String,
    pub lie: FileLie,
    pub times: usize,
}

/// Takes the first trouble that fits, counting it down.
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
