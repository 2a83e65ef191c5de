//! Writes what a hub can be asked for as lines of text, so that a state can be compared with a dump
//! of the hub's tables.
//!
//! A hub that was reconciled must agree with these lines, whatever messages were lost, duplicated
//! or invented before. The lines leave out what can no longer be asked for (builds that once were
//! in a tag, repositories that are gone), and what no collection looks at. They contain:
//!
//! * tags that a collection's build tag or dest tag is or inherits from: architectures,
//!   inheritance, package list, and builds in tagging order. Only builds of packages that a list of
//!   the tag or its parents has and does not block are included, because the hub lists no others;
//! * builds in one of those tags;
//! * targets of collections;
//! * for each build tag that exists, the newest READY repository by Koji event, and every usable
//!   one (READY, EXPIRED) that is not older.
//!
//! Both sides make the same [`HubFacts`]: a state by [`super::State::hub_facts`], a test from
//! tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{HubState, State};
use crate::event::{CollectionSettings, Inheritance};
use crate::model::koji::{BuildState, RepoState};
use crate::model::{BuildId, Hub, Name, Nvr, RepoId};

/// A tag that exists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TagFacts {
    /// Architectures as `getBuildConfig` returns them. `None` if they were not looked up, which
    /// gives no line.
    pub arches: Option<Vec<Name>>,
    /// Direct parents, in any order.
    pub inheritance: Vec<Inheritance>,
    /// The tag's own package list: package, and whether it is blocked.
    pub listed: BTreeMap<Name, bool>,
    /// Builds in the tag itself by package, oldest tagging first.
    pub builds: BTreeMap<Name, Vec<BuildId>>,
}

/// A build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuildFacts {
    /// The build's name.
    pub nvr: Nvr,
    /// The build's state. `None` if it was never looked up.
    pub state: Option<BuildState>,
}

/// A repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepoFacts {
    /// The repository's build tag.
    pub tag: Name,
    /// The repository's state.
    pub state: RepoState,
    /// The Koji event whose content it has.
    pub create_event: Option<i64>,
}

/// The tags and the target that a collection looks at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Watched {
    /// Build tag.
    pub build_tag: Name,
    /// Dest tag.
    pub dest_tag: Name,
    /// Target.
    pub target: Name,
}

impl Watched {
    /// Returns what a collection looks at.
    pub fn by(settings: &CollectionSettings) -> Self {
        Self {
            build_tag: settings.build_tag.clone(),
            dest_tag: settings.dest_tag.clone(),
            target: settings.target.clone(),
        }
    }
}

/// The facts about a hub. It may contain more than is watched. The rest gives no lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HubFacts {
    /// Tags that exist, by name.
    pub tags: BTreeMap<Name, TagFacts>,
    /// Builds by number. Those in a watched tag must be present.
    pub builds: BTreeMap<BuildId, BuildFacts>,
    /// Targets that exist, with build tag and dest tag.
    pub targets: BTreeMap<Name, (Name, Name)>,
    /// Repositories by number, usable or not.
    pub repos: BTreeMap<RepoId, RepoFacts>,
}

impl HubFacts {
    /// Returns the lines to compare, sorted, each once. Cost: O(facts · log facts).
    pub fn lines(&self, hub: &str, watched: &[Watched]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut builds: BTreeSet<BuildId> = BTreeSet::new();
        for name in self.tags_watched(watched) {
            let Some(tag) = self.tags.get(&name) else { continue };
            if let Some(arches) = &tag.arches {
                lines.push(format!("{hub} tag {name} arches {}", arches.join(" ")));
            }
            for link in &tag.inheritance {
                lines.push(format!("{hub} tag {name} inherits {}", link_words(link)));
            }
            for (package, blocked) in &tag.listed {
                let word = if *blocked { "blocked" } else { "listed" };
                lines.push(format!("{hub} tag {name} package {package} {word}"));
            }
            let chain = self.chain(&name);
            let visible = |package: &Name| self.entry(&chain, package) == Some(false);
            for (package, list) in tag.builds.iter().filter(|(p, list)| !list.is_empty() && visible(p)) {
                let mut line = format!("{hub} tag {name} builds {package}");
                for id in list {
                    write!(line, " {id}").expect("writing to a string");
                }
                lines.push(line);
                builds.extend(list);
            }
        }
        for id in builds {
            lines.push(match self.builds.get(&id) {
                Some(b) => {
                    let state = b.state.map_or_else(|| "unseen".to_owned(), |s| format!("{s:?}"));
                    format!("{hub} build {id} {} {state}", b.nvr)
                }
                None => format!("{hub} build {id} unknown"),
            });
        }
        for w in watched {
            if let Some((build, dest)) = self.targets.get(&w.target) {
                lines.push(format!("{hub} target {} {build} {dest}", w.target));
            }
            // If a tag is gone, its repositories cannot be listed by name.
            for (id, repo) in self.repos_that_count(&w.build_tag).filter(|_| self.tags.contains_key(&w.build_tag)) {
                let event = repo.create_event.map(|e| e.to_string()).unwrap_or_default();
                lines.push(format!("{hub} repo {id} {} {:?} {event}", repo.tag, repo.state));
            }
        }
        lines.sort_unstable();
        // Two collections may look at the same tags.
        lines.dedup();
        lines
    }

