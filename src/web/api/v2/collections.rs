//! Collections, and what their repositories are.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cursor::{List, PageQuery, place};
use super::operation::{Nothing, Operation, Seen, Shows, Topic};
use crate::fold::{Collection, Repo};
use crate::model::nearest::did_you_mean;
use crate::model::{Hub, Name, PackageState, RepoId};
use crate::view::package::CollectionView;
use crate::web::api::status;
use crate::web::refusal::{Refusal, short};
use crate::web::view::View;

/// Finds a collection.
///
/// # Errors
/// Refuses an unknown name, and offers similar ones.
pub(super) fn find<'a>(view: &'a View, name: &str) -> Result<(&'a Name, &'a Collection), Refusal> {
    view.state.collections.get_key_value(name).ok_or_else(|| {
        let hint = did_you_mean(name, view.state.collections.keys().map(Name::as_str));
        Refusal::not_found(format!("there is no collection `{}`{hint}", short(name)))
    })
}

pub(super) struct Collections;

impl Operation for Collections {
    const ID: &'static str = "listCollections";
    const ADDRESS: &'static str = "/api/v2/collections";
    const TOPIC: Topic = Topic::Collections;
    const SUMMARY: &'static str = "All collections";
    const ABOUT: &'static str = "Each with its buildroot, its newest repository, and the number of its packages in \
        each state. They are in the order of the configuration.";
    type Path = Nothing;
    type Query = Nothing;
    type Answer<'a> = List<CollectionView>;
}

impl Shows for Collections {
    fn answer<'a>(seen: &Seen<'a>, _: Nothing, _: Nothing) -> Result<List<CollectionView>, Refusal> {
        Ok(List::whole(seen.view.state.collections.iter().map(|c| status::collection(seen.view, c)).collect()))
    }
}

/// A collection's name in an address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CollectionPath {
    /// Name of the collection.
    #[schemars(example = &"f43")]
    pub(super) collection: String,
}

/// A collection in detail.
#[derive(Serialize, JsonSchema)]
pub(super) struct CollectionDetail<'a> {
    #[serde(flatten)]
    view: CollectionView,
    settings: SettingsView<'a>,
    /// Its architectures, with what is known of the buildroot on each.
    architectures: BTreeMap<&'a str, ArchitectureView<'a>>,
}

/// The settings of a collection.
#[derive(Serialize, JsonSchema)]
struct SettingsView<'a> {
    hub: &'a Hub,
    target: &'a Name,
    /// The group that every buildroot has.
    build_group: &'a Name,
    /// The architectures that are allowed. Empty: all of the build tag.
    arches: &'a [Name],
    /// Whether every package of the tag is tracked.
    track_all: bool,
    /// Most rebuilds at a time. Absent: only the overall limit counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_builds: Option<u32>,
    /// Factor of priorities, in thousandths.
    coefficient: u32,
    /// The dest tag and the tags that it inherits from.
    inherits: &'a [Name],
}

/// The buildroot of a collection on an architecture.
#[derive(Serialize, JsonSchema)]
struct ArchitectureView<'a> {
    /// The repository that was resolved last.
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_id: Option<i64>,
    /// Whether the build group installs. Absent if it was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    installs: Option<bool>,
    /// Why it does not.
    problems: &'a [String],
}

pub(super) struct OneCollection;

impl Operation for OneCollection {
    const ID: &'static str = "getCollection";
    const ADDRESS: &'static str = "/api/v2/collections/{collection}";
    const TOPIC: Topic = Topic::Collections;
    const SUMMARY: &'static str = "A collection";
    const ABOUT: &'static str = "Its settings, and its buildroot on each architecture.";
    type Path = CollectionPath;
    type Query = Nothing;
    type Answer<'a> = CollectionDetail<'a>;
}

impl Shows for OneCollection {
    fn answer<'a>(seen: &Seen<'a>, path: CollectionPath, _: Nothing) -> Result<CollectionDetail<'a>, Refusal> {
        let (name, c) = find(seen.view, &path.collection)?;
        let s = &c.settings;
        let architecture = |a: &'a crate::fold::ArchResolution| ArchitectureView {
            repo_id: a.repo_id.map(|r| r.0),
            installs: a.group_ok,
            problems: &a.problems,
        };
        Ok(CollectionDetail {
            view: status::collection(seen.view, (name, c)),
            settings: SettingsView {
                hub: &s.hub,
                target: &s.target,
                build_group: &s.build_group,
                arches: &s.arches,
                track_all: s.track_all,
                max_builds: s.max_builds,
                coefficient: s.coefficient,
                inherits: &c.chain,
            },
            architectures: c.arches.iter().map(|(name, a)| (name.as_str(), architecture(a))).collect(),
        })
    }
}

