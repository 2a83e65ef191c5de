//! What an update did to packages, for pages and the API.

use std::collections::BTreeMap;

use serde::Serialize;

use super::view::View;
use crate::decide::causes::OpenCause;
use crate::fold::{Collection, ComparedBuild};
use crate::model::{Name, Nvr, RepoId, Seq};

/// What happened to packages whose buildroots got an update.
#[derive(Debug, Serialize)]
pub(super) struct Effect<'a> {
    pub(super) collection: &'a Name,
    /// The repositories that brought it.
    pub(super) repos: Vec<RepoId>,
    /// Packages whose last build with it failed, with it for the first time, after a good one
    /// without it.
    pub(super) failed: Vec<&'a Name>,
    /// The number of packages that passed with it.
    pub(super) passed: usize,
    /// The open causes that are this update, or that nothing tells apart from it.
    pub(super) causes: Vec<&'a OpenCause>,
}

/// Returns what the update did in one collection. `None` if no repository brought it there.
pub(super) fn effect<'a>(
    view: &'a View,
    (name, c): (&'a Name, &'a Collection),
    nvr: &str,
    of: &Nvr,
) -> Option<Effect<'a>> {
    let version = format!("{}-{}", of.version, of.release);
    let came = c.history.arrivals.iter().filter(|a| a.source == of.name && a.new == version);
    let repos: Vec<RepoId> = came.map(|a| a.repo).collect();
    let is = |c: &&OpenCause| c.update.source.as_deref() == Some(nvr) || c.together.iter().any(|t| t == nvr);
    let causes: Vec<&OpenCause> = view.causes().iter().filter(|c| c.collection == *name).filter(is).collect();
    if repos.is_empty() && causes.is_empty() {
        return None;
    }
    let has = |b: &ComparedBuild| {
        b.changes.iter().any(|(at, _)| {
            let differing = c.history.differing.get_index(*at as usize);
            differing.is_some_and(|d| d.source == of.name && d.new.as_deref() == Some(version.as_str()))
        })
    };
    let mut ended: BTreeMap<&Name, (Seq, bool)> = BTreeMap::new();
    for build in c.history.builds.iter().filter(|b| has(b)) {
        let last = ended.entry(&build.package).or_insert((build.began, build.passed));
        if build.began >= last.0 {
            *last = (build.began, build.passed);
        }
    }
    let passed = ended.values().filter(|(_, passed)| *passed).count();
    let failed = ended.into_iter().filter(|(_, (_, passed))| !passed).map(|(name, _)| name).collect();
    Some(Effect { collection: name, repos, failed, passed, causes })
}
