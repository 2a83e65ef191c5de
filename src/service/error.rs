//! Why the service cannot start or go on.

use std::error::Error;

use crate::log::{LogError, ReadError};
use crate::model::causes::with_causes;
use crate::model::{Class, Classified};

/// Why the service cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error("{0}")]
    Rejected(String),
    /// From the log.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl StartError {
    /// A rejected setting: what was attempted, and why it failed.
    pub(super) fn because(what: &str, error: &dyn Error) -> Self {
        Self::Rejected(format!("{what}: {}", with_causes(error)))
    }
}

impl From<ReadError> for StartError {
    fn from(error: ReadError) -> Self {
        Self::Log(error.into())
    }
}

impl Classified for StartError {
    fn class(&self) -> Class {
        match self {
            Self::Rejected(_) => Class::Rejected,
            Self::Log(error) => error.class(),
        }
    }
}
