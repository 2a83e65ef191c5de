//! The facts of a hub, from its tables and from a state, for comparing line by line.

use std::collections::BTreeMap;

use koschei::event::Inheritance;
use koschei::fold::State;
use koschei::fold::hub_facts::{BuildFacts, HubFacts, RepoFacts, TagFacts, digest_of};
use koschei::model::koji::{BuildState, RepoState};
use koschei::model::{BuildId, Name, Nvr, RepoId};

use crate::hub::{Hub, World};

/// Returns the instance name of the test hub.
pub(crate) fn primary() -> koschei::model::Hub {
    koschei::model::Hub::new("primary")
}

/// Returns the facts in the hub's tables.
pub(crate) fn of_tables(w: &World) -> HubFacts {
    let name = |tag: i64| Name::from(w.tag_name(tag).unwrap());
    let number = |n: i64| i32::try_from(n).unwrap();
    let mut facts = HubFacts::default();
    for tag in w.tags.iter().filter(|t| w.config(t.id, None).is_some()) {
        let mut known = TagFacts {
            arches: Some(w.build_arches(tag.id, None).into_iter().map(Name::from).collect()),
            ..TagFacts::default()
        };
        known.inheritance = w
            .parents(tag.id, None)
            .into_iter()
            .map(|i| Inheritance {
                tag: name(i.parent),
                priority: number(i.priority),
                max_depth: i.maxdepth.map(number),
                intransitive: i.intransitive,
                no_config: i.noconfig,
            })
            .collect();
        for entry in w.tag_packages.iter().filter(|p| p.tag == tag.id && p.ver.holds(None)) {
            known.listed.insert(w.package_name(entry.package).unwrap().into(), entry.blocked);
        }
        let mut listings: Vec<_> = w.tag_listing.iter().filter(|l| l.tag == tag.id && l.ver.holds(None)).collect();
        listings.sort_by_key(|l| (l.ver.create, l.build));
        for listing in listings {
            let build = w.build(listing.build).unwrap();
            known.builds.entry(build.name.as_str().into()).or_default().push(BuildId(build.id));
        }
        facts.tags.insert(tag.name.as_str().into(), known);
    }
    for build in w.builds.iter() {
        let state = Some(BuildState::from(build.state));
        facts.builds.insert(BuildId(build.id), BuildFacts { nvr: Nvr::parse(&build.nvr()).unwrap(), state });
    }
    for target in w.target_config.iter().filter(|t| t.ver.holds(None)) {
        let tags = (name(target.build_tag), name(target.dest_tag));
        facts.targets.insert(w.target_name(target.target).unwrap().into(), tags);
    }
    for repo in w.repos.iter().filter(|r| !r.dist && matches!(&r.custom_opts, crate::hub::V::Struct(m) if m.is_empty()))
    {
        let state = RepoState::from(repo.state);
        facts
            .repos
            .insert(RepoId(repo.id), RepoFacts { tag: name(repo.tag), state, create_event: Some(repo.create_event) });
    }
    facts
}

/// Returns the lines that only one of them has: `-` the hub, `+` the state. Also compares both
/// digests.
pub(crate) fn differences(state: &State, hub: &Hub) -> Vec<String> {
    let (facts, watched) = state.hub_facts(&primary());
    let ours = facts.lines("primary", &watched);
    let theirs = hub.see(of_tables).lines("primary", &watched);
    assert!(!watched.is_empty(), "there is nothing to compare");
    assert_eq!(ours == theirs, digest_of(&ours) == digest_of(&theirs));
    if state.hubs.get(&primary()).is_some_and(|h| h.reconciled_through.is_some()) && state.hubs.len() == 1 {
        assert_eq!(state.facts_digest(), digest_of(&ours), "the facts digest is that of these lines");
    }
    let mut count: BTreeMap<&String, i32> = BTreeMap::new();
    theirs.iter().for_each(|l| *count.entry(l).or_default() -= 1);
    ours.iter().for_each(|l| *count.entry(l).or_default() += 1);
    let differing = count.into_iter().filter(|(_, n)| *n != 0);
    differing.map(|(line, n)| format!("{} {line}", if n < 0 { '-' } else { '+' })).collect()
}
