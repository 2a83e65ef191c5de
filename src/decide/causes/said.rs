//! The causes that an event of the log names, each with the packages it names.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::{BROKE, BrokenNow, CauseKind, OpenCause, Updated, cause_id};
use crate::event::{CausesFound, Event, ResolutionCause, SuspectedUpdate};
use crate::model::{Name, RepoId, Seq, Timestamp};

impl From<&ResolutionCause> for Updated {
    fn from(cause: &ResolutionCause) -> Self {
        let nvr = |version: &Option<SmolStr>| Some(format!("{}-{}", cause.source.as_ref()?, version.as_ref()?));
        Self { source: nvr(&cause.new), was: nvr(&cause.old) }
    }
}

/// Returns the kind of a cause of a broken resolution. `in_group`: the build group leads to it.
pub fn kind_of(in_group: bool, package: &str) -> CauseKind {
    match in_group || package == CausesFound::GROUP {
        true => CauseKind::Group,
        false => CauseKind::Resolution,
    }
}

/// Returns the causes that an event names: the first cause of each package that does not resolve, and
/// each update that is held to have broken a build. Each has the packages of this event, known since
/// the event.
pub fn said(event: &Event, at: (Seq, Timestamp)) -> Vec<OpenCause> {
    let mut all: BTreeMap<String, OpenCause> = BTreeMap::new();
    let mut add = |cause: OpenCause| match all.get_mut(&cause.id) {
        Some(known) => known.packages.extend(cause.packages),
        None => drop(all.insert(cause.id.clone(), cause)),
    };
    match event {
        Event::CausesFound(c) => {
            for of in &c.packages {
                let Some(first) = of.causes.first().and_then(|at| c.causes.get(*at as usize)) else { continue };
                let kind = kind_of(first.in_group, &of.package);
                let known_by = first.known_by(&of.package);
                let cause = cause(at, &c.collection, kind, (known_by, Some(first.repo_id)), (&of.package, 1000));
                add(OpenCause { update: first.into(), what: first.what.clone(), ..cause });
            }
        }
        Event::SuspectsRanked(r) => {
            for of in &r.packages {
                let first = of.suspects.first().filter(|(_, share)| *share >= BROKE);
                let Some((update, share)) = first else { continue };
                let Some(update) = r.updates.get(*update as usize) else { continue };
                let SuspectedUpdate { source, was, together, .. } = update.clone();
                let cause = cause(at, &r.collection, CauseKind::Build, update.known_by(), (&of.package, *share));
                add(OpenCause { update: Updated { source, was }, together, ..cause });
            }
        }
        _ => {}
    }
    all.into_values().collect()
}

fn cause(
    (seq, at): (Seq, Timestamp),
    collection: &Name,
    kind: CauseKind,
    (known_by, repo): (String, Option<RepoId>),
    (package, share): (&Name, u32),
) -> OpenCause {
    let (since, since_time) = (Some(seq), Some(at));
    OpenCause {
        id: cause_id(collection, kind, &known_by, repo),
        kind,
        collection: collection.clone(),
        known_by,
        update: Updated { source: None, was: None },
        together: Vec::new(),
        repo,
        what: String::new(),
        since,
        since_time,
        packages: vec![BrokenNow { name: package.clone(), share, since, since_time }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{PackageSuspects, SuspectsRanked};
    use crate::model::TaskId;

    /// Only what is held to have broken a build is a cause, under the name that states give it.
    #[test]
    fn an_event_names_what_it_is_sure_of() {
        let update = |source: &str| SuspectedUpdate {
            source: Some(source.to_owned()),
            was: None,
            repo_id: Some(RepoId(2)),
            together: Vec::new(),
        };
        let of = |package: &str, suspects: &[(u32, u32)]| PackageSuspects {
            package: package.into(),
            task_id: TaskId(1),
            suspects: suspects.to_vec(),
            own: 0,
            chance: 0,
        };
        let ranked = SuspectsRanked {
            collection: "f99".into(),
            rules: 1,
            updates: vec![update("libx-2-1"), update("liby-2-1")],
            packages: vec![of("a", &[(0, 700), (1, 300)]), of("b", &[(1, 499)]), of("c", &[(0, 500)])],
        };
        let said = said(&ranked.into(), (Seq::new(7).unwrap(), Timestamp::from_secs(1)));
        let [one] = &said[..] else { panic!("{said:?}") };
        assert_eq!(one.id, cause_id("f99", CauseKind::Build, "libx-2-1", Some(RepoId(2))));
        let packages: Vec<(&str, u32)> = one.packages.iter().map(|p| (p.name.as_str(), p.share)).collect();
        assert_eq!((packages, one.since), (vec![("a", 700), ("c", 500)], Seq::new(7)));
    }
}
