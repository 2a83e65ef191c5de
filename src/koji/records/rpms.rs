//! Packages, and the buildroots they were in.

use super::Build;
use crate::koji::shape::{FromValue, ShapeError, record};
use crate::koji::xmlrpc::Value;
use crate::model::koji::RepoState;
use crate::model::{BuildId, Evr, Name, Nevra, RepoId, TagId, TaskId, Timestamp};

record! {
    /// A package file. Source: `listRPMs`, `listTaggedRPMS`.
    Rpm {
        /// Its number.
        id: i64 = "id";
        /// Its name.
        name: Name = "name";
        /// Version.
        version: Name = "version";
        /// Release.
        release: Name = "release";
        /// Epoch, where not zero.
        epoch: Option<u32> = "epoch";
        /// Architecture; `src` and `nosrc` for source packages.
        arch: Name = "arch";
        /// The build it belongs to; absent for those of external repositories.
        build_id: Option<BuildId> = "build_id";
        /// Digest of its payload.
        payload_hash: Option<Name> = "payloadhash";
        /// Size of the file in bytes.
        size: Option<i64> = "size";
        /// When it was built.
        built: Option<Timestamp> = "buildtime";
        /// 0 for the hub's own.
        external_repo_id: Option<i64> = "external_repo_id";
        /// `INTERNAL` for the hub's own.
        external_repo_name: Option<Name> = "external_repo_name";
        /// In a buildroot: put there by the second step, for the build requirements.
        added: bool = "is_update";
    }
}

impl Rpm {
    /// Name, EVR and architecture.
    pub fn nevra(&self) -> Nevra {
        let evr = Evr { epoch: self.epoch, version: self.version.clone(), release: self.release.clone() };
        Nevra { name: self.name.clone(), evr, arch: self.arch.clone() }
    }

    /// Whether it comes from an external repository.
    pub fn is_external(&self) -> bool {
        self.external_repo_id.is_some_and(|id| id != 0)
    }
}

/// What `listTaggedRPMS` answers: packages and the builds they belong to.
#[derive(Clone, PartialEq, Debug)]
pub struct TaggedRpms {
    /// The packages.
    pub rpms: Vec<Rpm>,
    /// The builds.
    pub builds: Vec<Build>,
}

impl FromValue for TaggedRpms {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let (rpms, builds) = FromValue::from_value(value)?;
        Ok(Self { rpms, builds })
    }
}

record! {
    /// A dependency of a package. Source: `getRPMDeps`.
    RpmDependency {
        /// A name, a path, or a rich dependency as a whole.
        name: String = "name";
        /// `[epoch:]version[-release]`, empty for none.
        version: Option<String> = "version";
        /// RPM's sense bits: 2 less, 4 greater, 8 equal, and what kind it is.
        flags: i64 = "flags";
        /// 0 requires, 1 provides, 2 obsoletes, 3 conflicts, 4 suggests, 5 enhances, 6 supplements, 7 recommends.
        kind: i64 = "type";
    }
}

record! {
    /// A buildroot. Source: `listBuildroots` (of the `buildArch` or `rebuildSRPM` task, not their parent), `getBuildroot`.
    Buildroot {
        /// Its number, for `listRPMs(componentBuildrootID)`.
        id: i64 = "id";
        /// Canonical architecture; absent for those of content generators.
        arch: Option<Name> = "arch" | "container_arch";
        /// The task it was made for.
        task_id: Option<TaskId> = "task_id";
        /// The repository it was made from.
        repo_id: Option<RepoId> = "repo_id";
        /// Its state now.
        repo_state: Option<RepoState> = "repo_state";
        /// Koji event of that repository.
        repo_event: Option<i64> = "repo_create_event_id";
        /// Tag of that repository.
        tag_id: Option<TagId> = "tag_id";
        /// Its name.
        tag_name: Option<Name> = "tag_name";
        /// The builder.
        host_name: Option<Name> = "host_name";
        /// 0 init, 1 waiting, 2 building, 3 expired: done.
        state: Option<i64> = "state";
        /// Koji event at which it was made.
        create_event: Option<i64> = "create_event_id";
        /// When it was made.
        created: Option<Timestamp> = "create_ts" | "create_event_time";
        /// When it was given up.
        retired: Option<Timestamp> = "retire_ts" | "retire_event_time";
    }
}
