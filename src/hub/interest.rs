//! What to look at, and why: hints become keys, equal keys are looked at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Event, findings, words};
use crate::fold::{HubState, State};
use crate::log::Incoming;
use crate::message::koji_message::{self, Context, Interpretation};
use crate::model::{BuildId, Hub, Name, PersonId, RepoId, TaskId, Timestamp};

/// One object on a hub.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// A tag's configuration; first, because what is in it counts only then.
    TagConfig(Name),
    /// A target.
    Target(Name),
    /// A tag's own package list: one entry, or all.
    TagPackages(Name, Option<Name>),
    /// Builds of a tag itself: of one package, or all.
    TagBuilds(Name, Option<Name>),
    /// A build.
    Build(BuildId),
    /// A repository.
    Repo(RepoId),
    /// The usable repositories of a build tag.
    Repos(Name),
    /// A scratch build of ours.
    Task(TaskId),
}

/// What a message asks us to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hint {
    /// Look there.
    Look(Hub, Key),
    /// It concerns nothing of ours.
    Nothing(&'static str),
    /// It cannot be understood.
    Rejected(String),
}

/// Which packages of a build tag are to be resolved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TrackedOf {
    /// Stands for those that are tracked.
    pub now: String,
    /// Stands for those verdicts were made for, where those are others; else empty.
    pub resolved: String,
}

/// What we care about on one hub, as the state has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interest {
    /// The writer has said so: before that it is not known whether there is anything.
    pub told: bool,
    /// Build tags of collections: their repositories are resolved.
    pub build_tags: BTreeSet<Name>,
    /// Dest tags of collections.
    pub dest_tags: BTreeSet<Name>,
    /// All tags that are looked at: dest tags and build tags with all their ancestors, as far as known.
    pub tags: BTreeSet<Name>,
    /// For each of these tags those that inherit from it, directly or not, and itself.
    pub below: BTreeMap<Name, BTreeSet<Name>>,
    /// Targets of collections: those of this hub, and those that builds of collections of other hubs go to.
    pub targets: BTreeSet<Name>,
    /// Tags that such targets lead to: of them only the configuration is looked at.
    pub configs: BTreeSet<Name>,
    /// Something is built here, so that it matters how busy builders are.
    pub builds: bool,
    /// Our tasks that have not ended.
    pub tasks: BTreeSet<TaskId>,
    /// Compared with the hub up to this event.
    pub through: Option<i64>,
    /// When it last was.
    pub reconciled_at: Option<Timestamp>,
    /// Newest usable repository known, per build tag: number and Koji event.
    pub repos: Vec<(Name, RepoId, i64)>,
    /// Build tags whose newest repository is not what the verdicts are from.
    pub unresolved: Vec<(Name, RepoId)>,
    /// Build tags of which only some packages are resolved, and which these are
    /// ([`crate::writer::Writer::watch_tracked`]).
    pub tracked: BTreeMap<Name, TrackedOf>,
    /// The repositories verdicts of these tags are from: number and Koji event.
    pub resolved: BTreeSet<(Name, RepoId, Option<i64>)>,
}

