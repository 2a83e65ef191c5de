//! From what was seen to what is news: pure.
//!
//! Compared is with the state at the moment of appending, so an answer may come late or twice and says nothing new then. Each fact's
//! identity is what it is: table, key and Koji event.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};
use smol_str::SmolStr;

use super::keys::Key;
use super::seen::{BuildSeen, Observation, RepoSeen, Seen, TagSeen, TaggedSeen, TaskSeen, Why};
use crate::event::{
    BuildChanged, BuildTagged, BuildUntagged, Event, FactId, NewEvent, PackageListAction, PackageListChanged,
    RepoDeleted, RepoExpired, RepoInitialised, RepoReady, Source, TagObserved, TargetObserved, TaskChanged,
    TaskVanished,
};
use crate::fold::{HubState, State, Tag};
use crate::model::koji::{BuildState, RepoState, TaskState};
use crate::model::{BuildId, Hub, Name, RepoId, TagId, TaskId, Timestamp};

/// What is younger than this may have a message that is still on its way.
const YOUNG_MICROS: i64 = 60_000_000;

/// What an observation adds to the state, in the order it has to be appended.
#[derive(Debug, Default)]
pub struct News {
    /// The facts.
    pub facts: Vec<NewEvent>,
    /// How many of them tell what is there and was not known, though a message should have told: not counted are tasks nobody has taken and repositories that ended (Koji sends no message), what
    /// is younger than a minute, and what is read of a tag, target or hub for the first time.
    pub missed: u32,
    /// How many take back what was known and is not (any more), without the same.
    pub invented: u32,
}

/// Compares. Cost: O(seen); O(tag) for a whole tag.
pub fn differences(state: &State, look: &Observation) -> News {
    let nothing = HubState::default();
    let hub = state.hubs.get(&look.hub).unwrap_or(&nothing);
    let mut compare = Compare::new(hub, look);
    // With a tag goes everything in it; saying so of each build and package would be thousands of facts that say nothing.
    let gone: FxHashSet<&Name> = look.seen.iter().filter_map(tag_that_is_gone).collect();
    for seen in &look.seen {
        compare.note_lists(seen);
    }
    for seen in &look.seen {
        compare.quiet = compare.needs_no_message(seen);
        match seen {
            Seen::Tag(t) => compare.tag(t),
            Seen::TagBuilds { tag, .. } | Seen::TagPackages { tag, .. } if gone.contains(tag) => {}
            Seen::TagBuilds { tag, package, builds } => compare.tag_builds(tag, package.as_ref(), builds),
            Seen::TagPackages { tag, package, listed } => compare.tag_packages(tag, package.as_ref(), listed),
            Seen::Target(name, there) => compare.target(state, name, there.as_ref()),
            Seen::Build(b) => compare.build(b),
            Seen::Repo(r) => compare.repo(r),
            Seen::Repos { tag, usable, from, later } => compare.repos(tag, usable, *from, later),
            Seen::Task(t) => compare.task(t),
            Seen::NoTask(id) => compare.no_task(state, *id),
        }
    }
    compare.news
}

fn tag_that_is_gone(seen: &Seen) -> Option<&Name> {
    match seen {
        Seen::Tag(t) if t.gone => Some(&t.tag),
        _ => None,
    }
}

struct Compare<'a> {
    hub: &'a HubState,
    look: &'a Observation,
    news: News,
    /// That what is compared now is news is nobody's fault.
    quiet: bool,
    /// The last fact was counted.
    counted: bool,
    /// Builds that were compared in this look already.
    builds: FxHashSet<BuildId>,
    /// Entries of package lists that this look has seen: tag, package, whether it is blocked; `None`: not in the list.
    entries: FxHashMap<(&'a Name, &'a Name), Option<bool>>,
    /// Tags whose whole lists it has seen.
    whole: FxHashSet<&'a Name>,
}

impl<'a> Compare<'a> {
    fn new(hub: &'a HubState, look: &'a Observation) -> Self {
        Self {
            hub,
            look,
            news: News::default(),
            quiet: false,
            counted: false,
            builds: FxHashSet::default(),
            entries: FxHashMap::default(),
            whole: FxHashSet::default(),
        }
    }

    fn note_lists(&mut self, seen: &'a Seen) {
        let Seen::TagPackages { tag, package, listed } = seen else { return };
        match package {
            Some(package) => {
                self.entries.insert((tag, package), None);
            }
            None => {
                self.whole.insert(tag);
            }
        }
        self.entries.extend(listed.iter().map(|(package, blocked)| ((tag, package), Some(*blocked))));
    }

