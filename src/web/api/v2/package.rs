//! A package of a collection: why it is in its state, and why it is or is not rebuilt.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Time;
use super::collections::find;
use super::operation::{Nothing, Operation, Seen, Shows, Topic};
use super::packages::unknown;
use crate::decide::Hold;
use crate::decide::causes::{Suspected, Updated};
use crate::model::Name;
use crate::view::answer;
use crate::view::package::PackageView;
use crate::web::refusal::Refusal;

/// Names of a collection and a package in an address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct InCollection {
    /// Name of the collection.
    #[schemars(example = &"f43")]
    pub(super) collection: String,
    /// Name of the source package.
    #[schemars(example = &"curl")]
    pub(super) package: String,
}

/// A reason why a package is not rebuilt now.
#[derive(Serialize, JsonSchema)]
pub(super) struct ReasonView {
    /// The reason in one word, such as `below_threshold`.
    reason: &'static str,
    /// The reason in words.
    text: String,
}

impl From<&Hold> for ReasonView {
    fn from(hold: &Hold) -> Self {
        Self { reason: hold.key(), text: hold.to_string() }
    }
}

/// The update that is held to have broken a package.
#[derive(Serialize, JsonSchema)]
struct CauseOfPackage {
    /// Names the cause.
    id: String,
    update: Updated,
    /// How sure that is, in thousandths.
    share: u32,
}

/// What is known of the newest failed build of a package.
#[derive(Serialize, JsonSchema)]
struct FailureView {
    /// The updates that may have broken it, surest first.
    suspects: Vec<Suspected>,
    /// The share of the package itself, in thousandths.
    own: u32,
    /// The share of chance, in thousandths.
    chance: u32,
    /// The line of its log that says most, if it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
}

/// A package of a collection, in full.
#[derive(Serialize, JsonSchema)]
pub(super) struct PackageDetail {
    #[serde(flatten)]
    package: PackageView,
    /// What broke it, if it is broken and that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<CauseOfPackage>,
    /// About its newest failed build, if its builds fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureView>,
    /// Whether and why it is rebuilt now, in one sentence.
    answer: String,
    /// Whether an evaluation now would choose it.
    chosen: bool,
    /// The reasons why it is not rebuilt. Each of them must change.
    held_by: Vec<ReasonView>,
    /// The priority that is needed for a rebuild, in thousandths of a point.
    threshold: i64,
    /// When it is due by waiting alone, if nothing else changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Time>,
    /// The architectures of a rebuild.
    arches: Vec<Name>,
    /// Why its verdicts are of an older repository, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<String>,
}

pub(super) struct OnePackage;

impl Operation for OnePackage {
    const ID: &'static str = "getPackageOfCollection";
    const ADDRESS: &'static str = "/api/v2/collections/{collection}/packages/{package}";
    const TOPIC: Topic = Topic::Packages;
    const SUMMARY: &'static str = "A package of a collection";
    const ABOUT: &'static str = "Its state and why, what broke it, with the evidence, its priority in its parts, why \
        it is or is not rebuilt, verdicts on each architecture, what changed in its buildroot since its last build, \
        and its last builds.";
    type Path = InCollection;
    type Query = Nothing;
    type Answer<'a> = PackageDetail;
}

impl Shows for OnePackage {
    fn answer<'a>(seen: &Seen<'a>, path: InCollection, _: Nothing) -> Result<PackageDetail, Refusal> {
        let view = seen.view;
        let (name, c) = find(view, &path.collection)?;
        let failed = || view.failed(name, c);
        let answer = answer::answer(&view.state, view.queue(), (name, c), &path.package, failed);
        let a = answer.ok_or_else(|| unknown(view, &path.package))?;
        let broken = a.broken;
        let failure = (!broken.suspects.is_empty() || broken.line.is_some()).then_some(FailureView {
            own: broken.none.own,
            chance: broken.none.chance,
            suspects: broken.suspects,
            line: broken.line,
        });
        Ok(PackageDetail {
            package: a.package,
            cause: broken.cause.map(|c| CauseOfPackage { id: c.id, update: c.update, share: c.share }),
            failure,
            answer: a.answer,
            chosen: a.why.chosen,
            held_by: a.why.deciding.iter().map(ReasonView::from).collect(),
            threshold: a.why.threshold,
            due_at: a.why.due_at.map(Time::from),
            arches: a.why.arches,
            stale: a.stale,
        })
    }
}
