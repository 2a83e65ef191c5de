//! Real builds.

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::HubState;
use super::state::real_outcome;
use crate::event::{BuildChanged, Prediction};
use crate::model::koji::BuildState;
use crate::model::{BuildId, Evr, Name, Nvr, Outcome, RepoId, TaskId, Timestamp};

/// What the hub recorded as the buildroot of a build on one architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordedBuildroot {
    /// The architecture.
    pub arch: Name,
    /// Attachment with the list of packages.
    pub attachment: Box<str>,
    /// The build requirements were installed, so that the list is the whole buildroot.
    pub complete: bool,
    /// How it compares with what we would have predicted, once that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
}

impl RecordedBuildroot {
    /// Whether it says more than our own closure of its repository does: it is whole, and not known to be the very
    /// same. Then dependency changes are measured from it.
    pub fn tells_more(&self) -> bool {
        self.complete && self.prediction != Some(Prediction::Exact)
    }

    /// Whether it should be compared with what we would have predicted.
    pub fn awaits_comparison(&self) -> bool {
        self.complete && self.prediction.is_none()
    }
}

/// How many former names of a build are remembered, the last ones.
const FORMER_KEPT: usize = 4;

/// A real build.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Build {
    /// Name, version, release.
    pub nvr: Nvr,
    /// `version-release` of names it had before under the same number: a promoted draft, for one. What was found out
    /// under them stays true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<SmolStr>,
    /// When it was last said to be called so.
    #[serde(default)]
    pub named_at: Timestamp,
    /// Epoch, where known and not zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// `None`: only a tag event spoke of it.
    pub state: Option<BuildState>,
    /// The task; `None` for imported builds and for those we have no build event of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The repository it was built in, where the hub was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// What the hub recorded as its buildroots, one per architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buildroots: Vec<RecordedBuildroot>,
}

impl Build {
    /// One of which only the name is known.
    fn seen(nvr: Nvr, named_at: Timestamp) -> Self {
        let former = Vec::new();
        Self {
            nvr,
            former,
            named_at,
            epoch: None,
            state: None,
            task_id: None,
            completed_at: None,
            repo_id: None,
            buildroots: Vec::new(),
        }
    }

    /// Whether this hub built it, as opposed to importing it: only then does it say something about buildability.
    pub fn built_here(&self) -> bool {
        self.task_id.is_some()
    }

    /// Its `version-release`.
    pub fn source(&self) -> SmolStr {
        format_smolstr!("{}-{}", self.nvr.version, self.nvr.release)
    }

    /// Takes over the name it is said to have at a moment. A promoted draft is never a draft again, however late the
    /// word of its draft days comes; else what was said last counts, and what the hub was `asked` for counts before
    /// all. Whether that is news.
    fn named(&mut self, nvr: Nvr, at: Timestamp, asked: bool) -> bool {
        if nvr == self.nvr {
            self.named_at = self.named_at.max(at);
            return false;
        }
        let takes = match (self.nvr.is_draft(), nvr.is_draft()) {
            _ if asked => true,
            (true, false) => true,
            (false, true) => false,
            _ => (at, &nvr) > (self.named_at, &self.nvr),
        };
        let other = match takes {
            true => {
                self.named_at = at;
                std::mem::replace(&mut self.nvr, nvr)
            }
            false => nvr,
        };
        let (now, other) = (self.source(), format_smolstr!("{}-{}", other.version, other.release));
        self.former.retain(|f| *f != now && *f != other);
        self.former.push(other);
        self.former.sort_unstable();
        let over = self.former.len().saturating_sub(FORMER_KEPT);
        self.former.drain(..over);
        takes
    }

    /// Its EVR.
    pub fn evr(&self) -> Evr {
        Evr { epoch: self.epoch, version: self.nvr.version.clone(), release: self.nvr.release.clone() }
    }
}

/// What word of a build changed.
pub(super) struct Changed {
    /// It has another name.
    pub(super) renamed: bool,
    /// What it says about its package now, where that is something else than before.
    pub(super) outcome: Option<Option<Outcome>>,
}

