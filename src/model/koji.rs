//! Koji's enumerations and their wire numbers (`koji/__init__.py`: `TASK_STATES`, `BUILD_STATES`, `REPO_STATES`).
//! Numbers we do not know are kept, not guessed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name, version or release that is taken from Koji, in bytes. Koji's own limit for names is 256
/// (`MaxNameLengthInternal` of `hub.conf`); versions and releases have none.
pub const NAME_BYTES_MAX: usize = 1024;

/// The words of a text, as Koji keeps architectures: separated by white space or commas (`koji.parse_arches`).
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
            /// Koji's name in capitals; `None` for an unknown number.
            pub const fn wire_name(self) -> Option<&'static str> {
                match self { $(Self::$variant => Some($wire),)* Self::Unknown(_) => None }
            }

            /// The number the API uses.
            pub const fn wire_number(self) -> i64 {
                match self { $(Self::$variant => $num,)* Self::Unknown(n) => n }
            }

            /// From Koji's name in capitals, as `task.state.change` messages carry it.
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
    /// State of a task. Moves forward, but a task may go back to `Free` (builder restarted, silent, or freed by hand).
    TaskState {
        /// Waits for a builder.
        Free = 0, "FREE";
        /// Runs.
        Open = 1, "OPEN";
        /// Ended well.
        Closed = 2, "CLOSED";
        /// Cancelled, by a person or with its parent.
        Canceled = 3, "CANCELED";
        /// Given to a builder that has not taken it yet.
        Assigned = 4, "ASSIGNED";
        /// Ended badly.
        Failed = 5, "FAILED";
    }
}

impl TaskState {
    /// Whether nothing more will happen to the task.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Canceled | Self::Failed)
    }
}

koji_state! {
    /// State of a real build. `Failed` and `Canceled` builds may come back to `Building` under the same id.
    BuildState {
        /// The source package is known, the task runs.
        Building = 0, "BUILDING";
        /// Has its packages.
        Complete = 1, "COMPLETE";
        /// Removed.
        Deleted = 2, "DELETED";
        /// Its task failed.
        Failed = 3, "FAILED";
        /// Its task was cancelled, or the build was reset.
        Canceled = 4, "CANCELED";
    }
}

koji_state! {
    /// State of a repository generation; only grows, `Deleted` is final.
    RepoState {
        /// Row and package list exist, no metadata yet.
        Init = 0, "INIT";
        /// Files are in place.
        Ready = 1, "READY";
        /// No longer current; still usable by a build bound to it.
        Expired = 2, "EXPIRED";
        /// Files are going or gone.
        Deleted = 3, "DELETED";
        /// Making it failed.
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
