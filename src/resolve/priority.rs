//! Which of several repositories is preferred.

/// Priority of a repository, as in dnf's configuration: the **lower** number wins, 99 is the default (dnf.conf(5),
/// `priority`).
///
/// What wins is the repository, not the version: of several candidates for one requirement, of whatever names, those of
/// the preferred repository are taken, even if another has a newer version. Equal priorities leave the choice to the
/// versions, and then to the order of the repositories. It is a preference, not a filter: where what is preferred does
/// not fit, libsolv takes another; a version that is required exactly is found wherever it is.
///
/// Koji's priorities of external repositories are something else: they order the repositories that `mergerepo_c`
/// merges, before anything is resolved. Its merged repository is one repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(pub i32);

impl Default for Priority {
    fn default() -> Self {
        Self(99)
    }
}

impl Priority {
    /// As libsolv has it, where the **higher** number wins: negated, as libdnf does. Installed packages have 0 there,
    /// so packages of a repository with the default are "older" to libsolv than an installed package of the same name
    /// and architecture.
    pub(super) fn for_libsolv(self) -> i32 {
        self.0.saturating_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_wins_here_and_higher_in_libsolv() {
        let priorities = [i32::MIN, -1, 0, 1, 99, i32::MAX];
        for pair in priorities.windows(2) {
            assert!(Priority(pair[0]).for_libsolv() > Priority(pair[1]).for_libsolv(), "{pair:?}");
        }
        assert_eq!(Priority::default().for_libsolv(), -99);
    }
}
