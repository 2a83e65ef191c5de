//! Why a package is not rebuilt now: the reasons, their words for counting, and how each is said.

use std::fmt;

use serde::Serialize;
use smol_str::SmolStr;

use super::priority::Points;
use super::refusal;
use crate::model::{Name, Outcome, TaskId, Timestamp};

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

/// Lists the word of each reason. A missing reason is a compile error. Reasons of the package or
/// its collection come first (`own_reasons!()` is a pattern for them), then limits that many
/// packages share.
macro_rules! keys {
    (own { $($own:ident $own_key:literal,)+ } limits { $($limit:ident $limit_key:literal,)+ }) => {
        impl Hold {
            /// Number of different reasons.
            pub(super) const COUNT: usize = Self::KEYS.len();
            const KEYS: [&'static str; [$($own_key,)+ $($limit_key),+].len()] = [$($own_key,)+ $($limit_key),+];

            pub(super) const fn index(&self) -> usize {
                enum Place {
                    $($own,)+
                    $($limit),+
                }
                match self {
                    $(Self::$own { .. } => Place::$own as usize,)+
                    $(Self::$limit { .. } => Place::$limit as usize,)+
                }
            }
        }

        macro_rules! own_reasons {
            () => { $($crate::decide::hold::Hold::$own { .. })|+ };
        }
        pub(super) use own_reasons;
    };
}

keys! {
    own {
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
    }
    limits {
        Load "load",
        CollectionLimit "collection_limit",
        OverallLimit "overall_limit",
        HourlyLimit "hourly_limit",
        PolicyRefused "policy_refused",
        CollectionPaused "collection_paused",
        Paused "paused",
        EvaluationLimit "evaluation_limit",
    }
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

#[cfg(test)]
mod tests {
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
}