impl Interest {
    /// From the state. Cost: O(tags + tasks + repositories) of the hub.
    pub fn of(state: &State, hub: &Hub) -> Self {
        let mut watch = Self { told: true, ..Self::default() };
        let building = || state.collections.values().filter(|c| c.settings.building_hub() == hub);
        watch.builds = building().next().is_some();
        let guests = || building().filter(|c| c.settings.builds_elsewhere());
        watch.targets.extend(guests().map(|c| c.settings.building().1.clone()));
        let Some(h) = state.hubs.get(hub) else {
            for c in state.collections.values().filter(|c| c.settings.hub == *hub) {
                watch.collection(&c.settings);
            }
            return watch;
        };
        watch.through = h.reconciled_through;
        watch.reconciled_at = h.reconciled_at;
        for c in state.collections.values().filter(|c| c.settings.hub == *hub) {
            watch.collection(&c.settings);
            ancestry(h, &c.settings.build_tag, &mut watch.tags);
            ancestry(h, &c.settings.dest_tag, &mut watch.tags);
            if let Some((id, repo)) = c.newest_repo.and_then(|id| Some((id, h.repos.get(&id)?))) {
                watch.repos.push((c.settings.build_tag.clone(), id, repo.create_event.unwrap_or(0)));
                if !c.arches.values().any(|a| a.repo_id == Some(id) || a.group_repo == Some(id)) {
                    watch.unresolved.push((c.settings.build_tag.clone(), id));
                }
            }
        }
        for (build, dest) in guests().filter_map(|c| h.targets.get(c.settings.building().1)) {
            watch.configs.extend([build.clone(), dest.clone()]);
        }
        // These are looked at whole.
        watch.configs.retain(|t| !watch.tags.contains(t));
        for tag in &watch.tags {
            let mut above = BTreeSet::new();
            ancestry(h, tag, &mut above);
            for ancestor in above {
                watch.below.entry(ancestor).or_default().insert(tag.clone());
            }
        }
        watch.tasks = h
            .tasks
            .iter()
            .filter(|(_, t)| !t.state.is_final() && t.outcome.is_none_or(|o| o == crate::model::Outcome::TimedOut))
            .map(|(id, _)| *id)
            .collect();
        let submitted = state.rebuilds.values().filter_map(|r| r.task.as_ref());
        watch.tasks.extend(submitted.filter(|(on, task)| on == hub && !h.tasks.contains_key(task)).map(|(_, t)| *t));
        watch
    }

    /// The objects whose answers depend on these: what a tag says of its configuration, groups and external
    /// repositories comes in part from its ancestors, and builds are listed only as far as their package is, in the tag
    /// or an ancestor, and not blocked (Koji: `readTaggedBuilds`).
    pub fn spread(&self, keys: &BTreeSet<Key>) -> BTreeSet<Key> {
        // Where all is read, parts need not be.
        let is_part = |key: &&Key| match key {
            Key::TagBuilds(tag, Some(_)) => keys.contains(&Key::TagBuilds(tag.clone(), None)),
            Key::TagPackages(tag, Some(_)) => keys.contains(&Key::TagPackages(tag.clone(), None)),
            Key::TagBuilds(_, None)
            | Key::TagPackages(_, None)
            | Key::TagConfig(_)
            | Key::Target(_)
            | Key::Build(_)
            | Key::Repo(_)
            | Key::Repos(_)
            | Key::Task(_) => false,
        };
        let mut all: BTreeSet<Key> = keys.iter().filter(|k| !is_part(k)).cloned().collect();
        for key in keys {
            match key {
                Key::TagConfig(tag) => all.extend(self.below(tag).cloned().map(Key::TagConfig)),
                Key::TagPackages(tag, Some(package)) => {
                    let below = self.below(tag).filter(|t| !keys.contains(&Key::TagBuilds((*t).clone(), None)));
                    all.extend(below.map(|t| Key::TagBuilds(t.clone(), Some(package.clone()))));
                }
                Key::TagPackages(_, None)
                | Key::TagBuilds(..)
                | Key::Target(_)
                | Key::Build(_)
                | Key::Repo(_)
                | Key::Repos(_)
                | Key::Task(_) => {}
            }
        }
        all
    }

    /// A tag's descendants among those that are looked at, and itself.
    pub fn below(&self, tag: &str) -> impl Iterator<Item = &Name> {
        self.below.get(tag).into_iter().flatten()
    }

    fn collection(&mut self, settings: &crate::event::CollectionSettings) {
        self.build_tags.insert(settings.build_tag.clone());
        self.dest_tags.insert(settings.dest_tag.clone());
        self.tags.insert(settings.build_tag.clone());
        self.tags.insert(settings.dest_tag.clone());
        self.targets.insert(settings.target.clone());
    }
}

