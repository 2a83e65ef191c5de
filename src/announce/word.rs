//! The words for states that subscribers know.

use crate::model::{BuildrootState, PackageState};

/// A state of a package or a buildroot, in the words of `koschei-messages`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Word {
    /// It builds, or the buildroot can be installed.
    Ok,
    /// Its builds fail.
    Failing,
    /// Its build dependencies, or the buildroot, cannot be installed.
    Unresolved,
    /// It is blocked or untracked, or nothing is known about it.
    Ignored,
    /// No buildroot was looked at yet.
    Unknown,
}

impl Word {
    const ALL: [Self; 5] = [Self::Ok, Self::Failing, Self::Unresolved, Self::Ignored, Self::Unknown];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Unresolved => "unresolved",
            Self::Ignored => "ignored",
            Self::Unknown => "unknown",
        }
    }

    /// Returns what a word stands for. `None` if no message says it.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.as_str() == text)
    }

    /// Returns whether somebody has to repair something.
    pub const fn is_broken(self) -> bool {
        matches!(self, Self::Failing | Self::Unresolved)
    }
}

impl From<PackageState> for Word {
    fn from(state: PackageState) -> Self {
        match state {
            PackageState::Ok => Self::Ok,
            PackageState::Failing => Self::Failing,
            PackageState::Unresolved => Self::Unresolved,
            PackageState::Blocked | PackageState::Untracked | PackageState::Unknown => Self::Ignored,
        }
    }
}

impl From<BuildrootState> for Word {
    fn from(state: BuildrootState) -> Self {
        match state {
            BuildrootState::Ok => Self::Ok,
            BuildrootState::Unresolved => Self::Unresolved,
            BuildrootState::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for word in Word::ALL {
            assert_eq!(Word::of(word.as_str()), Some(word));
        }
        assert_eq!(Word::of("blocked"), None);
    }
}
