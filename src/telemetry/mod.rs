//! Metrics of this process, and what it tells its service manager.
//!
//! Names: `koschei_<room>_<what>_<unit>[_total]`. Labels come from bounded sets: collection, architecture, outcome,
//! reason, kind; never packages, builds or people. Metrics are counted per batch where that is possible. Nothing here
//! is state: a restart begins at 0.
//!
//! One file per stretch of the way: `pipeline` from message to log, `rules` resolving and deciding, `hub` talking to
//! Koji, `rebuilds` what was submitted, `web` pages, `loops` whether everything still turns. `grafana/koschei.json`
//! shows all of them, `deploy/prometheus/koschei.rules.yml` alerts; a test asks a real Prometheus every query of both.

use std::path::Path;
use std::sync::Arc;

use prometheus::{Encoder, Registry, TextEncoder};

use crate::base::clock;
use register::Register;

mod hub;
mod loops;
mod pipeline;
pub mod probe;
mod rebuilds;
mod register;
mod rules;
mod web;

pub use hub::FileOutcome;
pub use pipeline::QueueLengths;
pub use rebuilds::Submission;

/// All metrics of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    pipeline: pipeline::Pipeline,
    rules: rules::Rules,
    hub: hub::HubMetrics,
    rebuilds: rebuilds::Rebuilds,
    web: web::Web,
    loops: loops::Loops,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything. Counters begin at zero, and so do gauges for which zero is an answer; the others appear
    /// when they are first set.
    ///
    /// # Panics
    /// When two metrics have one name, which the tests exclude.
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = Register(&registry);
        let info = r.gauges("koschei_build_info", "Version of the program; always 1.", &["version"]);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let start = r.gauge("process_start_time_seconds", "When the process began.");
        start.set(clock::now().micros() / 1_000_000);
        Self(Arc::new(Inner {
            pipeline: pipeline::Pipeline::new(r),
            rules: rules::Rules::new(r),
            hub: hub::HubMetrics::new(r),
            rebuilds: rebuilds::Rebuilds::new(r),
            web: web::Web::new(r),
            loops: loops::Loops::new(r),
            registry,
        }))
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Encoding into memory cannot fail; a metric that could not be encoded would have failed its registration.
        if TextEncoder::new().encode(&self.0.registry.gather(), &mut text).is_err() {
            text.clear();
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// Writes [`Metrics::render`] to a file, for `node_exporter`'s textfile collector: whole or not at all.
    ///
    /// # Errors
    /// Those of writing and renaming.
    pub fn write_to(&self, path: &Path) -> std::io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        std::fs::write(&beside, self.render())?;
        std::fs::rename(&beside, path)
    }
}
