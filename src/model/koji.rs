//! Koji's enumerations and their wire numbers (`koji/__init__.py`: `TASK_STATES`, `BUILD_STATES`,
//! `REPO_STATES`). Unknown numbers are kept, not guessed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name, version or release accepted from Koji, in bytes. Koji's own limit for names is 256
/// (`MaxNameLengthInternal` of `hub.conf`). It has none for versions and releases.
pub const NAME_BYTES_MAX: usize = 1024;

/// Splits a text into words, as in Koji's lists of architectures: separated by white space or
/// commas (`koji.parse_arches`).
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

macro_rules! koji_state {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $num:literal, $wire:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// A number this version does not know.
            Unknown(i64),
        }

        impl $name {
            /// Returns Koji's name in capitals, or `None` for an unknown number.
            pub const fn wire_name(self) -> Option<&'static str> {
                match self { $(Self::$variant => Some($wire),)* Self::Unknown(_) => None }
            }

            /// Returns Koji's name in lower case, or the number of an unknown state.
            pub fn word(self) -> String {
                self.wire_name().map_or_else(|| format!("state {}", self.wire_number()), str::to_lowercase)
            }

            /// Returns the number that Koji's API uses.
            pub const fn wire_number(self) -> i64 {
                match self { $(Self::$variant => $num,)* Self::Unknown(n) => n }
            }

            /// Parses Koji's name in capitals, as in `task.state.change` messages.
            pub fn from_wire_name(name: &str) -> Option<Self> {
                match name { $($wire => Some(Self::$variant),)* _ => None }
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                match number { $($num => Self::$variant,)* n => Self::Unknown(n) }
            }
        }
    };
}

koji_state! {
    /// State of a task. It moves forward, but a task may go back to `Free` (a builder restarted or
    /// fell silent, or somebody freed the task).
    TaskState {
        /// The task waits for a builder.
        Free = 0, "FREE";
        /// The task runs.
        Open = 1, "OPEN";
        /// The task succeeded.
        Closed = 2, "CLOSED";
        /// A person cancelled the task, or it was cancelled with its parent.
        Canceled = 3, "CANCELED";
        /// The task is assigned to a builder that has not taken it yet.
        Assigned = 4, "ASSIGNED";
        /// The task failed.
        Failed = 5, "FAILED";
    }
}

impl TaskState {
    /// Returns whether the state is final.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Canceled | Self::Failed)
    }
}

koji_state! {
    /// State of a real build. A `Failed` or `Canceled` build may go back to `Building` under the
    /// same id.
    BuildState {
        /// The source package is known, and the task runs.
        Building = 0, "BUILDING";
        /// The build succeeded and has its packages.
        Complete = 1, "COMPLETE";
        /// The build was deleted.
        Deleted = 2, "DELETED";
        /// The build's task failed.
        Failed = 3, "FAILED";
        /// The build's task was cancelled, or the build was reset.
        Canceled = 4, "CANCELED";
    }
}

koji_state! {
    /// State of a repository. It never goes back, and `Deleted` is final.
    RepoState {
        /// The database row and the package list exist, but no metadata yet.
        Init = 0, "INIT";
        /// The files are in place.
        Ready = 1, "READY";
        /// The repository is no longer current, but a build bound to it can still use it.
        Expired = 2, "EXPIRED";
        /// The files are being deleted or gone.
        Deleted = 3, "DELETED";
        /// Creating the repository failed.
        Problem = 4, "PROBLEM";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_as_koji_does_it() {
        assert_eq!(
            words(" x86_64,aarch64  s390x\tppc64le\n,").collect::<Vec<_>>(),
            ["x86_64", "aarch64", "s390x", "ppc64le"]
        );
        assert_eq!(words("").count(), 0);
    }

    #[test]
    fn numbers_and_names_go_round() {
        for n in 0..8 {
            let s = TaskState::from(n);
            assert_eq!(s.wire_number(), n);
            if let Some(name) = s.wire_name() {
                assert_eq!(TaskState::from_wire_name(name), Some(s));
            }
            assert_eq!(BuildState::from(n).wire_number(), n);
            assert_eq!(RepoState::from(n).wire_number(), n);
        }
        assert_eq!(TaskState::from(2).wire_name(), Some("CLOSED"));
        assert_eq!(BuildState::from(2).wire_name(), Some("DELETED"), "the two enumerations differ");
    }
}