/// What a message hints at. It is never taken at its word: only which object it speaks of counts.
pub fn hint(message: &Incoming, context: &Context, state: &State) -> Hint {
    let incoming = koji_message::Incoming { id: &message.id, raw: &message.body, sent_at: message.received_at };
    // Whoever is named in it is not asked for, so nobody needs a stand-in.
    let facts = match koji_message::interpret(incoming, context, &mut |_| PersonId::new("")) {
        Interpretation::Facts(facts) => facts,
        Interpretation::Ignored(why) => return Hint::Nothing(why),
        Interpretation::Rejected(why) => return Hint::Rejected(why),
    };
    let Some(fact) = facts.into_iter().next() else { return Hint::Nothing("it says nothing") };
    let watched = |hub: &Hub, tag: &Name| Interest::of_tags(state, hub).contains(tag);
    let none = Hint::Nothing("it is about a tag of no collection");
    match fact.event {
        Event::BuildTagged(e) if watched(&e.hub, &e.tag) => Hint::Look(e.hub, Key::TagBuilds(e.tag, Some(e.name))),
        Event::BuildUntagged(e) if watched(&e.hub, &e.tag) => Hint::Look(e.hub, Key::TagBuilds(e.tag, Some(e.name))),
        Event::PackageListChanged(e) if watched(&e.hub, &e.tag) => {
            Hint::Look(e.hub, Key::TagPackages(e.tag, Some(e.package)))
        }
        Event::BuildChanged(e) => {
            let ours = |c: &crate::fold::Collection| c.settings.hub == e.hub && c.packages.contains_key(&e.name);
            match state.collections.values().any(ours) {
                true => Hint::Look(e.hub, Key::Build(e.build_id)),
                false => Hint::Nothing("it is about a package of no collection"),
            }
        }
        Event::RepoInitialised(e) if builds(state, &e.hub, &e.tag) => Hint::Look(e.hub, Key::Repo(e.repo_id)),
        Event::RepoReady(e) if builds(state, &e.hub, &e.tag) => Hint::Look(e.hub, Key::Repo(e.repo_id)),
        Event::TaskChanged(e) => Hint::Look(e.hub, Key::Task(e.task_id)),
        Event::BuildTagged(_)
        | Event::BuildUntagged(_)
        | Event::PackageListChanged(_)
        | Event::RepoInitialised(_)
        | Event::RepoReady(_)
        | Event::BuildrootRecorded(_)
        | Event::TagObserved(_)
        | Event::TargetObserved(_)
        | Event::RepoExpired(_)
        | Event::RepoDeleted(_)
        | Event::TaskVanished(_)
        | findings!()
        | words!() => none,
    }
}

/// Adds a tag and all its ancestors, those included that a link keeps from it (depth, intransitive): who looks at a tag
/// looks at its parents, so that one that begins to count is known already.
fn ancestry(hub: &HubState, tag: &Name, tags: &mut BTreeSet<Name>) {
    let mut open = vec![tag.clone()];
    let mut walked = BTreeSet::new();
    while let Some(tag) = open.pop() {
        if walked.insert(tag.clone()) {
            let links = hub.tags.get(&tag).and_then(|t| t.inheritance.as_ref());
            open.extend(links.into_iter().flatten().map(|l| l.tag.clone()));
        }
    }
    tags.extend(walked);
}

fn builds(state: &State, hub: &Hub, tag: &Name) -> bool {
    state.collections.values().any(|c| c.settings.hub == *hub && c.settings.build_tag == *tag)
}

impl Interest {
    /// All tags whose content counts on a hub.
    fn of_tags(state: &State, hub: &Hub) -> BTreeSet<Name> {
        let mut tags = BTreeSet::new();
        for c in state.collections.values().filter(|c| c.settings.hub == *hub) {
            let of = |tag: &Name, tags: &mut BTreeSet<Name>| match state.hubs.get(hub) {
                Some(h) => ancestry(h, tag, tags),
                None => {
                    tags.insert(tag.clone());
                }
            };
            of(&c.settings.build_tag, &mut tags);
            of(&c.settings.dest_tag, &mut tags);
        }
        tags
    }
}

#[cfg(test)]
#[path = "interest_tests.rs"]
mod tests;
