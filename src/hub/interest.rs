//! Decides which objects on a hub to look at. Messages become keys of objects; equal keys are
//! looked at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Event, Source, findings, package_settings, words};
use crate::fold::{HubState, State};
use crate::log::Incoming;
use crate::message::{self, Context, Interpretation};
use crate::model::{BuildId, Hub, Name, PersonId, RepoId, TaskId, Timestamp};

/// One object on a hub.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HubObject {
    /// A tag's configuration. It comes first, because the tag's content counts only after it.
    TagConfig(Name),
    /// A target.
    Target(Name),
    /// A tag's own package list: the entry of one package, or all entries.
    TagPackages(Name, Option<Name>),
    /// Builds tagged directly in a tag: of one package, or all.
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
    /// Look at this object.
    Look(Hub, HubObject),
    /// The message is the fact, because no hub can be asked about it.
    Fact,
    /// The message concerns nothing we watch. The text says why.
    Nothing(&'static str),
    /// The message cannot be understood. The text says why.
    Rejected(String),
}

/// Which packages of a build tag are to be resolved, as digests.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TrackedOf {
    /// Digests of the packages that are tracked now.
    pub now: String,
    /// Digests of the packages the current verdicts are for, if they differ from those tracked now.
    /// Otherwise empty.
    pub resolved: String,
}

/// What we watch on one hub, computed from the state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interest {
    /// Whether the writer has filled this in. Before that it is not known whether there is anything
    /// to watch.
    pub told: bool,
    /// Build tags of collections. Their repositories are resolved.
    pub build_tags: BTreeSet<Name>,
    /// Dest tags of collections.
    pub dest_tags: BTreeSet<Name>,
    /// All watched tags: dest tags and build tags with all their known ancestors.
    pub tags: BTreeSet<Name>,
    /// For each watched tag: the tag itself and all tags that inherit from it, directly or not.
    pub below: BTreeMap<Name, BTreeSet<Name>>,
    /// Targets of this hub's collections, and targets on this hub that collections of other hubs
    /// build for.
    pub targets: BTreeSet<Name>,
    /// Tags that targets of other hubs' collections lead to. Only their configuration is looked at.
    pub configs: BTreeSet<Name>,
    /// Whether rebuilds are submitted to this hub, so that the load of its builders matters.
    pub builds: bool,
    /// Our tasks that have not ended.
    pub tasks: BTreeSet<TaskId>,
    /// Koji event up to which we have compared with the hub.
    pub through: Option<i64>,
    /// Time of the last comparison.
    pub reconciled_at: Option<Timestamp>,
    /// Newest usable known repository of each build tag: number and Koji event.
    pub repos: Vec<(Name, RepoId, i64)>,
    /// Build tags whose newest repository is not the one the verdicts are from.
    pub unresolved: Vec<(Name, RepoId)>,
    /// Build tags of which only some packages are resolved, and which packages these are
    /// ([`crate::writer::Writer::watch_tracked`]).
    pub tracked: BTreeMap<Name, TrackedOf>,
    /// Repositories that the verdicts of these tags are from: number and Koji event.
    pub resolved: BTreeSet<(Name, RepoId, Option<i64>)>,
}

impl Interest {
    /// Computes what we watch from the state. Cost: O(tags + tasks + repositories) of the hub.
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
        // These tags are looked at whole anyway.
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

