//! What the writer is told at start.

use std::collections::BTreeSet;

use crate::config::{CollectionConfig, Config, ModeName, build_opts};
use crate::decide::Policy;
use crate::decide::command::{BindRepo, BuildOptions};
use crate::event::{Event, Source};
use crate::message::Context;
use crate::model::{Hub, PerCollection};
use crate::resolve::{Mode, ResolveOptions};

/// What the writer is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The rules to adopt.
    pub policy: Policy,
    /// How to read messages.
    pub context: Context,
    /// Resolution mode: `two` or `joint`.
    pub mode: Mode,
    /// Answers of our own solver, of a hundred, that libsolv is asked about as well.
    pub check_percent: u8,
    /// Whether BuildConflicts are heeded in mode `two`.
    pub build_conflicts: bool,
    /// How repositories are resolved, where that is a collection's own affair.
    pub resolve_options: PerCollection<ResolveOptions>,
    /// Make a collection of every tag that gets repositories.
    pub find_collections: bool,
    /// Configured collections, tracking and priorities, as the events that would bring them about.
    pub wanted: Vec<Event>,
    /// Hubs that can be asked and submitted to. Requests for others are closed at once.
    pub hubs: BTreeSet<Hub>,
    /// Those on which rebuilds are bound to repositories also where that is refused (`bind_repo = "always"`).
    pub always_bound: BTreeSet<Hub>,
    /// Further options that go along with rebuilds.
    pub build_opts: PerCollection<BuildOptions>,
}

impl Config {
    /// What the writer is told. `source` says whether messages are taken at their word.
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
            hubs: BTreeSet::new(),
            always_bound: self
                .hubs
                .iter()
                .filter(|h| h.bind_repo == BindRepo::Always)
                .map(|h| Hub::new(&h.name))
                .collect(),
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
