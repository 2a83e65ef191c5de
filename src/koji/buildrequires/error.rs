//! What can be wrong with build requirements.

use std::io;
use std::path::PathBuf;

use super::MAX_SOURCES;
use crate::model::{Class, Classified, Nvr};

/// Why a file of build requirements cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// Reading failed.
    #[error("read build requirements from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A line is wrong.
    #[error("read build requirements from {} line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has more source packages than can be right.
    #[error("read build requirements from {}: more than {MAX_SOURCES} source packages", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
    },
    /// Appending failed. Nothing was added.
    #[error("append build requirements to {}", path.display())]
    Append {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another process appends to the file.
    #[error("open build requirements in {}: another process has them open; a cache directory serves one \
        process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A source package could not be read back if it were written.
    #[error("keep the build requirements of {nvr}: {reason}")]
    NotKept {
        /// The source package.
        nvr: Nvr,
        /// What is wrong with it.
        reason: String,
    },
    /// A package was to be added to a read-only file.
    #[error("append build requirements to {}: it was opened to be read", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
}

impl Classified for SourcesError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } if source.kind() != io::ErrorKind::NotFound => Class::Unavailable,
            Self::Append { .. } => Class::Unavailable,
            Self::ReadOnly { .. } => Class::Broken,
            _ => Class::Rejected,
        }
    }
}

/// The hub returned an empty list of requirements. It does this when it does not find the package
/// file. An existing source package has at least requirements of rpm itself (`rpmlib(…)`).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "learn the build requirements of {nvr}: the hub gives none at all, so it does not find the source package; this is \
        not \"no requirements\""
)]
pub struct NothingKnown {
    /// The source package.
    pub nvr: Nvr,
}

impl Classified for NothingKnown {
    fn class(&self) -> Class {
        Class::Rejected
    }
}
