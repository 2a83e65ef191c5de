//! Packages, and the buildroots they were in.

use crate::koji::shape::{FromValue, ShapeError, record};
use crate::koji::xmlrpc::Value;
use crate::model::{Evr, Name, Nevra, RepoId};

record! {
    /// A package file. Source: `listRPMs`.
    Rpm {
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

record! {
    /// A buildroot. Source: `listBuildroots` (of the `buildArch` or `rebuildSRPM` task, not their parent).
    Buildroot {
        /// Its number, for `listRPMs(componentBuildrootID)`.
        id: i64 = "id";
        /// Canonical architecture; absent for those of content generators.
        arch: Option<Name> = "arch" | "container_arch";
        /// The repository it was made from.
        repo_id: Option<RepoId> = "repo_id";
    }
}

/// Headers of a source package, those that were asked for. Source: `getRPMHeaders`, lists where RPM has lists, nil
/// where there is nothing. Whatever is not what it should be is not there.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RpmHeaders {
    /// Epoch, where not zero.
    pub epoch: Option<u32>,
    /// `BuildArch`.
    pub build_archs: Vec<Name>,
    /// `ExclusiveArch`.
    pub exclusive_arch: Vec<Name>,
    /// `ExcludeArch`.
    pub exclude_arch: Vec<Name>,
    /// Requirements: name, version, and how they compare (RPM's sense bits); `None` when the three lists do not belong
    /// together.
    pub requires: Option<Vec<(String, String, u64)>>,
    /// Conflicts likewise.
    pub conflicts: Option<Vec<(String, String, u64)>>,
}

impl RpmHeaders {
    /// What decides about architectures, and the epoch.
    pub const ARCHES: [&'static str; 4] = ["BUILDARCHS", "EXCLUSIVEARCH", "EXCLUDEARCH", "EPOCH"];
    /// The same, and what is required and conflicted with.
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
