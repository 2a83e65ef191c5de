//! What can go wrong with a log, as one type: for whoever reads it, folds it and appends to it.

use std::path::PathBuf;

use super::{AppendError, OpenError, ReadError, ReceiveError, StoreError, StoreErrorKind, VerifyError};
use crate::event::DecodeError;
use crate::model::{Class, Classified};

/// An error of a log. Each variant keeps its cause; [`Classified::class`] says what to do.
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
    /// The log is not what was written.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// An export could not be written.
    #[error("write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something that must hold does not.
    #[error("{0}; this is a defect or a damaged log: stop, keep the database, run `koschei log verify`")]
    Broken(String),
}

impl LogError {
    /// The log names an attachment that it does not have.
    pub(crate) fn no_attachment(digest: &str) -> Self {
        Self::Broken(format!("the log names attachment {digest} and does not have it"))
    }

    /// Whether a running service waits for it to pass: what does not answer for now, and what an operator can repair
    /// beside it. At the start, when somebody is looking, only the first is worth waiting for.
    pub fn may_pass(&self) -> bool {
        let repaired = |e: &StoreError| matches!(e.kind, StoreErrorKind::Denied | StoreErrorKind::Pooled);
        self.class() == Class::Unavailable || self.store().is_some_and(repaired)
    }

    /// What the database said, if it did.
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
