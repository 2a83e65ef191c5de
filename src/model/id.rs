//! Identifiers. A Koji number is only meaningful together with the hub instance that assigned it.
//! Code that stores such a number stores the [`Hub`] beside it.

use std::fmt;
use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A short name of a package, tag, collection or architecture. It is cheap to clone.
pub type Name = SmolStr;

/// Position in the log, contiguous from 1. The appender assigns it, never a database sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seq(pub NonZeroU64);

impl Seq {
    /// The first position.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Makes a position. Returns `None` for 0, which means "before the first event".
    pub const fn new(n: u64) -> Option<Self> {
        match NonZeroU64::new(n) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the position after `last`, or the first one.
    #[must_use]
    pub const fn after(last: Option<Self>) -> Self {
        match last {
            Some(s) => s.next(),
            None => Self::FIRST,
        }
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(#[schemars(with = "String")] pub SmolStr);

        impl $name {
            /// Makes an id from any text.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(SmolStr::new(text))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0.as_str())
            }
        }
    };
}

name_id! {
    /// A Koji hub instance, identified by the name in its messages (`instance`, which is `primary`
    /// unless configured).
    Hub
}

name_id! {
    /// Identifies a person in events: `p-` and 16 random hex digits. The person's name is in an
    /// erasable table and never in the log. Forgetting a person therefore leaves every hash
    /// unchanged.
    PersonId
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// Koji's number of a build. It stays the same when a failed build is built again.
    BuildId
}
number_id! {
    /// Koji's number of a task.
    TaskId
}
number_id! {
    /// Koji's number of a repository. Together with an architecture it identifies immutable
    /// content.
    RepoId
}
number_id! {
    /// Koji's number of a tag. It stays the same when the tag is renamed.
    TagId
}
