//! Errors of making a universe or a resolver. A source package that cannot be resolved is an
//! answer, not an error.

use crate::model::{Class, Classified};

/// Why a repository cannot be used for resolution.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A name, version or dependency contains a NUL byte.
    #[error("load the repository into the solver: a name or version contains a NUL byte")]
    Nul,
    /// More packages than the solver can number (2³¹).
    #[error("load the repository into the solver: it has too many packages")]
    TooMany,
}

impl Classified for ResolveError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}
