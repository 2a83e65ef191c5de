//! Folds groups of source packages.

use super::group::Group;
use super::state::State;
use crate::event::{GroupChanged, GroupDeleted, GroupMade};
use crate::model::{Name, Timestamp};

impl State {
    /// Returns the names of the groups that have a package, sorted. Cost: O(groups).
    pub fn groups_of<'a>(&'a self, package: &'a str) -> impl Iterator<Item = &'a Name> {
        self.groups.iter().filter(move |(_, g)| g.packages.contains(package)).map(|(name, _)| name)
    }

    pub(super) fn group_made(&mut self, e: &GroupMade, at: Timestamp) {
        let group = Group {
            packages: e.packages.iter().cloned().collect(),
            maintainers: e.maintainers.iter().cloned().collect(),
            configured: e.configured,
            changed_at: at,
        };
        if self.groups.insert(e.group.clone(), group).is_some() {
            self.anomaly("made a group that was there already");
        }
    }

    pub(super) fn group_changed(&mut self, e: &GroupChanged, at: Timestamp) {
        let Some(group) = self.groups.get_mut(&e.group) else {
            return self.anomaly("change of an unknown group");
        };
        for name in &e.removed {
            group.packages.remove(name);
        }
        group.packages.extend(e.added.iter().cloned());
        for person in &e.maintainers_removed {
            group.maintainers.remove(person);
        }
        group.maintainers.extend(e.maintainers_added.iter().cloned());
        (group.configured, group.changed_at) = (e.configured, at);
    }

    pub(super) fn group_deleted(&mut self, e: &GroupDeleted) {
        if self.groups.remove(&e.group).is_none() {
            self.anomaly("deleted an unknown group");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::ChainHash;
    use crate::model::PersonId;

    const AT: Timestamp = Timestamp::from_secs(1_795_164_251);

    fn set<T: Ord>(of: impl IntoIterator<Item = T>) -> BTreeSet<T> {
        of.into_iter().collect()
    }

    fn made(packages: &[&str]) -> GroupMade {
        GroupMade {
            group: "net".into(),
            packages: packages.iter().copied().map(Name::from).collect(),
            maintainers: vec![PersonId::new("p-1")],
            configured: true,
            reason: String::new(),
            by: None,
        }
    }

    #[test]
    fn a_change_leads_from_one_group_to_another() {
        let mut state = State::default();
        state.group_made(&made(&["curl", "zlib"]), AT);
        let (packages, people) = (set(["curl".into(), "wget".into()]), set([PersonId::new("p-2")]));
        let change = state.groups["net"].change_to(&"net".into(), &packages, &people);
        assert_eq!(change.what(), "1 package added, 1 package removed, 1 maintainer added, 1 maintainer removed");
        state.group_changed(&change, AT.plus_secs(1));
        let group = &state.groups["net"];
        assert_eq!((&group.packages, &group.maintainers), (&packages, &people));
        assert_eq!((group.configured, group.changed_at), (false, AT.plus_secs(1)));
        assert!(group.change_to(&"net".into(), &packages, &people).is_empty());
        assert_eq!(state.groups_of("wget").collect::<Vec<_>>(), ["net"]);
        assert_eq!(state.groups_of("zlib").count(), 0);
        let (again, _) = State::from_bytes(&state.to_bytes(ChainHash([1; 32]))).unwrap();
        assert_eq!(again.groups, state.groups);
        assert_ne!(state.digest(), State::default().digest());
        state.group_deleted(&GroupDeleted { group: "net".into(), reason: String::new(), by: None });
        assert!(state.groups.is_empty() && state.anomalies.is_empty());
        assert_eq!(state.digest(), State::default().digest(), "a log without groups has the digest it had");
    }

    #[test]
    fn what_makes_no_sense_is_counted() {
        let mut state = State::default();
        state.group_deleted(&GroupDeleted { group: "net".into(), reason: String::new(), by: None });
        state.group_changed(&Group::default().change_to(&"net".into(), &set(["a".into()]), &set([])), AT);
        assert!(state.groups.is_empty());
        state.group_made(&made(&["curl"]), AT);
        state.group_made(&made(&["zlib"]), AT);
        assert_eq!(state.groups["net"].packages, set(["zlib".into()]), "the last word counts");
        assert_eq!(state.anomalies.values().sum::<u64>(), 3);
    }
}
