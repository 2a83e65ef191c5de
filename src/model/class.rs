//! The three kinds of error and what each asks of the caller.

/// What kind of trouble an error is; every error type of the crate answers with one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Class {
    /// The input is not acceptable and will not become so by waiting: park it, count it, go on.
    Rejected,
    /// Something we need does not answer now: retry, bounded and with jitter.
    Unavailable,
    /// An invariant does not hold: stop loudly, nothing after this can be trusted.
    Broken,
}

impl Class {
    /// Lower-case word for metrics labels and `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Broken => "broken",
        }
    }

    /// Exit status of a command that ends with such an error: 3 rejected, 4 unavailable, 1 broken
    /// (2 is wrong usage, 5 a check that found something).
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
    /// The kind of trouble this is.
    fn class(&self) -> Class;
}
