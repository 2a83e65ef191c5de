//! Configurations of tags: how to ask for one, and what is news in it.

use super::Reading;
use crate::event::{ExternalRepo, GroupDefinition, Inheritance, TagObserved};
use crate::fold::Tag;
use crate::hub::diff::Compare;
use crate::hub::snapshot::Seen;
use crate::koji::calls::{get_build_config, get_external_repo_list, get_inheritance_data, get_tag, get_tag_groups};
use crate::koji::{Batch, facts};
use crate::model::{Hub, Name, TagId};

/// A tag's configuration. Parts that were not asked for are `None`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TagSeen {
    /// Name of the tag.
    pub tag: Name,
    /// Whether no tag of this name exists.
    pub gone: bool,
    /// Number of the tag.
    pub tag_id: Option<TagId>,
    /// Architectures, with inheritance applied.
    pub arches: Option<Vec<Name>>,
    /// Direct parents.
    pub inheritance: Option<Vec<Inheritance>>,
    /// Groups.
    pub groups: Option<Vec<GroupDefinition>>,
    /// External repositories in merge order.
    pub external_repos: Option<Vec<ExternalRepo>>,
}

/// Asks for a tag's configuration. Asks for groups and external repositories only if the tag is a
/// build tag.
pub(super) fn ask(tag: Name, is_build_tag: bool, batch: &mut Batch) -> Reading {
    let found = batch.add(get_tag(&tag));
    let config = batch.add(get_build_config(&tag, None).required());
    let parents = batch.add(get_inheritance_data(&tag));
    let content = is_build_tag.then(|| (batch.add(get_tag_groups(&tag)), batch.add(get_external_repo_list(&tag))));
    Box::new(move |answers| {
        let mut seen = TagSeen { tag, ..TagSeen::default() };
        let Some(found) = answers.take(found)? else {
            return Ok(Seen::Tag(TagSeen { gone: true, ..seen }).into());
        };
        seen.tag_id = Some(found.id);
        seen.arches = Some(answers.take(config)?.arches().to_vec());
        seen.inheritance = Some(facts::inheritance(answers.take(parents)?));
        if let Some((groups, external_repos)) = content {
            seen.groups = Some(facts::groups(&answers.take(groups)?));
            seen.external_repos = Some(facts::external_repos(answers.take(external_repos)?));
        }
        Ok(Seen::Tag(seen).into())
    })
}

impl Compare<'_> {
    pub(in crate::hub) fn tag(&mut self, seen: &TagSeen) {
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
        // The event has only what is new. Parts that were not asked for or did not change stay out.
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
}

/// Returns a part of a tag's configuration if it was asked for and differs.
fn news<T: Clone + PartialEq>(seen: &Option<T>, known: &Option<T>) -> Option<T> {
    seen.clone().filter(|_| seen != known)
}

fn blank(hub: Hub, tag: Name) -> TagObserved {
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
