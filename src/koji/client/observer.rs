//! Reports every request to an observer, for counting.

use super::error::HubError;
use super::transport::Answer;
use crate::model::{Class, Classified};

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

    pub(super) fn of(answer: &Result<Answer, HubError>) -> Self {
        match answer {
            Ok(Answer { value: Ok(_), .. }) => Self::Ok,
            Ok(Answer { value: Err(fault), .. }) if fault.kind() == crate::koji::FaultKind::Offline => Self::Offline,
            Ok(Answer { value: Err(_), .. }) => Self::Fault,
            Err(error) if error.class() == Class::Unavailable => Self::Unavailable,
            Err(_) => Self::Rejected,
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
