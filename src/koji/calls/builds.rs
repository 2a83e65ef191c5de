//! Calls about real builds, their packages, and buildroots.

use super::{Query, record};
use crate::koji::records::{Build, Buildroot, Rpm, RpmHeaders};
use crate::model::{BuildId, Nvr, TaskId};

/// Asks for a build.
pub fn get_build(build: BuildId) -> Query<Option<Build>> {
    Query::new("getBuild", vec![build.into()])
}

/// Asks what was installed in a buildroot, including packages that were replaced while it was set
/// up.
pub fn list_rpms(buildroot: i64) -> Query<Vec<Rpm>> {
    Query::new("listRPMs", Vec::new()).with("componentBuildrootID", buildroot)
}

/// Asks for the buildroots of a `buildArch` or `rebuildSRPM` task. Their parent has none. A
/// restarted task has two.
pub fn list_buildroots(task: TaskId) -> Query<Vec<Buildroot>> {
    Query::new("listBuildroots", Vec::new()).with("taskID", task)
}

/// Asks for headers of a source package, by RPM's names in capitals. The hub opens the file, so do
/// not ask for many. The answer is empty if the package does not exist.
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
