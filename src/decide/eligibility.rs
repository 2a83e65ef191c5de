//! Decides whether a package may be rebuilt now, and gives every reason why not.
//!
//! The reasons follow Koschei 2.4 (`models.py`: the "ineligible for scheduling" list). Three things
//! differ on purpose:
//!
//! - A reason is never stored, so it goes away as soon as its cause does (D6, D7).
//! - Points from builds are derived from the builds themselves (D15, D16).
//! - A source package tagged after the last resolution waits for the next one, so that only
//!   resolved packages are submitted (D17).

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

/// Reason for closing a request while the policy is `passive`.
pub const PASSIVE: &str = RebuildNotSubmitted::PASSIVE;

/// A reason why a package is not rebuilt now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Hold {
    /// The package is blocked in the dest tag's package list.
    Blocked,
    /// The package is not tracked.
    Untracked,
    /// No build of the package is tagged, so there is no source package to rebuild.
    NoSource,
    /// A rebuild of the package is running.
    Running,
    /// A rebuild of the package was decided. It waits to be submitted, or to be seen as a task.
    RebuildOpen {
        /// Time of that decision.
        since: Timestamp,
    },
    /// An operator holds the package.
    HeldByOperator {
        /// Time at which the hold ends.
        until: Timestamp,
        /// The operator's reason. May be empty.
        #[serde(skip_serializing_if = "SmolStr::is_empty")]
        because: SmolStr,
    },
    /// The collection's target does not exist. If another hub builds, this is the target on that
    /// hub.
    TargetGone,
    /// The collection's build tag or dest tag does not exist.
    TagGone {
        /// The missing tags.
        tags: Vec<Name>,
    },
    /// No repository of the collection was resolved yet, or the building hub's architectures are
    /// not known yet.
    BuildrootUnknown,
    /// The build group cannot be installed.
    BuildrootBroken,
    /// The package's dependencies were not resolved yet.
    NotResolvedYet,
    /// A newer source package is tagged than the one that was resolved.
    NewerSourceNotResolved,
    /// The package's dependencies cannot be installed.
    Unresolved,
    /// No architecture is left to build the package on.
    NoArch,
    /// The package's last rebuild ended without a usable result, and the retry waits.
    RetryLater {
        /// How that rebuild ended.
        after: Outcome,
        /// Time of the next try.
        at: Timestamp,
    },
    /// The package's priority is below the threshold.
    BelowThreshold {
        /// Missing thousandths of a point.
        missing: i64,
    },
    /// The same rebuild was turned down, and nothing it depends on has changed.
    Declined {
        /// Why it was turned down.
        because: SmolStr,
    },
    /// No builder has room for an architecture the package needs.
    Load {
        /// The architectures without room.
        arches: Vec<Name>,
        /// Those of them for which no builder takes tasks. Their builders are disabled or missing,
        /// which is not overload.
        nobody: Vec<Name>,
    },
    /// The collection has reached its limit of running rebuilds.
    CollectionLimit,
    /// All collections together have reached the limit of running rebuilds.
    OverallLimit,
    /// The limit of rebuilds requested within an hour is reached.
    HourlyLimit {
        /// The limit.
        limit: u32,
    },
    /// A policy of the hub does not allow the collection's rebuilds.
    PolicyRefused {
        /// Name of the hub's policy.
        policy: Name,
        /// The task that the hub refused.
        task_id: TaskId,
        /// The hub's message.
        words: SmolStr,
        /// Time at which one rebuild tries again. Absent while one is trying.
        next: Option<Timestamp>,
    },
    /// Somebody paused the collection's submissions.
    CollectionPaused {
        /// The reason given.
        because: SmolStr,
    },
    /// Somebody paused all submissions.
    Paused {
        /// The reason given.
        because: SmolStr,
    },
    /// This evaluation has chosen as many packages as it may. The next one goes on.
    EvaluationLimit,
}

impl Hold {
    /// Returns the reason as one word, for counting. It is the word used when serialised.
    pub const fn key(&self) -> &'static str {
        Self::KEYS[self.index()]
    }

    /// Returns all words of [`Hold::key`].
    pub const fn keys() -> &'static [&'static str] {
        &Self::KEYS
    }

    /// Returns whether the reason holds every package of the collection.
    pub(super) const fn holds_collection(&self) -> bool {
        matches!(self, Self::TargetGone | Self::TagGone { .. } | Self::BuildrootUnknown | Self::BuildrootBroken)
    }
}

/// Lists the word of each reason. A missing reason is a compile error.
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
    HeldByOperator "held_by_operator",
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
            Self::HeldByOperator { until, because } if because.is_empty() => {
                write!(f, "held by an operator until {until}")
            }
            Self::HeldByOperator { until, because } => write!(f, "held by an operator until {until}: {because}"),
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

