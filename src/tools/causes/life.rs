//! The life of causes: when each began, which packages it broke and for how long, and when it ended.

use std::collections::BTreeMap;

use super::spells::{Key, Named, Spell};
use super::told::{Collected, Told};
use super::{BrokenPackage, Cause};
use crate::decide::causes::{
    BROKE, CauseKind, Elsewhere, FailedBuild, Run, SaidByCollection, Suspected, Updated, cause_id, runs, together,
};
use crate::decide::suspects::Which;
use crate::model::counted::count;
use crate::model::{Name, Seq, Timestamp};

/// Returns the causes that events name.
fn named(collection: &Name, of: &Collected) -> Vec<Cause> {
    let one = |(key, named): (&Key, &Named)| {
        let packages = joined(&named.spells);
        let together = match (&named.update.source, key.repo) {
            (Some(source), Some(repo)) => together(&of.history, source, repo),
            _ => Vec::new(),
        };
        finished(collection, key, (named.update.clone(), named.what.clone(), together), named.at, packages)
    };
    of.spells.causes.iter().map(one).collect()
}

/// Joins the spells of a package on several architectures, as far as they overlap.
fn joined(spells: &[Spell]) -> Vec<BrokenPackage> {
    let mut sorted: Vec<&Spell> = spells.iter().collect();
    sorted.sort_by(|a, b| (&a.package, a.since).cmp(&(&b.package, b.since)));
    let mut all: Vec<BrokenPackage> = Vec::new();
    for spell in sorted {
        match all.last_mut() {
            Some(last) if last.name == spell.package && last.until.is_none_or(|until| spell.since <= until) => {
                last.until = last.until.zip(spell.until).map(|(a, b)| a.max(b));
            }
            _ => all.push(BrokenPackage {
                name: spell.package.clone(),
                since: spell.since,
                until: spell.until,
                share: 1000,
            }),
        }
    }
    all
}

fn finished(
    collection: &Name,
    key: &Key,
    (update, what, together): (Updated, String, Vec<String>),
    at: Timestamp,
    packages: Vec<BrokenPackage>,
) -> Cause {
    let lasting = |p: &&BrokenPackage| p.share >= BROKE || key.kind != CauseKind::Build;
    let ends: Option<Vec<u64>> = packages.iter().filter(lasting).map(|p| p.until).collect();
    let until = ends.and_then(|ends| ends.into_iter().max());
    let since = packages.iter().filter(lasting).map(|p| p.since).min().unwrap_or(0);
    Cause {
        id: cause_id(collection, key.kind, &key.what, key.repo),
        kind: key.kind,
        collection: collection.clone(),
        update,
        together,
        repo: key.repo,
        what,
        since,
        since_time: at.to_string(),
        until,
        state: if until.is_some() { "over" } else { "open" },
        packages,
    }
}

impl Told {
    /// Returns all causes, those that are over included, and the failed builds they follow from:
    /// by collection, then in the order in which they began.
    pub fn causes(&self) -> (Vec<Cause>, Vec<FailedBuild>) {
        let (mut causes, mut failed) = (Vec::new(), Vec::new());
        let mut said = SaidByCollection::default();
        let histories = || self.collections.iter().map(|(name, of)| (name, &of.history));
        let mut elsewhere = |own: &Name| Elsewhere::of(own, histories(), &mut said);
        for (name, of) in &self.collections {
            let mut own = named(name, of);
            let runs = runs(name, &of.history, &elsewhere(name), Which::All);
            own.extend(builds(name, of, &runs));
            own.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
            causes.append(&mut own);
            failed.extend(runs.into_iter().flat_map(|run| run.failed).map(|one| one.build));
        }
        failed.sort_by(|a, b| (&a.collection, a.task).cmp(&(&b.collection, b.task)));
        (causes, failed)
    }
}

/// Returns the causes of failed builds: each update that has broken the latest failed build of a
/// run, with all packages that it has a share of.
fn builds(collection: &Name, of: &Collected, runs: &[Run]) -> Vec<Cause> {
    struct Found<'a> {
        suspect: &'a Suspected,
        at: Timestamp,
        packages: Vec<BrokenPackage>,
    }
    let mut found: BTreeMap<Key, Found<'_>> = BTreeMap::new();
    for run in runs {
        let Some(last) = run.failed.last() else { continue };
        for suspect in last.build.suspects.iter().filter(|s| s.share > 0) {
            let first = run.failed.iter().find(|f| f.build.suspects.iter().any(|s| s.key() == suspect.key()));
            let first = first.unwrap_or(last);
            let (what, repo) = (suspect.known_by(), suspect.repo);
            let key = Key { kind: CauseKind::Build, what, repo };
            let of = found.entry(key).or_insert(Found { suspect, at: first.at, packages: Vec::new() });
            if suspect.share >= BROKE {
                of.at = of.at.min(first.at);
            }
            let (name, since, until) = (run.package.clone(), first.seq.get(), run.ended.map(Seq::get));
            of.packages.push(BrokenPackage { name, since, until, share: suspect.share });
        }
    }
    let certain = found.into_iter().filter(|(_, f)| f.packages.iter().any(|p| p.share >= BROKE));
    certain
        .map(|(key, mut found)| {
            found.packages.sort_by(|a, b| (&a.name, a.since).cmp(&(&b.name, b.since)));
            let broken = found.packages.iter().filter(|p| p.share >= BROKE).count();
            let s = found.suspect;
            let broken = count(broken, "package", "packages");
            let what = format!("{} breaks builds: {broken} began to fail with it", s.update);
            let together = match (&s.update.source, s.repo) {
                (Some(source), Some(repo)) if s.together.is_empty() => together(&of.history, source, repo),
                _ => s.together.clone(),
            };
            finished(collection, &key, (s.update.clone(), what, together), found.at, found.packages)
        })
        .collect()
}
