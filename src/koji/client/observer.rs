//! Being told of every request, for counting.

use super::error::HubError;
use super::transport::Answer;
use crate::model::{Class, Classified};

/// How a request went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Outcome {
    /// With a value.
    Ok,
    /// With a fault.
    Fault,
    /// With the fault that says that the hub is offline.
    Offline,
    /// Without an answer; another time there may be one.
    Unavailable,
    /// Without an answer that can be used.
    Rejected,
}

impl Outcome {
    /// Lower-case word for metrics labels.
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

/// Is told of every request.
pub trait CallObserver: Send + Sync {
    /// A request of `method` (one of ours, `multiCall` among them) went so, and took so many seconds. Each attempt
    /// counts.
    fn on_call(&self, method: &str, outcome: Outcome, seconds: f64);
}

/// Does not care.
impl CallObserver for () {
    fn on_call(&self, _: &str, _: Outcome, _: f64) {}
}