    /// Adds the objects whose answers depend on these ones. A tag inherits part of its
    /// configuration, groups and external repositories from its ancestors. A tag's builds are
    /// listed only if their package is in the package list of the tag or an ancestor, and not
    /// blocked (Koji: `readTaggedBuilds`).
    pub fn spread(&self, keys: &BTreeSet<HubObject>) -> BTreeSet<HubObject> {
        // If all of a tag is read, parts of it need not be.
        let is_part = |key: &&HubObject| match key {
            HubObject::TagBuilds(tag, Some(_)) => keys.contains(&HubObject::TagBuilds(tag.clone(), None)),
            HubObject::TagPackages(tag, Some(_)) => keys.contains(&HubObject::TagPackages(tag.clone(), None)),
            HubObject::TagBuilds(_, None)
            | HubObject::TagPackages(_, None)
            | HubObject::TagConfig(_)
            | HubObject::Target(_)
            | HubObject::Build(_)
            | HubObject::Repo(_)
            | HubObject::Repos(_)
            | HubObject::Task(_) => false,
        };
        let mut all: BTreeSet<HubObject> = keys.iter().filter(|k| !is_part(k)).cloned().collect();
        for key in keys {
            match key {
                HubObject::TagConfig(tag) => all.extend(self.below(tag).cloned().map(HubObject::TagConfig)),
                HubObject::TagPackages(tag, Some(package)) => {
                    let below = self.below(tag).filter(|t| !keys.contains(&HubObject::TagBuilds((*t).clone(), None)));
                    all.extend(below.map(|t| HubObject::TagBuilds(t.clone(), Some(package.clone()))));
                }
                HubObject::TagPackages(_, None)
                | HubObject::TagBuilds(..)
                | HubObject::Target(_)
                | HubObject::Build(_)
                | HubObject::Repo(_)
                | HubObject::Repos(_)
                | HubObject::Task(_) => {}
            }
        }
        all
    }

    /// Returns a tag and its watched descendants.
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

/// Returns what a message hints at. Only the object that the message names counts. The content of
/// the message is not trusted.
pub fn hint(message: &Incoming, context: &Context, state: &State) -> Hint {
    let incoming = message::Incoming { id: &message.id, raw: &message.body, sent_at: message.received_at };
    // Hints need no persons, so all names become the empty person.
    let facts = match message::interpret(incoming, context, &mut |_| PersonId::new("")) {
        Interpretation::Facts(facts) => facts,
        Interpretation::Ignored(why) => return Hint::Nothing(why),
        Interpretation::Rejected(why) => return Hint::Rejected(why),
    };
    let Some(fact) = facts.into_iter().next() else { return Hint::Nothing("it says nothing") };
    if fact.source == Source::Bus && context.source == Source::Hub {
        return Hint::Fact;
    }
    let watched = |hub: &Hub, tag: &Name| Interest::of_tags(state, hub).contains(tag);
    let none = Hint::Nothing("it is about a tag of no collection");
    match fact.event {
        Event::BuildTagged(e) if watched(&e.hub, &e.tag) => {
            Hint::Look(e.hub, HubObject::TagBuilds(e.tag, Some(e.name)))
        }
        Event::BuildUntagged(e) if watched(&e.hub, &e.tag) => {
            Hint::Look(e.hub, HubObject::TagBuilds(e.tag, Some(e.name)))
        }
        Event::PackageListChanged(e) if watched(&e.hub, &e.tag) => {
            Hint::Look(e.hub, HubObject::TagPackages(e.tag, Some(e.package)))
        }
        Event::BuildChanged(e) => {
            let ours = |c: &crate::fold::Collection| c.settings.hub == e.hub && c.packages.contains_key(&e.name);
            match state.collections.values().any(ours) {
                true => Hint::Look(e.hub, HubObject::Build(e.build_id)),
                false => Hint::Nothing("it is about a package of no collection"),
            }
        }
        Event::RepoInitialised(e) if builds(state, &e.hub, &e.tag) => Hint::Look(e.hub, HubObject::Repo(e.repo_id)),
        Event::RepoReady(e) if builds(state, &e.hub, &e.tag) => Hint::Look(e.hub, HubObject::Repo(e.repo_id)),
        Event::TaskChanged(e) => Hint::Look(e.hub, HubObject::Task(e.task_id)),
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
        | Event::BuildrootOverrideChanged(_)
        | findings!()
        | package_settings!()
        | words!() => none,
    }
}

/// Adds a tag and all its ancestors. Ignores limits of inheritance links (depth, intransitive): an
/// ancestor that begins to count later is then already known.
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
    /// Returns all tags whose content counts on a hub.
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
