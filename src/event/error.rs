//! Why a stored event cannot be read.

use crate::model::{Class, Classified};

/// An error for a payload that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A newer program wrote the event. Upgrade before reading this log.
    #[error("read event of kind `{name}` version {version}: this program does not know it; use a newer koschei")]
    UnknownKind {
        /// Kind name as stored.
        name: String,
        /// Version as stored.
        version: u16,
    },
    /// The payload is not what the kind requires.
    #[error("read payload of `{name}` version {version}")]
    Payload {
        /// Kind name.
        name: &'static str,
        /// Version.
        version: u16,
        /// The problem and its position.
        #[source]
        source: serde_json::Error,
    },
}

impl Classified for DecodeError {
    fn class(&self) -> Class {
        Class::Broken
    }
}
