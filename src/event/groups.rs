//! Kinds of events by who says them, as patterns.
//!
//! A `match` that is about one group names each kind of it, and the other groups as a whole. A new kind does not compile until it
//! stands in a group here, and then in no `match` about that group until it is named there.

use super::Event;

/// What happened at a hub.
macro_rules! hub_facts {
    () => {
        $crate::event::Event::BuildChanged(_)
            | $crate::event::Event::BuildTagged(_)
            | $crate::event::Event::BuildUntagged(_)
            | $crate::event::Event::BuildrootRecorded(_)
            | $crate::event::Event::PackageListChanged(_)
            | $crate::event::Event::RepoInitialised(_)
            | $crate::event::Event::RepoReady(_)
            | $crate::event::Event::RepoExpired(_)
            | $crate::event::Event::RepoDeleted(_)
            | $crate::event::Event::TaskChanged(_)
            | $crate::event::Event::TaskVanished(_)
    };
}

/// What a hub is like.
macro_rules! observations {
    () => {
        $crate::event::Event::TagObserved(_) | $crate::event::Event::TargetObserved(_)
    };
}

/// What we found, decided and did.
macro_rules! findings {
    () => {
        $crate::event::Event::Reconciled(_)
            | $crate::event::Event::PolicyAdopted(_)
            | $crate::event::Event::Tick(_)
            | $crate::event::Event::RepoResolved(_)
            | $crate::event::Event::RepoNotResolved(_)
            | $crate::event::Event::BuildrootResolved(_)
            | $crate::event::Event::BuildrootBroken(_)
            | $crate::event::Event::DependenciesMeasured(_)
            | $crate::event::Event::PredictionCompared(_)
            | $crate::event::Event::EvaluationMade(_)
            | $crate::event::Event::RebuildRequested(_)
            | $crate::event::Event::RebuildSubmitted(_)
            | $crate::event::Event::RebuildRefused(_)
            | $crate::event::Event::RebuildNotSubmitted(_)
            | $crate::event::Event::RebuildFinished(_)
            | $crate::event::Event::PolicyRefused(_)
            | $crate::event::Event::PolicyAllowed(_)
            | $crate::event::Event::PackageStateChanged(_)
            | $crate::event::Event::PackageReasonChanged(_)
            | $crate::event::Event::CollectionStateChanged(_)
            | $crate::event::Event::MessageRetried(_)
            | $crate::event::Event::MessageTimeReplaced(_)
    };
}

/// What operators say.
macro_rules! words {
    () => {
        $crate::event::Event::RebuildCancelRequested(_)
            | $crate::event::Event::CollectionCreated(_)
            | $crate::event::Event::CollectionEdited(_)
            | $crate::event::Event::PackageTracked(_)
            | $crate::event::Event::PackageUntracked(_)
            | $crate::event::Event::PackagePrioritySet(_)
            | $crate::event::Event::PackageArchOverrideSet(_)
            | $crate::event::Event::PackageSkipResolutionSet(_)
            | $crate::event::Event::SubmissionsPaused(_)
            | $crate::event::Event::SubmissionsResumed(_)
            | $crate::event::Event::MessageDismissed(_)
    };
}

pub(crate) use {findings, hub_facts, observations, words};

/// Each kind is in one group.
const _: fn(&Event) = |event| match event {
    hub_facts!() | observations!() | findings!() | words!() => {}
};
