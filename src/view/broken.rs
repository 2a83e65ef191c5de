//! What broke a package: its cause, and the suspects of its newest failed build.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::percent;

use crate::decide::causes::{
    BROKE, CauseKind, Elsewhere, FailedBuild, NoUpdate, OpenCause, Suspected, Updated, cause_id, cause_of, runs,
};
use crate::decide::suspects::Which;
use crate::fold::{Collection, Package, UpdateHistory};
use crate::model::{Name, PackageState, RepoId};

/// An update that broke a package.
#[derive(Serialize, JsonSchema, PartialEq, Eq, Debug)]
pub(crate) struct BrokenBy {
    /// Names the cause ([`crate::decide::causes::cause_id`]).
    pub(crate) cause: String,
    /// The new source package, or what is gone or changed.
    pub(crate) update: String,
    /// Other updates that nothing tells apart from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) together: Vec<String>,
    /// The repository that brought it, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repo: Option<RepoId>,
    /// How sure that is, in thousandths.
    pub(crate) share: u32,
}

impl BrokenBy {
    /// Says it in one sentence.
    pub(crate) fn words(&self) -> String {
        let sure = match self.share {
            1000 => "broken by".to_owned(),
            share => format!("most likely ({}) broken by", percent(share)),
        };
        let others = match &self.together[..] {
            [] => String::new(),
            others => format!(" or {}", others.join(", ")),
        };
        let repo = self.repo.map_or_else(String::new, |repo| format!(", which came with repository {repo}"));
        format!("{sure} {}{others}{repo}", self.update)
    }
}

/// Returns what broke a package, as the log said last: the first cause on each architecture on which
/// it does not resolve, or the update that is held to have broken its builds.
pub(super) fn broken_by(collection: (&Name, &Collection), package: (&Name, &Package)) -> Vec<BrokenBy> {
    let one = |cause: OpenCause| BrokenBy {
        share: cause.packages.first().map_or(1000, |p| p.share),
        cause: cause.id,
        update: cause.known_by,
        together: cause.together,
        repo: cause.repo,
    };
    cause_of(collection, package).into_iter().map(one).collect()
}

/// What broke a package, if it is broken.
#[derive(Serialize, Debug)]
pub(crate) struct Broken {
    pub(crate) collection: Name,
    /// The cause that is held to have broken it.
    pub(crate) cause: Option<CauseShare>,
    /// The suspects of its newest failed build.
    pub(crate) suspects: Vec<Suspected>,
    /// The line of the log of that build that says most about its failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<String>,
    /// What no suspect has of that build.
    #[serde(skip)]
    pub(crate) none: NoUpdate,
}

/// A cause and its share in what is broken.
#[derive(Serialize, Debug)]
pub(crate) struct CauseShare {
    pub(crate) id: String,
    pub(crate) update: Updated,
    /// In thousandths.
    pub(crate) share: u32,
    #[serde(skip)]
    pub(crate) what: String,
}

impl CauseShare {
    fn of_build(collection: &Name, s: &Suspected) -> Self {
        let id = cause_id(collection, CauseKind::Build, &s.known_by(), s.repo);
        let what = s.evidence.first().cloned().unwrap_or_default();
        Self { id, update: s.update.clone(), share: s.share, what }
    }
}

impl Broken {
    /// Says what broke a package. `failed` are the builds that [`since_good`] returns for its
    /// collection; it is asked for them only if the package's builds fail.
    pub(crate) fn of(
        collection: (&Name, &Collection),
        package: (&Name, &Package),
        failed: impl FnOnce() -> std::sync::Arc<Vec<FailedBuild>>,
    ) -> Self {
        let name = collection.0.clone();
        if package.1.state(collection.1.settings.track_all) != PackageState::Failing {
            let cause = cause_of(collection, package).into_iter().next();
            let share = |c: OpenCause| CauseShare { id: c.id, update: c.update, share: 1000, what: c.what };
            let cause = cause.map(share);
            return Self { collection: name, cause, suspects: Vec::new(), line: None, none: NoUpdate::default() };
        }
        let failed = failed();
        let newest = failed.iter().rfind(|f| f.package == *package.0);
        let suspects = newest.map_or_else(Vec::new, |f| f.suspects.clone());
        let first = suspects.first().filter(|s| s.share >= BROKE);
        let cause = first.map(|s| CauseShare::of_build(collection.0, s));
        let (line, none) = newest.map(|f| (f.line.clone(), f.none)).unwrap_or_default();
        Self { collection: name, cause, suspects, line, none }
    }
}

/// Returns the failed builds of a collection after the last good build of their packages, by task,
/// judged with everything that its history and other collections have. Cost: that of [`runs`].
pub(crate) fn since_good(name: &Name, history: &UpdateHistory, elsewhere: &Elsewhere) -> Vec<FailedBuild> {
    let open = runs(name, history, elsewhere, Which::SinceGood).into_iter().filter(|run| run.ended.is_none());
    let mut failed: Vec<FailedBuild> = open.flat_map(|run| run.failed).map(|one| one.build).collect();
    failed.sort_by_key(|f| f.task);
    failed
}
