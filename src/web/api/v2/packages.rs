//! Packages, page by page.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::collections::find;
use super::cursor::{Limit, List, mark, place};
use super::operation::{Nothing, Operation, Seen, Shows, Topic};
use crate::decide::causes::OpenCause;
use crate::event::CausesFound;
use crate::fold::{Collection, Package};
use crate::model::nearest::did_you_mean;
use crate::model::{Name, PackageState};
use crate::view::answer;
use crate::view::broken::BrokenBy;
use crate::view::package::{self as package_view, BuildView, rank};
use crate::web::orders::{Entry, index};
use crate::web::params::{self, SEARCH_CHARS_MAX, Search};
use crate::web::people::Owned;
use crate::web::refusal::{Refusal, short};
use crate::web::view::View;

/// Which packages are wanted, and in which order.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PackagesQuery {
    /// Only of this collection.
    #[serde(default)]
    collection: Option<String>,
    /// Only of this group.
    #[serde(default)]
    group: Option<String>,
    /// Only in these states, with commas between them. Default: all but untracked and blocked ones.
    #[serde(default)]
    #[schemars(extend("pattern" = states_pattern(), "examples" = ["failing,unresolved"]))]
    state: Option<String>,
    /// Only those whose name has this text, or is it if it has a `*`, which stands for any text.
    #[serde(default)]
    #[schemars(length(max = SEARCH_CHARS_MAX), extend("examples" = ["python-*"]))]
    q: String,
    /// Only those that this cause breaks.
    #[serde(default)]
    cause: Option<String>,
    /// Only those that this person owns, in Koji or by the list of owners.
    #[serde(default)]
    owner: Option<String>,
    /// Only those that do not resolve on this architecture.
    #[serde(default)]
    unresolved_on: Option<String>,
    /// What to sort by; with a leading `-`, in reverse. States begin with those that need attention,
    /// priorities with the highest, builds with the newest.
    #[serde(default = "by_state")]
    #[schemars(extend("enum" = [
        "name", "state", "priority", "built", "running", "-name", "-state", "-priority", "-built", "-running"
    ]))]
    order: String,
    /// Number of items on a page.
    #[serde(default)]
    limit: Limit,
    /// Where to go on: the `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

fn by_state() -> String {
    "state".to_owned()
}

/// Returns what a list of states looks like.
fn states_pattern() -> String {
    let words = package_view::STATES.map(PackageState::as_str).join("|");
    format!("^({words})(,({words}))*$")
}

/// A package of a collection, in short.
#[derive(Serialize, JsonSchema)]
pub(super) struct PackageSummary {
    collection: Name,
    package: Name,
    state: PackageState,
    /// Why it is in this state.
    reason: String,
    /// The updates that broke it.
    broken_by: Vec<BrokenBy>,
    /// Its priority, in thousandths of a point. Absent if no build is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    /// Its newest tagged build.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<String>,
    /// Its newest build.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_build: Option<BuildView>,
    /// Whether a rebuild of it runs, or is decided.
    running: bool,
}

impl PackageSummary {
    pub(super) fn of(view: &View, (c, p): Entry<'_>) -> Self {
        let mut of = package_view::package(&view.state, c, p, view.state.recorded_at, &view.policy);
        Self {
            reason: of.reasons(),
            last_build: (!of.last_builds.is_empty()).then(|| of.last_builds.swap_remove(0)),
            priority: of.priority.map(|p| p.current),
            latest: of.latest,
            broken_by: of.broken_by,
            state: of.state,
            running: p.1.running > 0 || p.1.open_rebuild.is_some(),
            collection: of.collection,
            package: of.package,
        }
    }
}

/// The place of an item: its order, what it is sorted by, its name, its collection.
type Place = (String, i64, Name, Name);

pub(super) struct Packages;

impl Operation for Packages {
    const ID: &'static str = "findPackages";
    const ADDRESS: &'static str = "/api/v2/packages";
    const TOPIC: Topic = Topic::Packages;
    const SUMMARY: &'static str = "Packages, page by page";
    const ABOUT: &'static str = "One item for each package of each collection. Items that change while you go from \
        page to page may come twice or not at all, if they change their place. To read one moment, give the `seq` of \
        the first page as `as_of`.";
    type Path = Nothing;
    type Query = PackagesQuery;
    type Answer<'a> = List<PackageSummary>;
}

impl Shows for Packages {
    fn owner(query: &PackagesQuery) -> Option<&str> {
        query.owner.as_deref()
    }

