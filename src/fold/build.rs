//! Folds real builds.

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::HubState;
use crate::event::{BuildChanged, BuildrootOverrideChanged, Prediction};
use crate::model::koji::BuildState;
use crate::model::{BuildId, Evr, Name, Nvr, Outcome, RepoId, TaskId, Timestamp};

/// The buildroot that the hub recorded for a build on one architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordedBuildroot {
    /// The architecture.
    pub arch: Name,
    /// Attachment with the list of installed packages.
    pub attachment: Box<str>,
    /// Whether the build requirements were installed, so that the list is the whole buildroot.
    pub complete: bool,
    /// Result of the comparison with the prediction, once it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
}

impl RecordedBuildroot {
    /// Returns whether the record has more information than the predicted buildroot: it is
    /// complete, and not known to be identical. Dependency changes are then measured from it.
    pub fn tells_more(&self) -> bool {
        self.complete && self.prediction != Some(Prediction::Exact)
    }

    /// Returns whether the record is still to be compared with the prediction.
    pub fn awaits_comparison(&self) -> bool {
        self.complete && self.prediction.is_none()
    }
}

/// How many former names of a build are remembered, the last ones.
const FORMER_KEPT: usize = 4;

/// A build that Bodhi put into buildroots before its update.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BuildrootOverride {
    /// `version-release` of the build.
    pub source: SmolStr,
    /// Time at which Bodhi will end the override. `None` if it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl BuildrootOverride {
    /// Time in seconds after which an override that expired is forgotten, if nothing said that it
    /// ended: 30 days. Bodhi ends it within hours.
    const FORGOTTEN_AFTER: i64 = 30 * 86_400;
    /// Maximum number of overrides kept of one package. The newest stay.
    const KEPT: usize = 16;
}

/// A real build.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Build {
    /// Name, version, release.
    pub nvr: Nvr,
    /// `version-release` of earlier names under the same number, such as those of a promoted draft.
    /// Results found under them still count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<SmolStr>,
    /// Time of the last message or look-up that gave this name.
    #[serde(default)]
    pub named_at: Timestamp,
    /// Epoch, if known and not zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// State of the build. `None` if only a tag event mentioned it.
    pub state: Option<BuildState>,
    /// The task. `None` for imported builds, and for those without a build event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Time at which the build ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The repository it was built in, if the hub was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_id: Option<RepoId>,
    /// The buildroots that the hub recorded, one per architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buildroots: Vec<RecordedBuildroot>,
}

impl Build {
    /// Makes a build of which only the name is known.
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

    /// Returns whether this hub built it, instead of importing it. Only a build made here shows
    /// that the package builds.
    pub fn built_here(&self) -> bool {
        self.task_id.is_some()
    }

    /// Returns the build's `version-release`.
    pub fn source(&self) -> SmolStr {
        format_smolstr!("{}-{}", self.nvr.version, self.nvr.release)
    }

    /// Takes over the name that the build had at a moment. The name from a hub that was `asked`
    /// always counts. Otherwise, a promoted draft never becomes a draft again, however late a
    /// message from its draft days arrives. In all other cases the last name counts. Returns
    /// whether the name changed.
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

    /// Returns the build's EVR.
    pub fn evr(&self) -> Evr {
        Evr { epoch: self.epoch, version: self.nvr.version.clone(), release: self.nvr.release.clone() }
    }
}

/// The changes after news about a build.
pub(super) struct Changed {
    /// Whether the build has another name.
    pub(super) renamed: bool,
    /// The build's new outcome, if it differs from before.
    pub(super) outcome: Option<Option<Outcome>>,
}

impl HubState {
    /// Takes over a build's new state. FAILED and CANCELED builds may be made again under the same
    /// id. If the hub was asked, `e` is the build's state now, and it is complete. A message gives
    /// the state at some moment, and may leave things out.
    pub(super) fn build_changed(&mut self, e: &BuildChanged, heard_at: Timestamp, asked: bool) -> Changed {
        // A build that was not mentioned before is in no tag, so nothing depends on it yet.
        let before = self.builds.get(&e.build_id).map(real_outcome);
        let nvr = Nvr { name: e.name.clone(), version: e.version.clone(), release: e.release.clone() };
        let build = self.builds.entry(e.build_id).or_insert_with(|| Build::seen(nvr.clone(), heard_at));
        // Use the time we heard of it: the times in the event are those of the build, which may be
        // long before it got this name.
        let renamed = build.named(nvr, heard_at, asked);
        if !asked && build.state.is_some() && e.state == BuildState::Building && e.old.is_none() {
            // This is the first message about the build, and a later one overtook it.
            return Changed { renamed, outcome: None };
        }
        // A build that is made again under its number has another buildroot.
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
        // A message about a build whose state did not change may leave out when it ended.
        if asked || e.completed_at.is_some() || e.old != Some(e.state) {
            build.completed_at = e.completed_at;
        }
        let now = real_outcome(build);
        Changed { renamed, outcome: before.filter(|before| *before != now).map(|_| now) }
    }

    /// Notes that a buildroot override came into force or ended. Forgets the overrides of all
    /// packages that expired long ago.
    pub(super) fn override_changed(&mut self, e: &BuildrootOverrideChanged, at: Timestamp) {
        let source = format_smolstr!("{}-{}", e.nvr.version, e.nvr.release);
        let of_package = self.overrides.entry(e.nvr.name.clone()).or_default();
        of_package.retain(|known| known.source != source);
        if e.in_force {
            of_package.push(BuildrootOverride { source, expires_at: e.expires_at });
            let over = of_package.len().saturating_sub(BuildrootOverride::KEPT);
            of_package.drain(..over);
        }
        let stays = |known: &BuildrootOverride| {
            known.expires_at.is_none_or(|end| end.plus_secs(BuildrootOverride::FORGOTTEN_AFTER) > at)
        };
        self.overrides.retain(|_, known| {
            known.retain(stays);
            !known.is_empty()
        });
    }

    /// Makes sure that a build mentioned by a tag event is known, by the name in that event.
    /// Returns whether the name changed.
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

/// Returns the outcome that a real build stands for: success if this hub built it. An imported
/// build, or one only seen as tagged, has none. A deleted build had been complete. It is in no tag,
/// so it counts only while another build of its source is tagged.
pub(super) fn real_outcome(build: &Build) -> Option<Outcome> {
    let built = matches!(build.state, Some(BuildState::Complete | BuildState::Deleted));
    (build.built_here() && built).then_some(Outcome::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the name of a build after it was given another one, and its former names.
    #[test]
    fn names_of_a_build() {
        let nvr = |text: &str| Nvr::parse(text).expect("a name");
        let (draft, own, other) = ("foo-1-1,draft_3", "foo-1-1", "foo-1-2");
        // The known name and its time, the new name and its time, whether the hub was asked, and
        // whether the new name is taken.
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
            // The same name again changes nothing, however late it is.
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
