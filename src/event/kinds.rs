//! Lists all kinds, one line each. Names, encoding, decoding, subjects and schemas are generated
//! from this list.

use super::error::DecodeError;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::*;
use super::groups::*;
use super::koschei::*;
use super::operator::*;
use super::rebuilds::*;
use super::upcast;
use super::updates::*;
use crate::model::{Name, RepoId, counted};

/// Name and version of a stored kind, such as `build_tagged` 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind {
    /// Name in the past tense, lower case, words joined by `_`.
    pub name: &'static str,
    /// Version of the kind. It increases with every change of meaning or of required fields. It
    /// also increases if a reader that ignores a new optional field would fold something else. An
    /// older program then refuses the event by name instead of misreading it.
    pub version: u16,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.v{}", self.name, self.version)
    }
}

macro_rules! kinds {
    ($($(#[$group_doc:meta])* $group:ident { $($variant:ident = $name:literal v $version:literal;)* })*) => {
        /// An event of any kind, in its newest version.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "data", rename_all = "snake_case")]
        #[expect(missing_docs, reason = "each variant is documented at its struct")]
        pub enum Event {
            $($($variant($variant),)*)*
        }

        /// All kinds in their newest version, in the order of the source.
        pub const KINDS: &[Kind] = &[$($(Kind { name: $name, version: $version },)*)*];

        impl Event {
            /// Returns the name and newest version.
            pub const fn kind(&self) -> Kind {
                match self { $($(Self::$variant(_) => Kind { name: $name, version: $version },)*)* }
            }

            /// Returns the payload as JSON text: exactly the bytes that are stored and hashed.
            pub fn payload(&self) -> String {
                let text = match self { $($(Self::$variant(p) => serde_json::to_string(p),)*)* };
                text.expect("payloads hold only strings, numbers, lists and maps with string keys")
            }

            /// Reads a stored payload of any version that was ever written.
            ///
            /// # Errors
            /// Returns [`DecodeError`] (broken) if the kind is from a newer program, or the text is
            /// not of the kind's format.
            pub fn decode(name: &str, version: u16, payload: &str) -> Result<Self, DecodeError> {
                match name {
                    $($($name => {
                        if version == $version {
                            return serde_json::from_str::<$variant>(payload)
                                .map(Self::$variant)
                                .map_err(|source| DecodeError::Payload { name: $name, version, source });
                        }
                        let lifted = upcast::lift(name, version, $version, payload)?;
                        serde_json::from_value::<$variant>(lifted)
                            .map(Self::$variant)
                            .map_err(|source| DecodeError::Payload { name: $name, version, source })
                    })*)*
                    _ => Err(DecodeError::UnknownKind { name: name.to_owned(), version }),
                }
            }
        }

        $($(impl From<$variant> for Event {
            fn from(payload: $variant) -> Self {
                Self::$variant(payload)
            }
        })*)*

        $(
            $(#[$group_doc])*
            macro_rules! $group {
                () => { $($crate::event::Event::$variant(_))|* };
                ($event:expr, $payload:ident => $of:expr) => {
                    match $event {
                        $($crate::event::Event::$variant($payload) => Some($of),)*
                        _ => None,
                    }
                };
            }
            pub(crate) use $group;
        )*

        /// Returns the JSON Schema of each kind's newest version.
        pub(super) fn schemas() -> Vec<(Kind, schemars::Schema)> {
            vec![$($((Kind { name: $name, version: $version }, schemars::schema_for!($variant)),)*)*]
        }
    };
}

// The kinds are grouped by their origin, and each group is a pattern, too. A `match` about one
// group names each kind of it, and the other groups as a whole. A new kind of the group does not
// compile there until it is named.
kinds! {
    /// Events that happened on a hub.
    hub_facts {
        BuildChanged = "build_changed" v 1;
        BuildTagged = "build_tagged" v 1;
        BuildUntagged = "build_untagged" v 1;
        BuildrootRecorded = "buildroot_recorded" v 1;
        PackageListChanged = "package_list_changed" v 1;
        RepoInitialised = "repo_initialised" v 1;
        RepoReady = "repo_ready" v 2;
        RepoExpired = "repo_expired" v 1;
        RepoDeleted = "repo_deleted" v 1;
        TaskChanged = "task_changed" v 3;
        TaskVanished = "task_vanished" v 1;
        BuildrootOverrideChanged = "buildroot_override_changed" v 1;
    }
    /// Configuration observed on a hub.
    observations {
        TagObserved = "tag_observed" v 2;
        TargetObserved = "target_observed" v 1;
    }
    /// Findings, decisions and actions of this service.
    findings {
        Reconciled = "reconciled" v 1;
        PolicyAdopted = "policy_adopted" v 1;
        Tick = "tick" v 1;
        RepoResolved = "repo_resolved" v 1;
        RepoNotResolved = "repo_not_resolved" v 1;
        ResolutionExamined = "resolution_examined" v 1;
        BuildrootResolved = "buildroot_resolved" v 1;
        BuildrootBroken = "buildroot_broken" v 1;
        DependenciesMeasured = "dependencies_measured" v 1;
        PredictionCompared = "prediction_compared" v 1;
        UpdatesArrived = "updates_arrived" v 1;
        BuildCompared = "build_compared" v 1;
        CausesFound = "causes_found" v 1;
        SuspectsRanked = "suspects_ranked" v 1;
        EvaluationMade = "evaluation_made" v 1;
        RebuildRequested = "rebuild_requested" v 1;
        RebuildSubmitted = "rebuild_submitted" v 1;
        RebuildRefused = "rebuild_refused" v 1;
        RebuildNotSubmitted = "rebuild_not_submitted" v 1;
        RebuildFinished = "rebuild_finished" v 2;
        RebuildDoubted = "rebuild_doubted" v 1;
        PolicyRefused = "policy_refused" v 1;
        PolicyAllowed = "policy_allowed" v 1;
        PackageStateChanged = "package_state_changed" v 1;
        PackageReasonChanged = "package_reason_changed" v 1;
        CollectionStateChanged = "collection_state_changed" v 1;
        MessageRetried = "message_retried" v 1;
        MessageTimeReplaced = "message_time_replaced" v 1;
    }
    /// Commands of operators about one package. Each payload has `collection`, `package` and `by`.
    package_settings {
        PackageTracked = "package_tracked" v 1;
        PackageUntracked = "package_untracked" v 1;
        PackagePrioritySet = "package_priority_set" v 1;
        PackageArchOverrideSet = "package_arch_override_set" v 1;
        PackageSkipResolutionSet = "package_skip_resolution_set" v 1;
        PackageHoldSet = "package_hold_set" v 1;
    }
    /// Other commands of operators.
    words {
        RebuildCancelRequested = "rebuild_cancel_requested" v 2;
        CollectionCreated = "collection_created" v 2;
        CollectionEdited = "collection_edited" v 2;
        SubmissionsPaused = "submissions_paused" v 1;
        SubmissionsResumed = "submissions_resumed" v 1;
        MessageDismissed = "message_dismissed" v 1;
        GroupMade = "group_made" v 1;
        GroupChanged = "group_changed" v 1;
        GroupDeleted = "group_deleted" v 1;
    }
}

/// Returns the subject of everything about a source package on a hub.
pub fn package_subject(hub: &str, package: &str) -> String {
    format!("{hub}/package/{package}")
}

/// Subject of dismissed messages. Reading by this subject counts them.
pub const DISMISSED: &str = "inbox";

/// Returns the subject of everything about a group of packages.
pub fn group_subject(group: &str) -> String {
    format!("group/{group}")
}

/// Returns the subject of everything about a collection, or about a package in it.
pub fn collection_subject(collection: &str, package: Option<&str>) -> String {
    match package {
        Some(package) => format!("collection/{collection}/{package}"),
        None => format!("collection/{collection}"),
    }
}

impl Event {
    /// Returns the collection and the package that an operator set something for.
    pub fn setting_of(&self) -> Option<(&Name, &Name)> {
        package_settings!(self, set => (&set.collection, &set.package))
    }

    /// Checks whether the event is about a group of packages.
    pub const fn is_of_group(&self) -> bool {
        matches!(self, Self::GroupMade(_) | Self::GroupChanged(_) | Self::GroupDeleted(_))
    }

    /// Returns what the event is about, as a path: `HUB/package/NAME`, `HUB/tag/NAME`,
    /// `HUB/target/NAME`, `HUB/repo/ID`, `HUB/reconciliation`, `HUB/policy/NAME`,
    /// `collection/NAME[/PACKAGE]`, `group/NAME`, `inbox` or `engine`. Reading by subject gives the history of
    /// that object.
    pub fn subject(&self) -> String {
        let of_collection = |c: &Name, p: &Name| collection_subject(c, Some(p));
        match self {
            Self::BuildChanged(e) => package_subject(e.hub.as_str(), &e.name),
            Self::BuildTagged(e) => package_subject(e.hub.as_str(), &e.name),
            Self::BuildUntagged(e) => package_subject(e.hub.as_str(), &e.name),
            Self::BuildrootRecorded(e) => package_subject(e.hub.as_str(), &e.nvr.name),
            Self::PackageListChanged(e) => package_subject(e.hub.as_str(), &e.package),
            Self::TaskChanged(e) => package_subject(e.hub.as_str(), &e.package),
            Self::TaskVanished(e) => package_subject(e.hub.as_str(), &e.package),
            Self::BuildrootOverrideChanged(e) => package_subject(e.hub.as_str(), &e.nvr.name),
            Self::TagObserved(e) => format!("{}/tag/{}", e.hub, e.tag),
            Self::TargetObserved(e) => format!("{}/target/{}", e.hub, e.target),
            Self::RepoInitialised(e) => format!("{}/repo/{}", e.hub, e.repo_id),
            Self::RepoReady(e) => format!("{}/repo/{}", e.hub, e.repo_id),
            Self::RepoExpired(e) => format!("{}/repo/{}", e.hub, e.repo_id),
            Self::RepoDeleted(e) => format!("{}/repo/{}", e.hub, e.repo_id),
            Self::Reconciled(e) => format!("{}/reconciliation", e.hub),
            Self::PolicyAdopted(_)
            | Self::Tick(_)
            | Self::EvaluationMade(_)
            | Self::MessageRetried(_)
            | Self::MessageTimeReplaced(_) => "engine".to_owned(),
            Self::MessageDismissed(_) => DISMISSED.to_owned(),
            Self::SubmissionsPaused(SubmissionsPaused { collection, .. })
            | Self::SubmissionsResumed(SubmissionsResumed { collection, .. }) => match collection {
                Some(collection) => collection_subject(collection, None),
                None => "engine".to_owned(),
            },
            Self::GroupMade(e) => group_subject(&e.group),
            Self::GroupChanged(e) => group_subject(&e.group),
            Self::GroupDeleted(e) => group_subject(&e.group),
            Self::RepoResolved(e) => collection_subject(&e.collection, None),
            Self::RepoNotResolved(e) => collection_subject(&e.collection, None),
            Self::ResolutionExamined(e) => collection_subject(&e.collection, None),
            Self::BuildrootResolved(e) => collection_subject(&e.collection, None),
            Self::UpdatesArrived(e) => collection_subject(&e.collection, None),
            Self::CausesFound(e) => collection_subject(&e.collection, None),
            Self::SuspectsRanked(e) => collection_subject(&e.collection, None),
            Self::BuildrootBroken(e) => collection_subject(&e.collection, None),
            Self::CollectionStateChanged(e) => collection_subject(&e.collection, None),
            Self::CollectionCreated(e) => collection_subject(&e.collection, None),
            Self::CollectionEdited(e) => collection_subject(&e.collection, None),
            Self::DependenciesMeasured(e) => of_collection(&e.collection, &e.package),
            Self::PredictionCompared(e) => of_collection(&e.collection, &e.package),
            Self::BuildCompared(e) => of_collection(&e.collection, &e.package),
            Self::RebuildRequested(e) => of_collection(&e.collection, &e.nvr.name),
            Self::RebuildSubmitted(e) => of_collection(&e.collection, &e.package),
            Self::RebuildRefused(e) => of_collection(&e.collection, &e.package),
            Self::RebuildNotSubmitted(e) => of_collection(&e.collection, &e.package),
            Self::RebuildFinished(e) => of_collection(&e.collection, &e.package),
            Self::RebuildDoubted(e) => of_collection(&e.collection, &e.package),
            Self::RebuildCancelRequested(e) => of_collection(&e.collection, &e.package),
            Self::PolicyRefused(e) => format!("{}/policy/{}", e.hub, e.policy),
            Self::PolicyAllowed(e) => format!("{}/policy/{}", e.hub, e.policy),
            Self::PackageStateChanged(e) => of_collection(&e.collection, &e.package),
            Self::PackageReasonChanged(e) => of_collection(&e.collection, &e.package),
            Self::PackageTracked(e) => of_collection(&e.collection, &e.package),
            Self::PackageUntracked(e) => of_collection(&e.collection, &e.package),
            Self::PackagePrioritySet(e) => of_collection(&e.collection, &e.package),
            Self::PackageArchOverrideSet(e) => of_collection(&e.collection, &e.package),
            Self::PackageSkipResolutionSet(e) => of_collection(&e.collection, &e.package),
            Self::PackageHoldSet(e) => of_collection(&e.collection, &e.package),
        }
    }
}

impl fmt::Display for Event {
    /// Says the event in a few words, for pages, commands and causes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuildChanged(e) => {
                write!(f, "build {} {}-{}-{} is {:?}", e.build_id, e.name, e.version, e.release, e.state)
            }
            Self::BuildTagged(e) => write!(f, "{}-{}-{} tagged into {}", e.name, e.version, e.release, e.tag),
            Self::BuildUntagged(e) => write!(f, "{}-{}-{} untagged from {}", e.name, e.version, e.release, e.tag),
            Self::BuildrootRecorded(e) => {
                write!(f, "buildroot of task {} on {}: {} packages", e.task_id, e.arch, e.count)
            }
            Self::PackageListChanged(e) => write!(f, "{} in the list of {}: {:?}", e.package, e.tag, e.action),
            Self::TagObserved(e) if e.gone => write!(f, "tag {} does not exist", e.tag),
            Self::TagObserved(e) => write!(f, "configuration of tag {}", e.tag),
            Self::TargetObserved(e) => match (&e.build_tag, &e.dest_tag) {
                (Some(b), Some(d)) => write!(f, "target {}: from {b} into {d}", e.target),
                _ => write!(f, "target {} does not exist", e.target),
            },
            Self::RepoInitialised(e) => write!(f, "repository {} of {} begun", e.repo_id, e.tag),
            Self::RepoReady(e) => write!(f, "repository {} of {} ready", e.repo_id, e.tag),
            Self::RepoExpired(e) => write!(f, "repository {} of {} expired", e.repo_id, e.tag),
            Self::RepoDeleted(e) => write!(f, "repository {} of {} deleted", e.repo_id, e.tag),
            Self::TaskChanged(e) => write!(f, "task {} for {} is {:?}", e.task_id, e.package, e.state),
            Self::TaskVanished(e) => write!(f, "task {} for {} is no longer known to the hub", e.task_id, e.package),
            Self::BuildrootOverrideChanged(e) => match (e.in_force, e.expires_at) {
                (true, Some(at)) => write!(f, "buildroot override of {}, expires at {at}", e.nvr),
                (true, None) => write!(f, "buildroot override of {}", e.nvr),
                (false, _) => write!(f, "buildroot override of {} ended", e.nvr),
            },
            Self::SubmissionsPaused(e) => match &e.collection {
                Some(c) => write!(f, "submissions of {c} paused: {}", e.reason),
                None => write!(f, "all submissions paused: {}", e.reason),
            },
            Self::SubmissionsResumed(e) => match &e.collection {
                Some(c) => write!(f, "submissions of {c} resumed"),
                None => f.write_str("submissions resumed"),
            },
            Self::Reconciled(e) => {
                write!(f, "reconciled through {}: {} missed, {} invented", e.through, e.missed, e.invented)
            }
            Self::PolicyAdopted(e) => write!(f, "policy {} adopted", e.digest.chars().take(12).collect::<String>()),
            Self::Tick(e) => write!(f, "it is {}", e.now),
            Self::RepoResolved(e) => {
                let counts = [e.resolved as usize, e.unresolved as usize, e.packages.len()];
                resolution_words(f, [&e.collection, &e.arch], e.repo_id, e.tracked.is_some(), counts)
            }
            Self::RepoNotResolved(e) => write!(f, "{} {}: {}", e.collection, e.repo_id, e.reason),
            Self::ResolutionExamined(e) => write!(
                f,
                "{} {} on {} examined: answers checked: {}, problems described: {}",
                e.collection,
                e.repo_id,
                e.arch,
                e.checked,
                e.problems.len()
            ),
            Self::BuildrootResolved(e) => write!(f, "build group of {} installs on {}", e.collection, e.arch),
            Self::BuildrootBroken(e) => {
                write!(f, "build group of {} broken on {}: {}", e.collection, e.arch, e.problems.join("; "))
            }
            Self::PredictionCompared(e) => write!(
                f,
                "buildroot of task {} on {}: {:?} ({} missing, {} extra, {} in another version)",
                e.task_id, e.arch, e.prediction, e.missing, e.extra, e.differing
            ),
            Self::DependenciesMeasured(e) => {
                write!(f, "{} on {}: {} dependencies differ from its last build", e.package, e.arch, e.moves.len())
            }
            Self::UpdatesArrived(e) => {
                write!(f, "{} updates came with {} {} on {}", e.updates.len(), e.collection, e.repo_id, e.arch)
            }
            Self::CausesFound(e) => {
                let (packages, causes) = (e.packages.len(), e.causes.len());
                write!(f, "{packages} packages do not resolve in {} {} on {}: ", e.collection, e.repo_id, e.arch)?;
                match &e.unknown {
                    Some(why) => write!(f, "causes not known: {why}"),
                    None => write!(f, "{causes} causes"),
                }
            }
            Self::SuspectsRanked(e) => {
                let (packages, updates) = (e.packages.len(), e.updates.len());
                write!(f, "suspects of {packages} failed builds in {}: {updates} updates", e.collection)
            }
            Self::BuildCompared(e) => {
                let (result, n) = (if e.passed { "passed" } else { "failed" }, e.updates.len());
                write!(
                    f,
                    "{} {result} in repository {}: {n} source packages differ from its last",
                    e.package, e.repo_id
                )?;
                f.write_str(" good build")
            }
            Self::EvaluationMade(e) => write!(f, "{} of {} packages chosen", e.chosen.len(), e.considered),
            Self::RebuildRequested(e) => write!(f, "rebuild of {} decided", e.nvr),
            Self::RebuildSubmitted(e) => write!(f, "{} of {} is task {}", e.rebuild, e.package, e.task_id),
            Self::RebuildRefused(e) => write!(f, "{} of {} refused: {}", e.rebuild, e.package, e.reason),
            Self::RebuildNotSubmitted(e) => write!(f, "{} of {} not submitted: {}", e.rebuild, e.package, e.reason),
            Self::RebuildFinished(e) => write!(f, "task {} for {}: {} ({})", e.task_id, e.package, e.outcome, e.reason),
            Self::PolicyRefused(e) => {
                let then = if e.falls_back {
                    "rebuilds are not bound to repositories"
                } else {
                    "rebuilds of the collection stop"
                };
                write!(f, "{} of {} refuses task {} of {}: {then}", e.policy, e.hub, e.task_id, e.package)
            }
            Self::PolicyAllowed(e) => write!(f, "{} of {} allowed task {}", e.policy, e.hub, e.task_id),
            Self::RebuildCancelRequested(e) => match (e.task_id, e.rebuild) {
                (Some(task), _) => write!(f, "task {task} to be cancelled: {}", e.reason),
                (None, Some(rebuild)) => write!(f, "{rebuild} of {} to be cancelled: {}", e.package, e.reason),
                (None, None) => write!(f, "a rebuild of {} to be cancelled: {}", e.package, e.reason),
            },
            Self::RebuildDoubted(e) => write!(
                f,
                "rebuild {} of {} was decided on a wrong answer about repository {} on {}",
                e.rebuild, e.package, e.repo_id, e.arch
            ),
            Self::PackageStateChanged(e) => match e.old {
                Some(old) => write!(f, "{} {old} -> {}: {}", e.package, e.new, e.reason),
                None => write!(f, "{} {}: {}", e.package, e.new, e.reason),
            },
            Self::PackageReasonChanged(e) => write!(f, "{} is still {}, now {}", e.package, e.state, e.reason),
            Self::CollectionStateChanged(e) => write!(f, "buildroot of {}: {} -> {}", e.collection, e.old, e.new),
            Self::CollectionCreated(e) => write!(f, "collection {} created", e.collection),
            Self::CollectionEdited(e) => write!(f, "collection {} edited", e.collection),
            Self::PackageTracked(e) => write!(f, "{} tracked", e.package),
            Self::PackageUntracked(e) => write!(f, "{} untracked", e.package),
            Self::PackagePrioritySet(e) => write!(f, "{:?} priority of {}: {}", e.kind, e.package, e.points),
            Self::PackageArchOverrideSet(e) => {
                write!(f, "architectures of {}: {}", e.package, e.arches.as_deref().unwrap_or("no override"))
            }
            Self::PackageSkipResolutionSet(e) => write!(f, "{}: skip resolution {}", e.package, e.skip),
            Self::PackageHoldSet(e) => match e.until {
                Some(until) if e.reason.is_empty() => write!(f, "{} held by an operator until {until}", e.package),
                Some(until) => write!(f, "{} held by an operator until {until}: {}", e.package, e.reason),
                None => write!(f, "{} no longer held", e.package),
            },
            Self::MessageTimeReplaced(e) => {
                write!(f, "time of message {} replaced: {} by {}", e.message, e.said, e.taken)
            }
            Self::MessageDismissed(e) => write!(f, "message {} dismissed: {}", e.message, e.reason),
            Self::GroupMade(e) => {
                let n = e.packages.len();
                write!(f, "group {} made with {}", e.group, counted::count(n, "package", "packages"))?;
                said_why(f, e.configured, &e.reason)
            }
            Self::GroupChanged(e) => {
                write!(f, "group {} changed, {}", e.group, e.what())?;
                said_why(f, e.configured, &e.reason)
            }
            Self::GroupDeleted(e) => write!(f, "group {} deleted: {}", e.group, e.reason),
            Self::MessageRetried(e) => write!(f, "message {} retried, understood: {}", e.message, e.understood),
        }
    }
}

/// Writes why a group is what it is.
fn said_why(f: &mut fmt::Formatter<'_>, configured: bool, reason: &str) -> fmt::Result {
    match (configured, reason) {
        (true, _) => f.write_str(", as configured"),
        (false, "") => Ok(()),
        (false, reason) => write!(f, ": {reason}"),
    }
}

/// Writes what came of a resolution: its names (collection, architecture), its repository, whether
/// it covers tracked packages only, and how many packages resolve, do not, and changed.
pub(crate) fn resolution_words(
    to: &mut impl fmt::Write,
    [collection, arch]: [&str; 2],
    repo: RepoId,
    tracked: bool,
    [resolved, unresolved, changed]: [usize; 3],
) -> fmt::Result {
    let limit = if tracked { ", tracked packages only" } else { "" };
    write!(to, "{collection} {repo} on {arch}{limit}: {resolved} resolve, {unresolved} do not, {changed} changed")
}
