//! The causes that are open in a state, by what the log said last.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{BROKE, CauseKind, Updated, cause_id, kind_of};
use crate::event::CausesFound;
use crate::fold::{Collection, FoundCause, Package, State};
use crate::model::{Name, PackageState, RepoId, Seq, Timestamp};

/// A package that a cause breaks now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct BrokenNow {
    /// The package. `*` stands for all.
    pub name: Name,
    /// The share of the cause, in thousandths. 1000 for resolutions.
    pub share: u32,
    /// The event since which the cause is known to break it.
    pub since: Option<Seq>,
    /// The time of that event.
    pub since_time: Option<Timestamp>,
}

/// A cause that breaks packages now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OpenCause {
    /// Names the cause ([`cause_id`]).
    pub id: String,
    /// Its kind.
    pub kind: CauseKind,
    /// The collection.
    pub collection: Name,
    /// The new source package, or what vanished.
    pub known_by: String,
    /// The update.
    pub update: Updated,
    /// Other updates that nothing tells apart from it.
    pub together: Vec<String>,
    /// The repository that brought it, if there is one.
    pub repo: Option<RepoId>,
    /// What it is, in one sentence. Empty for failed builds.
    pub what: String,
    /// The event since which it is known to break a package that it breaks now.
    pub since: Option<Seq>,
    /// The time of that event.
    pub since_time: Option<Timestamp>,
    /// The packages, by name.
    pub packages: Vec<BrokenNow>,
}

/// What broke one package, as an open cause that has only this package.
pub fn cause_of(collection: (&Name, &Collection), package: (&Name, &Package)) -> Vec<OpenCause> {
    let ((cname, c), (pname, p)) = (collection, package);
    let mut all: Vec<OpenCause> = Vec::new();
    match p.state(c.settings.track_all) {
        PackageState::Unresolved => {
            let broken = p.verdicts_in_use(c.allowed()).filter(|v| v.ok == Some(false));
            for first in broken.filter_map(|v| v.causes.first()) {
                let one = found(cname, pname, first);
                if all.iter().all(|known| known.id != one.id) {
                    all.push(one);
                }
            }
        }
        PackageState::Failing => all.extend(suspected(cname, pname, p)),
        _ => {}
    }
    all
}

fn found(collection: &Name, package: &Name, cause: &FoundCause) -> OpenCause {
    let kind = kind_of(cause.in_group, package);
    let owned = |nvr: &Option<smol_str::SmolStr>| nvr.as_ref().map(ToString::to_string);
    OpenCause {
        id: cause_id(collection, kind, &cause.known_by, Some(cause.repo)),
        kind,
        collection: collection.clone(),
        known_by: cause.known_by.to_string(),
        update: Updated { source: owned(&cause.source), was: owned(&cause.was) },
        together: Vec::new(),
        repo: Some(cause.repo),
        what: cause.what.to_string(),
        since: Some(cause.since),
        since_time: Some(cause.since_at),
        packages: vec![BrokenNow {
            name: package.clone(),
            share: 1000,
            since: Some(cause.since),
            since_time: Some(cause.since_at),
        }],
    }
}

/// Returns the update that is held to have broken a package's builds.
fn suspected(collection: &Name, package: &Name, p: &Package) -> Option<OpenCause> {
    let suspects = p.suspects.as_ref()?;
    let (update, share) = suspects.named.first().filter(|(_, share)| *share >= BROKE)?;
    let (known_by, repo) = update.known_by();
    Some(OpenCause {
        id: cause_id(collection, CauseKind::Build, &known_by, repo),
        kind: CauseKind::Build,
        collection: collection.clone(),
        known_by,
        update: Updated { source: update.source.clone(), was: update.was.clone() },
        together: update.together.clone(),
        repo,
        what: String::new(),
        since: Some(suspects.since),
        since_time: Some(suspects.since_at),
        packages: vec![BrokenNow {
            name: package.clone(),
            share: *share,
            since: Some(suspects.since),
            since_time: Some(suspects.since_at),
        }],
    })
}

/// Returns all open causes: by collection, those that break most packages first. Cost: linear in the
/// packages.
pub fn open_causes(state: &State) -> Vec<OpenCause> {
    let mut all = Vec::new();
    for (cname, c) in &state.collections {
        let mut of: BTreeMap<String, OpenCause> = BTreeMap::new();
        let packages = c.packages.iter().flat_map(|package| cause_of((cname, c), package));
        let group = c.arches.values().filter(|a| a.group_ok == Some(false)).filter_map(|a| a.causes.first());
        let group = group.map(|cause| found(cname, &CausesFound::GROUP.into(), cause));
        for one in packages.chain(group).chain(gone(cname, c)) {
            match of.get_mut(&one.id) {
                Some(known) => {
                    known.packages.extend(one.packages);
                    let older = one.since.filter(|since| known.since.is_none_or(|known| *since < known));
                    if older.is_some() {
                        (known.since, known.since_time) = (older, one.since_time);
                    }
                }
                None => drop(of.insert(one.id.clone(), one)),
            }
        }
        let mut of: Vec<OpenCause> = of.into_values().collect();
        for cause in &mut of {
            cause.packages.sort();
            cause.packages.dedup_by(|a, b| a.name == b.name);
        }
        of.sort_by(|a, b| b.packages.len().cmp(&a.packages.len()).then(a.id.cmp(&b.id)));
        all.append(&mut of);
    }
    all
}

/// Returns the target and the tags of a collection that do not exist any more: `target f99`, `tag
/// f99-build`. Those of another hub are told apart by its name.
pub fn what_is_gone(c: &Collection) -> Vec<String> {
    let elsewhere =
        if c.settings.builds_elsewhere() { format!(" on {}", c.settings.building_hub()) } else { String::new() };
    let target = c.target_gone.then(|| format!("target {}{elsewhere}", c.settings.building().1));
    target.into_iter().chain(c.tags_gone.iter().map(|tag| format!("tag {tag}"))).collect()
}

/// Returns the causes that a target or a tag is gone.
fn gone(collection: &Name, c: &Collection) -> impl Iterator<Item = OpenCause> {
    what_is_gone(c).into_iter().map(move |what| OpenCause {
        id: cause_id(collection, CauseKind::Target, &what, None),
        kind: CauseKind::Target,
        collection: collection.clone(),
        update: Updated { source: None, was: None },
        together: Vec::new(),
        repo: None,
        since: None,
        since_time: None,
        packages: vec![BrokenNow { name: CausesFound::GROUP.into(), share: 1000, since: None, since_time: None }],
        what: format!("{what} does not exist any more"),
        known_by: what,
    })
}
