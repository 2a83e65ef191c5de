//! Reports every request to an observer, for counting.

/// The outcome of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CallOutcome {
    /// The answer is a value.
    Ok,
    /// The answer is a fault.
    Fault,
    /// The answer is the fault that says that the hub is offline.
    Offline,
    /// There was no answer. Later there may be one.
    Unavailable,
    /// There was no usable answer.
    Rejected,
}

impl CallOutcome {
    /// Returns a lower-case word for metrics labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fault => "fault",
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
        }
    }
}

/// Receives a report of every request.
pub trait CallObserver: Send + Sync {
    /// Called after each request of `method`, including `multiCall`, with its outcome and duration
    /// in seconds. Each attempt counts.
    fn on_call(&self, method: &str, outcome: CallOutcome, seconds: f64);
}

/// Ignores all reports.
impl CallObserver for () {
    fn on_call(&self, _: &str, _: CallOutcome, _: f64) {}
}
