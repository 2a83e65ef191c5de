//! What people set: collections, and what holds for their packages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Hub, Name, PersonId};

fn is_false(value: &bool) -> bool {
    !*value
}

/// Where the packages of a building hub lie, relative to its work directory, unless somebody says otherwise: beside
/// `work`.
pub const SRPM_ROOT: &str = "..";

/// Longest root of source packages, in bytes.
const SRPM_ROOT_BYTES_MAX: usize = 1024;

/// A collection is watched on one hub and built on another (Koschei's secondary mode): scratch builds and everything
/// about them is the other hub's, all else the collection's own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BuildsOn {
    /// Hub instance that builds; never the collection's own.
    pub hub: Hub,
    /// Build target there.
    pub target: Name,
    /// Where that hub finds the source packages of the collection's hub, relative to its work directory:
    /// `ROOT/packages/N/V/R/src/N-V-R.src.rpm` is what is built (Koschei: `srpm_relative_path_root`).
    #[serde(default = "default_root")]
    pub srpm_root: String,
}

fn default_root() -> String {
    SRPM_ROOT.to_owned()
}

impl BuildsOn {
    /// Whether it can be, for a collection of the hub `own`.
    ///
    /// # Errors
    /// Why not, in words that go after the collection's name.
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

/// What a collection is made of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionSettings {
    /// Name for people.
    pub display_name: String,
    /// Hub instance.
    pub hub: Hub,
    /// Build target to submit to, unless another hub builds.
    pub target: Name,
    /// Tag whose repositories are resolved.
    pub build_tag: Name,
    /// Tag whose builds and package list count.
    pub dest_tag: Name,
    /// Group installed in every buildroot.
    pub build_group: Name,
    /// Multiplies dependency, build and time priority, in thousandths.
    pub coefficient: u32,
    /// Architectures to look at and build for; empty: all of the build tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<Name>,
    /// Track every package of the dest tag.
    #[serde(default, skip_serializing_if = "is_false")]
    pub track_all: bool,
    /// Most rebuilds running at a time; absent: only the overall limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_builds: Option<u32>,
    /// Made because its tag got a repository, not because somebody asked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub found: bool,
    /// Its scratch builds run on another hub; absent: on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds_on: Option<BuildsOn>,
}

impl CollectionSettings {
    /// Where its scratch builds run: hub, and target there.
    pub fn building(&self) -> (&Hub, &Name) {
        self.builds_on.as_ref().map_or((&self.hub, &self.target), |b| (&b.hub, &b.target))
    }

    /// The hub its scratch builds run on.
    pub fn building_hub(&self) -> &Hub {
        self.building().0
    }

    /// Whether its scratch builds run on another hub than its packages are watched on. Task and repository numbers of
    /// the two have nothing to do with each other.
    pub fn builds_elsewhere(&self) -> bool {
        *self.building_hub() != self.hub
    }

    /// Where the building hub finds source packages, relative to its work directory.
    pub fn srpm_root(&self) -> &str {
        self.builds_on.as_ref().map_or(SRPM_ROOT, |b| &b.srpm_root)
    }
}

/// A collection was made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionCreated {
    /// Its name.
    pub collection: Name,
    /// What it is made of.
    pub settings: CollectionSettings,
}

/// A collection's settings changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionEdited {
    /// Its name.
    pub collection: Name,
    /// What it is made of now.
    pub settings: CollectionSettings,
}

/// Somebody wants a package watched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageTracked {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A package is not watched any more.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageUntracked {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// Which of the two priorities people can set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorityKind {
    /// Until the next rebuild.
    Manual,
    /// For good.
    Static,
}

/// A priority was set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackagePrioritySet {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Which one.
    pub kind: PriorityKind,
    /// Whole points.
    pub points: i32,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// A package's architectures were overridden.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageArchOverrideSet {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// As written, such as `x86_64 aarch64` or `^s390x`; absent: no override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// Whether a package is rebuilt without looking at its dependencies first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PackageSkipResolutionSet {
    /// The collection.
    pub collection: Name,
    /// The package.
    pub package: Name,
    /// Skip or not.
    pub skip: bool,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// No rebuild is submitted until somebody lifts this: a person saw something that must stop. What runs goes on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubmissionsPaused {
    /// Only in this collection; absent: in all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Name>,
    /// Why, for those who wonder.
    pub reason: String,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}

/// Rebuilds may be submitted again. Lifts a pause of the same extent: that of one collection, or the one of all.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubmissionsResumed {
    /// The collection; absent: the pause of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Name>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
}
