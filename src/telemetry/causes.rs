//! Metrics of causes: how many are open, how many packages they break, and how soon each was found.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{HistogramVec, IntGaugeVec};

use super::Metrics;
use super::register::{Register, count};
use crate::decide::causes::{CauseKind, OpenCause, open_causes};
use crate::fold::State;
use crate::model::{PackageState, Timestamp};

#[derive(Debug)]
pub(super) struct Causes {
    open: IntGaugeVec,
    packages: IntGaugeVec,
    largest: IntGaugeVec,
    unknown: IntGaugeVec,
    found: HistogramVec,
    known: Mutex<Known>,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
struct Known {
    tick: Option<Timestamp>,
    /// Names of the open causes. `None` before the first look.
    open: Option<BTreeSet<String>>,
}

impl Causes {
    pub(super) fn new(r: Register<'_>) -> Self {
        let labels = &["collection", "kind"];
        let found = r.hours_by(
            "koschei_causes_found_seconds",
            "Time from the repository that brought an update to its cause.",
            &["kind"],
        );
        for kind in CauseKind::ALL {
            drop(found.with_label_values(&[kind.as_str()]));
        }
        Self {
            open: r.gauges("koschei_causes_open", "Updates that break packages now.", labels),
            packages: r.gauges("koschei_causes_packages", "Packages that have an open cause.", labels),
            largest: r.gauges(
                "koschei_causes_largest_packages",
                "Packages broken by the open cause that breaks most.",
                labels,
            ),
            unknown: r.gauges(
                "koschei_causes_unknown_packages",
                "Packages that are broken and have no cause, or none that is sure enough.",
                &["collection"],
            ),
            found,
            known: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Sets the metrics of causes from a state, if time passed in it since the last call: suspects
    /// change at ticks only. Cost: visits every package.
    pub fn causes_of(&self, state: &State) {
        let causes = &self.0.causes;
        let mut known = causes.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.open.is_some() && known.tick == state.last_tick {
            return;
        }
        known.tick = state.last_tick;
        let open = open_causes(state);
        for (name, c) in &state.collections {
            let of = |kind| open.iter().filter(move |cause| cause.collection == *name && cause.kind == kind);
            for kind in CauseKind::ALL {
                let labels = &[name.as_str(), kind.as_str()];
                let sizes = || of(kind).map(|cause| cause.packages.len());
                causes.open.with_label_values(labels).set(count(sizes().count()));
                causes.packages.with_label_values(labels).set(count(sizes().sum::<usize>()));
                causes.largest.with_label_values(labels).set(count(sizes().max().unwrap_or(0)));
            }
            let explained: BTreeSet<&str> = open
                .iter()
                .filter(|o| o.collection == *name)
                .flat_map(|o| &o.packages)
                .map(|p| p.name.as_str())
                .collect();
            let broken = |state| matches!(state, PackageState::Failing | PackageState::Unresolved);
            let unknown = c
                .packages
                .iter()
                .filter(|(package, p)| broken(p.state(c.settings.track_all)) && !explained.contains(package.as_str()));
            causes.unknown.with_label_values(&[name.as_str()]).set(count(unknown.count()));
        }
        let names = open.iter().map(|cause| cause.id.clone()).collect();
        if let Some(before) = known.open.replace(names) {
            self.found(state, open.iter().filter(|cause| !before.contains(&cause.id)));
        }
    }

    /// Observes how long it took to find causes.
    fn found<'a>(&self, state: &State, new: impl Iterator<Item = &'a OpenCause>) {
        for cause in new {
            let hub = state.collections.get(&cause.collection).and_then(|c| state.hubs.get(&c.settings.hub));
            let repo = hub.zip(cause.repo).and_then(|(hub, repo)| hub.repos.get(&repo));
            if let Some((repo, found)) = repo.zip(cause.since_time) {
                let seconds = u32::try_from(found.since(repo.made_at).max(0) / 1_000_000).unwrap_or(u32::MAX);
                self.0.causes.found.with_label_values(&[cause.kind.as_str()]).observe(f64::from(seconds));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a service finds open when it starts was found before; how long that took is not known.
    #[test]
    fn only_new_causes_are_timed() {
        let metrics = Metrics::new();
        let mut state = State::default();
        let settings = crate::event::CollectionSettings::f99();
        state.collections.insert("f99".into(), crate::fold::Collection::new(settings));
        metrics.causes_of(&state);
        let text = metrics.render();
        assert!(text.contains(r#"koschei_causes_open{collection="f99",kind="build"} 0"#), "{text}");
        assert!(text.contains(r#"koschei_causes_found_seconds_count{kind="build"} 0"#), "{text}");
        state.collections[0].target_gone = true;
        metrics.causes_of(&state);
        assert!(metrics.render().contains(r#"koschei_causes_open{collection="f99",kind="target"} 0"#), "no tick yet");
        state.last_tick = Some(Timestamp::from_secs(60));
        metrics.causes_of(&state);
        let text = metrics.render();
        assert!(text.contains(r#"koschei_causes_open{collection="f99",kind="target"} 1"#), "{text}");
        assert!(text.contains(r#"koschei_causes_packages{collection="f99",kind="target"} 1"#), "{text}");
    }
}
