//! Explains in words why a package is in its state.

use crate::fold::{Collection, Evidence, EvidenceKind, Package, State};
use crate::model::{PackageState, TaskId};

/// Returns why a rebuild ended as it did. `e` is the rebuild's evidence in a package of the
/// collection.
pub fn reason_of(state: &State, collection: &Collection, e: &Evidence, task: TaskId) -> Option<String> {
    state.hubs.get(e.hub(&collection.settings.hub))?.tasks.get(&task)?.reason.clone()
}

/// Explains in words why a package is in its state. The text names the present cause on one
/// architecture that a build would use. No decision depends on the text. `reason_of` returns why
/// the task of a rebuild ended.
pub fn state_reason(
    collection: &Collection,
    package: &Package,
    state: PackageState,
    reason_of: impl Fn(&Evidence, TaskId) -> Option<String>,
) -> String {
    match state {
        PackageState::Blocked => "blocked in Koji's package list".to_owned(),
        PackageState::Untracked => "nobody asked to watch it".to_owned(),
        PackageState::Unresolved => {
            let bad = package.verdicts_in_use(collection.allowed()).find(|v| v.ok == Some(false));
            bad.map_or_else(
                || "its build dependencies cannot be installed".to_owned(),
                |v| format!("on {}: {}", v.arch, v.problem.as_deref().unwrap_or("cannot be installed")),
            )
        }
        PackageState::Unknown if package.latest.is_some() => "imported or never built here".to_owned(),
        PackageState::Unknown => match package.verdicts.first().filter(|_| package.is_from_repository_only()) {
            Some(v) => {
                let s = &collection.settings;
                format!(
                    "{} is in a repository of {}, and not known to be tagged into {}",
                    v.source, s.build_tag, s.dest_tag
                )
            }
            None => "no build of it is known".to_owned(),
        },
        PackageState::Ok | PackageState::Failing => match package.complete().next() {
            None => String::new(),
            Some(e) => match e.kind {
                EvidenceKind::Real(build) => format!("build {build} ({}) succeeded", e.source),
                EvidenceKind::Scratch(task) => {
                    let why = reason_of(e, task).unwrap_or_else(|| "ended".to_owned());
                    format!("rebuild {task} of {}: {why}", e.source)
                }
            },
        },
    }
}