/// A repository of a collection's build tag.
#[derive(Serialize, JsonSchema)]
pub(super) struct RepositoryView {
    id: i64,
    /// Koji's word for its state, in lower case.
    state: String,
    /// The Koji event whose content it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    koji_event: Option<i64>,
    /// Whether it is the newest one of the collection.
    newest: bool,
    /// The architectures on which the collection was resolved in it.
    resolved_on: Vec<Name>,
    /// Its page on the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

pub(super) struct Repositories;

impl Operation for Repositories {
    const ID: &'static str = "listRepositories";
    const ADDRESS: &'static str = "/api/v2/collections/{collection}/repositories";
    const TOPIC: Topic = Topic::Collections;
    const SUMMARY: &'static str = "Repositories of a collection";
    const ABOUT: &'static str = "The repositories of the collection's build tag that are remembered, highest id first.";
    type Path = CollectionPath;
    type Query = PageQuery;
    type Answer<'a> = List<RepositoryView>;
}

impl Shows for Repositories {
    fn answer<'a>(seen: &Seen<'a>, path: CollectionPath, query: PageQuery) -> Result<List<RepositoryView>, Refusal> {
        let (name, c) = find(seen.view, &path.collection)?;
        let (limit, before) = (query.limit.get()?, query.cursor.as_deref().map(place::<i64>).transpose()?);
        let hub = seen.view.state.hubs.get(&c.settings.hub);
        let all = hub.into_iter().flat_map(|hub| &hub.repos).filter(|(_, r)| r.tag == c.settings.build_tag);
        let mut found: Vec<(RepoId, &Repo)> = all.map(|(id, r)| (*id, r)).collect();
        found.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        let matching = found.len();
        let rest = found.into_iter().filter(|(id, _)| before.is_none_or(|before| id.0 < before));
        let item = |(id, r): (RepoId, &Repo)| RepositoryView {
            id: id.0,
            state: r.state.word(),
            koji_event: r.create_event,
            newest: c.newest_repo == Some(id),
            resolved_on: r.resolved.iter().filter(|(of, ..)| of == name).map(|(_, arch, _)| arch.clone()).collect(),
            link: seen.koji.repo(&c.settings.hub, id),
        };
        Ok(List::cut(rest, (limit, matching), |(id, _)| id.0, item))
    }
}

/// The collections to compare.
#[derive(Deserialize, JsonSchema)]
pub(super) struct TwoCollections {
    /// A collection.
    #[schemars(example = &"f43")]
    collection: String,
    /// The other one.
    #[schemars(example = &"f44")]
    other: String,
}

/// A package whose states differ in two collections.
#[derive(Serialize, JsonSchema)]
pub(super) struct Differing {
    package: Name,
    /// Its state in the first collection.
    state: PackageState,
    /// Its state in the other one.
    other: PackageState,
}

pub(super) struct Compare;

impl Operation for Compare {
    const ID: &'static str = "compareCollections";
    const ADDRESS: &'static str = "/api/v2/collections/{collection}/compared-with/{other}";
    const TOPIC: Topic = Topic::Collections;
    const SUMMARY: &'static str = "Where two collections differ";
    const ABOUT: &'static str = "Packages that are in both collections and have different states there, by name.";
    type Path = TwoCollections;
    type Query = PageQuery;
    type Answer<'a> = List<Differing>;
}

impl Shows for Compare {
    fn answer<'a>(seen: &Seen<'a>, path: TwoCollections, query: PageQuery) -> Result<List<Differing>, Refusal> {
        let (_, a) = find(seen.view, &path.collection)?;
        let (_, b) = find(seen.view, &path.other)?;
        let (limit, after) = (query.limit.get()?, query.cursor.as_deref().map(place::<Name>).transpose()?);
        let state = |c: &Collection, package: &Name| Some(c.packages.get(package)?.state(c.settings.track_all));
        let both = a.packages.keys().filter_map(|p| Some((p, state(a, p)?, state(b, p)?)));
        let mut found: Vec<_> = both.filter(|(_, a, b)| a != b).collect();
        found.sort_unstable();
        let matching = found.len();
        let rest = found.into_iter().filter(|(p, ..)| after.as_ref().is_none_or(|after| *p > after));
        let item = |(p, state, other): (&Name, _, _)| Differing { package: p.clone(), state, other };
        Ok(List::cut(rest, (limit, matching), |(package, ..)| (*package).clone(), item))
    }
}
