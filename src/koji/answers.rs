//! Collects what recorded answers of a hub say about tags and targets. If a question was asked
//! several times, the last answer counts.

use std::collections::BTreeMap;

use super::calls::{Recorded, TagRef};
use super::records::{ExternalRepo, Tag, Target};
use super::{facts, records};
use crate::event::{self, Event, GroupDefinition, Inheritance, TagObserved, TargetObserved};
use crate::model::{Hub, Name, TagId};

/// What is known of one tag.
#[derive(Clone, Default, Debug)]
struct Known {
    arches: Option<Vec<Name>>,
    own_arches: Option<Vec<Name>>,
    inheritance: Option<Vec<Inheritance>>,
    groups: Option<Vec<GroupDefinition>>,
    external: Option<Vec<event::ExternalRepo>>,
    own_external: Option<Vec<event::ExternalRepo>>,
}

/// Collects answers.
#[derive(Clone, Default, Debug)]
pub struct Answers {
    tags: BTreeMap<TagRef, Known>,
    tag_ids: BTreeMap<TagId, Name>,
    targets: BTreeMap<Name, (Name, Name)>,
}

impl Answers {
    /// Takes an answer into account.
    pub fn take(&mut self, recorded: Recorded) {
        match recorded {
            Recorded::Config(tag) => self.tag(&tag).arches = Some(tag.arches().to_vec()),
            // A tag with its own architectures inherits none. A tag without them inherits
            // architectures that this answer does not tell.
            Recorded::Tag(tag) if tag.arches().is_empty() => drop(self.tag(&tag)),
            Recorded::Tag(tag) => self.tag(&tag).own_arches = Some(tag.arches().to_vec()),
            Recorded::Parents(tag, links) => self.of(tag).inheritance = Some(facts::inheritance(links)),
            Recorded::Groups(tag, groups) => self.of(tag).groups = Some(facts::groups(&groups)),
            Recorded::ExternalRepos(tag, repos) => self.of(tag).external = Some(facts::external_repos(repos)),
            Recorded::OwnExternalRepos(Some(tag), repos) => {
                self.of(tag).own_external = Some(facts::external_repos(repos));
            }
            Recorded::OwnExternalRepos(None, repos) => self.own_external(repos),
            Recorded::Targets(targets) => targets.into_iter().for_each(|target| self.target(target)),
        }
    }

    fn of(&mut self, tag: TagRef) -> &mut Known {
        self.tags.entry(tag).or_default()
    }

    /// Returns the entry of a tag, and notes its number.
    fn tag(&mut self, tag: &Tag) -> &mut Known {
        self.tag_ids.insert(tag.id, tag.name.clone());
        self.of(TagRef::Name(tag.name.clone()))
    }

    /// Takes an answer about all tags that have own external repositories. Each entry names its
    /// tag.
    fn own_external(&mut self, repos: Vec<ExternalRepo>) {
        let mut by_tag: BTreeMap<Name, Vec<records::ExternalRepo>> = BTreeMap::new();
        for repo in repos {
            if let Some(tag) = repo.tag_name.clone() {
                by_tag.entry(tag).or_default().push(repo);
            }
        }
        for (tag, repos) in by_tag {
            self.of(TagRef::Name(tag)).own_external = Some(facts::external_repos(repos));
        }
    }

    fn target(&mut self, target: Target) {
        self.tag_ids.insert(target.build_tag, target.build_tag_name.clone());
        self.tag_ids.insert(target.dest_tag, target.dest_tag_name.clone());
        self.targets.insert(target.name, (target.build_tag_name, target.dest_tag_name));
    }

    /// Returns one [`TagObserved`] per tag with what its answers say, then one [`TargetObserved`]
    /// per target. Both are ordered by name. Leaves out a tag whose number is known but not its
    /// name.
    pub fn observations(&self, hub: &Hub) -> Vec<Event> {
        let mut tags: BTreeMap<Name, Known> = BTreeMap::new();
        for (key, known) in &self.tags {
            let name = match key {
                TagRef::Name(name) => name,
                TagRef::Id(id) => match self.tag_ids.get(id) {
                    Some(name) => name,
                    None => continue,
                },
            };
            tags.entry(name.clone()).or_default().fill(known.clone());
        }
        let id_of = |tag: &Name| self.tag_ids.iter().find(|(_, name)| *name == tag).map(|(id, _)| *id);
        let tags = tags.into_iter().map(|(tag, known)| {
            TagObserved {
                hub: hub.clone(),
                tag_id: id_of(&tag),
                tag,
                arches: known.arches.or(known.own_arches),
                inheritance: known.inheritance,
                groups: known.groups,
                external_repos: known.external.or(known.own_external),
                gone: false,
            }
            .into()
        });
        let targets = self.targets.iter().map(|(target, (build_tag, dest_tag))| {
            TargetObserved {
                hub: hub.clone(),
                target: target.clone(),
                build_tag: Some(build_tag.clone()),
                dest_tag: Some(dest_tag.clone()),
            }
            .into()
        });
        tags.chain(targets).collect()
    }
}

impl Known {
    fn fill(&mut self, other: Self) {
        self.arches = self.arches.take().or(other.arches);
        self.own_arches = self.own_arches.take().or(other.own_arches);
        self.inheritance = self.inheritance.take().or(other.inheritance);
        self.groups = self.groups.take().or(other.groups);
        self.external = self.external.take().or(other.external);
        self.own_external = self.own_external.take().or(other.own_external);
    }
}