impl HubState {
    /// Takes over a build's new state. FAILED and CANCELED builds may come back under the same id. What the hub was
    /// asked for is its state now and all there is to know; a message says what it was at some moment, and may leave
    /// things out. Returns what it says about its package now, where that is something else than before.
    pub(super) fn build_changed(&mut self, e: &BuildChanged, heard_at: Timestamp, asked: bool) -> Changed {
        // A build nobody spoke of before is in no tag, so that nothing depends on it yet.
        let before = self.builds.get(&e.build_id).map(real_outcome);
        let nvr = Nvr { name: e.name.clone(), version: e.version.clone(), release: e.release.clone() };
        let build = self.builds.entry(e.build_id).or_insert_with(|| Build::seen(nvr.clone(), heard_at));
        // Its times are those of the build, which may be long before it got this name.
        let renamed = build.named(nvr, heard_at, asked);
        if !asked && build.state.is_some() && e.state == BuildState::Building && e.old.is_none() {
            // The first message of a build, overtaken by a later one.
            return Changed { renamed, outcome: None };
        }
        // One that is made anew under its number was made in another buildroot.
        if build.task_id.zip(e.task_id).is_some_and(|(old, new)| old != new) {
            build.repo_id = None;
            build.buildroots = Vec::new();
        }
        build.state = Some(e.state);
        if asked || e.epoch.is_some() {
            build.epoch = e.epoch;
        }
        if asked || e.task_id.is_some() {
            build.task_id = e.task_id;
        }
        if let Some(task) = e.task_id {
            self.build_of_task.insert(task, e.build_id);
        }
        // Not every word of a build that stands as it was says again when it ended.
        if asked || e.completed_at.is_some() || e.old != Some(e.state) {
            build.completed_at = e.completed_at;
        }
        let now = real_outcome(build);
        Changed { renamed, outcome: before.filter(|before| *before != now).map(|_| now) }
    }

    /// Makes sure that a build a tag event speaks of is known, by the name it has there. Whether that is another than
    /// before.
    pub(super) fn build_seen(&mut self, id: BuildId, nvr: Nvr, at: Timestamp, asked: bool) -> bool {
        match self.builds.get_mut(&id) {
            Some(known) => known.named(nvr, at, asked),
            None => {
                self.builds.insert(id, Build::seen(nvr, at));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a build is called after a name was said of it, and what it was called before.
    #[test]
    fn names_of_a_build() {
        let nvr = |text: &str| Nvr::parse(text).expect("a name");
        let (draft, own, other) = ("foo-1-1,draft_3", "foo-1-1", "foo-1-2");
        // Known and when, said and when, asked for; is it called so now?
        for (known, then, said, when, asked, takes) in [
            (draft, 5, own, 1, false, true),
            (own, 1, draft, 5, false, false),
            (own, 1, draft, 5, true, true),
            (own, 1, other, 5, false, true),
            (other, 5, own, 1, false, false),
            (other, 5, own, 1, true, true),
            (own, 5, other, 5, false, true),
            (other, 5, own, 5, false, false),
        ] {
            let at = Timestamp::from_secs;
            let mut build = Build::seen(nvr(known), at(then));
            assert_eq!(build.named(nvr(said), at(when), asked), takes, "{known} {said} {asked}");
            let (now, before) = if takes { (said, known) } else { (known, said) };
            assert_eq!(build.nvr, nvr(now));
            assert_eq!(build.source(), now.trim_start_matches("foo-"));
            assert_eq!(build.former, [before.trim_start_matches("foo-")]);
            assert_eq!(build.named_at, at(if takes { when } else { then }));
            // Said again it is no news, however late.
            assert!(!build.named(nvr(now), at(9), asked));
            assert_eq!((build.nvr.clone(), build.former.len(), build.named_at), (nvr(now), 1, at(9)));
        }
    }

    #[test]
    fn former_names_stand_once_and_are_bounded() {
        let mut build = Build::seen(Nvr::parse("foo-1-0").expect("a name"), Timestamp::EPOCH);
        for round in 0..2 {
            for n in 1..=FORMER_KEPT {
                let name = Nvr::parse(&format!("foo-1-{n}")).expect("a name");
                build.named(name, Timestamp::from_secs(round * 10 + i64::try_from(n).expect("few")), false);
            }
        }
        assert_eq!((build.source().as_str(), build.former.len()), ("1-4", FORMER_KEPT));
        assert_eq!(build.former, ["1-0", "1-1", "1-2", "1-3"]);
    }
}
