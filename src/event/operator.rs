//! What people set: collections, and what holds for their packages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Hub, Name, PersonId};

fn is_false(value: &bool) -> bool {
    !*value
}

/// What a collection is made of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectionSettings {
    /// Name for people.
    pub display_name: String,
    /// Hub instance.
    pub hub: Hub,
    /// Build target to submit to.
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
