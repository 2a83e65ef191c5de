//! Koschei's own states and their words.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a package in a collection. The first match counts, in this order: blocked,
/// untracked, unresolved, then the last complete build. This order is that of Koschei 2.4
/// (`models.py`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageState {
    /// Koji's package list blocks it in the dest tag.
    Blocked,
    /// The package is not tracked.
    Untracked,
    /// Its build dependencies cannot be installed together.
    Unresolved,
    /// Its last complete build succeeded.
    Ok,
    /// Its last complete build failed.
    Failing,
    /// No result is known: as far as known, it was never built here.
    Unknown,
}

impl PackageState {
    /// Returns the word used in messages, pages and badges.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Untracked => "untracked",
            Self::Unresolved => "unresolved",
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for PackageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// State of a collection's build group: whether it can be installed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildrootState {
    /// No repository was resolved yet.
    #[default]
    Unknown,
    /// The group can be installed on every architecture.
    Ok,
    /// The group cannot be installed on some architecture, so nothing in the collection can be
    /// built there.
    Unresolved,
}

impl BuildrootState {
    /// Returns the word used in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Unresolved => "unresolved",
        }
    }
}

impl fmt::Display for BuildrootState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a rebuild ended. Only the first two are evidence about the package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The package builds.
    Ok,
    /// The package does not build, and the package or its dependencies are the cause.
    GenuineFailure,
    /// The build system failed, not the package. The package's state stays, and the rebuild is
    /// tried again.
    InfrastructureFault,
    /// The rebuild was cancelled in Koji, or by this service on request.
    Cancelled,
    /// The rebuild ran longer than the policy allows and was given up.
    TimedOut,
    /// The rebuild failed, and it is not known whether the package is the cause. The package's
    /// state stays, and the rebuild is tried again.
    Unclear,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::GenuineFailure, Self::InfrastructureFault, Self::Cancelled, Self::TimedOut, Self::Unclear];

    /// Returns one word, as in JSON, for labels.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::GenuineFailure => "genuine_failure",
            Self::InfrastructureFault => "infrastructure_fault",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Unclear => "unclear",
        }
    }

    /// Returns whether the outcome is evidence about the package.
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Ok | Self::GenuineFailure)
    }

    /// Returns whether the package waits before the next try, because the rebuild has no result.
    pub const fn waits(self) -> bool {
        !self.is_complete()
    }

    /// Returns lower-case words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::GenuineFailure => "genuine failure",
            Self::InfrastructureFault => "infrastructure fault",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed out",
            Self::Unclear => "failed, cause unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The id of a decided rebuild: the sequence of its `rebuild_requested` event. It is unique in a
/// log for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RebuildId(pub u64);

impl fmt::Display for RebuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}
