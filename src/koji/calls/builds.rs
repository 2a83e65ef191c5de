//! Real builds, their packages, and buildroots.

use std::collections::BTreeMap;

use super::{Page, Query};
use crate::koji::records::{Build, Buildroot, Rpm, RpmDependency};
use crate::koji::xmlrpc::Value;
use crate::model::koji::BuildState;
use crate::model::{BuildId, Name, Nvr, RepoId, TaskId, Timestamp};

/// A build, by number or name-version-release.
pub fn get_build(build: impl Into<Value>) -> Query<Option<Build>> {
    Query::new("getBuild", vec![build.into()])
}

/// Which builds to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListBuilds {
    /// The build of this task.
    pub task_id: Option<TaskId>,
    /// Those of this package, by number.
    pub package_id: Option<i64>,
    /// Those of this user, by number.
    pub user_id: Option<i64>,
    /// Those whose packages' names begin so.
    pub prefix: Option<String>,
    /// Those in this state.
    pub state: Option<BuildState>,
    /// Those whose record was made after this.
    pub created_after: Option<Timestamp>,
    /// Those that were complete after this.
    pub completed_after: Option<Timestamp>,
    /// Order and range.
    pub page: Page,
}

/// Builds.
pub fn list_builds(which: &ListBuilds) -> Query<Vec<Build>> {
    Query::new("listBuilds", Vec::new())
        .maybe("taskID", which.task_id)
        .maybe("packageID", which.package_id)
        .maybe("userID", which.user_id)
        .maybe("prefix", which.prefix.as_deref())
        .maybe("state", which.state)
        .maybe("createdAfter", which.created_after.map(super::tasks::seconds))
        .maybe("completeAfter", which.completed_after.map(super::tasks::seconds))
        .maybe("queryOpts", which.page.to_value())
}

/// Which packages to list; one of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListRpms {
    /// What belongs to a build.
    OfBuild(BuildId),
    /// What was installed in a buildroot, also what was replaced while it was set up.
    InBuildroot(i64),
}

/// Packages, of some architectures as packages have them (`src` for source packages), of all when empty.
pub fn list_rpms(which: ListRpms, arches: &[Name]) -> Query<Vec<Rpm>> {
    let (name, number) = match which {
        ListRpms::OfBuild(build) => ("buildID", build.0),
        ListRpms::InBuildroot(buildroot) => ("componentBuildrootID", buildroot),
    };
    Query::new("listRPMs", Vec::new()).with(name, number).maybe("arches", (!arches.is_empty()).then(|| arches.to_vec()))
}

/// What buildroots to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildrootsOf {
    /// Those of a `buildArch` or `rebuildSRPM` task; their parent has none. Two when the task was started over.
    Task(TaskId),
    /// Those made from a repository.
    Repo(RepoId),
}

/// Buildroots.
pub fn list_buildroots(of: BuildrootsOf) -> Query<Vec<Buildroot>> {
    let query = Query::new("listBuildroots", Vec::new());
    match of {
        BuildrootsOf::Task(task) => query.with("taskID", task),
        BuildrootsOf::Repo(repo) => query.with("repoID", repo),
    }
}

/// A buildroot.
pub fn get_buildroot(id: i64) -> Query<Option<Buildroot>> {
    Query::new("getBuildroot", vec![id.into()])
}

/// How the hub finds a package: by its parts.
fn source_rpm(nvr: &Nvr) -> Value {
    let members = [("name", nvr.name.as_str()), ("version", &nvr.version), ("release", &nvr.release), ("arch", "src")];
    Value::Struct(members.map(|(name, part)| (name.to_owned(), part.into())).into())
}

/// What a source package requires for being built. The hub opens the file for it, so not for many. A fault when there is none.
pub fn get_rpm_deps(source: &Nvr) -> Query<Vec<RpmDependency>> {
    Query::new("getRPMDeps", vec![source_rpm(source), Value::Int(0)])
}

/// Headers of a source package, by RPM's names in capitals: lists where RPM has lists, nil where there is nothing. The hub opens
/// the file for it. Empty when the package is not there.
pub fn get_rpm_headers(source: &Nvr, headers: &[&str]) -> Query<BTreeMap<String, Value>> {
    Query::new("getRPMHeaders", Vec::new()).with("rpmID", source_rpm(source)).with("headers", headers.to_vec())
}

/// The same of a package a task made, by its path below the task's directory.
pub fn get_task_rpm_headers(task: TaskId, path: &str, headers: &[&str]) -> Query<BTreeMap<String, Value>> {
    Query::new("getRPMHeaders", Vec::new())
        .with("taskID", task)
        .with("filepath", path)
        .with("headers", headers.to_vec())
}
