//! What to look at, and why: hints become keys, equal keys are looked at once.

use std::collections::BTreeSet;

use crate::bus::koji_message::{self, Context, Interpretation};
use crate::event::Event;
use crate::fold::State;
use crate::log::Incoming;
use crate::model::{BuildId, Hub, Name, PersonId, RepoId, TaskId};

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

/// What we care about on one hub, as the state has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// Build tags of collections: their repositories are resolved.
    pub build_tags: BTreeSet<Name>,
    /// Dest tags of collections.
    pub dest_tags: BTreeSet<Name>,
    /// All tags whose content counts: dest tags and build tags with what they inherit from, as far as known.
    pub tags: BTreeSet<Name>,
    /// Targets of collections.
    pub targets: BTreeSet<Name>,
    /// Our tasks that have not ended.
    pub tasks: BTreeSet<TaskId>,
    /// Compared with the hub up to this event.
    pub through: Option<i64>,
    /// Newest usable repository known, per build tag: number and Koji event.
    pub repos: Vec<(Name, RepoId, i64)>,
    /// Build tags whose newest repository is not what the verdicts are from.
    pub unresolved: Vec<(Name, RepoId)>,
}

impl Watch {
    /// From the state. Cost: O(tags + tasks + repositories) of the hub.
    pub fn of(state: &State, hub: &Hub) -> Self {
        let mut watch = Self::default();
        let Some(h) = state.hubs.get(hub) else {
            for c in state.collections.values().filter(|c| c.settings.hub == *hub) {
                watch.collection(&c.settings);
            }
            return watch;
        };
        watch.through = h.reconciled_through;
        for c in state.collections.values().filter(|c| c.settings.hub == *hub) {
            watch.collection(&c.settings);
            watch.tags.extend(h.chain(&c.settings.build_tag));
            watch.tags.extend(h.chain(&c.settings.dest_tag));
            if let Some((id, repo)) = c.newest_repo.and_then(|id| Some((id, h.repos.get(&id)?))) {
                watch.repos.push((c.settings.build_tag.clone(), id, repo.create_event.unwrap_or(0)));
                if !c.arches.values().any(|a| a.repo_id == Some(id) || a.group_repo == Some(id)) {
                    watch.unresolved.push((c.settings.build_tag.clone(), id));
                }
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
    let incoming = koji_message::Incoming { id: &message.id, raw: &message.body, received_at: message.received_at };
    // Whoever is named in it is not asked for, so nobody needs a stand-in.
    let facts = match koji_message::interpret(incoming, context, &mut |_| PersonId::new("")) {
        Interpretation::Facts(facts) => facts,
        Interpretation::Ignored(why) => return Hint::Nothing(why),
        Interpretation::Rejected(why) => return Hint::Rejected(why),
    };
    let Some(fact) = facts.into_iter().next() else { return Hint::Nothing("it says nothing") };
    let watched = |hub: &Hub, tag: &Name| Watch::of_tags(state, hub).contains(tag);
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
        _ => none,
    }
}

fn builds(state: &State, hub: &Hub, tag: &Name) -> bool {
    state.collections.values().any(|c| c.settings.hub == *hub && c.settings.build_tag == *tag)
}

impl Watch {
    /// All tags whose content counts on a hub.
    fn of_tags(state: &State, hub: &Hub) -> BTreeSet<Name> {
        let mut tags = BTreeSet::new();
        for c in state.collections.values().filter(|c| c.settings.hub == *hub) {
            tags.insert(c.settings.build_tag.clone());
            tags.insert(c.settings.dest_tag.clone());
            if let Some(h) = state.hubs.get(hub) {
                tags.extend(h.chain(&c.settings.build_tag));
                tags.extend(h.chain(&c.settings.dest_tag));
            }
        }
        tags
    }
}
