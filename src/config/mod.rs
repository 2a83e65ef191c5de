//! Reads the configuration: a TOML file, checked once. It becomes
//! [`Settings`](crate::writer::Settings), which do not change.
//!
//! Without a file, every tag that gets repositories becomes a collection, all its packages are
//! tracked, and the service user is `koschei`.

pub mod announce;
pub(crate) mod build_opts;
mod collection;
pub mod group;
pub mod hub;
mod jetstream;
mod listen;
mod login;
mod owners;
mod syntax;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::decide::Policy;
use crate::decide::policy::PolicyError;
use crate::message::CLOCK_TOLERANCE_SECS;
use crate::model::arch::{ArchOverride, check_name};
use crate::model::{Class, Classified, Hub};

pub use announce::{AnnounceConfig, NoQueue};
pub use collection::{BuildsOnConfig, CollectionConfig, PackageConfig};
pub use group::{GroupConfig, WantedGroup};
pub use hub::{AuthName, BusConfig, Executor, HubConfig, ServeConfig};
pub use jetstream::JetStreamConfig;
pub use listen::listen_address;
pub use login::{LoginConfig, OidcConfig, ProxyConfig};
pub use owners::OwnersConfig;

/// Default number of days for which message bodies are kept.
pub const RAW_DAYS: u32 = 30;
/// Maximum number of days: a hundred years.
pub const RAW_DAYS_MAX: u32 = 36_500;
/// Maximum size of a configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Maximum tolerance for clocks, in seconds.
const CLOCK_TOLERANCE_SECS_MAX: u32 = 31 * 86_400;
/// Maximum coefficient that the priority formula accepts.
const COEFFICIENT_MAX: f64 = 1000.0;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key.
    #[error("understand configuration {}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where. The line itself is left out, because it may contain a
        /// password.
        what: String,
    },
    /// A value is invalid.
    #[error("accept configuration {}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The policy is invalid.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Classified for ConfigError {
    fn class(&self) -> Class {
        match self {
            Self::Read { .. } | Self::Syntax { .. } | Self::Value { .. } | Self::Policy(_) => Class::Rejected,
        }
    }
}

/// How buildroots are resolved, by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeName {
    /// In two steps, like mock.
    #[default]
    Two,
    /// In one step, like Koschei.
    Joint,
}

