//! Folds tags: their package lists, their builds in tagging order, and their configuration.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{HubState, Map};
use crate::event::{
    BuildTagged, BuildUntagged, ExternalRepo, GroupDefinition, Inheritance, PackageListAction, PackageListChanged,
    TagObserved,
};
use crate::model::{BuildId, Name, PersonId, Seq, TagId, Timestamp};

/// How many ended taggings of a package are remembered in a tag, the last ones.
pub(super) const PAST_KEPT: usize = 16;

/// Deepest inheritance that is followed. Koji's own limit is far lower in practice.
const DEPTH_MAX: usize = 32;
/// How many revoked taggings of a package are remembered in a tag, the newest by Koji event.
const REVOKED_KEPT: usize = 16;

/// A build in a tag.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaggedBuild {
    /// The build.
    pub build: BuildId,
    /// The event that last put the build into the tag. Real builds are ordered by their tagging.
    pub seq: Seq,
    /// Time of the tagging.
    pub at: Timestamp,
    /// Koji event of the tagging, if known. It decides which of two builds was tagged later; the
    /// time we heard of it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<i64>,
}

/// A tagging that was revoked. It is remembered so that a late message about the tagging does not
/// bring the build back.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// The build.
    pub build: BuildId,
    /// Koji event of the revocation.
    pub event: i64,
}

/// The effect of an untagging.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Untagged {
    /// The build was taken out.
    Done,
    /// None: the build was tagged again later.
    Late,
    /// None: the build was not in the tag.
    NotThere,
}

/// An entry of a package list.
///
/// Snapshots store both fields. Digests cover only whether it blocks: stand-ins of people are chosen
/// at random, and digests of logs from before owners were kept stay what they were.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListEntry {
    /// Whether it blocks the package.
    pub blocked: bool,
    /// Owner of the package, if known.
    pub owner: Option<PersonId>,
}

impl Serialize for ListEntry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return self.blocked.serialize(to);
        }
        (self.blocked, &self.owner).serialize(to)
    }
}

impl<'de> Deserialize<'de> for ListEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Err(D::Error::custom("only a snapshot says who owns a package"));
        }
        let (blocked, owner) = Deserialize::deserialize(from)?;
        Ok(Self { blocked, owner })
    }
}

/// A package in a tag. Its entry in the package list and its tagged builds are independent of each
/// other.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TagPackage {
    /// Entry in this tag's own package list. `None` if it is not in the list. Its name in digests is
    /// as old as the digests.
    #[serde(default, rename = "blocked", skip_serializing_if = "Option::is_none")]
    pub entry: Option<ListEntry>,
    /// Builds in the tag, oldest tagging first. The last one is the latest, whatever its version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<TaggedBuild>,
    /// The last taggings that were revoked, as far as their Koji events are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<Revoked>,
    /// The last taggings that ended, in the order in which they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Past>,
}

impl TagPackage {
    /// Returns whether the entry blocks the package. `None` if there is none.
    pub fn blocked(&self) -> Option<bool> {
        self.entry.as_ref().map(|entry| entry.blocked)
    }

    /// Puts a build at the place of its tagging: by Koji event among the builds whose event is
    /// known, else at the end. A build that is in the tag already moves (Koji: a forced re-tag),
    /// unless `new` is an older tagging than the known one.
    ///
    /// If the hub was `asked`, the build is in the tag now, whatever was revoked before. A build
    /// may be unlisted for a while because its package is blocked, and then be there again by the
    /// same tagging.
    ///
    /// Taggings of one Koji event are in the order of their builds, as in `listTagged`. If all
    /// events are known, the result does not depend on the order in which we hear of the taggings.
    fn put(&mut self, new: TaggedBuild, asked: bool) {
        if let Some(event) = new.event {
            let known = self.builds.iter().find(|b| b.build == new.build).map(TaggedBuild::tagged);
            let revoked = self.revoked.iter().find(|r| !asked && r.build == new.build && r.event > event);
            // The end of this tagging is known already.
            if let Some(end) = revoked.map(|r| Moment { event: Some(r.event), at: new.at }) {
                return self.ended(new, end);
            }
            if let Some(known) = known.filter(|known| known.event.is_some_and(|known| event <= known)) {
                if known.event != new.event {
                    self.ended(new, known);
                }
                return;
            }
        }
        let old = self.builds.iter().position(|b| b.build == new.build).map(|i| self.builds.remove(i));
        // If the hub now adds the Koji event of the known tagging, nothing ended.
        if let Some(old) = old.filter(|old| old.event.is_some() == new.event.is_some()) {
            self.ended(old, new.tagged());
        }
        self.revoked.retain(|r| r.build != new.build);
        let later = match new.event {
            None => 0,
            Some(event) => {
                let later = |b: &&TaggedBuild| b.event.is_some_and(|e| (e, b.build) > (event, new.build));
                self.builds.iter().rev().take_while(later).count()
            }
        };
        self.builds.insert(self.builds.len() - later, new);
    }

