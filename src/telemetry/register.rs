//! Registers metrics by name and help text, and returns handles.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Buckets of durations in seconds, from a cheap append to a slow resolution.
const SECONDS: &[f64] = &[0.0005, 0.002, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// Buckets of waits in seconds, from a minute to a week.
const HOURS: &[f64] = &[60.0, 300.0, 900.0, 3600.0, 10_800.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0];

/// Makes metrics in one registry.
///
/// # Panics
/// Every method panics if a name is invalid or taken. The tests exclude that.
#[derive(Clone, Copy)]
pub(super) struct Register<'a>(pub(super) &'a Registry);

impl Register<'_> {
    fn add(self, what: impl prometheus::core::Collector + 'static) {
        self.0.register(Box::new(what)).expect("names are unique");
    }

    pub(super) fn counter(self, name: &str, help: &str) -> IntCounter {
        let c = IntCounter::new(name, help).expect("names are valid");
        self.add(c.clone());
        c
    }

    pub(super) fn counters(self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let c = IntCounterVec::new(Opts::new(name, help), labels).expect("names are valid");
        self.add(c.clone());
        c
    }

    /// Makes a counter with one label, and registers every value of the label at once. So the rate
    /// of something that has not happened yet is 0, not missing.
    pub(super) fn counters_of(self, name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
        let c = self.counters(name, help, &[label]);
        for value in values {
            drop(c.with_label_values(&[value]));
        }
        c
    }

    pub(super) fn gauge(self, name: &str, help: &str) -> IntGauge {
        let g = IntGauge::new(name, help).expect("names are valid");
        self.add(g.clone());
        g
    }

    pub(super) fn gauges(self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let g = IntGaugeVec::new(Opts::new(name, help), labels).expect("names are valid");
        self.add(g.clone());
        g
    }

    /// Makes a gauge that is absent until it is first set, because 0 would be wrong: a time, or a
    /// position in a log.
    pub(super) fn gauge_when_known(self, name: &str, help: &str) -> WhenKnown {
        WhenKnown(self.gauges(name, help, &[]))
    }

    pub(super) fn seconds(self, name: &str, help: &str) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let h = Histogram::with_opts(opts).expect("names are valid");
        self.add(h.clone());
        h
    }

    pub(super) fn seconds_by(self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.histograms(name, help, labels, SECONDS)
    }

    /// Like [`Self::seconds_by`], for what takes minutes to days.
    pub(super) fn hours_by(self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.histograms(name, help, labels, HOURS)
    }

    fn histograms(self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let h = HistogramVec::new(opts, labels).expect("names are valid");
        self.add(h.clone());
        h
    }
}

/// A gauge that is absent until it is first set.
#[derive(Debug)]
pub(super) struct WhenKnown(IntGaugeVec);

impl WhenKnown {
    pub(super) fn set(&self, value: i64) {
        self.0.with_label_values::<&str>(&[]).set(value);
    }

    /// Sets it if it was not set before.
    pub(super) fn set_first(&self, value: i64) {
        let gauge = self.0.with_label_values::<&str>(&[]);
        if gauge.get() == 0 {
            gauge.set(value);
        }
    }
}

/// Converts a count for a gauge.
pub(super) fn count(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}