    fn answer<'a>(seen: &Seen<'a>, _: Nothing, query: PackagesQuery) -> Result<List<PackageSummary>, Refusal> {
        let view = seen.view;
        let wanted = Wanted::of(view, &query)?;
        if query.order.is_empty() || query.order != query.order.trim() {
            return Err(Refusal::BadRequest("`order` must be a word, without spaces".to_owned()));
        }
        let (order, limit) = (params::order(&query.order)?, query.limit.get()?);
        let from = match query.cursor.as_deref().map(place::<Place>).transpose()? {
            None => 0,
            Some((word, key, package, collection)) if word == order.word() => {
                view.after(order, (key, &package, &collection))
            }
            Some(_) => return Err(Refusal::BadRequest("`cursor` is of a list in another order".to_owned())),
        };
        let listing = view.listing();
        let fits = |at: &u32| {
            let place = listing.places.sorted[*at as usize];
            let is_own = |owned: &&Owned| {
                let ((_, c), (package, _)) = place.entry(&view.state);
                owned.has(&view.state, c, package)
            };
            wanted.has(listing.states[*at as usize], place, view) && seen.owned.as_ref().is_none_or(is_own)
        };
        let all = view.order(order);
        let before = all[..from].iter().filter(|at| fits(at)).count();
        let rest: Vec<u32> = all[from..].iter().copied().filter(|at| fits(at)).collect();
        let shown = &rest[..rest.len().min(limit)];
        let entry = |at: &u32| listing.places.sorted[*at as usize].entry(&view.state);
        let next = shown.last().filter(|_| rest.len() > shown.len()).map(|at| {
            let ((collection, _), (package, _)) = entry(at);
            let key = listing.key(&view.state, &view.policy, order.key, *at as usize);
            mark(&(order.word(), key, package, collection))
        });
        let items = shown.iter().map(|at| PackageSummary::of(view, entry(at))).collect();
        Ok(List { items, next, matching: Some(before + rest.len()) })
    }
}

/// What is wanted, checked.
struct Wanted<'a> {
    collection: Option<u32>,
    fit: [bool; package_view::STATES.len()],
    group: Option<Vec<bool>>,
    names: Option<Vec<bool>>,
    cause: Option<(&'a OpenCause, HashSet<&'a Name>)>,
    unresolved_on: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(view: &'a View, query: &'a PackagesQuery) -> Result<Self, Refusal> {
        let states = match &query.state {
            Some(text) if text.split(',').any(|word| word.is_empty() || word != word.trim()) => {
                return Err(Refusal::BadRequest("`state` must be states with commas between them".to_owned()));
            }
            state => params::states(state.as_deref().unwrap_or_default())?,
        };
        let search = Search::new(&params::search(&query.q)?);
        let collection = query.collection.as_deref().map(|name| find(view, name)).transpose()?;
        let cause = query.cause.as_deref().map(|id| super::causes::find(view, id)).transpose()?;
        let group = query.group.as_deref().map(|name| super::groups::find(view, name)).transpose()?;
        Ok(Self {
            group: group.map(|(_, group)| view.listing().places.in_group(&view.state, group)),
            collection: collection.and_then(|(name, _)| view.state.collections.get_index_of(name)).map(index),
            fit: package_view::STATES.map(|state| match states[..] {
                [] => !matches!(state, PackageState::Blocked | PackageState::Untracked),
                _ => states.contains(&state),
            }),
            names: search.map(|search| view.listing().places.lower.iter().map(|name| search.fits(name)).collect()),
            cause: cause.map(|cause| (cause, cause.packages.iter().map(|p| &p.name).collect())),
            unresolved_on: query.unresolved_on.as_deref(),
        })
    }

    fn has(&self, state: PackageState, place: crate::web::orders::Place, view: &View) -> bool {
        let is_named = |names: &Vec<bool>| names[place.name as usize];
        if !self.fit[rank(state)]
            || self.collection.is_some_and(|c| c != place.collection)
            || !self.group.as_ref().is_none_or(is_named)
            || !self.names.as_ref().is_none_or(is_named)
        {
            return false;
        }
        if self.cause.is_none() && self.unresolved_on.is_none() {
            return true;
        }
        let ((cname, _), (pname, p)) = place.entry(&view.state);
        let is_broken = |(cause, packages): &(&OpenCause, HashSet<&Name>)| {
            cause.collection == *cname
                && (packages.contains(pname) || packages.contains(&Name::from(CausesFound::GROUP)))
        };
        let is_unresolved = |arch: &str| p.verdict(arch).is_some_and(|v| v.ok == Some(false));
        self.cause.as_ref().is_none_or(is_broken) && self.unresolved_on.is_none_or(is_unresolved)
    }
}

/// A package's name in an address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct PackagePath {
    /// Name of the source package.
    #[schemars(example = &"curl")]
    package: String,
}

pub(super) struct InAllCollections;

impl Operation for InAllCollections {
    const ID: &'static str = "getPackage";
    const ADDRESS: &'static str = "/api/v2/packages/{package}";
    const TOPIC: Topic = Topic::Packages;
    const SUMMARY: &'static str = "A package in all collections";
    const ABOUT: &'static str = "In short, in the order of the collections.";
    type Path = PackagePath;
    type Query = Nothing;
    type Answer<'a> = List<PackageSummary>;
}

impl Shows for InAllCollections {
    fn answer<'a>(seen: &Seen<'a>, path: PackagePath, _: Nothing) -> Result<List<PackageSummary>, Refusal> {
        let view = seen.view;
        let of = |(name, c): (&'a Name, &'a Collection)| {
            let package: (&Name, &Package) = c.packages.get_key_value(path.package.as_str())?;
            Some(PackageSummary::of(view, ((name, c), package)))
        };
        let items: Vec<PackageSummary> = view.state.collections.iter().filter_map(of).collect();
        match items.is_empty() {
            true => Err(unknown(view, &path.package)),
            false => Ok(List::whole(items)),
        }
    }
}

/// Refuses an unknown package, and offers similar names.
pub(super) fn unknown(view: &View, package: &str) -> Refusal {
    let hint = did_you_mean(package, answer::near(&view.state, package));
    Refusal::not_found(format!("there is no package `{}`{hint}", short(package)))
}
