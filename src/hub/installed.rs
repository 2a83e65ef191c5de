//! Reads what a builder had installed. The hub keeps this for successful and for failed builds.
//!
//! Source: `listBuildroots(taskID)` of the leaf tasks (the parent task has no buildroots), and
//! `listRPMs(componentBuildrootID)`.

use std::collections::BTreeSet;

use super::reader::Reader;
use super::snapshot::{Seen, TaggedSeen};
use crate::buildroot::installed::BuildrootPackage;
use crate::koji::calls::{get_task_descendents, list_buildroots, list_rpms};
use crate::koji::{HubError, records};
use crate::model::koji::{BuildState, TaskState};
use crate::model::{Hub, Name, Nvr, RepoId, TaskId};

/// Number of builds whose buildroots are read together.
pub const AT_ONCE: usize = 4;
/// Maximum number of waiting builds. A mass rebuild has more. Builds that are passed over keep the
/// assumed base.
const WAITING_MAX: usize = 5_000;
/// Maximum number of buildroots of one task. A task has one per architecture, or two if a builder
/// was restarted.
const BUILDROOTS_MAX: usize = 64;

/// A build whose buildroots are to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstalledQuery {
    /// The `build` task.
    pub task_id: TaskId,
    /// The build's name, version and release.
    pub nvr: Nvr,
}

/// What was installed for one build.
#[derive(Clone, PartialEq, Debug)]
pub struct InstalledPackages {
    /// Hub instance.
    pub hub: Hub,
    /// The `build` task.
    pub task_id: TaskId,
    /// The build's name, version and release.
    pub nvr: Nvr,
    /// What was installed on each architecture.
    pub arches: Vec<InstalledOnArch>,
}

/// What was installed on one architecture.
#[derive(Clone, PartialEq, Debug)]
pub struct InstalledOnArch {
    /// The architecture, as Koji's directories name it.
    pub arch: Name,
    /// The repository that the packages were installed from.
    pub repo_id: Option<RepoId>,
    /// Koji's number of the buildroot.
    pub buildroot: i64,
    /// Installed packages.
    pub packages: Vec<BuildrootPackage>,
    /// Whether the `buildArch` task succeeded.
    pub closed: bool,
}

/// Notes which of the objects seen are builds with buildroots to read.
pub(super) fn wanted(seen: &[Seen], asked: &mut BTreeSet<TaskId>, waiting: &mut Vec<InstalledQuery>) {
    let mut note = |task_id: TaskId, nvr: &Nvr| {
        if waiting.len() < WAITING_MAX && asked.insert(task_id) {
            waiting.push(InstalledQuery { task_id, nvr: nvr.clone() });
        }
    };
    for s in seen {
        match s {
            Seen::Task(t) if matches!(t.state, TaskState::Closed | TaskState::Failed) => note(t.task_id, &t.nvr),
            Seen::TagBuilds { package: Some(_), builds, .. } => {
                // Only the newest build counts. Older ones were noted when they were the newest.
                let newest: Option<&TaggedSeen> = builds.last();
                if let Some(b) = newest.map(|t| &t.build).filter(|b| b.state == BuildState::Complete)
                    && let Some(task) = b.task_id
                {
                    note(task, &b.nvr);
                }
            }
            Seen::Task(_)
            | Seen::TagBuilds { .. }
            | Seen::Tag(_)
            | Seen::TagPackages { .. }
            | Seen::Target(..)
            | Seen::Build(_)
            | Seen::Repo(_)
            | Seen::Repos { .. }
            | Seen::NoTask(_) => {}
        }
    }
}

/// Reads the buildroots of some builds, in three rounds.
pub(super) async fn read(
    reader: &Reader,
    hub: &Hub,
    wanted: &[InstalledQuery],
) -> Result<Vec<InstalledPackages>, HubError> {
    let mut batch = reader.batch();
    let trees: Vec<_> = wanted.iter().map(|w| batch.add(get_task_descendents(w.task_id))).collect();
    let mut answers = batch.send().await?;
    // The index of the build, the leaf task, and the question for its buildroots.
    let mut batch = reader.batch();
    let mut leaves = Vec::new();
    for (at, tree) in trees.into_iter().enumerate() {
        let tree = match answers.take(tree) {
            Err(error) if error.fault().is_some() => continue,
            tree => tree?,
        };
        let of_arch = tree.tasks().into_iter().filter(|t| t.method == "buildArch").take(BUILDROOTS_MAX);
        leaves.extend(of_arch.map(|leaf| (at, leaf.clone(), batch.add(list_buildroots(leaf.id)))));
    }
    let mut found: Vec<InstalledPackages> = wanted
        .iter()
        .map(|w| InstalledPackages { hub: hub.clone(), task_id: w.task_id, nvr: w.nvr.clone(), arches: Vec::new() })
        .collect();
    let mut answers = batch.send().await?;
    for (at, leaf, buildroots) in leaves {
        // A restarted task has several buildroots. The last one is that of the result.
        let Some(root) = answers.take(buildroots)?.into_iter().max_by_key(|b| b.id) else { continue };
        // One request each, because a buildroot has hundreds of packages.
        let rpms = reader.ask(list_rpms(root.id)).await?;
        if rpms.is_empty() {
            continue;
        }
        let repo_id = root.repo_id.or_else(|| leaf.repo_of_step());
        if let Some(build) = found.get_mut(at) {
            build.arches.push(InstalledOnArch {
                arch: root.arch.or(leaf.arch).unwrap_or_default(),
                repo_id,
                buildroot: root.id,
                packages: rpms.iter().map(package).collect(),
                closed: leaf.state == TaskState::Closed,
            });
        }
    }
    found.retain(|t| !t.arches.is_empty());
    Ok(found)
}

fn package(rpm: &records::Rpm) -> BuildrootPackage {
    BuildrootPackage {
        nevra: rpm.nevra(),
        added: rpm.added,
        external: rpm.external_repo_name.clone().filter(|_| rpm.is_external()),
    }
}
