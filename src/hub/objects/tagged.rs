//! Builds in tags: how to ask for them, and what is news about them.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::{BuildSeen, Reading, listing};
use crate::event::{BuildTagged, BuildUntagged};
use crate::hub::diff::Compare;
use crate::hub::snapshot::Seen;
use crate::koji::calls::{list_tagged, query_taggings};
use crate::koji::{Batch, records};
use crate::model::{BuildId, Name, Timestamp};

/// A build in a tag (`listTagged`).
#[derive(Clone, PartialEq, Debug)]
pub struct TaggedSeen {
    /// The build.
    pub build: BuildSeen,
    /// The Koji event of the tagging.
    pub create_event: i64,
    /// Time of the tagging, if known.
    pub tagged_at: Option<Timestamp>,
}

/// Asks for builds in a tag and their history. A listing has only the Koji event of each tagging.
/// Priorities need its time, which the history has.
pub(super) fn ask(tag: Name, package: Option<Name>, batch: &mut Batch) -> Reading {
    let builds = batch.add(list_tagged(&tag, package.as_ref()));
    let history = batch.add(query_taggings(&tag, package.as_ref()));
    Box::new(move |answers| {
        let builds = listing(answers.take(builds))?;
        // Without a history (the tag was just deleted), the time of the look stands in.
        let history = answers.take(history).unwrap_or_default();
        let builds = tagged(builds, history.table("tag_listing"));
        Ok(Seen::TagBuilds { tag, package, builds }.into())
    })
}

/// Returns the builds of a tag, oldest tagging first. Drafts are included. Koji accepts a draft if
/// a policy allows it, and then has it in its repositories.
fn tagged(builds: Vec<records::TaggedBuild>, history: &[records::HistoryRow]) -> Vec<TaggedSeen> {
    let times: BTreeMap<i64, Timestamp> = history.iter().filter_map(|r| Some((r.create_event, r.created?))).collect();
    let one = |b: records::TaggedBuild| TaggedSeen {
        create_event: b.tagged_event.or(b.creation_event).unwrap_or(0),
        tagged_at: b.tagged_event.and_then(|e| times.get(&e).copied()),
        build: b.build.into(),
    };
    let mut all: Vec<TaggedSeen> = builds.into_iter().map(one).collect();
    all.sort_by_key(|t| (t.create_event, t.build.build_id));
    all
}

impl Compare<'_> {
    pub(in crate::hub) fn tag_builds(&mut self, tag: &Name, package: Option<&Name>, builds: &[TaggedSeen]) {
        let mut there: FxHashMap<&Name, Vec<&TaggedSeen>> = FxHashMap::default();
        for t in builds {
            there.entry(&t.build.nvr.name).or_default().push(t);
        }
        let mut order: Vec<&TaggedSeen> = builds.iter().collect();
        order.sort_by_key(|t| (t.create_event, t.build.build_id));
        for seen in order {
            self.build(&seen.build);
            let known = self.tagged(tag, &seen.build.nvr.name).iter().find(|b| b.build == seen.build.build_id);
            // The tagging is known without an event, or is older: this is a forced re-tag.
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
            // Koji lists no builds of a blocked package, even if some are in the tag. What became
            // of them is seen when the package is unblocked.
            if !there.contains_key(&name) && self.is_blocked(&chain, &name) {
                continue;
            }
            let here = there.get(&name).map_or(&[][..], Vec::as_slice);
            let gone: Vec<(BuildId, Option<i64>)> = self
                .tagged(tag, &name)
                .iter()
                .filter(|b| !here.iter().any(|t| t.build.build_id == b.build))
                // This answer is too old to say anything about builds tagged after the look.
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
        // The key names the event that created the tagging, because the event that ended it is not
        // asked for. A forced re-tag ends a tagging and adds a new one at the same event. Here the
        // build is gone, so it was untagged at a later event.
        let key = created.map(|e| format!("tag_listing/{tag}/{build}/revoke/{e}"));
        self.fact(fact, key, Some(self.look.event.max(created.map_or(0, |e| e + 1))), None);
        self.takes_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::koji::BuildState;

    #[test]
    fn builds_stand_in_the_order_of_their_taggings() {
        let tagged_at = |id: i64, event: Option<i64>| records::TaggedBuild {
            build: records::Build {
                build_id: BuildId(id),
                name: "foo".into(),
                version: id.to_string().into(),
                release: "1".into(),
                epoch: Some(0),
                state: BuildState::Complete,
                task_id: None,
                created: None,
                completed: None,
            },
            tagged_event: event,
            creation_event: Some(30),
        };
        let history = records::HistoryRow {
            create_event: 10,
            revoke_event: None,
            created: Some(Timestamp::from_secs(7)),
            build_name: None,
            package_name: None,
        };
        // Hubs before 1.23 do not return the tagging event.
        let builds = vec![tagged_at(1, Some(40)), tagged_at(3, Some(10)), tagged_at(2, None)];
        let found = tagged(builds, &[history]);
        let found: Vec<_> = found.iter().map(|t| (t.build.build_id.0, t.create_event, t.tagged_at)).collect();
        assert_eq!(found, [(3, 10, Some(Timestamp::from_secs(7))), (2, 30, None), (1, 40, None)]);
    }
}
