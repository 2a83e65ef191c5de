//! Identifiers. A Koji number means something only together with the hub instance that gave it; whoever stores one
//! stores the [`Hub`] beside it.

use std::fmt;
use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A short interned-ish name: package, tag, collection, architecture. Cheap to clone.
pub type Name = SmolStr;

/// Position in the log. Contiguous from 1; given by the appender, never by a database sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seq(pub NonZeroU64);

impl Seq {
    /// The first position.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// `None` for 0, which means "before the first event".
    pub const fn new(n: u64) -> Option<Self> {
        match NonZeroU64::new(n) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position after `last`, or the first one.
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
            /// From any text.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(SmolStr::new(text))
            }

            /// The text.
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
    /// A Koji hub instance, by the name it puts into its messages (`instance`, `primary` unless configured).
    Hub
}

name_id! {
    /// Stands for a person in events: `p-` and 16 random hex digits. The name itself is kept in an erasable table,
    /// never in the log, so that forgetting a person leaves every hash as it was.
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
    /// Koji's number of a build; keeps its value when a failed build is tried again.
    BuildId
}
number_id! {
    /// Koji's number of a task.
    TaskId
}
number_id! {
    /// Koji's number of a repository generation; with an architecture it names immutable content.
    RepoId
}
number_id! {
    /// Koji's number of a tag; survives renaming, unlike the name.
    TagId
}