    /// Takes a build out, unless it was tagged at the same Koji event or later. (A forced re-tag
    /// revokes and tags in one event.)
    fn take(&mut self, build: BuildId, event: Option<i64>, at: Timestamp) -> Untagged {
        let known = self.builds.iter().find(|b| b.build == build).copied();
        let outcome = match &known {
            None => Untagged::NotThere,
            Some(b) if event.zip(b.event).is_some_and(|(revoked, tagged)| revoked <= tagged) => return Untagged::Late,
            Some(_) => Untagged::Done,
        };
        self.builds.retain(|b| b.build != build);
        if let Some(old) = known {
            self.ended(old, Moment { event, at });
        }
        if let Some(event) = event {
            let before = self.revoked.iter().find(|r| r.build == build).map_or(event, |r| r.event);
            self.revoked.retain(|r| r.build != build);
            self.revoked.push(Revoked { build, event: event.max(before) });
            // Sort, so that the order in which we hear of revocations does not matter.
            self.revoked.sort_unstable_by_key(|r| (r.event, r.build));
            let over = self.revoked.len().saturating_sub(REVOKED_KEPT);
            self.revoked.drain(..over);
        }
        outcome
    }
}

/// A tag.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Tag {
    /// Koji's number of the tag, if known.
    pub id: Option<TagId>,
    /// Architectures, if the tag was looked up.
    pub arches: Option<Vec<Name>>,
    /// Direct parents, if the tag was looked up.
    pub inheritance: Option<Vec<Inheritance>>,
    /// Groups, if the tag was looked up.
    pub groups: Option<Vec<GroupDefinition>>,
    /// External repositories, if the tag was looked up.
    pub external_repos: Option<Vec<ExternalRepo>>,
    /// Whether there is no longer a tag of this name. It may come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Packages in the tag.
    pub packages: Map<Name, TagPackage>,
}

impl Tag {
    /// Returns the package's entry, and creates it if it is absent.
    fn package(&mut self, name: &Name) -> &mut TagPackage {
        let index = match self.packages.get_index_of(name) {
            Some(index) => index,
            None => self.packages.insert_full(name.clone(), TagPackage::default()).0,
        };
        &mut self.packages[index]
    }
}

impl HubState {
    /// Returns the tag by name, and creates it if it is absent.
    pub(super) fn tag_mut(&mut self, name: &Name) -> &mut Tag {
        let index = match self.tags.get_index_of(name) {
            Some(index) => index,
            None => self.tags.insert_full(name.clone(), Tag::default()).0,
        };
        &mut self.tags[index]
    }

    /// Puts a build into a tag. `event` is the Koji event of the tagging. `asked` says whether the
    /// hub was asked.
    pub(super) fn tagged(&mut self, e: &BuildTagged, seq: Seq, at: Timestamp, event: Option<i64>, asked: bool) {
        let tag = self.tag_mut(&e.tag);
        if e.tag_id.is_some() {
            tag.id = e.tag_id;
        }
        tag.package(&e.name).put(TaggedBuild { build: e.build_id, seq, at, event }, asked);
    }

    /// Takes a build out of a tag. `event` and `at` are the Koji event and the time of the
    /// untagging.
    pub(super) fn untagged(&mut self, e: &BuildUntagged, event: Option<i64>, at: Timestamp) -> Untagged {
        self.tag_mut(&e.tag).package(&e.name).take(e.build_id, event, at)
    }

    /// Changes a tag's package list.
    pub(super) fn listed(&mut self, e: &PackageListChanged) {
        let package = self.tag_mut(&e.tag).package(&e.package);
        let blocked = match e.action {
            PackageListAction::Block => true,
            PackageListAction::Unblock => false,
            PackageListAction::Remove => {
                package.entry = None;
                return;
            }
            // `update` does not say what it updated. If it does not mention blocking, the entry
            // stays as it was.
            PackageListAction::Add | PackageListAction::Update => e.blocked.or(package.blocked()).unwrap_or(false),
        };
        // Koji names no owner when it unblocks.
        let owner = e.by.clone().or_else(|| package.entry.take()?.owner);
        package.entry = Some(ListEntry { blocked, owner });
    }

