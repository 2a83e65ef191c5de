//! What an operator may say about groups of packages.
//!
//! A word about a group names its maintainers beside the event, because an event holds only stand-ins.
//! The writer puts these into the event.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::reason;
use crate::event::{
    Event, GROUP_MAINTAINERS_MAX, GROUP_PACKAGES_MAX, GROUP_REASON_MAX, GROUPS_MAX, GroupChanged, GroupMade,
    check_group_name, check_group_packages, check_maintainer, check_some_packages,
};
use crate::fold::{Group, State};
use crate::model::nearest::did_you_mean;
use crate::model::{Name, PersonId};

/// What is said of a word whose event names maintainers itself.
pub(super) const BY_NAME: &str = "the maintainers of a group are named beside the event";

/// Maintainers that a word about a group adds and removes, by their names. Those to remove may also
/// be named by their stand-ins, because a person who was forgotten has no name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Maintainers {
    /// Persons to add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Persons to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

impl Maintainers {
    /// Checks whether nobody is named.
    pub const fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// Checks the names.
    ///
    /// # Errors
    /// Returns a text that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.add.len().max(self.remove.len()) > GROUP_MAINTAINERS_MAX {
            return Err(format!("a group has at most {GROUP_MAINTAINERS_MAX} maintainers"));
        }
        self.add.iter().chain(&self.remove).try_for_each(|name| check_maintainer(name))
    }
}

/// Checks a word about a group.
///
/// # Errors
/// Returns a text that says why it makes no sense.
pub(super) fn check(state: &State, event: &Event) -> Result<(), String> {
    match event {
        Event::GroupMade(e) => {
            check_group_name(&e.group)?;
            if state.groups.contains_key(&e.group) {
                return Err(format!("there is a group `{}` already; change it instead", e.group));
            }
            if state.groups.len() >= GROUPS_MAX {
                return Err(format!("there are {GROUPS_MAX} groups already, and no more are possible"));
            }
            check_group_packages(&e.packages)?;
            said(e.configured, &e.reason)
        }
        Event::GroupChanged(e) => {
            let group = find(state, &e.group)?;
            check_some_packages(&e.added)?;
            check_some_packages(&e.removed)?;
            if let Some(name) = e.added.iter().find(|name| group.packages.contains(*name)) {
                return Err(format!("`{name}` is in the group `{}` already", e.group));
            }
            if let Some(name) = e.removed.iter().find(|name| !group.packages.contains(*name)) {
                return Err(format!("`{name}` is not in the group `{}`", e.group));
            }
            match group.packages.len() + e.added.len() - e.removed.len() {
                0 => Err(format!("the group `{}` would have no package; delete it instead", e.group)),
                n if n > GROUP_PACKAGES_MAX => {
                    Err(format!("the group `{}` would have {n} packages; at most {GROUP_PACKAGES_MAX}", e.group))
                }
                _ => said(e.configured, &e.reason),
            }
        }
        Event::GroupDeleted(e) => {
            find(state, &e.group)?;
            said(false, &e.reason)
        }
        _ => Ok(()),
    }
}

/// Finds a group.
///
/// # Errors
/// Returns a text that offers similar names.
pub fn find<'a>(state: &'a State, name: &str) -> Result<&'a Group, String> {
    state.groups.get(name).ok_or_else(|| {
        let near = did_you_mean(name, state.groups.keys().map(Name::as_str));
        let cut: String = name.chars().take(GROUP_REASON_MAX).collect();
        format!("there is no group `{}`{near}", cut.escape_debug())
    })
}

fn said(configured: bool, why: &str) -> Result<(), String> {
    if configured {
        return Err("only the configuration says what is configured".to_owned());
    }
    match reason(why)?.len() {
        n if n > GROUP_REASON_MAX => Err(format!("the reason has {n} bytes; at most {GROUP_REASON_MAX}")),
        _ => Ok(()),
    }
}

/// Puts stand-ins of maintainers into an event about a group, as far as they change anything.
///
/// # Errors
/// Returns a text that says why the event then makes no sense.
pub fn maintain(state: &State, event: &mut Event, add: Vec<PersonId>, remove: &[PersonId]) -> Result<(), String> {
    let add: BTreeSet<PersonId> = add.into_iter().filter(|person| !remove.contains(person)).collect();
    let bounded = |n: usize| match n > GROUP_MAINTAINERS_MAX {
        true => Err(format!("the group would have {n} maintainers; at most {GROUP_MAINTAINERS_MAX}")),
        false => Ok(()),
    };
    match event {
        Event::GroupMade(GroupMade { maintainers, .. }) => {
            *maintainers = add.into_iter().collect();
            bounded(maintainers.len())
        }
        Event::GroupChanged(e) => {
            let group = find(state, &e.group)?;
            let remove: BTreeSet<PersonId> = remove.iter().cloned().collect();
            e.maintainers_added = add.difference(&group.maintainers).cloned().collect();
            e.maintainers_removed = remove.intersection(&group.maintainers).cloned().collect();
            if e.is_empty() {
                return Err(nothing_changes(e));
            }
            bounded(group.maintainers.len() + e.maintainers_added.len() - e.maintainers_removed.len())
        }
        _ => Ok(()),
    }
}

/// Says that a word about a group would change nothing.
pub fn nothing_changes(e: &GroupChanged) -> String {
    format!("nothing changes: the group `{}` is already so", e.group)
}