/// The configuration file, as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Koji user whose scratch builds are ours.
    pub service_user: String,
    /// Hub instance for messages that name none.
    pub default_hub: String,
    /// How buildroots are resolved: `two` (like mock) or `joint` (like Koschei).
    pub resolve_mode: ModeName,
    /// Whether mode `two` respects BuildConflicts, like dnf 5's builddep. dnf 4 ignores them.
    pub build_conflicts: bool,
    /// Whether weak dependencies are left out of buildroots, like mock and Koschei do. Collections
    /// may override it.
    pub ignore_weak_deps: bool,
    /// Whether packages count regardless of modules (dnf's `module_hotfixes`). Collections may
    /// override it.
    pub module_hotfixes: bool,
    /// Percentage (0 to 100) of the source packages resolved by our own solver for which libsolv is
    /// asked, too. If they disagree, libsolv's answer counts, and a metric and the event say so.
    pub resolve_check_percent: u8,
    /// Maximum difference, in seconds, between a publisher's time and the recorder's. If no
    /// recorder noted when a message came, the publisher's time is compared with the messages
    /// around. A time further away is replaced, and this is noted.
    pub clock_tolerance_secs: u32,
    /// Number of days for which message bodies are kept after the messages were handled.
    pub raw_days: u32,
    /// Additional options of Koji's `build` call, for the builds of all collections.
    pub build_opts: toml::Table,
    /// The service: where it listens, and where it stores files.
    pub serve: ServeConfig,
    /// Where messages come from.
    pub bus: BusConfig,
    /// Whether, where and how changes of state are announced.
    pub announce: AnnounceConfig,
    /// Whether and where the log's events are published on NATS JetStream.
    pub jetstream: JetStreamConfig,
    /// How people are known to the pages, and who may do what.
    pub login: LoginConfig,
    /// Who owns packages besides their owners in Koji.
    pub owners: OwnersConfig,
    /// The numbers that decisions use.
    pub policy: Policy,
    /// Hubs to work with. Without any, only `ingest` and `follow` are possible.
    #[serde(rename = "hub")]
    pub hubs: Vec<HubConfig>,
    /// Collections. Without any, every tag that gets repositories becomes one.
    #[serde(rename = "collection")]
    pub collections: Vec<CollectionConfig>,
    /// Groups of packages. Operators can make others by command.
    #[serde(rename = "group")]
    pub groups: Vec<GroupConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service_user: "koschei".to_owned(),
            default_hub: "primary".to_owned(),
            resolve_mode: ModeName::Two,
            build_conflicts: true,
            ignore_weak_deps: true,
            module_hotfixes: false,
            resolve_check_percent: 1,
            clock_tolerance_secs: CLOCK_TOLERANCE_SECS,
            raw_days: RAW_DAYS,
            build_opts: toml::Table::new(),
            serve: ServeConfig::default(),
            bus: BusConfig::default(),
            announce: AnnounceConfig::default(),
            jetstream: JetStreamConfig::default(),
            login: LoginConfig::default(),
            owners: OwnersConfig::default(),
            policy: Policy::default(),
            hubs: Vec::new(),
            collections: Vec::new(),
            groups: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] (rejected) that names the place in the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(read)?.len();
        if length > FILE_BYTES_MAX {
            let what = format!("it has {length} bytes, at most {FILE_BYTES_MAX} are read");
            return Err(ConfigError::Value { path: path.to_owned(), what });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|e| ConfigError::Syntax { path: path.to_owned(), what: syntax::toml_error(&text, &e) })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        config.groups.iter_mut().try_for_each(|group| group.complete(directory))?;
        config.check().map_err(|what| ConfigError::Value { path: path.to_owned(), what })?;
        config.policy.validate()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let mut names = std::collections::BTreeSet::new();
        if self.service_user.trim().is_empty() {
            return Err("`service_user` is empty; without it no rebuild would be recognised as ours".to_owned());
        }
        let bad_name = |n: &str| n.is_empty() || n.contains(['/', ' ', '\t', '\n']);
        if bad_name(&self.default_hub) {
            return Err(format!(
                "`default_hub` is `{}`: a name must not be empty nor contain `/` or spaces",
                self.default_hub
            ));
        }
        if self.resolve_check_percent > 100 {
            return Err(format!(
                "`resolve_check_percent` is {}, but must be from 0 to 100",
                self.resolve_check_percent
            ));
        }
        let allowed = self.policy.build_arches.iter().try_for_each(|a| check_name(a, &[]));
        allowed.map_err(|e| format!("`build_arches` of the policy: {e}"))?;
        if !(1..=CLOCK_TOLERANCE_SECS_MAX).contains(&self.clock_tolerance_secs) {
            return Err(format!(
                "`clock_tolerance_secs` is {}, but must be from 1 to {CLOCK_TOLERANCE_SECS_MAX} (a month)",
                self.clock_tolerance_secs
            ));
        }
        self.announce.check()?;
        self.jetstream.check()?;
        self.login.check()?;
        self.owners.check()?;
        if self.raw_days > RAW_DAYS_MAX {
            return Err(format!(
                "`raw_days` is {}, but must be at most {RAW_DAYS_MAX} (a hundred years)",
                self.raw_days
            ));
        }
        self.serve.check()?;
        build_opts::check(&self.build_opts)?;
        group::check(&self.groups)?;
        for (i, hub) in self.hubs.iter().enumerate() {
            hub.check()?;
            if self.hubs.iter().skip(i + 1).any(|other| other.name == hub.name) {
                return Err(format!("hub `{}` is defined twice", hub.name));
            }
            if hub.executor == Executor::Jetstream && self.jetstream.url.is_none() {
                return Err(format!("hub `{}`: `executor = \"jetstream\"` needs `url` in `[jetstream]`", hub.name));
            }
        }
        for c in &self.collections {
            let at = format!("collection `{}`", c.name);
            if c.name.is_empty() || c.name.contains(['/', ' ']) {
                return Err(format!("{at}: a name must not be empty nor contain `/` or spaces"));
            }
            c.arches.iter().try_for_each(|a| check_name(a, &[])).map_err(|e| format!("{at}: `arches`: {e}"))?;
            build_opts::check(&c.build_opts).map_err(|e| format!("{at}: {e}"))?;
            let mut seen = std::collections::BTreeSet::new();
            if (c.build_tag.is_none() || c.dest_tag.is_none()) && (c.target.is_none() || self.hubs.is_empty()) {
                return Err(format!(
                    "{at}: give `build_tag` and `dest_tag`; with a `[[hub]]`, `target` is enough, because the hub \
                        names its tags"
                ));
            }
            let on = c.hub.as_ref().unwrap_or(&self.default_hub);
            if !self.hubs.is_empty() && !self.hubs.iter().any(|h| h.name == *on) {
                return Err(format!("{at}: there is no `[[hub]]` named `{on}`"));
            }
            let tags = [c.build_tag.as_ref(), c.dest_tag.as_ref(), c.target.as_ref(), c.hub.as_ref()];
            let packages = c.packages.iter().map(|p| &p.name).chain(&c.track).chain(&c.untrack);
            if let Some(bad) = tags.into_iter().flatten().chain(packages).chain(&c.arches).find(|n| bad_name(n)) {
                return Err(format!("{at}: `{bad}` cannot be the name of a tag, hub, architecture or package"));
            }
            if let Some(b) = &c.builds_on {
                let b = b.settings().map_err(|e| format!("{at}: {e}"))?;
                b.check(&Hub::new(on)).map_err(|e| format!("{at}: {e}"))?;
                if !self.hubs.is_empty() && !self.hubs.iter().any(|h| h.name == b.hub.as_str()) {
                    return Err(format!("{at}: it builds on `{}`, but there is no `[[hub]]` of that name", b.hub));
                }
            }
            if let Some(both) = c.track.iter().find(|n| c.untrack.contains(n)) {
                return Err(format!("{at}: `{both}` is in both `track` and `untrack`"));
            }
            if let Some(p) = c.packages.iter().find(|p| !seen.insert(&p.name)) {
                return Err(format!("{at}: package `{}` is defined twice", p.name));
            }
            if !names.insert(&c.name) {
                return Err(format!("{at} is defined twice"));
            }
            if !(0.0..=COEFFICIENT_MAX).contains(&c.coefficient) {
                return Err(format!(
                    "{at}: `coefficient` is {}, but must be between 0 and {COEFFICIENT_MAX}",
                    c.coefficient
                ));
            }
            for p in &c.packages {
                if let Some(o) = &p.arch_override {
                    let read = o.parse::<ArchOverride>().and_then(|o| o.check(&[]));
                    read.map_err(|e| format!("{at}, package `{}`: {e}", p.name))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BuildsOn, Event, Source};
    use crate::model::Name;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(file.path())
    }

    #[test]
    fn a_whole_file() {
        let config = load(
            r#"
            service_user = "koschei"
            resolve_mode = "joint"
            [policy]
            build_threshold = 300
            [[collection]]
            name = "f99"
            build_tag = "f99-build"
            dest_tag = "f99"
            coefficient = 0.5
            track = ["curl", "zlib"]
            [[collection.package]]
            name = "curl"
            static_priority = 20
            arch_override = "^aarch64"
            "#,
        )
        .unwrap();
        let settings = config.settings(Source::Recording);
        assert_eq!(settings.policy.build_threshold, 300);
        assert!(!settings.find_collections);
        assert_eq!(settings.wanted.len(), 5);
        assert!(matches!(&settings.wanted[0], Event::CollectionCreated(c) if c.settings.coefficient == 500));
    }

    #[test]
    fn built_on_another_hub() {
        let hubs = "[[hub]]\nserver='https://a.example/kojihub'\ntopurl='/a'\n[[hub]]\nname='other'\n\
                    server='https://b.example/kojihub'\ntopurl='/b'\n";
        let own = "[[collection]]\nname='a'\nbuild_tag='b'\ndest_tag='d'\nhub='other'\n";
        let config = load(&format!("{hubs}{own}[collection.builds_on]\nhub = 'primary'\ntarget = 'c'")).unwrap();
        let settings = config.settings(Source::Hub);
        let Event::CollectionCreated(c) = &settings.wanted[0] else { panic!("{:?}", settings.wanted) };
        let expected = BuildsOn { hub: Hub::new("primary"), target: "c".into(), srpm_root: "..".to_owned() };
        assert_eq!(c.settings.builds_on, Some(expected));
        assert_eq!(c.settings.building(), (&Hub::new("primary"), &Name::from("c")));
        assert!(toml::to_string(&config).unwrap().contains("[collection.builds_on]"), "shown by check-config");
    }

    #[test]
    fn options_of_builds_per_collection() {
        let one = |name: &str| format!("[[collection]]\nname='{name}'\nbuild_tag='b'\ndest_tag='d'\n");
        let text = format!("build_opts = {{ x = 1, y = 1 }}\n{}build_opts = {{ y = 2 }}\n{}", one("own"), one("plain"));
        let config = load(&text).unwrap();
        let options = config.settings(Source::Hub).build_opts;
        let of = |name: &str| serde_json::to_value(options.of(&name.into())).unwrap();
        assert_eq!(of("own"), serde_json::json!({ "x": 1, "y": 2 }));
        assert_eq!(of("plain"), serde_json::json!({ "x": 1, "y": 1 }));
        assert_eq!(of("made by an operator"), serde_json::json!({ "x": 1, "y": 1 }));
        let shown: Config = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(shown.collections[0].build_opts, config.collections[0].build_opts, "shown by check-config");
    }

    #[test]
    fn ways_of_resolving_per_collection() {
        let one =
            |name: &str, own: &str| format!("[[collection]]\nname='{name}'\nbuild_tag='b'\ndest_tag='d'\n{own}\n");
        let of = |text: &str, name: &str| {
            let config = load(text).unwrap();
            let shown: Config = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
            let of = |c: &Config| *c.settings(Source::Hub).resolve_options.of(&name.into());
            assert_eq!(of(&config), of(&shown), "shown by check-config");
            (of(&config).weak_deps, of(&config).module_hotfixes)
        };
        let usual = one("usual", "ignore_weak_deps = true\nmodule_hotfixes = false");
        let some = one("weak", "ignore_weak_deps = false") + &one("hot", "module_hotfixes = true") + &usual;
        assert_eq!(of(&some, "weak"), (true, false));
        assert_eq!(of(&some, "hot"), (false, true));
        assert_eq!(of(&some, "made by an operator"), (false, false));
        let all = format!("ignore_weak_deps = false\nmodule_hotfixes = true\n{some}");
        for name in ["weak", "hot", "made by an operator"] {
            assert_eq!(of(&all, name), (true, true), "{name}");
        }
        assert_eq!(of(&all, "usual"), (false, false));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |text: &str| {
            let error = load(text).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error} {cause}")
        };
        assert!(said("servce_user = 'x'").contains("servce_user"));
        assert!(said("[policy]\nt0_hours = 200").contains("t0_hours"));
        assert!(said("build_opts = { repo_id = 7 }").contains("`build_opts.repo_id` cannot be set"));
        let own = "[[collection]]\nname='a'\nbuild_tag='b'\ndest_tag='c'\nbuild_opts = { scratch = false }";
        assert!(said(own).contains("collection `a`: `build_opts.scratch` cannot be set: Koschei submits only"));
        assert!(said("service_user = ''").contains("service_user"));
        let twice = "[[collection]]\nname='a'\nbuild_tag='b'\ndest_tag='c'\n".repeat(2);
        assert!(said(&twice).contains("twice"));
        assert!(said("[[collection]]\nname='a'\nbuild_tag='b'\ndest_tag='c'\ncoefficient=-1").contains("coefficient"));
        let over = "[[collection]]\nname='a'\nbuild_tag='b'\ndest_tag='c'\n[[collection.package]]\nname='p'\n\
                    arch_override='x86_64 ^s390x'";
        assert!(said(over).contains("package `p`"));
        let near = over.replace("x86_64 ^s390x", "^s390x aarhc64");
        assert!(said(&near).contains(
            "package `p`: read architecture override: `aarhc64` is no architecture; did you mean `aarch64`?"
        ));
        let arches = "[[collection]]\nname='a'\nbuild_tag='b'\ndest_tag='c'\narches=['x86_64', 'ppc46le']";
        assert!(said(arches).contains("`arches`: `ppc46le` is no architecture; did you mean `ppc64le`?"));
        assert!(said("raw_days = 36501").contains("`raw_days` is 36501, but must be at most 36500"));
        assert!(said("[policy]\nbuild_arches=['arm64']").contains("did you mean `aarch64`?"));
        let hubs = "[[hub]]\nserver='https://a.example/kojihub'\ntopurl='/a'\n[[hub]]\nname='other'\n\
                    server='https://b.example/kojihub'\ntopurl='/b'\n";
        let built = |on: &str| format!("{hubs}[[collection]]\nname='a'\ntarget='c'\nhub='other'\nbuilds_on = {on}");
        assert!(said(&built("{ hub = 'third', target = 'c' }")).contains("no `[[hub]]` of that name"));
        assert!(said(&built("{ hub = 'other', target = 'c' }")).contains("which is its own hub"));
        assert!(
            said(&built("{ hub = 'primary' }")).contains("`builds_on` needs `target`: a build target on hub `primary`")
        );
        assert!(said(&built("{ target = 'c' }")).contains("`builds_on` needs `hub`"));
        assert!(said(&built("{ hub = 'primary', target = 'a b' }")).contains("cannot be a build target"));
        assert!(said(&built("{ hub = 'primary', target = 'c', srpm_root = '' }")).contains("srpm_root"));
        assert!(said(&built("{ hub = 'primary', target = 'c', tag = 'x' }")).contains("tag"));
        assert!(matches!(Config::load(Path::new("/no/such/file")), Err(ConfigError::Read { .. })));
    }
}