    /// Whether a package is blocked for a tag: the nearest package list that has it decides.
    fn is_blocked(&self, chain: &[Name], package: &Name) -> bool {
        let entry = |tag: &Name| match self.entries.get(&(tag, package)) {
            Some(seen) => *seen,
            None if self.whole.contains(tag) => None,
            None => self.hub.tags.get(tag).and_then(|t| t.packages.get(package)).and_then(|p| p.blocked),
        };
        chain.iter().find_map(entry) == Some(true)
    }
}

impl Compare<'_> {
    /// Notes a fact. `key` says what it is, without the hub; `None`: only comparing tells that it is new.
    fn fact(&mut self, event: impl Into<Event>, key: Option<String>, koji_event: Option<i64>, at: Option<Timestamp>) {
        let young = at.is_some_and(|at| self.is_young(at));
        self.counted = !self.quiet && !young;
        self.news.missed += u32::from(self.counted);
        self.news.facts.push(NewEvent {
            event: event.into(),
            occurred_at: at.unwrap_or(self.look.at),
            source: match self.look.why {
                Why::Hint => Source::Hub,
                Why::Reconciliation => Source::Reconciliation,
            },
            fact: key.map(|key| FactId::of(&format!("{}/{key}", self.look.hub))),
            koji_event,
            causation: None,
            correlation: None,
        });
    }

    /// The last fact takes something back.
    fn takes_back(&mut self) {
        self.news.missed -= u32::from(self.counted);
        self.news.invented += u32::from(self.counted);
    }

    /// Does something of which no message could have told, if `so`.
    fn quietly(&mut self, so: bool, what: impl FnOnce(&mut Self)) {
        let before = self.quiet;
        self.quiet |= so;
        what(self);
        self.quiet = before;
    }

    fn is_young(&self, at: Timestamp) -> bool {
        self.look.at.since(at) < YOUNG_MICROS
    }

    /// Whether nothing was lost when this was not known: it is read for the first time, or its change is too young.
    fn needs_no_message(&self, seen: &Seen) -> bool {
        let first_of_tag = |tag: &Name| self.hub.tags.get(tag).is_none_or(|t| t.id.is_none());
        let first_of_repos = |tag: &Name| !self.hub.repos.values().any(|r| r.tag == *tag);
        let fresh = |key: Key| self.look.fresh.contains(&key);
        self.hub.reconciled_through.is_none()
            || match seen {
                Seen::Tag(t) => first_of_tag(&t.tag),
                Seen::TagBuilds { tag, package, .. } => {
                    first_of_tag(tag) || fresh(Key::TagBuilds(tag.clone(), package.clone()))
                }
                Seen::TagPackages { tag, package, .. } => {
                    first_of_tag(tag) || fresh(Key::TagPackages(tag.clone(), package.clone()))
                }
                Seen::Target(name, _) => !self.hub.targets.contains_key(name),
                Seen::Repo(r) => first_of_repos(&r.tag),
                Seen::Repos { tag, .. } => first_of_repos(tag),
                Seen::Build(_) | Seen::Task(_) | Seen::NoTask(_) => false,
            }
    }

    fn hub(&self) -> Hub {
        self.look.hub.clone()
    }

    fn tag_id(&self, tag: &str) -> Option<TagId> {
        self.hub.tags.get(tag).and_then(|t| t.id)
    }

    fn tag(&mut self, seen: &TagSeen) {
        let known = self.hub.tags.get(&seen.tag);
        if seen.gone {
            if known.is_some_and(|t| !t.gone) {
                let event = TagObserved { gone: true, ..blank(self.hub(), seen.tag.clone()) };
                self.fact(event, None, Some(self.look.event), None);
                self.takes_back();
            }
            return;
        }
        let nothing = Tag::default();
        let known = known.unwrap_or(&nothing);
        // Only what is news; parts that were not asked for, or are as they were, stay out.
        let event = TagObserved {
            tag_id: seen.tag_id.filter(|id| known.id != Some(*id)),
            arches: news(&seen.arches, &known.arches),
            inheritance: news(&seen.inheritance, &known.inheritance),
            groups: news(&seen.groups, &known.groups),
            external_repos: news(&seen.external_repos, &known.external_repos),
            ..blank(self.hub(), seen.tag.clone())
        };
        if event != blank(self.hub(), seen.tag.clone()) || known.gone {
            self.fact(event, None, Some(self.look.event), None);
        }
    }

    fn tag_builds(&mut self, tag: &Name, package: Option<&Name>, builds: &[TaggedSeen]) {
        let mut there: FxHashMap<&Name, Vec<&TaggedSeen>> = FxHashMap::default();
        for t in builds {
            there.entry(&t.build.nvr.name).or_default().push(t);
        }
        let mut order: Vec<&TaggedSeen> = builds.iter().collect();
        order.sort_by_key(|t| (t.create_event, t.build.build_id));
        for seen in order {
            self.build(&seen.build);
            let known = self.tagged(tag, &seen.build.nvr.name).iter().find(|b| b.build == seen.build.build_id);
            // Known without an event, or from an older tagging: a forced re-tag.
            if known.is_none_or(|b| b.event.is_none_or(|e| e < seen.create_event)) {
                self.put_in(tag, seen);
            }
        }
        let names: Vec<Name> = match package {
            Some(name) => vec![name.clone()],
            None => self.hub.tags.get(tag).map(|t| t.packages.keys().cloned().collect()).unwrap_or_default(),
        };
        let chain = self.hub.chain(tag);
        for name in names {
            // Of a blocked package nothing is listed, whatever is in the tag; what became of its builds is seen when it is unblocked.
            if !there.contains_key(&name) && self.is_blocked(&chain, &name) {
                continue;
            }
            let here = there.get(&name).map_or(&[][..], Vec::as_slice);
            let gone: Vec<(BuildId, Option<i64>)> = self
                .tagged(tag, &name)
                .iter()
                .filter(|b| !here.iter().any(|t| t.build.build_id == b.build))
                // Tagged after we looked: this answer is too old to say anything about it.
                .filter(|b| b.event.is_none_or(|e| e <= self.look.event))
                .map(|b| (b.build, b.event))
                .collect();
            for (build, created) in gone {
                self.take_out(tag, build, created);
            }
        }
    }

    fn tagged(&self, tag: &str, package: &str) -> &[crate::fold::TaggedBuild] {
        let package = self.hub.tags.get(tag).and_then(|t| t.packages.get(package));
        package.map_or(&[], |p| p.builds.as_slice())
    }

    fn put_in(&mut self, tag: &Name, seen: &TaggedSeen) {
        let (b, event) = (&seen.build, seen.create_event);
        let fact = BuildTagged {
            hub: self.hub(),
            tag: tag.clone(),
            tag_id: self.tag_id(tag),
            build_id: b.build_id,
            name: b.nvr.name.clone(),
            version: b.nvr.version.clone(),
            release: b.nvr.release.clone(),
            by: None,
        };
        let young = self.look.settled.is_some_and(|settled| event > settled);
        let key = format!("tag_listing/{tag}/{}/create/{event}", b.build_id);
        self.quietly(young, |c| c.fact(fact, Some(key), Some(event), seen.tagged_at));
    }

    fn take_out(&mut self, tag: &Name, build: BuildId, created: Option<i64>) {
        let Some(known) = self.hub.builds.get(&build) else { return };
        let fact = BuildUntagged {
            hub: self.hub(),
            tag: tag.clone(),
            tag_id: self.tag_id(tag),
            build_id: build,
            name: known.nvr.name.clone(),
            version: known.nvr.version.clone(),
            release: known.nvr.release.clone(),
            by: None,
        };
        // The row is named by the event that made it; which event ended it is not asked for.
        // At the same event a forced re-tag puts it in again, so this was later.
        let key = created.map(|e| format!("tag_listing/{tag}/{build}/revoke/{e}"));
        self.fact(fact, key, Some(self.look.event.max(created.map_or(0, |e| e + 1))), None);
        self.takes_back();
    }

    fn tag_packages(&mut self, tag: &Name, package: Option<&Name>, listed: &[(Name, bool)]) {
        let there: BTreeMap<&Name, bool> = listed.iter().map(|(n, b)| (n, *b)).collect();
        for (name, blocked) in &there {
            let known = self.hub.tags.get(tag).and_then(|t| t.packages.get(*name)).and_then(|p| p.blocked);
            if known == Some(*blocked) {
                continue;
            }
            let action = match (known, *blocked) {
                (None, false) => PackageListAction::Add,
                (_, true) => PackageListAction::Block,
                (Some(_), false) => PackageListAction::Unblock,
            };
            self.list_changed(tag, name, action, Some(*blocked));
        }
        let names: Vec<Name> = match package {
            Some(name) => vec![name.clone()],
            None => {
                let packages = self.hub.tags.get(tag).map(|t| &t.packages);
                packages.into_iter().flatten().filter(|(_, p)| p.blocked.is_some()).map(|(n, _)| n.clone()).collect()
            }
        };
        for name in names {
            let known = self.hub.tags.get(tag).and_then(|t| t.packages.get(&name)).and_then(|p| p.blocked);
            if known.is_some() && !there.contains_key(&name) {
                self.list_changed(tag, &name, PackageListAction::Remove, None);
                self.takes_back();
            }
        }
    }

    fn list_changed(&mut self, tag: &Name, package: &Name, action: PackageListAction, blocked: Option<bool>) {
        let fact = PackageListChanged {
            hub: self.hub(),
            tag: tag.clone(),
            package: package.clone(),
            action,
            blocked,
            by: None,
        };
        self.fact(fact, None, Some(self.look.event), None);
    }

    fn target(&mut self, state: &State, target: &Name, there: Option<&(Name, Name)>) {
        let known = self.hub.targets.get(target);
        let (build_tag, dest_tag) = there.cloned().unzip();
        let fact = TargetObserved { hub: self.hub(), target: target.clone(), build_tag, dest_tag };
        if there.is_some() {
            if known != there {
                self.fact(fact, None, Some(self.look.event), None);
            }
            return;
        }
        let theirs = |c: &crate::fold::Collection| c.settings.building() == (&self.look.hub, target);
        let unaware = state.collections.values().any(|c| theirs(c) && !c.target_gone);
        if known.is_some() || unaware {
            self.fact(fact, None, Some(self.look.event), None);
            self.takes_back();
        }
    }

    fn build(&mut self, seen: &BuildSeen) {
        if !self.builds.insert(seen.build_id) {
            return;
        }
        let known = self.hub.builds.get(&seen.build_id);
        let old = known.and_then(|b| b.state);
        if let Some(b) = known
            && old == Some(seen.state)
            && b.nvr == seen.nvr
            && b.task_id == seen.task_id.or(b.task_id)
            && b.epoch == seen.epoch
            && b.completed_at == seen.completed_at.or(b.completed_at)
        {
            return;
        }
        // An end without a time would look like another end each time it is seen.
        let completed_at =
            seen.completed_at.or_else(|| (seen.state != BuildState::Building).then_some(()).and(seen.created_at));
        let fact = BuildChanged {
            hub: self.hub(),
            build_id: seen.build_id,
            name: seen.nvr.name.clone(),
            epoch: seen.epoch,
            version: seen.nvr.version.clone(),
            release: seen.nvr.release.clone(),
            old,
            state: seen.state,
            task_id: seen.task_id,
            created_at: seen.created_at,
            completed_at,
            by: None,
        };
        let at = seen.completed_at.or(seen.created_at);
        self.fact(fact, None, None, at);
    }

    fn repo(&mut self, seen: &RepoSeen) {
        let known = self.hub.repos.get(&seen.repo_id);
        let old = known.map(|r| r.state);
        let fresher = known.is_some_and(|r| r.create_event.is_none() && seen.create_event.is_some());
        if old == Some(seen.state) && !fresher {
            return;
        }
        let (hub, repo_id, tag) = (self.hub(), seen.repo_id, seen.tag.clone());
        let key = |word: &str| Some(format!("repo/{repo_id}/{word}"));
        let young = seen.since.is_some_and(|at| self.is_young(at))
            || seen.create_event.zip(self.look.settled).is_some_and(|(event, settled)| event > settled);
        match seen.state {
            RepoState::Init if old.is_none() => {
                let fact = RepoInitialised { hub, repo_id, tag, tag_id: seen.tag_id };
                self.quietly(young, |c| c.fact(fact, key("init"), seen.create_event, None));
            }
            RepoState::Ready if old.is_none() || old == Some(RepoState::Init) || fresher => {
                let fact = RepoReady {
                    hub,
                    repo_id,
                    tag,
                    tag_id: seen.tag_id,
                    create_event: seen.create_event,
                    arches: seen.arches.clone(),
                };
                self.quietly(young, |c| c.fact(fact, key("ready"), seen.create_event, None));
            }
            RepoState::Expired if matches!(old, None | Some(RepoState::Init | RepoState::Ready)) => {
                // Of an end no message tells.
                self.quietly(true, |c| {
                    c.fact(RepoExpired { hub, repo_id, tag }, key("expired"), seen.create_event, None)
                });
            }
            RepoState::Deleted | RepoState::Problem
                if matches!(old, Some(RepoState::Init | RepoState::Ready | RepoState::Expired)) =>
            {
                self.quietly(true, |c| {
                    c.fact(RepoDeleted { hub, repo_id, tag }, key("deleted"), seen.create_event, None)
                });
            }
            _ => {}
        }
    }

    fn repos(&mut self, tag: &Name, usable: &[RepoSeen], from: Option<RepoId>, later: &[RepoId]) {
        for seen in usable.iter().filter(|r| !later.contains(&r.repo_id)) {
            self.repo(seen);
        }
        let gone: Vec<_> = self
            .hub
            .repos
            .iter()
            .filter(|(id, r)| {
                let was_usable = matches!(r.state, RepoState::Ready | RepoState::Expired);
                let asked = from.is_none_or(|from| **id >= from);
                r.tag == *tag && was_usable && asked && !usable.iter().any(|u| u.repo_id == **id)
            })
            // Made after we looked.
            .filter(|(_, r)| r.create_event.is_none_or(|e| e <= self.look.event))
            .map(|(id, r)| (*id, r.create_event))
            .collect();
        for (repo_id, event) in gone {
            let fact = RepoDeleted { hub: self.hub(), repo_id, tag: tag.clone() };
            self.quietly(true, |c| c.fact(fact, Some(format!("repo/{repo_id}/deleted")), event, None));
        }
    }

    fn task(&mut self, seen: &TaskSeen) {
        if let Some(known) = self.hub.tasks.get(&seen.task_id)
            && known.state == seen.state
            && (known.repo_id == seen.repo_id || seen.repo_id.is_none())
            && (!seen.state.is_final() || known.finished_at == seen.finished_at.or(known.finished_at))
        {
            return;
        }
        let at = if seen.state.is_final() { seen.finished_at } else { seen.started_at.or(seen.created_at) };
        let fact = TaskChanged {
            hub: self.hub(),
            task_id: seen.task_id,
            state: seen.state,
            package: seen.nvr.name.clone(),
            nvr: Some(seen.nvr.clone()),
            target: seen.target.clone(),
            repo_id: seen.repo_id,
            arches: seen.arches.clone(),
            decision: seen.decision.clone(),
            created_at: seen.created_at,
            started_at: seen.started_at,
            finished_at: seen.finished_at,
            children: if seen.state.is_final() { seen.children.clone() } else { Vec::new() },
            fault: seen.fault.clone(),
        };
        // That a task was made, no message tells.
        self.quietly(seen.state == TaskState::Free, |c| c.fact(fact, None, None, at));
    }
}

