//! Metrics of this process, and its probes for monitoring.
//!
//! Names have the form `koschei_<room>_<what>_<unit>[_total]`. Labels come from bounded sets
//! (collection, architecture, outcome, reason, kind), never from packages, builds or people.
//! Metrics are counted per batch if possible. Nothing here is state: a restart begins at 0.
//!
//! There is one file per part: `pipeline` from message to log, `rules` for resolving and deciding,
//! `announcements` for what is said on a bus, `hub` for requests to Koji, `rebuilds` for
//! submissions, `causes` for what breaks packages, `snapshots` for those, `web` for pages, `loops`
//! for whether every loop still runs. `grafana/koschei.json` shows all metrics,
//! `deploy/prometheus/koschei.rules.yml` has alerts. A test runs every query of both in a real
//! Prometheus.

use std::path::Path;
use std::sync::Arc;

use prometheus::{Encoder, Registry, TextEncoder};

use crate::base::clock;
use register::Register;

mod announcements;
mod causes;
mod events;
mod hub;
mod loops;
mod pipeline;
pub mod probe;
mod rebuilds;
mod register;
mod rules;
mod snapshots;
mod web;

pub use announcements::AnnouncementQueue;
pub use hub::FileOutcome;
pub use pipeline::QueueLengths;
pub use rebuilds::Submission;

/// All metrics of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    pipeline: pipeline::Pipeline,
    announcements: announcements::Announcements,
    events: events::Events,
    rules: rules::Rules,
    hub: hub::HubMetrics,
    rebuilds: rebuilds::Rebuilds,
    causes: causes::Causes,
    snapshots: snapshots::Snapshots,
    web: web::Web,
    loops: loops::Loops,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers all metrics. Counters begin at zero, and so do gauges for which zero is a valid
    /// value. Other gauges appear when they are first set.
    ///
    /// # Panics
    /// Panics if two metrics have the same name, which the tests exclude.
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = Register(&registry);
        let info =
            r.gauges("koschei_build_info", "Version of the program, as a label. The value is always 1.", &["version"]);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let start = r.gauge("process_start_time_seconds", "Start time of the process, in seconds since 1970.");
        start.set(clock::now().micros() / 1_000_000);
        Self(Arc::new(Inner {
            pipeline: pipeline::Pipeline::new(r),
            announcements: announcements::Announcements::new(r),
            events: events::Events::new(r),
            rules: rules::Rules::new(r),
            hub: hub::HubMetrics::new(r),
            rebuilds: rebuilds::Rebuilds::new(r),
            causes: causes::Causes::new(r),
            snapshots: snapshots::Snapshots::new(r),
            web: web::Web::new(r),
            loops: loops::Loops::new(r),
            registry,
        }))
    }

    /// Returns all metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Encoding into memory cannot fail; a metric that could not be encoded would have failed its registration.
        if TextEncoder::new().encode(&self.0.registry.gather(), &mut text).is_err() {
            text.clear();
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// Writes [`Metrics::render`] to a file for the textfile collector of `node_exporter`. The file
    /// is replaced as a whole.
    ///
    /// # Errors
    /// Returns the errors of writing and renaming.
    pub fn write_to(&self, path: &Path) -> std::io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        std::fs::write(&beside, self.render())?;
        std::fs::rename(&beside, path)
    }
}
