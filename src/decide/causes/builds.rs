//! The suspects of failed builds: makes the evidence for the ranking, and names what it returns.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::{Elsewhere, FailedBuild, NoUpdate, Suspected, Updated};
use crate::decide::faults::alike;
use crate::decide::suspects::{Build, Change, Evidence, Facts, Model, Suspect, Update, Which, rank};
use crate::event::DifferingSource;
use crate::fold::{ComparedBuild, UpdateHistory};
use crate::model::counted::count;
use crate::model::{Name, RepoId, Seq, Timestamp};

/// A failed build, with the event that compared it.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The event.
    pub seq: Seq,
    /// Its time.
    pub at: Timestamp,
    /// The build.
    pub build: FailedBuild,
}

/// Failures of a package without a good build between them.
#[derive(Clone, Debug)]
pub struct Run {
    /// The package.
    pub package: Name,
    /// The failed builds, oldest first. Never empty.
    pub failed: Vec<Failed>,
    /// The event of the good build that ended it. `None` while it lasts.
    pub ended: Option<Seq>,
}

/// The name of an updated source package, its old and new version, and the repository.
type UpdateNames<'a> = (&'a Name, Option<&'a SmolStr>, Option<&'a SmolStr>, Option<RepoId>);

/// Numbers for what has names.
#[derive(Default)]
struct Numbers<'a> {
    sources: FxHashMap<&'a str, u32>,
    updates: Vec<Update>,
    /// What each update is, in the same order.
    named: Vec<UpdateNames<'a>>,
    /// Places in [`UpdateHistory::arrivals`] by source package and version, oldest first.
    by_version: FxHashMap<(&'a str, &'a str), Vec<usize>>,
    others: BTreeMap<&'a DifferingSource, u32>,
}

impl<'a> Numbers<'a> {
    /// Numbers the updates that came with repositories.
    fn new(history: &'a UpdateHistory) -> Self {
        let mut numbers = Self::default();
        for (at, arrival) in history.arrivals.iter().enumerate() {
            let source = numbers.source(&arrival.source);
            let (old, new) = (arrival.old.as_ref(), Some(&arrival.new));
            numbers.updates.push(Update {
                id: number(at),
                source,
                repo: history.place(arrival.repo),
                version_changed: is_new_version(old, new),
                buildroots: Some(arrival.buildroots),
            });
            numbers.named.push((&arrival.source, old, new, Some(arrival.repo)));
            numbers.by_version.entry((&arrival.source, &arrival.new)).or_default().push(at);
        }
        numbers
    }

    fn source(&mut self, name: &'a str) -> u32 {
        let next = number(self.sources.len());
        *self.sources.entry(name).or_insert(next)
    }

    /// Returns the updates between a build and the last good one before it. A source package that
    /// came into the buildroot in a version that was there before the good build is none of them.
    fn changes(&mut self, history: &'a UpdateHistory, b: &'a ComparedBuild) -> Vec<Change> {
        let Some(good) = b.good_repo else { return Vec::new() };
        let (from, to) = (history.place(good), history.place(b.repo));
        let mut found = Vec::new();
        for (index, distance) in &b.changes {
            let Some(differing) = history.differing.get_index(*index as usize) else { continue };
            let arrived = differing.new.as_ref().and_then(|new| {
                let all = self.by_version.get(&(differing.source.as_str(), new.as_str()))?;
                all.iter().rev().copied().find(|at| history.place(history.arrivals[*at].repo) <= to)
            });
            let update = match arrived {
                Some(at) if differing.old.is_none() && history.place(history.arrivals[at].repo) <= from => continue,
                Some(at) => number(at),
                None if differing.old.is_none() => continue,
                None => self.other(differing, to),
            };
            found.push(Change { update, distance: *distance });
        }
        found.sort_unstable_by_key(|c| c.update);
        found.dedup_by_key(|c| c.update);
        found
    }

    /// Returns the number of a difference that is no known update.
    fn other(&mut self, differing: &'a DifferingSource, repo: u32) -> u32 {
        let next = number(self.updates.len());
        let at = *self.others.entry(differing).or_insert(next);
        if at == next {
            let source = self.source(&differing.source);
            let (old, new) = (differing.old.as_ref(), differing.new.as_ref());
            let version_changed = is_new_version(old, new);
            self.updates.push(Update { id: at, source, repo, version_changed, buildroots: None });
            self.named.push((&differing.source, old, new, differing.repo_id));
        }
        at
    }
}

