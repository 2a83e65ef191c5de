//! Whether a package may be rebuilt now, with every reason why not.
//!
//! Reasons follow Koschei 2.4 (`models.py`: the "ineligible for scheduling" list); changed on purpose: a reason is
//! never stored and so always heals by itself (D6, D7), points from builds are derived from the builds themselves (D15,
//! D16), and a source package that was tagged after the last resolution waits for the next one, so that what is
//! resolved is what is submitted (D17).

use std::fmt;

use serde::Serialize;
use smol_str::SmolStr;

use super::arches::build_arches;
use super::policy::Policy;
use super::priority::{ChangeCounts, Points, Priority, PriorityInputs, TimeScale, priority, priority_on};
use super::{refusal, retry};
use crate::event::{RebuildInputs, RebuildNotSubmitted};
use crate::fold::{Collection, Declined, Package, State};
use crate::model::arch::ArchOverride;
use crate::model::{BuildrootState, Name, Outcome, TaskId, Timestamp};

/// Why a request is closed while the policy is `passive`.
pub const PASSIVE: &str = RebuildNotSubmitted::PASSIVE;

/// Why a package is not rebuilt now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Hold {
    /// Blocked in the dest tag's package list.
    Blocked,
    /// Nobody asked for it.
    Untracked,
    /// No build of it is tagged, so there is no source package to rebuild.
    NoSource,
    /// A rebuild of it runs.
    Running,
    /// A rebuild of it was decided and waits to be submitted, or to be seen as a task.
    RebuildOpen {
        /// When it was decided.
        since: Timestamp,
    },
    /// The collection's target is not there: that of its building hub, where another hub builds.
    TargetGone,
    /// The collection's build tag or dest tag is not there.
    TagGone {
        /// Which.
        tags: Vec<Name>,
    },
    /// No repository of the collection was resolved yet, or it is not known what the hub can build that builds it.
    BuildrootUnknown,
    /// The build group does not install.
    BuildrootBroken,
    /// Its dependencies were not resolved yet.
    NotResolvedYet,
    /// A newer source package was tagged than the one that was resolved.
    NewerSourceNotResolved,
    /// Its dependencies do not install.
    Unresolved,
    /// No architecture is left for it.
    NoArch,
    /// Its last rebuild came to no result; wait.
    RetryLater {
        /// How it ended.
        after: Outcome,
        /// Until then.
        at: Timestamp,
    },
    /// Not urgent enough.
    BelowThreshold {
        /// Thousandths of a point that are missing.
        missing: i64,
    },
    /// The same rebuild was turned down, and nothing it depends on has changed.
    Declined {
        /// Why it was.
        because: SmolStr,
    },
    /// Nobody has room for an architecture it needs.
    Load {
        /// Which.
        arches: Vec<Name>,
        /// Those of them nobody takes tasks of: their builders are disabled or not there, which is no overload.
        nobody: Vec<Name>,
    },
    /// The collection has as many rebuilds as it may.
    CollectionLimit,
    /// All collections together have as many rebuilds as they may.
    OverallLimit,
    /// As many rebuilds were requested within the last hour as may be.
    HourlyLimit {
        /// How many that is.
        limit: u32,
    },
    /// A policy of the hub does not allow the collection's rebuilds.
    PolicyRefused {
        /// Which.
        policy: Name,
        /// The task that showed it.
        task_id: TaskId,
        /// The hub's words.
        words: SmolStr,
        /// When one rebuild tries again; absent: one does.
        next: Option<Timestamp>,
    },
    /// Somebody stopped the collection's submissions.
    CollectionPaused {
        /// Why.
        because: SmolStr,
    },
    /// Somebody stopped all submissions.
    Paused {
        /// Why.
        because: SmolStr,
    },
    /// This evaluation has chosen as many as one may; the next goes on.
    EvaluationLimit,
}