    /// Takes over what was looked up about a tag. If the tag is gone, returns the packages it lost.
    pub(super) fn tag_observed(&mut self, e: &TagObserved) -> Vec<Name> {
        let tag = self.tag_mut(&e.tag);
        if e.gone {
            let lost = std::mem::take(&mut tag.packages).into_keys().collect();
            *tag = Tag { id: tag.id, gone: true, ..Tag::default() };
            return lost;
        }
        tag.gone = false;
        if e.tag_id.is_some() {
            tag.id = e.tag_id;
        }
        if e.arches.is_some() {
            tag.arches.clone_from(&e.arches);
        }
        if e.inheritance.is_some() {
            tag.inheritance.clone_from(&e.inheritance);
        }
        if e.groups.is_some() {
            tag.groups.clone_from(&e.groups);
        }
        if e.external_repos.is_some() {
            tag.external_repos.clone_from(&e.external_repos);
        }
        Vec::new()
    }

    /// Returns the owner of a package: that of the nearest package list that names one. `chain` is a
    /// tag and those it inherits from.
    pub fn owner<'a>(&'a self, chain: &[Name], package: &str) -> Option<&'a PersonId> {
        self.lists(chain, package).into_iter().find_map(|listed| listed.entry.as_ref()?.owner.as_ref())
    }

    /// Returns the tag and all tags it inherits from, nearest first, each once (Koji:
    /// `readFullInheritance`). Links are followed by ascending priority, and each is followed to
    /// its end before the next. An `intransitive` link counts only for its own tag. `max_depth`
    /// limits how far inheritance continues below a link.
    pub fn chain(&self, tag: &str) -> Vec<Name> {
        let mut chain = vec![Name::from(tag)];
        self.follow(tag, DEPTH_MAX, 0, &mut chain);
        chain
    }

    fn follow(&self, tag: &str, room: usize, depth: usize, chain: &mut Vec<Name>) {
        let Some(links) = self.tags.get(tag).and_then(|t| t.inheritance.as_ref()) else { return };
        if room == 0 {
            return;
        }
        let mut links: Vec<_> = links.iter().collect();
        links.sort_by_key(|l| l.priority);
        for link in links {
            if (link.intransitive && depth > 0) || chain.contains(&link.tag) {
                continue;
            }
            chain.push(link.tag.clone());
            let below = link.max_depth.map_or(room - 1, |d| usize::try_from(d).unwrap_or(0).min(room - 1));
            self.follow(&link.tag, below, depth + 1, chain);
        }
    }

    /// Returns the entries of a package in the tags of `chain`, nearest first. Cost: one lookup per
    /// tag.
    pub(super) fn lists(&self, chain: &[Name], package: &str) -> Vec<&TagPackage> {
        chain.iter().filter_map(|t| self.tags.get(t)?.packages.get(package)).collect()
    }

    /// Returns the tag whose package list blocks a package, seen from the first tag of `chain`.
    /// Returns `None` if the package is not blocked there.
    pub fn blocked_by<'a>(&self, chain: &'a [Name], package: &str) -> Option<&'a Name> {
        let list = |t: &Name| self.tags.get(t)?.packages.get(package)?.blocked();
        chain.iter().find_map(|t| Some((t, list(t)?))).filter(|(_, blocked)| *blocked).map(|(t, _)| t)
    }
}

/// The time at which something happened on a hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Moment {
    /// The Koji event, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<i64>,
    /// The time.
    pub at: Timestamp,
}

impl Moment {
    /// Returns whether this moment is not later than `other`: by Koji events if both are known,
    /// else by time.
    pub fn is_by(self, other: Self) -> bool {
        match (self.event, other.event) {
            (Some(mine), Some(theirs)) => mine <= theirs,
            _ => self.at <= other.at,
        }
    }
}

/// A tagging that ended, because the build was taken out of the tag or tagged once more.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Past {
    /// The build.
    pub build: BuildId,
    /// When the build was tagged.
    pub tagged: Moment,
    /// When the tagging ended.
    pub ended: Moment,
}

impl TaggedBuild {
    /// Returns when the build was tagged.
    pub fn tagged(&self) -> Moment {
        Moment { event: self.event, at: self.at }
    }
}

