//! Records of packages and buildroots.

use crate::koji::shape::{FromValue, ShapeError, record};
use crate::koji::xmlrpc::Value;
use crate::model::{Evr, Name, Nevra, RepoId};

record! {
    /// A package file. Source: `listRPMs`.
    Rpm {
        /// Name of the package.
        name: Name = "name";
        /// Version.
        version: Name = "version";
        /// Release.
        release: Name = "release";
        /// Epoch, if there is one. It may be 0.
        epoch: Option<u32> = "epoch";
        /// Architecture. `src` and `nosrc` for source packages.
        arch: Name = "arch";
        /// Number of the external repository. 0 for the hub's own packages.
        external_repo_id: Option<i64> = "external_repo_id";
        /// Name of the external repository. `INTERNAL` for the hub's own packages.
        external_repo_name: Option<Name> = "external_repo_name";
        /// Only in a buildroot: whether the second step added the package, for the build
        /// requirements.
        added: bool = "is_update";
    }
}

impl Rpm {
    /// Returns name, EVR and architecture.
    pub fn nevra(&self) -> Nevra {
        let evr = Evr { epoch: self.epoch, version: self.version.clone(), release: self.release.clone() };
        Nevra { name: self.name.clone(), evr, arch: self.arch.clone() }
    }

    /// Checks whether the package comes from an external repository.
    pub fn is_external(&self) -> bool {
        self.external_repo_id.is_some_and(|id| id != 0)
    }
}

record! {
    /// A buildroot. Source: `listBuildroots` of the `buildArch` or `rebuildSRPM` task, not of their
    /// parent.
    Buildroot {
        /// Number of the buildroot, for `listRPMs(componentBuildrootID)`.
        id: i64 = "id";
        /// Canonical architecture. Absent for buildroots of content generators.
        arch: Option<Name> = "arch" | "container_arch";
        /// The repository that the buildroot was made from.
        repo_id: Option<RepoId> = "repo_id";
    }
}

/// Headers of a source package, as far as they were asked for. Source: `getRPMHeaders`. It returns
/// lists where RPM has lists, and nil where there is nothing. Values of a wrong type count as
/// absent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RpmHeaders {
    /// Epoch, if there is one. It may be 0.
    pub epoch: Option<u32>,
    /// The header `BuildArch`.
    pub build_archs: Vec<Name>,
    /// The header `ExclusiveArch`.
    pub exclusive_arch: Vec<Name>,
    /// The header `ExcludeArch`.
    pub exclude_arch: Vec<Name>,
    /// Requirements: name, version, and comparison flags (RPM's sense bits). `None` if the three
    /// lists do not fit together.
    pub requires: Option<Vec<(String, String, u64)>>,
    /// Conflicts, in the same form.
    pub conflicts: Option<Vec<(String, String, u64)>>,
}

impl RpmHeaders {
    /// The headers about architectures, and the epoch.
    pub const ARCHES: [&'static str; 4] = ["BUILDARCHS", "EXCLUSIVEARCH", "EXCLUDEARCH", "EPOCH"];
    /// The headers in [`Self::ARCHES`], and those about requirements and conflicts.
    pub const ALL: [&'static str; 10] = [
        "REQUIRENAME",
        "REQUIREVERSION",
        "REQUIREFLAGS",
        "CONFLICTNAME",
        "CONFLICTVERSION",
        "CONFLICTFLAGS",
        "BUILDARCHS",
        "EXCLUSIVEARCH",
        "EXCLUDEARCH",
        "EPOCH",
    ];
}

impl FromValue for RpmHeaders {
    fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let list = |name: &str| value.get(name).and_then(Value::as_array).unwrap_or_default();
        let words = |name: &str| list(name).iter().filter_map(Value::as_str).map(Name::from).collect();
        let dependencies = |names: &str, versions: &str, flags: &str| {
            let [names, versions, flags] = [names, versions, flags].map(list);
            if names.len() != versions.len() || names.len() != flags.len() {
                return None;
            }
            let text = |v: &Value| v.as_str().map(str::to_owned);
            let triples = names.iter().zip(versions).zip(flags);
            triples.map(|((n, v), f)| Some((text(n)?, text(v)?, u64::try_from(f.as_int()?).ok()?))).collect()
        };
        Ok(Self {
            epoch: value.get("EPOCH").and_then(Value::as_int).and_then(|e| u32::try_from(e).ok()),
            build_archs: words("BUILDARCHS"),
            exclusive_arch: words("EXCLUSIVEARCH"),
            exclude_arch: words("EXCLUDEARCH"),
            requires: dependencies("REQUIRENAME", "REQUIREVERSION", "REQUIREFLAGS"),
            conflicts: dependencies("CONFLICTNAME", "CONFLICTVERSION", "CONFLICTFLAGS"),
        })
    }
}