impl Compare<'_> {
    /// Nobody will ever tell how it ended.
    /// Perhaps nothing was ever heard of it but that it was submitted.
    fn no_task(&mut self, state: &State, task_id: TaskId) {
        let package = match self.hub.tasks.get(&task_id) {
            Some(known) if known.state.is_final() => return,
            Some(known) => known.package.clone(),
            None => {
                let ours = |r: &&crate::fold::OpenRebuild| {
                    r.task.as_ref().is_some_and(|(hub, task)| (hub, *task) == (&self.look.hub, task_id))
                };
                let Some(open) = state.rebuilds.values().find(ours) else { return };
                open.package.clone()
            }
        };
        let fact = TaskVanished { hub: self.hub(), task_id, package };
        self.fact(fact, Some(format!("task/{task_id}/vanished")), None, None);
        self.takes_back();
    }
}

/// A part of a tag's configuration where it was asked for and differs.
fn news<T: Clone + PartialEq>(seen: &Option<T>, known: &Option<T>) -> Option<T> {
    seen.clone().filter(|_| seen != known)
}

fn blank(hub: Hub, tag: SmolStr) -> TagObserved {
    TagObserved {
        hub,
        tag,
        tag_id: None,
        gone: false,
        arches: None,
        inheritance: None,
        groups: None,
        external_repos: None,
    }
}

#[cfg(test)]
#[path = "differences_tests.rs"]
mod tests;
