//! Priorities of repositories.

/// Priority of a repository, as in dnf's configuration. The **lower** number wins. The default is
/// 99 (dnf.conf(5), `priority`).
///
/// The priority ranks repositories, not versions. If a requirement has several candidates, of
/// whatever names, those of the preferred repository win, even if another repository has a newer
/// version. Between equal priorities the version decides, and then the order of the repositories. A
/// priority is a preference, not a filter: if the preferred candidate does not fit, libsolv takes
/// another one. A requirement on an exact version finds it in any repository.
///
/// Koji's priorities of external repositories are something else: they order the repositories that
/// `mergerepo_c` merges, before anything is resolved. Its merged repository is one repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(pub i32);

impl Default for Priority {
    fn default() -> Self {
        Self(99)
    }
}

impl Priority {
    /// Returns libsolv's priority, in which the **higher** number wins: ours negated, as libdnf
    /// does. Installed packages have 0 in libsolv. A package from a repository with the default
    /// priority therefore counts as "older" for libsolv than an installed package of the same name
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
