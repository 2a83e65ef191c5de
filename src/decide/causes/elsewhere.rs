//! What other collections say about an update. Collections of one installation get the same updates,
//! sooner or later.
//!
//! Each other collection is judged by its own evidence alone. So two collections cannot convince each
//! other of something that neither knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::{BROKE, runs};
use crate::decide::suspects::{Change, SeenElsewhere, Which};
use crate::fold::{Mark, State, UpdateHistory};
use crate::model::Name;

/// An update in any collection: source package, and `version-release` without the distribution.
type Update = (Name, SmolStr);
/// What one collection says about updates.
type Said = FxHashMap<Update, SeenElsewhere>;

/// What each collection said last. Saves judging it again while it has nothing new.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SaidByCollection(BTreeMap<Name, (Mark, Arc<Said>)>);

/// What all collections but one say about updates.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere(Said);

impl Elsewhere {
    /// Asks all collections but `own`. Cost: that of [`runs`] for each that has something new.
    pub fn of<'a>(
        own: &Name,
        collections: impl IntoIterator<Item = (&'a Name, &'a UpdateHistory)>,
        said: &mut SaidByCollection,
    ) -> Self {
        let mut all = Said::default();
        for (name, history) in collections {
            if name == own || history.builds.is_empty() {
                continue;
            }
            let mark = history.mark();
            let known = said.0.get(name).filter(|(of, _)| *of == mark).map(|(_, said)| Arc::clone(said));
            let known = known.unwrap_or_else(|| {
                let now = Arc::new(said_by(name, history));
                said.0.insert(name.clone(), (mark, Arc::clone(&now)));
                now
            });
            for (update, seen) in known.iter() {
                all.entry(update.clone()).or_default().add(seen);
            }
        }
        Self(all)
    }

    /// Asks all collections of a state but `own`. Cost: that of [`Elsewhere::of`].
    pub fn in_state(own: &Name, state: &State, said: &mut SaidByCollection) -> Self {
        Self::of(own, state.collections.iter().map(|(name, c)| (name, &c.history)), said)
    }

    /// Returns what was seen of a version of a source package.
    pub(super) fn get(&self, source: &Name, version: &str) -> Option<SeenElsewhere> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(source.clone(), without_distribution(version))).copied()
    }
}

fn said_by(name: &Name, history: &UpdateHistory) -> Said {
    let mut said = Said::default();
    let failed: BTreeSet<&Name> = history.builds.iter().filter(|b| !b.passed).map(|b| &b.package).collect();
    // The packages that failed are judged below.
    let mut passed = vec![SeenElsewhere::default(); history.differing.len()];
    for build in history.builds.iter().filter(|b| b.passed && !failed.contains(&b.package)) {
        for (index, distance) in &build.changes {
            let class = Change { update: *index, distance: *distance }.class();
            if let Some(seen) = passed.get_mut(*index as usize) {
                seen.passed[usize::from(build.own_changed)][class] += 1;
            }
        }
    }
    for (differing, seen) in history.differing.iter().zip(&passed) {
        if let Some(new) = &differing.new {
            said.entry((differing.source.clone(), without_distribution(new))).or_default().add(seen);
        }
    }
    for run in runs(name, history, &Elsewhere::default(), Which::All) {
        let first = run.failed.last().and_then(|last| last.build.suspects.first());
        let Some(suspect) = first.filter(|s| s.share >= BROKE) else { continue };
        for nvr in suspect.update.source.iter().chain(&suspect.together) {
            if let Some(update) = parsed(nvr) {
                said.entry(update).or_default().broken += 1;
            }
        }
    }
    said
}

/// Takes `libfoo-2-1.fc44` apart.
fn parsed(nvr: &str) -> Option<Update> {
    let (rest, _) = nvr.rsplit_once('-')?;
    let (name, _) = rest.rsplit_once('-')?;
    let version = nvr.get(name.len() + 1..)?;
    Some((name.into(), without_distribution(version)))
}

/// Words that begin a release which precedes another one. They name no distribution.
const BEFORE_RELEASE: [&str; 9] = ["alpha", "beta", "rc", "pre", "dev", "git", "svn", "hg", "post"];

/// Returns `2-1` for `2-1.fc44`, and `2-1.1` for `2-1.fc44.1`: a tag of a distribution is a part of
/// the release that has letters and then digits, as `%{?dist}` of Fedora and of others has it.
fn without_distribution(version: &str) -> SmolStr {
    let Some((version, release)) = version.rsplit_once('-') else { return version.into() };
    let is_tag = |part: &&str| {
        let word = part.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
        word.len() >= 2
            && word.len() < part.len()
            && word.chars().all(|c| c.is_ascii_lowercase())
            && !BEFORE_RELEASE.contains(&word)
    };
    let kept: Vec<&str> = release.split('.').filter(|part| !is_tag(part)).collect();
    format!("{version}-{}", kept.join(".")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_the_same_in_two_distributions() {
        for (version, expected) in [
            ("2-1.fc44", "2-1"),
            ("2-1.fc43", "2-1"),
            ("2-1.el10_1", "2-1"),
            ("2-1.fc44.1", "2-1.1"),
            ("2-0.5.rc1.fc44", "2-0.5.rc1"),
            ("2-0.1.git20260101.eln145", "2-0.1.git20260101"),
            ("2-1", "2-1"),
            ("2~a-1.fc44", "2~a-1"),
        ] {
            assert_eq!(without_distribution(version), expected);
        }
        assert_eq!(parsed("a-b-2-1.fc44"), Some(("a-b".into(), "2-1".into())));
        assert_eq!(parsed("a"), None);
    }
}
