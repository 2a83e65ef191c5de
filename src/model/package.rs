//! Koschei's own states and their words.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person sees of a package in a collection. First match wins, in this order: blocked, untracked, unresolved,
/// then the last complete build (Koschei 2.4, `models.py`, kept).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackageState {
    /// Koji's package list blocks it in the dest tag.
    Blocked,
    /// Nobody asked us to watch it.
    Untracked,
    /// Its build dependencies cannot be installed together.
    Unresolved,
    /// Its last complete build succeeded.
    Ok,
    /// Its last complete build failed.
    Failing,
    /// Never built here, as far as we know.
    Unknown,
}

impl PackageState {
    /// The word used in messages, pages and badges.
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

/// Whether the build group of a collection can be installed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildrootState {
    /// No repository resolved yet.
    #[default]
    Unknown,
    /// Installs on every architecture.
    Ok,
    /// Does not install on some architecture: nothing in the collection can be built there.
    Unresolved,
}

impl BuildrootState {
    /// The word used in messages.
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

/// How a rebuild ended. Only the first two say something about the package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It builds.
    Ok,
    /// It does not build, and the package or its dependencies are why.
    GenuineFailure,
    /// The build system failed, not the package: state stays, the rebuild is tried again.
    InfrastructureFault,
    /// Cancelled in Koji or by us on request.
    Cancelled,
    /// Ran longer than the policy allows and was given up.
    TimedOut,
    /// It failed, and it is not known whether the package is why: state stays, the rebuild is tried again.
    Unclear,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::GenuineFailure, Self::InfrastructureFault, Self::Cancelled, Self::TimedOut, Self::Unclear];

    /// One word, as in JSON, for labels.
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

    /// Whether the outcome is evidence about the package.
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Ok | Self::GenuineFailure)
    }

    /// Whether a package waits before it is tried again: it came to no result.
    pub const fn waits(self) -> bool {
        !self.is_complete()
    }

    /// Lower-case words.
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

/// One decided rebuild: the sequence of its `rebuild_requested` event. Unique in a log for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RebuildId(pub u64);

impl fmt::Display for RebuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}
