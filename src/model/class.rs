//! Defines the three classes of errors, and what the caller should do with each.

/// The class of an error. Every error type of the crate has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Class {
    /// The input is not acceptable, and waiting does not change that. Park it, count it, and go on.
    Rejected,
    /// Something needed does not respond now. Retry, with a limit and jitter.
    Unavailable,
    /// An invariant does not hold. Stop with an error, because no later result can be trusted.
    Broken,
}

impl Class {
    /// Returns a lower-case word for metrics labels and `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Broken => "broken",
        }
    }

    /// Returns the exit status of a command that ends with such an error: 3 for rejected, 4 for
    /// unavailable, 1 for broken. (2 means wrong usage, and 5 a check that found something.)
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Broken => 1,
            Self::Rejected => 3,
            Self::Unavailable => 4,
        }
    }
}

/// An error that knows its [`Class`].
pub trait Classified {
    /// Returns the class of this error.
    fn class(&self) -> Class;
}