impl Hold {
    /// One word, for counting; as serialised.
    pub const fn key(&self) -> &'static str {
        Self::KEYS[self.index()]
    }

    /// All words of [`Hold::key`].
    pub const fn keys() -> &'static [&'static str] {
        &Self::KEYS
    }

    /// Whether it holds every package of the collection alike.
    pub(super) const fn holds_collection(&self) -> bool {
        matches!(self, Self::TargetGone | Self::TagGone { .. } | Self::BuildrootUnknown | Self::BuildrootBroken)
    }
}

/// The word of each reason. A reason that is missing here does not compile.
macro_rules! keys {
    ($($reason:ident $key:literal,)+) => {
        impl Hold {
            /// Number of different reasons.
            pub(super) const COUNT: usize = Self::KEYS.len();
            const KEYS: [&'static str; [$($key),+].len()] = [$($key),+];

            pub(super) const fn index(&self) -> usize {
                enum Place {
                    $($reason),+
                }
                match self {
                    $(Self::$reason { .. } => Place::$reason as usize,)+
                }
            }
        }
    };
}

keys! {
    Blocked "blocked",
    Untracked "untracked",
    NoSource "no_source",
    Running "running",
    RebuildOpen "rebuild_open",
    TargetGone "target_gone",
    TagGone "tag_gone",
    BuildrootUnknown "buildroot_unknown",
    BuildrootBroken "buildroot_broken",
    NotResolvedYet "not_resolved_yet",
    NewerSourceNotResolved "newer_source_not_resolved",
    Unresolved "unresolved",
    NoArch "no_arch",
    RetryLater "retry_later",
    BelowThreshold "below_threshold",
    Declined "declined",
    Load "load",
    CollectionLimit "collection_limit",
    OverallLimit "overall_limit",
    HourlyLimit "hourly_limit",
    PolicyRefused "policy_refused",
    CollectionPaused "collection_paused",
    Paused "paused",
    EvaluationLimit "evaluation_limit",
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("blocked in Koji's package list"),
            Self::Untracked => f.write_str("not tracked"),
            Self::NoSource => f.write_str("no tagged build, so no source package to rebuild"),
            Self::Running => f.write_str("a rebuild is running"),
            Self::RebuildOpen { since } => write!(f, "a rebuild was decided and waits to be submitted since {since}"),
            Self::TargetGone => f.write_str("the collection's build target does not exist"),
            Self::TagGone { tags } => write!(f, "tags of the collection do not exist: {}", tags.join(", ")),
            Self::BuildrootUnknown => f.write_str(
                "no repository of the collection has been resolved yet, or the hub that builds it was not \
                    looked at yet",
            ),
            Self::BuildrootBroken => f.write_str("the build group of the collection cannot be installed"),
            Self::NotResolvedYet => f.write_str("its dependencies have not been resolved yet"),
            Self::NewerSourceNotResolved => f.write_str("its newest source package waits for the next repository"),
            Self::Unresolved => f.write_str("its build dependencies cannot be installed"),
            Self::NoArch => f.write_str("no architecture is left to build it on"),
            Self::RetryLater { after, at } => {
                let how = match after {
                    Outcome::Cancelled => "was cancelled",
                    Outcome::TimedOut => "took too long and was given up",
                    Outcome::Unclear => "failed, cause unknown",
                    Outcome::InfrastructureFault | Outcome::Ok | Outcome::GenuineFailure => {
                        "met a fault of the build system"
                    }
                };
                write!(f, "its last rebuild {how}; next try at {at}")
            }
            Self::BelowThreshold { missing } => write!(f, "{} points below the threshold", Points(*missing)),
            Self::Declined { because } => {
                write!(f, "the same rebuild was turned down ({because}) and nothing has changed since")
            }
            Self::Load { arches, nobody } => {
                let busy: Vec<&str> = arches.iter().filter(|a| !nobody.contains(a)).map(Name::as_str).collect();
                if !busy.is_empty() {
                    write!(f, "builders are overloaded: {}", busy.join(", "))?;
                }
                match (nobody.is_empty(), busy.is_empty()) {
                    (true, _) => Ok(()),
                    (false, true) => write!(f, "no builder is enabled and ready: {}", nobody.join(", ")),
                    (false, false) => write!(f, "; none is enabled and ready: {}", nobody.join(", ")),
                }
            }
            Self::CollectionLimit => f.write_str("the collection has as many rebuilds running as it may"),
            Self::OverallLimit => f.write_str("as many rebuilds are running as may be"),
            Self::HourlyLimit { limit } => write!(f, "the hourly limit of {limit} is reached"),
            Self::PolicyRefused { policy, task_id, words, next } => {
                write!(
                    f,
                    "the hub's policy {policy} does not allow rebuilds of the collection (task {task_id}: \
                    {words}); {}; ",
                    refusal::remedy(policy)
                )?;
                match next {
                    Some(at) => write!(f, "one is tried again at {at}, or after `koschei admin resume`"),
                    None => f.write_str("one is being tried again"),
                }
            }
            Self::CollectionPaused { because } => write!(f, "submissions of the collection are paused: {because}"),
            Self::Paused { because } => write!(f, "all submissions are paused: {because}"),
            Self::EvaluationLimit => f.write_str("this evaluation has chosen as many as one may"),
        }
    }
}

