//! Events about what people set: collections, and settings of their packages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Hub, Name, PersonId, Timestamp};

fn is_false(value: &bool) -> bool {
    !*value
}

/// Default path of a building hub's packages, relative to its work directory: beside `work`.
pub const SRPM_ROOT: &str = "..";

/// Longest `srpm_root`, in bytes.
const SRPM_ROOT_BYTES_MAX: usize = 1024;

/// The other hub on which a collection is built (Koschei's secondary mode). Scratch builds and
/// everything about them belong to this hub. Everything else belongs to the collection's own hub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildsOn {
    /// Hub instance that builds. It is never the collection's own.
    pub hub: Hub,
    /// Build target on that hub.
    pub target: Name,
    /// Path under which that hub finds the source packages of the collection's hub, relative to its
    /// work directory. It builds `ROOT/packages/N/V/R/src/N-V-R.src.rpm` (Koschei:
    /// `srpm_relative_path_root`).
    #[serde(default = "default_root")]
    pub srpm_root: String,
}

fn default_root() -> String {
    SRPM_ROOT.to_owned()
}

impl BuildsOn {
    /// Checks whether the settings are possible for a collection of the hub `own`.
    ///
    /// # Errors
    /// Returns the problem in words that follow the collection's name.
    pub fn check(&self, own: &Hub) -> Result<(), String> {
        let bad = |n: &str| n.is_empty() || n.contains(['/', ' ', '\t', '\n']);
        if bad(self.hub.as_str()) {
            return Err(format!("it builds on `{}`, which cannot be the name of a hub", self.hub));
        }
        if self.hub == *own {
            return Err(format!("it builds on `{own}`, which is its own hub: say nothing, and give `target`"));
        }
        if bad(&self.target) {
            return Err(format!("it builds on `{}` for `{}`, which cannot be a build target", self.hub, self.target));
        }
        let root = &self.srpm_root;
        if root.is_empty()
            || root.len() > SRPM_ROOT_BYTES_MAX
            || root.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(format!(
                "its `srpm_root` is `{}`: it must be a path without spaces, of at most {SRPM_ROOT_BYTES_MAX} bytes",
                root.escape_debug()
            ));
        }
        Ok(())
    }
}

/// The settings of a collection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionSettings {
    /// Name to show.
    pub display_name: String,
    /// Hub instance of the collection.
    pub hub: Hub,
    /// Build target to submit to, unless another hub builds.
    pub target: Name,
    /// Tag whose repositories are resolved.
    pub build_tag: Name,
    /// Tag whose builds and package list count.
    pub dest_tag: Name,
    /// Group that is installed in every buildroot.
    pub build_group: Name,
    /// Factor for the dependency, build and time parts of priorities, in thousandths.
    pub coefficient: u32,
    /// Architectures to look at and build for. Empty for all of the build tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// Whether every package of the dest tag is tracked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub track_all: bool,
    /// Most rebuilds running at once. If absent, only the overall limit applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_builds: Option<u32>,
    /// Whether the collection was created because its tag got a repository, and not on request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub found: bool,
    /// The hub on which its scratch builds run, if it is not the collection's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds_on: Option<BuildsOn>,
}

impl CollectionSettings {
    /// Returns settings for tests: the collection `f99` of the hub `primary`.
    #[cfg(test)]
    pub(crate) fn f99() -> Self {
        Self {
            display_name: "f99".to_owned(),
            hub: Hub::new("primary"),
            target: "f99".into(),
            build_tag: "f99-build".into(),
            dest_tag: "f99".into(),
            build_group: "build".into(),
            coefficient: 1000,
            arches: Vec::new(),
            track_all: true,
            max_builds: None,
            found: false,
            builds_on: None,
        }
    }

    /// Returns where its scratch builds run: the hub, and the target there.
    pub fn building(&self) -> (&Hub, &Name) {
        self.builds_on.as_ref().map_or((&self.hub, &self.target), |b| (&b.hub, &b.target))
    }

    /// Returns the hub on which its scratch builds run.
    pub fn building_hub(&self) -> &Hub {
        self.building().0
    }

    /// Returns whether its scratch builds run on another hub than its own. Task and repository
    /// numbers of the two hubs are unrelated.
    pub fn builds_elsewhere(&self) -> bool {
        *self.building_hub() != self.hub
    }

    /// Returns the path under which the building hub finds source packages, relative to its work
    /// directory.
    pub fn srpm_root(&self) -> &str {
        self.builds_on.as_ref().map_or(SRPM_ROOT, |b| &b.srpm_root)
    }
}

/// A collection was created.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionCreated {
    /// Name of the collection.
    pub collection: Name,
    /// Settings of the collection.
    pub settings: CollectionSettings,
}

/// A collection's settings changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionEdited {
    /// Name of the collection.
    pub collection: Name,
    /// The new settings.
    pub settings: CollectionSettings,
}

/// Somebody asked to track a package.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageTracked {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The person who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// Somebody asked not to track a package.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageUntracked {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The person who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// The two priorities that people can set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorityKind {
    /// Counts until the next rebuild.
    Manual,
    /// Stays.
    Static,
}

/// Somebody set a priority.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackagePrioritySet {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The priority that was set.
    pub kind: PriorityKind,
    /// The new value, in whole points.
    pub points: i32,
    /// The person who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// Somebody overrode a package's architectures.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageArchOverrideSet {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// The override as written, such as `x86_64 aarch64` or `^s390x`. Absent to remove the
    /// override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<String>,
    /// The person who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// Somebody set whether a package is rebuilt without looking at its dependencies.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageSkipResolutionSet {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Whether dependencies are skipped.
    pub skip: bool,
    /// The person who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// An operator holds a package, so that it is not rebuilt before a time, or ends the hold. Rebuilds
/// that were decided before continue.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageHoldSet {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Time at which the hold ends. Absent if the package is not held any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Reason in words. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The person who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// Somebody paused submissions. No rebuild is submitted until they are resumed. Running rebuilds
/// continue.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubmissionsPaused {
    /// The collection. Absent if the pause is for all collections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Name>,
    /// Reason in words.
    pub reason: String,
    /// The person who paused them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// Somebody resumed submissions. This ends the pause of the same extent: that of one collection, or
/// that of all.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubmissionsResumed {
    /// The collection. Absent for the pause of all collections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Name>,
    /// The person who resumed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}