/// Returns the same number for lines that differ only in what differs between builds: paths, numbers,
/// times.
fn alike_line(line: &str) -> u64 {
    crate::fold::stands_for(&alike::mark(line))
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Checks whether two `version-release` differ in the version.
fn is_new_version(old: Option<&SmolStr>, new: Option<&SmolStr>) -> bool {
    let version = |of: Option<&SmolStr>| of.and_then(|v| v.rsplit_once('-')).map(|(version, _)| version.to_owned());
    version(old) != version(new)
}

/// Returns the updates of the same repository that are in the buildroots of exactly the same
/// packages.
pub fn together(history: &UpdateHistory, source: &str, repo: RepoId) -> Vec<String> {
    let came = || history.arrivals.iter().filter(|a| a.repo == repo).map(|a| (nvr(&a.source, &a.new), a.buildroots));
    let Some((_, own)) = came().find(|(name, _)| name == source) else { return Vec::new() };
    came().filter(|(name, buildroots)| *buildroots == own && name != source).map(|(name, _)| name).collect()
}

/// Ranks the suspects of a collection's failed builds: of all that the history has, or of those in
/// runs that last. `elsewhere` says what is known of the updates in other collections. The runs are
/// sorted by package, then in their order. Cost: [`rank`], and linear in the history.
pub fn runs(collection: &Name, history: &UpdateHistory, elsewhere: &Elsewhere, which: Which) -> Vec<Run> {
    let mut builds: Vec<&ComparedBuild> = history.builds.iter().collect();
    builds.sort_by_key(|b| b.began);
    let mut numbers = Numbers::new(history);
    let mut evidence = Evidence::default();
    for b in &builds {
        let package = numbers.source(&b.package);
        let changes = numbers.changes(history, b);
        let repo = history.place(b.repo);
        let (passed, own_changed) = (b.passed, b.own_changed);
        let text = b.line.as_deref().map(alike_line);
        evidence.builds.push(Build { package, repo, passed, own_changed, text, changes });
    }
    evidence.updates = std::mem::take(&mut numbers.updates);
    let seen = numbers.named.iter().enumerate().filter_map(|(at, (name, _, new, _))| {
        let seen = elsewhere.get(name, new.as_ref()?)?;
        Some((number(at), seen))
    });
    evidence.elsewhere = seen.collect();
    let ranked = rank(&evidence, &Model::default(), which);
    let mut by_build: BTreeMap<u32, (Vec<Suspect>, NoUpdate)> = BTreeMap::new();
    for one in ranked {
        let none = NoUpdate { own: one.none.own, chance: one.none.chance };
        by_build.insert(one.build, (one.suspects, none));
    }
    let mut runs: BTreeMap<&Name, Vec<Run>> = BTreeMap::new();
    for (at, b) in builds.iter().enumerate() {
        let of = runs.entry(&b.package).or_default();
        if b.passed {
            if let Some(open) = of.last_mut().filter(|run| run.ended.is_none()) {
                open.ended = Some(b.seq);
            }
            continue;
        }
        let Some((suspects, none)) = by_build.remove(&number(at)) else { continue };
        let suspects = suspects.iter().map(|s| named(s, &b.package, &numbers)).collect();
        let Some(task) = b.task else { continue };
        let build = FailedBuild {
            collection: collection.clone(),
            package: b.package.clone(),
            task,
            source: nvr(&b.package, &b.source),
            repo: b.repo,
            good_repo: b.good_repo,
            line: b.line.as_deref().map(str::to_owned),
            suspects,
            none,
        };
        let failed = Failed { seq: b.seq, at: b.at, build };
        match of.last_mut().filter(|run| run.ended.is_none()) {
            Some(open) => open.failed.push(failed),
            None => of.push(Run { package: b.package.clone(), failed: vec![failed], ended: None }),
        }
    }
    runs.into_values().flatten().collect()
}

fn nvr(name: &str, version: &str) -> String {
    format!("{name}-{version}")
}

fn named(s: &Suspect, package: &Name, numbers: &Numbers<'_>) -> Suspected {
    let of = |id: u32| numbers.named.get(id as usize);
    let nvr = |name: &str, version: Option<&SmolStr>| version.map(|version| nvr(name, version));
    let new = |id: u32| of(id).and_then(|(name, _, new, _)| nvr(name, *new));
    let (update, repo) = match of(s.update) {
        Some((name, old, new, repo)) => (Updated { source: nvr(name, *new), was: nvr(name, *old) }, *repo),
        None => (Updated { source: None, was: None }, None),
    };
    let together = s.together.iter().filter_map(|id| new(*id)).collect();
    let evidence = sentences(&s.facts, package, repo, s.facts.repaired_by.and_then(new));
    Suspected { update, together, repo, share: s.share, evidence }
}

/// Says what speaks for a suspect.
fn sentences(f: &Facts, package: &Name, repo: Option<RepoId>, repaired_by: Option<String>) -> Vec<String> {
    let with = repo.map_or_else(|| "with it".to_owned(), |repo| format!("with repository {repo}"));
    let distance = match f.distance {
        1..=4 => format!("distance {}", f.distance),
        _ => "no near dependency".to_owned(),
    };
    let all = if f.began == f.began_with && f.began > 0 { "all " } else { "" };
    let began = if all.is_empty() { format!("{} of the {}", f.began_with, f.began) } else { f.began.to_string() };
    let mut said = vec![format!(
        "in the buildroots of {all}{began} that began to fail {with}, and of {} of the {} that passed since; \
         {distance}",
        f.passed_with, f.passed
    )];
    if f.broken > 1 {
        said.push(format!("held to have broken {} packages together", f.broken));
    }
    if f.failed_here + f.passed_here > 1 {
        said.push(format!("{package} failed {} times with it and passed {} times", f.failed_here, f.passed_here));
    }
    if f.elsewhere.broken > 0 {
        let packages = count(f.elsewhere.broken as usize, "package", "packages");
        said.push(format!("held to have broken {packages} of other collections"));
    }
    let passed = f.elsewhere.passed.iter().flatten().sum::<u32>();
    if passed > 0 {
        let packages = count(passed as usize, "package", "packages");
        said.push(format!("{packages} of other collections passed with it"));
    }
    if let Some(repair) = repaired_by {
        said.push(format!("packages pass again since {repair}"));
    }
    if f.same_text > 0 {
        said.push(format!("{} other packages failed with the same line", f.same_text));
    }
    said
}
