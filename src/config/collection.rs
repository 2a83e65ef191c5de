//! Collections and their packages, as written in the file, and the events that they become.

use serde::{Deserialize, Serialize};

use super::Config;
use crate::event::operator::SRPM_ROOT;
use crate::event::{
    BuildsOn, CollectionCreated, CollectionSettings, Event, PackageArchOverrideSet, PackagePrioritySet,
    PackageSkipResolutionSet, PackageTracked, PackageUntracked, PriorityKind,
};
use crate::model::{Hub, Name};

/// A collection, as written in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionConfig {
    /// Name of the collection.
    pub name: String,
    /// Name shown to people. Default: `name`.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Hub instance. Default: `default_hub`.
    #[serde(default)]
    pub hub: Option<String>,
    /// Build target to submit to. Default: the name of the dest tag.
    #[serde(default)]
    pub target: Option<String>,
    /// Tag whose repositories are resolved. Default: that of the target, as the hub says.
    #[serde(default)]
    pub build_tag: Option<String>,
    /// Tag whose builds and package list count. Default: that of the target.
    #[serde(default)]
    pub dest_tag: Option<String>,
    /// Group installed in every buildroot. Default: that of the policy.
    #[serde(default)]
    pub build_group: Option<String>,
    /// Multiplies dependency, build and time priority.
    #[serde(default = "one")]
    pub coefficient: f64,
    /// Architectures. Empty: all of the build tag.
    #[serde(default)]
    pub arches: Vec<String>,
    /// Whether to track every package of the dest tag.
    #[serde(default)]
    pub track_all: bool,
    /// Packages to track.
    #[serde(default)]
    pub track: Vec<String>,
    /// Packages not to track.
    #[serde(default)]
    pub untrack: Vec<String>,
    /// Maximum number of rebuilds at a time.
    #[serde(default)]
    pub max_builds: Option<u32>,
    /// Additional options of Koji's `build` call. Options for all collections apply unless set
    /// here.
    #[serde(default)]
    pub build_opts: toml::Table,
    /// Whether weak dependencies are left out of the buildroots. Default: as for all collections.
    #[serde(default)]
    pub ignore_weak_deps: Option<bool>,
    /// Whether packages count regardless of modules. Default: as for all collections.
    #[serde(default)]
    pub module_hotfixes: Option<bool>,
    /// Another hub that runs the scratch builds. Default: the collection's own hub.
    #[serde(default)]
    pub builds_on: Option<BuildsOnConfig>,
    /// Settings of single packages.
    #[serde(default, rename = "package")]
    pub packages: Vec<PackageConfig>,
}

/// Where a collection's scratch builds run if on another hub, as written in the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildsOnConfig {
    /// The hub that runs the builds.
    pub hub: Option<String>,
    /// Build target on that hub.
    pub target: Option<String>,
    /// Where that hub finds the source packages of the collection's hub, relative to its work
    /// directory. Default: `..`.
    pub srpm_root: Option<String>,
}

impl BuildsOnConfig {
    /// Returns the settings in the form of the log.
    ///
    /// # Errors
    /// Returns a text that says what is missing.
    pub fn settings(&self) -> Result<BuildsOn, String> {
        let hub = self.hub.as_ref().ok_or("`builds_on` needs `hub`: the one that builds")?;
        let target =
            self.target.as_ref().ok_or_else(|| format!("`builds_on` needs `target`: a build target on hub `{hub}`"))?;
        let srpm_root = self.srpm_root.clone().unwrap_or_else(|| SRPM_ROOT.to_owned());
        Ok(BuildsOn { hub: Hub::new(hub), target: target.into(), srpm_root })
    }
}

/// Settings of a package, as written in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageConfig {
    /// Name of the package.
    pub name: String,
    /// Permanent priority points.
    #[serde(default)]
    pub static_priority: Option<i32>,
    /// Architecture override, such as `x86_64 aarch64` or `^s390x`.
    #[serde(default)]
    pub arch_override: Option<String>,
    /// Whether to rebuild the package without resolving its dependencies.
    #[serde(default)]
    pub skip_resolution: Option<bool>,
}

fn one() -> f64 {
    1.0
}

impl Config {
    pub(crate) fn wanted(&self, c: &CollectionConfig) -> Vec<Event> {
        let collection = Name::from(c.name.as_str());
        // `serve` has filled in tags from the hub. Collections that still have none are left out.
        let (Some(build_tag), Some(dest_tag)) = (c.build_tag.as_deref(), c.dest_tag.as_deref()) else {
            return Vec::new();
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to lie between 0 and 1000"
        )]
        let coefficient = (c.coefficient * 1000.0).round() as u32;
        let settings = CollectionSettings {
            display_name: c.display_name.clone().unwrap_or_else(|| c.name.clone()),
            hub: Hub::new(c.hub.as_ref().unwrap_or(&self.default_hub)),
            target: c.target.as_deref().unwrap_or(dest_tag).into(),
            build_tag: build_tag.into(),
            dest_tag: dest_tag.into(),
            build_group: c.build_group.as_deref().map_or_else(|| self.policy.build_group.clone(), Name::from),
            coefficient,
            arches: if c.arches.is_empty() {
                self.policy.build_arches.clone()
            } else {
                c.arches.iter().map(Name::from).collect()
            },
            track_all: c.track_all,
            max_builds: c.max_builds,
            found: false,
            // `check` has already validated this.
            builds_on: c.builds_on.as_ref().and_then(|b| b.settings().ok()),
        };
        let mut events: Vec<Event> = vec![CollectionCreated { collection: collection.clone(), settings }.into()];
        let package = |name: &String| (collection.clone(), Name::from(name));
        events.extend(c.track.iter().map(|n| {
            let (collection, package) = package(n);
            PackageTracked { collection, package, by: None }.into()
        }));
        events.extend(c.untrack.iter().map(|n| {
            let (collection, package) = package(n);
            PackageUntracked { collection, package, by: None }.into()
        }));
        for p in &c.packages {
            let (collection, package) = package(&p.name);
            if let Some(points) = p.static_priority {
                let (collection, package) = (collection.clone(), package.clone());
                events.push(
                    PackagePrioritySet { collection, package, kind: PriorityKind::Static, points, by: None }.into(),
                );
            }
            if p.arch_override.is_some() {
                let (collection, package, arches) = (collection.clone(), package.clone(), p.arch_override.clone());
                events.push(PackageArchOverrideSet { collection, package, arches, by: None }.into());
            }
            if let Some(skip) = p.skip_resolution {
                events.push(PackageSkipResolutionSet { collection, package, skip, by: None }.into());
            }
        }
        events
    }
}
