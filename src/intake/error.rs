//! Errors between a bus and the log.

use crate::bus::{RecordingError, SinkError, SourceError};
use crate::log::{AppendError, LogError, ReadError, ReceiveError, StoreError};
use crate::model::{Class, Classified};

/// Error of taking messages in or sending commands. Each variant keeps its cause.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A recording could not be read to its end.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Messages could not be fetched.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Commands could not be delivered. They stay in the outbox.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Converts the error of a single log operation into [`IntakeError::Log`].
macro_rules! of_the_log {
    ($($error:ty),+) => {$(
        impl From<$error> for IntakeError {
            fn from(e: $error) -> Self {
                Self::Log(e.into())
            }
        }
    )+};
}

of_the_log!(AppendError, ReadError, ReceiveError, StoreError);

impl IntakeError {
    /// Checks whether a running service waits for the error to pass, see [`LogError::may_pass`].
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Log(e) => e.may_pass(),
            Self::Recording(_) | Self::Source(_) | Self::Sink(_) => self.class() == Class::Unavailable,
        }
    }
}

impl Classified for IntakeError {
    fn class(&self) -> Class {
        match self {
            Self::Log(e) => e.class(),
            Self::Recording(e) => e.class(),
            Self::Source(e) => e.class(),
            Self::Sink(e) => e.class(),
        }
    }
}