impl TagPackage {
    /// Remembers that a tagging ended.
    pub(super) fn ended(&mut self, old: TaggedBuild, ended: Moment) {
        let new = Past { build: old.build, tagged: old.tagged(), ended };
        // This end is known already.
        if self.past.iter().any(|p| (p.build, p.tagged) == (new.build, new.tagged)) {
            return;
        }
        // Keep them sorted, so that the order in which we hear of them does not matter.
        let key = |p: &Past| (p.ended.at, p.ended.event, p.build, p.tagged.at, p.tagged.event);
        let place = self.past.partition_point(|p| key(p) < key(&new));
        self.past.insert(place, new);
        let over = self.past.len().saturating_sub(PAST_KEPT);
        self.past.drain(..over);
    }

    /// Returns the builds that were in the tag at a moment, oldest tagging first. The flag says
    /// whether a build is still there.
    pub(super) fn at(&self, moment: Moment) -> Vec<(BuildId, bool)> {
        let is_here = |id: BuildId| self.builds.iter().any(|b| b.build == id);
        let here = self.builds.iter().filter(|b| b.tagged().is_by(moment));
        let mut found: Vec<(Moment, BuildId, bool)> = here.map(|b| (b.tagged(), b.build, true)).collect();
        for past in self.past.iter().filter(|p| p.tagged.is_by(moment) && !p.ended.is_by(moment)) {
            if !found.iter().any(|(_, build, _)| *build == past.build) {
                let later = found.iter().rev().take_while(|(tagged, ..)| !tagged.is_by(past.tagged)).count();
                found.insert(found.len() - later, (past.tagged, past.build, is_here(past.build)));
            }
        }
        found.into_iter().map(|(_, build, here)| (build, here)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Inheritance;

    /// A link: the parent tag, its maximal depth, and whether it is intransitive.
    type Link = (&'static str, Option<i32>, bool);

    fn hub(tags: &[(&str, &[Link])]) -> HubState {
        let link = |(i, (tag, max_depth, intransitive)): (usize, &Link)| Inheritance {
            tag: (*tag).into(),
            priority: 10 * i32::try_from(i).unwrap(),
            max_depth: *max_depth,
            intransitive: *intransitive,
            no_config: false,
        };
        let tag = |links: &[Link]| Tag {
            // The hub's order differs from that of the priorities.
            inheritance: Some(links.iter().enumerate().map(link).rev().collect()),
            ..Tag::default()
        };
        let tags = tags.iter().map(|(name, links)| (Name::from(*name), tag(links))).collect();
        HubState { tags, ..HubState::default() }
    }

    /// The expected chains follow Koji's `readFullInheritance`.
    #[test]
    fn chains_of_tags() {
        let always = |tag| (tag, None, false);
        let hub = hub(&[
            ("build", &[("side", None, true), always("f99"), always("extra")]),
            ("side", &[always("base")]),
            ("f99", &[("f99-candidate", Some(1), false), always("overrides")]),
            ("f99-candidate", &[always("near")]),
            ("near", &[always("far")]),
            ("overrides", &[("private", None, true), always("base")]),
            ("extra", &[("plain", Some(0), false), ("hidden", None, true), always("build")]),
            ("plain", &[always("below-plain")]),
            ("private", &[]),
        ]);
        let chain = hub.chain("build");
        let names: Vec<&str> = chain.iter().map(Name::as_str).collect();
        let wanted = ["build", "side", "base", "f99", "f99-candidate", "near", "overrides", "extra", "plain"];
        assert_eq!(
            names, wanted,
            "`far` and `below-plain` are too deep, `hidden` and `private` count only for their own tags, nothing \
                stands twice"
        );
        let overrides = hub.chain("overrides");
        assert_eq!(overrides.iter().map(Name::as_str).collect::<Vec<_>>(), ["overrides", "private", "base"]);
    }

    /// A forced re-tag that we hear of late ended at the later tagging. Hearing of the same tagging
    /// twice ends nothing.
    #[test]
    fn a_tagging_heard_of_twice_ends_nothing() {
        let tagging =
            |event| TaggedBuild { build: BuildId(7), seq: Seq::FIRST, at: Timestamp::EPOCH, event: Some(event) };
        let mut package = TagPackage::default();
        package.put(tagging(20), false);
        package.put(tagging(20), false);
        assert_eq!((package.builds.len(), package.past.len()), (1, 0));
        package.put(tagging(10), false);
        assert_eq!((package.builds[0].event, package.past.len()), (Some(20), 1));
    }
}
