//! Groups of packages. Maintainers are counted and never named: answers are for everybody.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::collections;
use super::cursor::{Limit, List, place};
use super::operation::{Nothing, Operation, Seen, Shows, Topic};
use crate::fold::{Collection, Group};
use crate::model::Name;
use crate::model::nearest::did_you_mean;
use crate::view::package::STATES;
use crate::web::listing;
use crate::web::refusal::{Refusal, short};
use crate::web::view::View;

/// Finds a group.
///
/// # Errors
/// Refuses an unknown name, and offers similar ones.
pub(super) fn find<'a>(view: &'a View, name: &str) -> Result<(&'a Name, &'a Group), Refusal> {
    view.state.groups.get_key_value(name).ok_or_else(|| {
        let hint = did_you_mean(name, view.state.groups.keys().map(Name::as_str));
        Refusal::not_found(format!("there is no group `{}`{hint}", short(name)))
    })
}

/// Which packages of groups are counted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CountedQuery {
    /// Count only packages of this collection.
    #[serde(default)]
    collection: Option<String>,
}

/// Which groups are wanted, and which of their packages are counted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupsQuery {
    /// Count only packages of this collection.
    #[serde(default)]
    collection: Option<String>,
    /// Number of items on a page.
    #[serde(default)]
    limit: Limit,
    /// Where to go on: the `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// A group of packages, in short.
#[derive(Serialize, JsonSchema)]
pub(in crate::web) struct GroupSummary<'a> {
    group: &'a Name,
    /// Number of names in it.
    packages: usize,
    /// Number of persons who look after it.
    maintainers: usize,
    /// Whether the configuration said last what it is.
    configured: bool,
    /// When it was made or changed last.
    changed_at: String,
    /// Number of its packages in each state. A package of several collections counts in each. A name
    /// that no collection knows counts nowhere.
    states: BTreeMap<&'static str, usize>,
}

impl<'a> GroupSummary<'a> {
    pub(in crate::web) fn of<'c>(
        (name, group): (&'a Name, &Group),
        counted: impl IntoIterator<Item = (&'c Name, &'c Collection)>,
    ) -> Self {
        Self {
            group: name,
            packages: group.packages.len(),
            maintainers: group.maintainers.len(),
            configured: group.configured,
            changed_at: group.changed_at.to_string(),
            states: STATES.iter().map(|s| s.as_str()).zip(listing::counts(group, counted)).collect(),
        }
    }
}

/// Returns the collections whose packages are counted.
fn counted<'a>(view: &'a View, only: Option<&str>) -> Result<Vec<(&'a Name, &'a Collection)>, Refusal> {
    match only {
        Some(name) => Ok(vec![collections::find(view, name)?]),
        None => Ok(view.state.collections.iter().collect()),
    }
}

pub(super) struct Groups;

impl Operation for Groups {
    const ID: &'static str = "listGroups";
    const ADDRESS: &'static str = "/api/v2/groups";
    const TOPIC: Topic = Topic::Groups;
    const SUMMARY: &'static str = "All groups of packages";
    const ABOUT: &'static str = "Each with the number of its packages in each state, by name.";
    type Path = Nothing;
    type Query = GroupsQuery;
    type Answer<'a> = List<GroupSummary<'a>>;
}

impl Shows for Groups {
    fn answer<'a>(seen: &Seen<'a>, _: Nothing, query: GroupsQuery) -> Result<List<GroupSummary<'a>>, Refusal> {
        let of = counted(seen.view, query.collection.as_deref())?;
        let (limit, after) = (query.limit.get()?, query.cursor.as_deref().map(place::<Name>).transpose()?);
        let all = &seen.view.state.groups;
        let rest = all.iter().filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
        let item = |group| GroupSummary::of(group, of.iter().copied());
        Ok(List::cut(rest, (limit, all.len()), |(name, _)| (*name).clone(), item))
    }
}

/// A group's name in an address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct GroupPath {
    /// Name of the group.
    #[schemars(example = &"python")]
    group: String,
}

/// A group of packages.
#[derive(Serialize, JsonSchema)]
pub(super) struct GroupDetail<'a> {
    #[serde(flatten)]
    summary: GroupSummary<'a>,
    /// Names of its packages, sorted. Not every one needs to be known to a collection.
    names: Vec<&'a Name>,
}

pub(super) struct OneGroup;

impl Operation for OneGroup {
    const ID: &'static str = "getGroup";
    const ADDRESS: &'static str = "/api/v2/groups/{group}";
    const TOPIC: Topic = Topic::Groups;
    const SUMMARY: &'static str = "A group of packages";
    const ABOUT: &'static str = "The names of all its packages, and how many are in each state. For their states, list \
        packages with `group`.";
    type Path = GroupPath;
    type Query = CountedQuery;
    type Answer<'a> = GroupDetail<'a>;
}

impl Shows for OneGroup {
    fn answer<'a>(seen: &Seen<'a>, path: GroupPath, query: CountedQuery) -> Result<GroupDetail<'a>, Refusal> {
        let (name, group) = find(seen.view, &path.group)?;
        let of = counted(seen.view, query.collection.as_deref())?;
        Ok(GroupDetail { summary: GroupSummary::of((name, group), of), names: group.packages.iter().collect() })
    }
}
