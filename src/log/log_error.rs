//! Combines all errors of a log in one type, for code that reads, folds and appends.

use std::path::PathBuf;

use super::{AppendError, OpenError, ReadError, ReceiveError, StoreError, StoreErrorKind, VerifyError};
use crate::event::DecodeError;
use crate::model::{Class, Classified};

/// An error of a log. Each variant keeps its cause, and [`Classified::class`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Messages could not be put into the inbox.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The database could not be changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log holds something this program cannot read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The log differs from what was written.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// An export could not be written.
    #[error("write {}", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// The error.
        #[source]
        source: std::io::Error,
    },
    /// An invariant does not hold.
    #[error("{0}; this is a defect or a damaged log: stop, keep the database, run `koschei log verify`")]
    Broken(String),
}

impl LogError {
    /// Makes the error for an attachment that the log names but does not have.
    pub(crate) fn no_attachment(digest: &str) -> Self {
        Self::Broken(format!("the log names attachment {digest} and does not have it"))
    }

    /// Returns whether a running service waits for the problem to pass: a database that does not
    /// respond now, or a problem that an operator can repair from outside. At startup somebody is
    /// watching, so only the first kind is worth waiting for.
    pub fn may_pass(&self) -> bool {
        let repaired = |e: &StoreError| matches!(e.kind, StoreErrorKind::Denied | StoreErrorKind::Pooled);
        self.class() == Class::Unavailable || self.store().is_some_and(repaired)
    }

    /// Returns the database's error, if that is the cause.
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Open(OpenError::Store { source, .. }) => Some(source),
            Self::Read(ReadError::Store(e)) | Self::Receive(ReceiveError::Store(e)) | Self::Store(e) => Some(e),
            Self::Append(AppendError::Store(e) | AppendError::Read(ReadError::Store(e))) => Some(e),
            _ => None,
        }
    }
}

impl Classified for LogError {
    fn class(&self) -> Class {
        match self {
            Self::Open(e) => e.class(),
            Self::Read(e) => e.class(),
            Self::Append(e) => e.class(),
            Self::Receive(e) => e.class(),
            Self::Store(e) => e.class(),
            Self::Decode(e) => e.class(),
            Self::Verify(e) => e.class(),
            Self::Write { .. } => Class::Unavailable,
            Self::Broken(_) => Class::Broken,
        }
    }
}