/// Points that follow from a package's builds: it started to fail, or it was never built here.
///
/// Koschei gives `newly_added` to packages whose last build cannot be resolved, to get a build to compare with; here
/// the first resolution stands for it, and the points go to packages without any result, such as imported ones.
pub fn build_points(package: &Package, policy: &Policy) -> i64 {
    let mut outcomes = package.complete().filter_map(|e| e.outcome);
    match outcomes.next() {
        None => policy.newly_added,
        Some(last) if retry::started_to_fail(last, outcomes) => policy.failed_build_priority,
        Some(Outcome::Ok | _) => 0,
    }
}

/// What a package's priority is made of.
pub fn priority_inputs(collection: &Collection, package: &Package, policy: &Policy) -> PriorityInputs {
    let [one, two, three, four, far] = package.distances.map(u32::from);
    PriorityInputs {
        static_points: package.static_points.into(),
        manual_points: package.manual_points.into(),
        coefficient_thousandths: collection.settings.coefficient,
        changes: ChangeCounts { near: [one, two, three, four], far },
        build_points: build_points(package, policy),
        last_build_started: package.base().map(|e| e.at),
    }
}

/// A package's priority; `None` when no build of it is known.
pub fn priority_of(collection: &Collection, package: &Package, now: Timestamp, policy: &Policy) -> Option<Priority> {
    priority(&priority_inputs(collection, package, policy), now, policy)
}

/// What a decision to rebuild depends on besides time.
pub fn inputs(package: &Package, policy: &Policy) -> RebuildInputs {
    RebuildInputs {
        source: source(package).cloned().unwrap_or_default(),
        base: package.base().map(|e| e.order.get()),
        changes: format!("{:016x}", package.changes_digest),
        points: (package.static_points.into(), package.manual_points.into(), build_points(package, policy)),
        arch_override: package.arch_override.as_deref().map(ToString::to_string),
    }
}

/// Whether `known` is what [`inputs`] gives, without making it: most packages were declined at some time.
fn are_inputs(known: &RebuildInputs, package: &Package, policy: &Policy) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let RebuildInputs { source: known_source, base, changes, points, arch_override } = known;
    let digest = package.changes_digest.to_be_bytes();
    let digit =
        |i: usize| DIGITS[usize::from(if i.is_multiple_of(2) { digest[i / 2] >> 4 } else { digest[i / 2] & 15 })];
    *known_source == source(package).map_or("", SmolStr::as_str)
        && *base == package.base().map(|e| e.order.get())
        && changes.len() == 16
        && changes.bytes().enumerate().all(|(i, b)| b == digit(i))
        && *points == (package.static_points.into(), package.manual_points.into(), build_points(package, policy))
        && is_override(arch_override.as_deref(), package)
}

