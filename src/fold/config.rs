//! Folds configuration: the tags, targets and repositories of a collection, and what stops it.

use smol_str::{SmolStr, format_smolstr};

use super::Map;
use super::arch::Allowed;
use super::collection::Collection;
use super::evidence::EvidenceKind;
use super::rebuilds::building_tags;
use super::state::{HubState, State};
use crate::event::{CollectionSettings, RepoReady, TagObserved, TargetObserved};
use crate::model::koji::RepoState;
use crate::model::{Hub, Name, RepoId, Timestamp};

impl State {
    /// Takes over what was looked up about a tag. If the tag is gone, only that fact is kept.
    pub(super) fn tag_observed(&mut self, e: &TagObserved) {
        let hub = self.hub_mut(&e.hub);
        let was_gone = hub.tags.get(&e.tag).is_some_and(|t| t.gone);
        let lost: Vec<Name> = hub.tag_observed(e);
        if e.gone != was_gone {
            self.mark_gone(&e.hub);
        }
        if e.arches.is_some() || e.gone != was_gone {
            self.building_moved(&e.hub);
        }
        if e.inheritance.is_some() || e.gone {
            self.rechain(&e.hub);
        }
        for name in lost {
            self.refresh(&e.hub, &e.tag, &name);
        }
    }

    /// Updates which tags are gone, for the collections that look at a hub or build there.
    fn mark_gone(&mut self, hub: &Hub) {
        for c in self.collections.values_mut().filter(|c| c.settings.hub == *hub || c.settings.building_hub() == hub) {
            c.tags_gone = gone(&self.hubs, c);
        }
    }

    /// Updates the architectures of the tags that build on a hub.
    fn building_moved(&mut self, hub: &Hub) {
        let Some(state) = self.hubs.get(hub) else { return };
        let mut moved = Vec::new();
        for (index, c) in self.collections.values_mut().enumerate().filter(|(_, c)| c.settings.building_hub() == hub) {
            let tag = building_tags(state, c).and_then(|(build, _)| state.tags.get(build));
            let arches = tag.and_then(|t| t.arches.clone()).unwrap_or_default();
            if arches != c.tag_arches {
                c.tag_arches = arches;
                moved.push(index);
            }
        }
        for index in moved {
            self.rejudge_all(index);
        }
    }

    /// Combines the verdicts on all packages of a collection again, after its architectures or
    /// settings changed.
    fn rejudge_all(&mut self, index: usize) {
        let c = &mut self.collections[index];
        for package in c.packages.values_mut() {
            package.judge(Allowed { own: &c.settings.arches, tag: &c.tag_arches }, &c.moves);
        }
        (0..c.packages.len()).for_each(|i| self.touch(index, i));
    }

    /// Pauses the submissions of one collection or of all, or lets them continue.
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
                    // The collection has other repositories now. Resolutions in the old ones no
                    // longer apply.
                    moved_from = Some(c.settings.hub.clone());
                    c.forget_resolutions();
                }
                if c.settings.hub != settings.hub {
                    c.chain.clear();
                    leave_hub(c, &settings.hub);
                }
                // Whether the new target exists will be looked up. The state of the old one no
                // longer matters.
                c.target_gone &= c.settings.building() == settings.building();
                if c.settings.building() != settings.building() {
                    c.refused = None;
                }
                c.settings = settings.clone();
            }
            None => {
                self.collections.insert(name.clone(), Collection::new(settings.clone()));
            }
        }
        let index = self.collections.get_index_of(name).expect("just inserted");
        self.hub_mut(&settings.hub);
        self.hub_mut(settings.building_hub());
        let c = &mut self.collections[index];
        c.newest_repo = newest_repo(&self.hubs[&settings.hub], &settings.build_tag);
        c.tags_gone = gone(&self.hubs, c);
        c.tag_arches.clear();
        self.building_moved(settings.building_hub());
        // Other settings may change the state of every package.
        self.rejudge_all(index);
        if let Some(old) = moved_from.filter(|old| *old != settings.hub) {
            self.rechain(&old);
        }
        self.rechain(&settings.hub);
        self.attribute_all(settings.building_hub());
    }

    /// Updates which tags each collection of a hub looks at, and refreshes the collections where
    /// they changed.
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

    /// Rebuilds the derived indexes after a snapshot was read.
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
            if c.settings.building() == (&e.hub, &e.target) {
                c.target_gone = !there;
            }
        }
        // The target may lead to other tags now, which the collections that build there take from
        // it.
        self.mark_gone(&e.hub);
        self.building_moved(&e.hub);
        self.attribute_all(&e.hub);
    }

    pub(super) fn repo_ready(&mut self, e: &RepoReady, at: Timestamp) {
        let hub = self.hub_mut(&e.hub);
        let repo = hub.repo_moved(e.repo_id, &e.tag, RepoState::Ready, at);
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

/// Returns the tags of a collection that are known not to exist: its own two, and those of its
/// target on another hub.
fn gone(hubs: &Map<Hub, HubState>, c: &Collection) -> Vec<Name> {
    let s = &c.settings;
    let is_gone = |hub: &HubState, tag: &Name| hub.tags.get(tag).is_some_and(|t| t.gone);
    let mut gone: Vec<Name> = Vec::new();
    if let Some(hub) = hubs.get(&s.hub) {
        gone.extend([&s.build_tag, &s.dest_tag].into_iter().filter(|t| is_gone(hub, t)).cloned());
    }
    if let Some(hub) = hubs.get(s.building_hub()).filter(|_| s.builds_elsewhere()) {
        let (build, dest) = building_tags(hub, c).unzip();
        let there = build.into_iter().chain(dest).filter(|t| is_gone(hub, t));
        gone.extend(there.map(|t| format_smolstr!("{t} on {}", s.building_hub())));
    }
    gone.dedup();
    gone
}

/// Prepares a collection's evidence for a change of its hub: each rebuild gets the hub it ran on.
/// Repositories are forgotten, because those of the old hub do not exist on the new one, whatever
/// their numbers.
fn leave_hub(c: &mut Collection, new: &Hub) {
    let old = c.settings.hub.clone();
    for e in c.packages.values_mut().flat_map(|p| &mut p.evidence) {
        (e.repo, e.built_in, e.assumed) = (None, None, false);
        if matches!(e.kind, EvidenceKind::Scratch(_)) {
            e.hub = Some(e.hub(&old).clone()).filter(|hub| hub != new);
        }
    }
}

/// Returns the newest usable repository of a tag.
fn newest_repo(hub: &HubState, tag: &Name) -> Option<RepoId> {
    let usable = hub.repos.iter().filter(|(_, r)| r.tag == *tag && r.state == RepoState::Ready).map(|(id, _)| *id);
    usable.reduce(|newest, id| if hub.is_newer(id, newest) { id } else { newest })
}
