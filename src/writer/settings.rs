//! Settings the writer gets at start.

use std::collections::BTreeSet;

use crate::announce::Telling;
use crate::config::{CollectionConfig, Config, Executor, ModeName, WantedGroup, build_opts, group};
use crate::decide::Policy;
use crate::decide::command::{BindRepo, BuildOptions};
use crate::event::{Event, Source};
use crate::fold::spacing::Spacing;
use crate::message::Context;
use crate::model::{Hub, PerCollection};
use crate::resolve::{Mode, ResolveOptions};

/// Settings the writer gets at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The policy to adopt.
    pub policy: Policy,
    /// How to read messages.
    pub context: Context,
    /// Resolution mode: `two` or `joint`.
    pub mode: Mode,
    /// Percentage of our own solver's answers that libsolv checks.
    pub check_percent: u8,
    /// Whether mode `two` honours BuildConflicts.
    pub build_conflicts: bool,
    /// How to resolve repositories: the options that each collection may set for itself.
    pub resolve_options: PerCollection<ResolveOptions>,
    /// Whether to make a collection of every tag that gets repositories.
    pub find_collections: bool,
    /// Configured collections, tracking and priorities, as the events that set them.
    pub wanted: Vec<Event>,
    /// Configured groups of packages.
    pub groups: Vec<WantedGroup>,
    /// Hubs that can be queried and submitted to. Requests for other hubs are closed at once.
    pub hubs: BTreeSet<Hub>,
    /// Hubs whose commands go to outside executors (`executor = "jetstream"`).
    pub outside: BTreeSet<Hub>,
    /// Hubs on which rebuilds stay bound to repositories even if the hub refuses that (`bind_repo =
    /// "always"`).
    pub always_bound: BTreeSet<Hub>,
    /// Where snapshots of the state are made.
    pub spacing: Spacing,
    /// Further build options sent with rebuilds.
    pub build_opts: PerCollection<BuildOptions>,
    /// What others are told. `None`: nothing. Only `serve` tells: a recording is of the past.
    pub telling: Option<Telling>,
}

impl Config {
    /// Makes the writer's settings from the configuration. `source` says where facts come from, and
    /// so whether messages are trusted without a look at the hub.
    pub fn settings(&self, source: Source) -> Settings {
        let mode = match self.resolve_mode {
            ModeName::Two => Mode::Two,
            ModeName::Joint => Mode::Joint,
        };
        Settings {
            policy: self.policy.clone(),
            context: Context {
                service_user: self.service_user.clone(),
                default_hub: Hub::new(&self.default_hub),
                source,
                clock_tolerance_secs: self.clock_tolerance_secs,
            },
            mode,
            build_conflicts: self.build_conflicts,
            resolve_options: self.resolve_options(),
            check_percent: self.resolve_check_percent,
            find_collections: self.collections.is_empty(),
            wanted: self.collections.iter().flat_map(|c| self.wanted(c)).collect(),
            groups: group::wanted(&self.groups),
            hubs: BTreeSet::new(),
            outside: self
                .hubs
                .iter()
                .filter(|h| h.executor == Executor::Jetstream)
                .map(|h| Hub::new(&h.name))
                .collect(),
            always_bound: self
                .hubs
                .iter()
                .filter(|h| h.bind_repo == BindRepo::Always)
                .map(|h| Hub::new(&h.name))
                .collect(),
            spacing: Spacing::default(),
            telling: None,
            build_opts: PerCollection {
                common: build_opts::merged(&self.build_opts, &toml::Table::new()),
                own: self
                    .collections
                    .iter()
                    .map(|c| (c.name.as_str().into(), build_opts::merged(&self.build_opts, &c.build_opts)))
                    .collect(),
            },
        }
    }

    fn resolve_options(&self) -> PerCollection<ResolveOptions> {
        let options = |c: Option<&CollectionConfig>| ResolveOptions {
            weak_deps: !c.and_then(|c| c.ignore_weak_deps).unwrap_or(self.ignore_weak_deps),
            module_hotfixes: c.and_then(|c| c.module_hotfixes).unwrap_or(self.module_hotfixes),
        };
        let own = self.collections.iter().map(|c| (c.name.as_str().into(), options(Some(c))));
        PerCollection { common: options(None), own: own.collect() }
    }
}