/// Whether a text means the override of a package: the same one may be written in several ways.
fn is_override(known: Option<&str>, package: &Package) -> bool {
    match (known, package.arch_override.as_deref()) {
        (None, None) => true,
        (Some(text), Some(over)) => text.parse::<ArchOverride>().is_ok_and(|known| known == *over),
        _ => false,
    }
}

/// `version-release` of the source package a rebuild would take.
pub fn source(package: &Package) -> Option<&SmolStr> {
    package.latest.as_ref().map(|l| &l.source)
}

/// Calls `hold` with every reason that lies in the package or its collection, most fundamental first, and returns its
/// priority. `scale` is that of `policy`. Cost: O(architectures); a logarithm.
pub fn examine(
    (collection_name, collection): (&str, &Collection),
    (name, package): (&str, &Package),
    buildroot: BuildrootState,
    now: Timestamp,
    (policy, scale): (&Policy, TimeScale),
    mut hold: impl FnMut(Hold),
) -> Option<Priority> {
    if package.blocked {
        hold(Hold::Blocked);
    }
    if !package.is_tracked(collection.settings.track_all) {
        hold(Hold::Untracked);
    }
    let source = source(package);
    if source.is_none() {
        hold(Hold::NoSource);
    }
    if package.running > 0 {
        hold(Hold::Running);
    }
    if package.open_rebuild.is_some() {
        hold(Hold::RebuildOpen { since: package.open_since.unwrap_or(Timestamp::EPOCH) });
    }
    of_collection(collection, buildroot, &mut hold);
    resolution(collection, package, source, &mut hold);
    if let Some(last) = package.last_trouble() {
        let at = retry::retry_at(last, collection_name, name, package.faults.into(), policy);
        if at > now {
            hold(Hold::RetryLater { after: last.0, at });
        }
    }
    let priority = priority_on(scale, &priority_inputs(collection, package, policy), now, policy);
    let threshold = Points::whole(policy.build_threshold);
    match &priority {
        // Without any build there is no priority to compare: what is missing is the build, and a first one brings
        // points.
        Some(p) if p.current < threshold => hold(Hold::BelowThreshold { missing: threshold.0 - p.current.0 }),
        _ => {
            if let Some(declined) = package.declined.as_ref().filter(|d| stands(d, package, policy)) {
                hold(Hold::Declined { because: declined.reason.clone() });
            }
        }
    }
    priority
}

/// Whether a rebuild that was turned down would be again: nothing it depended on is another, nor is the rule that
/// turned it down. Nobody turned down one whose command was not exported.
fn stands(declined: &Declined, package: &Package, policy: &Policy) -> bool {
    declined.reason != RebuildNotSubmitted::NOT_EXPORTED
        && (declined.reason != PASSIVE || policy.passive)
        && are_inputs(&declined.inputs, package, policy)
}

/// Why nothing of a collection is rebuilt, whatever its packages are; empty: it goes on. To be shown with the
/// collection.
pub fn stopped(state: &State, collection: &Collection, policy: &Policy) -> Vec<Hold> {
    let mut holds = Vec::new();
    if let Some(because) = state.paused.clone() {
        holds.push(Hold::Paused { because });
    }
    if let Some(because) = collection.paused.clone() {
        holds.push(Hold::CollectionPaused { because });
    }
    holds.extend(refused(state, collection, policy));
    of_collection(collection, collection.buildroot(), &mut |hold| holds.push(hold));
    holds
}

/// That a policy of the hub stops a collection, whether or not one rebuild may try now.
pub(super) fn refused(state: &State, collection: &Collection, policy: &Policy) -> Option<Hold> {
    collection.refused.as_ref().map(|r| Hold::PolicyRefused {
        policy: r.policy.clone(),
        task_id: r.task_id,
        words: r.words.clone(),
        next: refusal::next_try(state, r, policy),
    })
}

