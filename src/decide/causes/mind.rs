//! Compares the present judgement on suspects with what the log said last.

use std::collections::BTreeMap;

use indexmap::IndexSet;

use super::{BROKE, Elsewhere, FailedBuild, Suspected, runs};
use crate::decide::suspects::Which;
use crate::event::{PackageSuspects, SuspectedUpdate, SuspectsRanked};
use crate::fold::{Collection, Suspects};
use crate::model::{Name, RepoId};

/// Version of the rules of the ranking. Increase it with every change that gives other shares.
pub const RULES: u32 = 2;
/// Most suspects of a build that an event names.
const NAMED: usize = 5;
/// The smallest share, in thousandths, that an event names.
const SLIGHT: u32 = 20;

/// Shares by what a suspect is known by.
type ByName = BTreeMap<(String, Option<RepoId>), u32>;

/// Returns the event that says which packages have other suspects than the log said last. `None` if
/// there are none. The same state gives the same event. Cost: that of [`runs`].
pub fn changed_mind(name: &Name, collection: &Collection, elsewhere: &Elsewhere) -> Option<SuspectsRanked> {
    let mut updates: IndexSet<SuspectedUpdate> = IndexSet::new();
    let mut packages = Vec::new();
    for run in runs(name, &collection.history, elsewhere, Which::SinceGood).iter().filter(|run| run.ended.is_none()) {
        let Some((package, last)) = collection.packages.get(&run.package).zip(run.failed.last()) else { continue };
        let build = &last.build;
        if package.suspects.as_ref().is_some_and(|known| !matters(known, build)) {
            continue;
        }
        let suspects = named(build).map(|s| {
            let at = updates.insert_full(s.as_event()).0;
            (u32::try_from(at).unwrap_or(u32::MAX), s.share)
        });
        packages.push(PackageSuspects {
            package: run.package.clone(),
            task_id: build.task,
            suspects: suspects.collect(),
            own: build.none.own,
            chance: build.none.chance,
        });
    }
    let updates = updates.into_iter().collect();
    (!packages.is_empty()).then(|| SuspectsRanked { collection: name.clone(), rules: RULES, updates, packages })
}

/// Returns the suspects that an event names.
fn named(build: &FailedBuild) -> impl Iterator<Item = &Suspected> {
    build.suspects.iter().take(NAMED).filter(|s| s.share >= SLIGHT)
}

/// Checks whether a judgement is worth an event: about another build, with another update that is
/// held to have broken it, or with a share that is another one by [`SuspectsRanked::MATTERS`].
///
/// A suspect that the event before did not name had at most the smallest share that it named.
fn matters(known: &Suspects, now: &FailedBuild) -> bool {
    let before: ByName = known.named.iter().map(|(update, share)| (update.known_by(), *share)).collect();
    let after: ByName = now.suspects.iter().map(|s| ((s.known_by(), s.repo), s.share)).collect();
    let broke = |shares: &ByName| shares.iter().find(|(_, share)| **share >= BROKE).map(|(by, _)| by.clone());
    let unnamed = known.named.get(NAMED - 1).map_or(0, |(_, share)| *share);
    let gone = before.iter().map(|(by, share)| (*share, after.get(by).copied().unwrap_or(0)));
    let come = after.iter().filter(|(by, _)| !before.contains_key(*by)).map(|(_, share)| (unnamed.min(*share), *share));
    let nobody = [(known.own, now.none.own), (known.chance, now.none.chance)];
    let mut shares = gone.chain(come).chain(nobody);
    let moved = shares.any(|(before, after)| before.abs_diff(after) >= SuspectsRanked::MATTERS);
    known.task != now.task || broke(&before) != broke(&after) || moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::causes::{NoUpdate, Updated};
    use crate::model::{Seq, TaskId, Timestamp};

    fn judged(task: i64, shares: &[(&str, u32)]) -> FailedBuild {
        let left = 1000 - shares.iter().map(|(_, share)| share).sum::<u32>();
        let suspect = |(source, share): &(&str, u32)| Suspected {
            update: Updated { source: Some((*source).to_owned()), was: None },
            together: Vec::new(),
            repo: Some(RepoId(2)),
            share: *share,
            evidence: Vec::new(),
        };
        FailedBuild {
            collection: "f99".into(),
            package: "app".into(),
            task: TaskId(task),
            source: "app-1-1".to_owned(),
            repo: RepoId(3),
            good_repo: Some(RepoId(1)),
            line: None,
            suspects: shares.iter().map(suspect).collect(),
            none: NoUpdate { own: 0, chance: left },
        }
    }

    /// Returns what a state keeps of an event about the build.
    fn said(build: &FailedBuild) -> Suspects {
        Suspects {
            task: build.task,
            named: named(build).map(|s| (s.as_event(), s.share)).collect(),
            own: build.none.own,
            chance: build.none.chance,
            since: Seq::new(1).unwrap(),
            since_at: Timestamp::EPOCH,
        }
    }

    /// An event is worth it for another build, another culprit, or a share that moved.
    #[test]
    fn small_changes_are_no_event() {
        let first = judged(1, &[("libx-2-1", 480), ("liby-2-1", 400)]);
        let known = said(&first);
        for (now, expected) in [
            (judged(1, &[("libx-2-1", 480), ("liby-2-1", 400)]), false),
            (judged(1, &[("libx-2-1", 499), ("liby-2-1", 390)]), false),
            (judged(1, &[("libx-2-1", 500), ("liby-2-1", 390)]), true),
            (judged(1, &[("libx-2-1", 440), ("liby-2-1", 449)]), false),
            (judged(1, &[("libx-2-1", 430), ("liby-2-1", 450)]), true),
            (judged(1, &[("libx-2-1", 480), ("liby-2-1", 350)]), true),
            (judged(1, &[("libx-2-1", 480), ("liby-2-1", 400), ("libz-2-1", 49)]), false),
            (judged(1, &[("libx-2-1", 480), ("liby-2-1", 400), ("libz-2-1", 50)]), true),
            (judged(2, &[("libx-2-1", 480), ("liby-2-1", 400)]), true),
        ] {
            assert_eq!(matters(&known, &now), expected, "{now:?}");
        }
    }
    /// Of many alike, an event names some. That the others are not named is no change.
    #[test]
    fn what_was_said_is_not_said_again() {
        let many = |first: u32| {
            let shares: Vec<(String, u32)> =
                (0..12).map(|n| (format!("lib{n}-2-1"), if n == 0 { first } else { 80 })).collect();
            judged(1, &shares.iter().map(|(name, share)| (name.as_str(), *share)).collect::<Vec<_>>())
        };
        let known = said(&many(80));
        assert_eq!(known.named.len(), NAMED);
        assert!(!matters(&known, &many(80)));
        assert!(matters(&known, &many(30)));
    }
}
