//! Real builds, their packages, and buildroots.

use super::{Query, record};
use crate::koji::records::{Build, Buildroot, Rpm, RpmHeaders};
use crate::model::{BuildId, Nvr, TaskId};

/// A build.
pub fn get_build(build: BuildId) -> Query<Option<Build>> {
    Query::new("getBuild", vec![build.into()])
}

/// What was installed in a buildroot, also what was replaced while it was set up.
pub fn list_rpms(buildroot: i64) -> Query<Vec<Rpm>> {
    Query::new("listRPMs", Vec::new()).with("componentBuildrootID", buildroot)
}

/// Buildroots of a `buildArch` or `rebuildSRPM` task; their parent has none. Two when the task was started over.
pub fn list_buildroots(task: TaskId) -> Query<Vec<Buildroot>> {
    Query::new("listBuildroots", Vec::new()).with("taskID", task)
}

/// Headers of a source package, by RPM's names in capitals. The hub opens the file for it, so not for many. Empty when
/// the package is not there.
pub fn get_source_headers(source: &Nvr, headers: &[&str]) -> Query<RpmHeaders> {
    let part = |text: &str| Some(text.into());
    let rpm = [
        ("name", part(&source.name)),
        ("version", part(&source.version)),
        ("release", part(&source.release)),
        ("arch", part("src")),
    ];
    Query::new("getRPMHeaders", Vec::new()).with("rpmID", record(rpm)).with("headers", headers.to_vec())
}