/// Returns the points that follow from a package's builds: the package started to fail, or was
/// never built here.
///
/// Koschei gives `newly_added` to packages whose last build cannot be resolved, to get a build to
/// compare with. Here the first resolution serves for the comparison. The points go to packages
/// without any result, such as imported ones.
pub fn build_points(package: &Package, policy: &Policy) -> i64 {
    let mut outcomes = package.complete().filter_map(|e| e.outcome);
    match outcomes.next() {
        None => policy.newly_added,
        Some(last) if retry::started_to_fail(last, outcomes) => policy.failed_build_priority,
        Some(Outcome::Ok | _) => 0,
    }
}

/// Collects the values that a package's priority depends on.
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

/// Returns a package's priority, or `None` if no build of it is known.
pub fn priority_of(collection: &Collection, package: &Package, now: Timestamp, policy: &Policy) -> Option<Priority> {
    priority(&priority_inputs(collection, package, policy), now, policy)
}

/// Returns the values, besides time, that a decision to rebuild depends on.
pub fn inputs(package: &Package, policy: &Policy) -> RebuildInputs {
    RebuildInputs {
        source: source(package).cloned().unwrap_or_default(),
        base: package.base().map(|e| e.order.get()),
        changes: format!("{:016x}", package.changes_digest),
        points: (package.static_points.into(), package.manual_points.into(), build_points(package, policy)),
        arch_override: package.arch_override.as_deref().map(ToString::to_string),
    }
}

/// Checks whether `known` equals [`inputs`] without building that value. It runs often, because
/// most packages were declined at some time.
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

/// Checks whether a text means the package's override. The same override may be written in several
/// ways.
fn is_override(known: Option<&str>, package: &Package) -> bool {
    match (known, package.arch_override.as_deref()) {
        (None, None) => true,
        (Some(text), Some(over)) => text.parse::<ArchOverride>().is_ok_and(|known| known == *over),
        _ => false,
    }
}

/// Returns `version-release` of the source package that a rebuild would take.
pub fn source(package: &Package) -> Option<&SmolStr> {
    package.latest.as_ref().map(|l| &l.source)
}

/// Calls `hold` with every reason that lies in the package or its collection, most fundamental
/// first. Returns the package's priority. `scale` must be that of `policy`. Cost: O(architectures)
/// and one logarithm.
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
    if let Some(held) = package.held.as_deref().filter(|held| held.until > now) {
        hold(Hold::HeldByOperator { until: held.until, because: held.reason.clone() });
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
        // Without any build there is no priority to compare. The package needs a first build, which
        // brings points.
        Some(p) if p.current < threshold => hold(Hold::BelowThreshold { missing: threshold.0 - p.current.0 }),
        _ => {
            if let Some(declined) = package.declined.as_ref().filter(|d| stands(d, package, policy)) {
                hold(Hold::Declined { because: declined.reason.clone() });
            }
        }
    }
    priority
}

/// Checks whether a rebuild that was turned down would be turned down again. That is so if its
/// inputs and the rule that turned it down are unchanged. A rebuild whose command was not exported
/// was not turned down.
fn stands(declined: &Declined, package: &Package, policy: &Policy) -> bool {
    declined.reason != RebuildNotSubmitted::NOT_EXPORTED
        && (declined.reason != PASSIVE || policy.passive)
        && are_inputs(&declined.inputs, package, policy)
}

/// Returns the reasons that stop a whole collection, whatever its packages are, for display with
/// the collection. Empty if nothing stops it.
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

/// Returns the hold of a collection that a policy of the hub stops. It is returned even if one
/// rebuild may try now.
pub(super) fn refused(state: &State, collection: &Collection, policy: &Policy) -> Option<Hold> {
    collection.refused.as_ref().map(|r| Hold::PolicyRefused {
        policy: r.policy.clone(),
        task_id: r.task_id,
        words: r.words.clone(),
        next: refusal::next_try(state, r, policy),
    })
}

/// Reports the reasons that hold every package of a collection. Pauses by hand are not among them:
/// the plan handles those.
fn of_collection(collection: &Collection, buildroot: BuildrootState, hold: &mut impl FnMut(Hold)) {
    if collection.target_gone {
        hold(Hold::TargetGone);
    }
    if !collection.tags_gone.is_empty() {
        hold(Hold::TagGone { tags: collection.tags_gone.clone() });
    }
    // Without tag architectures, architectures that no builder supports would count.
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
        /// [`are_inputs`] agrees with comparing against [`inputs`], both for equal inputs and for
        /// inputs that differ in one field.
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