/// What holds every package of a collection alike. Submissions that were paused by hand are not among it: the plan
/// stops those.
fn of_collection(collection: &Collection, buildroot: BuildrootState, hold: &mut impl FnMut(Hold)) {
    if collection.target_gone {
        hold(Hold::TargetGone);
    }
    if !collection.tags_gone.is_empty() {
        hold(Hold::TagGone { tags: collection.tags_gone.clone() });
    }
    // Architectures nobody builds would count otherwise.
    let gone = collection.target_gone || !collection.tags_gone.is_empty();
    let unknown = collection.settings.builds_elsewhere() && collection.tag_arches.is_empty() && !gone;
    match buildroot {
        _ if unknown => hold(Hold::BuildrootUnknown),
        BuildrootState::Ok => {}
        BuildrootState::Unknown => hold(Hold::BuildrootUnknown),
        BuildrootState::Unresolved => hold(Hold::BuildrootBroken),
    }
}

fn resolution(collection: &Collection, package: &Package, source: Option<&SmolStr>, hold: &mut impl FnMut(Hold)) {
    let mut looked_at = false;
    let mut usable = false;
    let mut current = true;
    for v in package.verdicts_in_use(collection.allowed()) {
        looked_at = true;
        usable |= v.ok.is_some();
        current &= source.is_none_or(|s| *s == v.source);
    }
    if package.verdicts.is_empty() {
        if !package.skip_resolution {
            hold(Hold::NotResolvedYet);
        } else if package.arch_override.is_some()
            && !collection.arches.is_empty()
            && build_arches(collection, package).0.is_empty()
        {
            hold(Hold::NoArch);
        }
    } else if !looked_at || !usable {
        hold(Hold::NoArch);
    } else if !package.skip_resolution {
        if package.resolved == Some(false) {
            hold(Hold::Unresolved);
        }
        if !current {
            hold(Hold::NewerSourceNotResolved);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn busy_builders_and_none_are_told_apart() {
        let told = |arches: &[&str], nobody: &[&str]| {
            let names = |list: &[&str]| list.iter().map(|n| Name::from(*n)).collect();
            Hold::Load { arches: names(arches), nobody: names(nobody) }.to_string()
        };
        assert_eq!(told(&["aarch64", "x86_64"], &[]), "builders are overloaded: aarch64, x86_64");
        assert_eq!(told(&["aarch64"], &["aarch64"]), "no builder is enabled and ready: aarch64");
        let both = "builders are overloaded: x86_64; none is enabled and ready: aarch64";
        assert_eq!(told(&["aarch64", "x86_64"], &["aarch64"]), both);
    }

    proptest! {
        /// Comparing without making says the same as making and comparing, for inputs alike and for such that differ in
        /// one thing.
        #[test]
        fn inputs_are_compared_whole(digest: u64, points: i32, source in "[0-9]-[0-9]", arches: bool, other in 0..7) {
            let policy = Policy::default();
            let build = crate::model::BuildId(1);
            let latest = crate::fold::Latest { build, source: source.into(), at: Timestamp::EPOCH };
            let package = Package {
                latest: Some(latest),
                changes_digest: digest,
                static_points: points,
                arch_override: arches.then(|| Box::new("x86_64".parse().unwrap())),
                ..Package::default()
            };
            let same = inputs(&package, &policy);
            prop_assert!(are_inputs(&same, &package, &policy));
            let mut known = same.clone();
            match other {
                0 => known.source = "other".into(),
                1 => known.base = Some(7),
                2 => known.changes = format!("{:016x}", digest ^ 1 << 60),
                3 => known.changes = format!("{:016x}", digest ^ 1),
                4 => known.changes.push('0'),
                5 => known.points.1 += 1,
                _ => known.arch_override = Some("^s390x".to_owned()),
            }
            prop_assert!(!are_inputs(&known, &package, &policy));
        }
    }
}
