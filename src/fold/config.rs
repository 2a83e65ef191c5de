//! Folding configuration: which tags, targets and repositories a collection is made of, and what stops it.

use smol_str::SmolStr;

use super::Map;
use super::collection::Collection;
use super::state::{HubState, State};
use crate::event::{CollectionSettings, RepoReady, TagObserved, TargetObserved};
use crate::model::koji::RepoState;
use crate::model::{Hub, Name, RepoId};

impl State {
    /// Takes over what was looked up about a tag. Of one that is gone nothing is left but that.
    pub(super) fn tag_observed(&mut self, e: &TagObserved) {
        let hub = self.hub_mut(&e.hub);
        let was_gone = hub.tags.get(&e.tag).is_some_and(|t| t.gone);
        let lost: Vec<Name> = hub.tag_observed(e);
        if e.gone != was_gone {
            self.mark_gone(&e.hub);
        }
        if e.inheritance.is_some() || e.gone {
            self.rechain(&e.hub);
        }
        for name in lost {
            self.refresh(&e.hub, &e.tag, &name);
        }
    }

    /// Works out again which collections of a hub have lost their build tag or dest tag.
    fn mark_gone(&mut self, hub: &Hub) {
        let Some(state) = self.hubs.get(hub) else { return };
        for c in self.collections.values_mut().filter(|c| c.settings.hub == *hub) {
            c.tags_gone = gone(state, &c.settings);
        }
    }

    /// Stops the submissions of a collection or of all, or lets them go on.
    pub(super) fn set_pause(&mut self, collection: Option<&Name>, reason: Option<&str>) {
        match collection {
            None => self.paused = reason.map(SmolStr::new),
            Some(name) => match self.collections.get_mut(name) {
                Some(c) => c.paused = reason.map(SmolStr::new),
                None => self.anomaly("pause of an unknown collection"),
            },
        }
    }

    pub(super) fn collection_set(&mut self, name: &Name, settings: &CollectionSettings) {
        let mut moved_from = None;
        match self.collections.get_mut(name) {
            Some(c) => {
                let place = |s: &CollectionSettings| (s.hub.clone(), s.build_tag.clone());
                if place(&c.settings) != place(settings) {
                    // Other repositories: what was found out in the old ones says nothing here.
                    moved_from = Some(c.settings.hub.clone());
                    c.forget_resolutions();
                }
                if c.settings.hub != settings.hub {
                    c.chain.clear();
                }
                // Whether the new target is there will be seen; the old one's fate is none of its business.
                c.target_gone &= (&c.settings.hub, &c.settings.target) == (&settings.hub, &settings.target);
                c.settings = settings.clone();
            }
            None => {
                self.collections.insert(name.clone(), Collection::new(settings.clone()));
            }
        }
        let index = self.collections.get_index_of(name).expect("just inserted");
        self.hub_mut(&settings.hub);
        let c = &mut self.collections[index];
        let hub = &self.hubs[&settings.hub];
        c.newest_repo = newest_repo(hub, &settings.build_tag);
        c.tags_gone = gone(hub, settings);
        for package in c.packages.values_mut() {
            package.judge(&settings.arches, &c.moves);
        }
        // Other settings may make other states of all of them.
        (0..c.packages.len()).for_each(|i| self.touch(index, i));
        if let Some(old) = moved_from.filter(|old| *old != settings.hub) {
            self.rechain(&old);
        }
        self.rechain(&settings.hub);
        self.attribute_all(&settings.hub);
    }

    /// Works out again which tags each collection of a hub looks at, and refreshes those where that changed.
    pub(super) fn rechain(&mut self, hub: &Hub) {
        let mut followers: Map<Name, Vec<usize>> = Map::default();
        let mut changed = Vec::new();
        let state = &self.hubs[hub];
        for (index, c) in self.collections.values_mut().enumerate() {
            if c.settings.hub != *hub {
                continue;
            }
            let chain = state.chain(&c.settings.dest_tag);
            if chain != c.chain {
                c.chain.clone_from(&chain);
                changed.push(index);
            }
            for tag in chain {
                followers.entry(tag).or_default().push(index);
            }
        }
        self.hub_mut(hub).followers = followers;
        for index in changed {
            let mut names: Vec<Name> = self.collections[index].packages.keys().cloned().collect();
            let hub = &self.hubs[hub];
            for tag in &self.collections[index].chain {
                names.extend(hub.tags.get(tag).into_iter().flat_map(|t| t.packages.keys().cloned()));
            }
            for name in names {
                self.refresh_in(index, &name);
            }
        }
    }

    /// Rebuilds what follows from the rest, after a snapshot was restored.
    pub(super) fn reindex(&mut self) {
        for h in 0..self.hubs.len() {
            let (name, state) = self.hubs.get_index(h).expect("index is in range");
            let mut followers: Map<Name, Vec<usize>> = Map::default();
            for (index, c) in self.collections.values().enumerate().filter(|(_, c)| c.settings.hub == *name) {
                for tag in state.chain(&c.settings.dest_tag) {
                    followers.entry(tag).or_default().push(index);
                }
            }
            self.hubs[h].followers = followers;
            let built = self.hubs[h].builds.iter().filter_map(|(id, b)| Some((b.task_id?, *id))).collect();
            self.hubs[h].build_of_task = built;
        }
    }

    pub(super) fn target_observed(&mut self, e: &TargetObserved) {
        let hub = self.hub_mut(&e.hub);
        let there = match (&e.build_tag, &e.dest_tag) {
            (Some(build), Some(dest)) => {
                hub.targets.insert(e.target.clone(), (build.clone(), dest.clone()));
                true
            }
            _ => {
                hub.targets.swap_remove(&e.target);
                false
            }
        };
        for c in self.collections.values_mut() {
            if c.settings.hub == e.hub && c.settings.target == e.target {
                c.target_gone = !there;
            }
        }
        self.attribute_all(&e.hub);
    }

    pub(super) fn repo_ready(&mut self, e: &RepoReady) {
        let hub = self.hub_mut(&e.hub);
        let repo = hub.repo_moved(e.repo_id, &e.tag, RepoState::Ready);
        if e.create_event.is_some() {
            repo.create_event = e.create_event;
        }
        if e.arches.is_some() {
            repo.arches.clone_from(&e.arches);
        }
        let hub = &self.hubs[&e.hub];
        for c in self.collections.values_mut() {
            if c.settings.hub == e.hub && c.settings.build_tag == e.tag {
                let newer = c.newest_repo.is_none_or(|old| hub.is_newer(e.repo_id, old));
                c.newest_repo = if newer { Some(e.repo_id) } else { c.newest_repo };
            }
        }
    }
}

/// Those of a collection's two tags that are known not to be there.
fn gone(hub: &HubState, settings: &CollectionSettings) -> Vec<Name> {
    let mut gone: Vec<Name> = Vec::new();
    for tag in [&settings.build_tag, &settings.dest_tag] {
        if hub.tags.get(tag).is_some_and(|t| t.gone) && !gone.contains(tag) {
            gone.push(tag.clone());
        }
    }
    gone
}

/// The newest usable generation of a tag.
fn newest_repo(hub: &HubState, tag: &Name) -> Option<RepoId> {
    let usable = hub.repos.iter().filter(|(_, r)| r.tag == *tag && r.state == RepoState::Ready).map(|(id, _)| *id);
    usable.reduce(|newest, id| if hub.is_newer(id, newest) { id } else { newest })
}
