//! Events in words.

use crate::event::Event;

/// An event in a few words.
pub(crate) fn describe(event: &Event) -> String {
    match event {
        Event::BuildChanged(e) => {
            format!("build {} {}-{}-{} is {:?}", e.build_id, e.name, e.version, e.release, e.state)
        }
        Event::BuildTagged(e) => format!("{}-{}-{} tagged into {}", e.name, e.version, e.release, e.tag),
        Event::BuildUntagged(e) => format!("{}-{}-{} untagged from {}", e.name, e.version, e.release, e.tag),
        Event::BuildrootRecorded(e) => format!("buildroot of task {} on {}: {} packages", e.task_id, e.arch, e.count),
        Event::PackageListChanged(e) => format!("{} in the list of {}: {:?}", e.package, e.tag, e.action),
        Event::TagObserved(e) if e.gone => format!("tag {} does not exist", e.tag),
        Event::TagObserved(e) => format!("configuration of tag {}", e.tag),
        Event::TargetObserved(e) => match (&e.build_tag, &e.dest_tag) {
            (Some(b), Some(d)) => format!("target {}: from {b} into {d}", e.target),
            _ => format!("target {} does not exist", e.target),
        },
        Event::RepoInitialised(e) => format!("repository {} of {} begun", e.repo_id, e.tag),
        Event::RepoReady(e) => format!("repository {} of {} ready", e.repo_id, e.tag),
        Event::RepoExpired(e) => format!("repository {} of {} expired", e.repo_id, e.tag),
        Event::RepoDeleted(e) => format!("repository {} of {} deleted", e.repo_id, e.tag),
        Event::TaskChanged(e) => format!("task {} for {} is {:?}", e.task_id, e.package, e.state),
        Event::TaskVanished(e) => format!("task {} for {} is not known to the hub any more", e.task_id, e.package),
        Event::SubmissionsPaused(e) => match &e.collection {
            Some(c) => format!("submissions of {c} paused: {}", e.reason),
            None => format!("all submissions paused: {}", e.reason),
        },
        Event::SubmissionsResumed(e) => match &e.collection {
            Some(c) => format!("submissions of {c} resumed"),
            None => "submissions resumed".to_owned(),
        },
        Event::Reconciled(e) => {
            format!("reconciled through {}: {} missed, {} invented", e.through, e.missed, e.invented)
        }
        Event::PolicyAdopted(e) => format!("policy {} adopted", e.digest.chars().take(12).collect::<String>()),
        Event::Tick(e) => format!("it is {}", e.now),
        Event::RepoResolved(e) => format!(
            "{} {} on {}{}: {} resolve, {} do not, {} news",
            e.collection,
            e.repo_id,
            e.arch,
            if e.tracked.is_some() { ", only what is tracked" } else { "" },
            e.resolved,
            e.unresolved,
            e.packages.len()
        ),
        Event::RepoNotResolved(e) => format!("{} {}: {}", e.collection, e.repo_id, e.reason),
        Event::BuildrootResolved(e) => format!("build group of {} installs on {}", e.collection, e.arch),
        Event::BuildrootBroken(e) => {
            format!("build group of {} broken on {}: {}", e.collection, e.arch, e.problems.join("; "))
        }
        Event::PredictionCompared(e) => format!(
            "buildroot of task {} on {}: {:?} ({} missing, {} extra, {} in another version)",
            e.task_id, e.arch, e.prediction, e.missing, e.extra, e.differing
        ),
        Event::DependenciesMeasured(e) => {
            format!("{} on {}: {} dependencies differ from its last build", e.package, e.arch, e.moves.len())
        }
        Event::EvaluationMade(e) => format!("{} of {} packages chosen", e.chosen.len(), e.considered),
        Event::RebuildRequested(e) => format!("rebuild of {} decided", e.nvr),
        Event::RebuildSubmitted(e) => format!("{} of {} is task {}", e.rebuild, e.package, e.task_id),
        Event::RebuildRefused(e) => format!("{} of {} refused: {}", e.rebuild, e.package, e.reason),
        Event::RebuildNotSubmitted(e) => format!("{} of {} not submitted: {}", e.rebuild, e.package, e.reason),
        Event::RebuildFinished(e) => format!("task {} for {}: {} ({})", e.task_id, e.package, e.outcome, e.reason),
        Event::PolicyRefused(e) => {
            let then =
                if e.falls_back { "rebuilds are not bound to repositories" } else { "rebuilds of the collection stop" };
            format!("{} of {} refuses task {} of {}: {then}", e.policy, e.hub, e.task_id, e.package)
        }
        Event::PolicyAllowed(e) => format!("{} of {} allowed task {}", e.policy, e.hub, e.task_id),
        Event::RebuildCancelRequested(e) => match (e.task_id, e.rebuild) {
            (Some(task), _) => format!("task {task} to be cancelled: {}", e.reason),
            (None, Some(rebuild)) => format!("{rebuild} of {} to be cancelled: {}", e.package, e.reason),
            (None, None) => format!("a rebuild of {} to be cancelled: {}", e.package, e.reason),
        },
        Event::PackageStateChanged(e) => match e.old {
            Some(old) => format!("{} {old} -> {}: {}", e.package, e.new, e.reason),
            None => format!("{} {}: {}", e.package, e.new, e.reason),
        },
        Event::PackageReasonChanged(e) => format!("{} is still {}, now {}", e.package, e.state, e.reason),
        Event::CollectionStateChanged(e) => format!("buildroot of {}: {} -> {}", e.collection, e.old, e.new),
        Event::CollectionCreated(e) => format!("collection {} made", e.collection),
        Event::CollectionEdited(e) => format!("collection {} edited", e.collection),
        Event::PackageTracked(e) => format!("{} tracked", e.package),
        Event::PackageUntracked(e) => format!("{} untracked", e.package),
        Event::PackagePrioritySet(e) => format!("{:?} priority of {}: {}", e.kind, e.package, e.points),
        Event::PackageArchOverrideSet(e) => {
            format!("architectures of {}: {}", e.package, e.arches.as_deref().unwrap_or("no override"))
        }
        Event::PackageSkipResolutionSet(e) => format!("{}: skip resolution {}", e.package, e.skip),
        Event::MessageTimeReplaced(e) => format!("message {} says {}, taken for {}", e.message, e.said, e.taken),
        Event::MessageDismissed(e) => format!("message {} dismissed: {}", e.message, e.reason),
        Event::MessageRetried(e) => format!("message {} retried, understood: {}", e.message, e.understood),
    }
}