    /// Returns a tag and the tags it inherits from, like [`HubState::chain`].
    fn chain(&self, tag: &Name) -> Vec<Name> {
        let inherits = |name: &Name, t: &TagFacts| {
            (name.clone(), super::Tag { inheritance: Some(t.inheritance.clone()), ..super::Tag::default() })
        };
        let hub = HubState { tags: self.tags.iter().map(|(n, t)| inherits(n, t)).collect(), ..HubState::default() };
        hub.chain(tag)
    }

    /// Returns whether a package is blocked, according to the nearest package list that has it.
    fn entry(&self, chain: &[Name], package: &Name) -> Option<bool> {
        chain.iter().find_map(|t| self.tags.get(t)?.listed.get(package).copied())
    }

    fn tags_watched(&self, watched: &[Watched]) -> BTreeSet<Name> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Name> = watched.iter().flat_map(|w| [w.build_tag.clone(), w.dest_tag.clone()]).collect();
        while let Some(name) = open.pop() {
            if !found.contains(&name) {
                // Every ancestor counts, even if a link excludes a part of it from this tag.
                // Looking at a tag includes its parents.
                open.extend(self.tags.get(&name).into_iter().flat_map(|t| &t.inheritance).map(|l| l.tag.clone()));
                found.insert(name);
            }
        }
        found
    }

    fn repos_that_count<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = (RepoId, &'a RepoFacts)> {
        let of_tag = move || self.repos.iter().filter(move |(_, r)| r.tag == tag).map(|(id, r)| (*id, r));
        let age = |(id, r): (RepoId, &RepoFacts)| (r.create_event.unwrap_or(i64::MIN), id);
        let newest = of_tag().filter(|(_, r)| r.state == RepoState::Ready).map(age).max();
        let usable = |r: &RepoFacts| matches!(r.state, RepoState::Ready | RepoState::Expired);
        of_tag().filter(move |(id, r)| usable(r) && newest.is_some_and(|newest| age((*id, r)) >= newest))
    }
}

/// Describes a link: priority, parent, and its limits.
fn link_words(link: &Inheritance) -> String {
    let mut words = format!("{} {}", link.priority, link.tag);
    if let Some(depth) = link.max_depth {
        write!(words, " depth {depth}").expect("writing to a string");
    }
    for (is, word) in [(link.intransitive, " intransitive"), (link.no_config, " noconfig")] {
        words.push_str(if is { word } else { "" });
    }
    words
}

/// Returns the digest of the lines, in hex. [`State::facts_digest`] is this digest of a state's
/// facts.
pub fn digest_of(lines: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

impl State {
    /// Returns what a state knows about a hub, ready for comparison, and what its collections look
    /// at there. Cost: O(builds in tags that are looked at).
    pub fn hub_facts(&self, hub: &Hub) -> (HubFacts, Vec<Watched>) {
        let ours = self.collections.values().filter(|c| c.settings.hub == *hub);
        let mut watched: Vec<Watched> = ours.map(|c| Watched::by(&c.settings)).collect();
        watched.sort_unstable();
        watched.dedup();
        let facts = self.hubs.get(hub).map(|h| of_state(h, &watched)).unwrap_or_default();
        (facts, watched)
    }
}

fn of_state(hub: &HubState, watched: &[Watched]) -> HubFacts {
    let mut facts = HubFacts::default();
    let mut open: Vec<Name> = watched.iter().flat_map(|w| [w.build_tag.clone(), w.dest_tag.clone()]).collect();
    while let Some(name) = open.pop() {
        let Some(tag) = hub.tags.get(&name).filter(|t| !t.gone && !facts.tags.contains_key(&name)) else { continue };
        let mut seen = TagFacts {
            arches: tag.arches.clone(),
            inheritance: tag.inheritance.clone().unwrap_or_default(),
            ..TagFacts::default()
        };
        for (package, p) in &tag.packages {
            if let Some(blocked) = p.blocked() {
                seen.listed.insert(package.clone(), blocked);
            }
            if !p.builds.is_empty() {
                seen.builds.insert(package.clone(), p.builds.iter().map(|b| b.build).collect());
            }
            for b in &p.builds {
                if let Some(build) = hub.builds.get(&b.build) {
                    facts.builds.insert(b.build, BuildFacts { nvr: build.nvr.clone(), state: build.state });
                }
            }
        }
        open.extend(seen.inheritance.iter().map(|l| l.tag.clone()));
        facts.tags.insert(name, seen);
    }
    facts.targets = hub.targets.iter().map(|(n, t)| (n.clone(), t.clone())).collect();
    let seen = |r: &super::Repo| RepoFacts { tag: r.tag.clone(), state: r.state, create_event: r.create_event };
    facts.repos = hub.repos.iter().map(|(id, r)| (*id, seen(r))).collect();
    facts
}
