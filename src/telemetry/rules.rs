//! Metrics of resolving and deciding.

use std::collections::BTreeMap;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::Metrics;
use super::register::{Register, count};
use crate::decide::{Hold, Plan};
use crate::repodata::Oddity;

#[derive(Debug)]
pub(super) struct Rules {
    packages: IntGaugeVec,
    passed_over: IntGaugeVec,
    resolve_seconds: HistogramVec,
    solved: IntCounterVec,
    checked: IntCounter,
    mismatches: IntCounter,
    predictions: IntCounter,
    evaluations: IntCounter,
    evaluation_seconds: Histogram,
    chosen: IntCounter,
    held: IntGaugeVec,
}

impl Rules {
    pub(super) fn new(r: Register<'_>) -> Self {
        let held = r.gauges(
            "koschei_decide_held_packages",
            "Packages that the last evaluation did not choose for a rebuild, by the first reason.",
            &["reason"],
        );
        for reason in Hold::keys() {
            held.with_label_values(&[reason]).set(0);
        }
        Self {
            packages: r.gauges(
                "koschei_resolve_packages",
                "Packages in the newest resolution, by verdict.",
                &["collection", "arch", "verdict"],
            ),
            passed_over: r.gauges(
                "koschei_repository_passed_over",
                "Dependencies and packages that the newest resolution left out, by reason: they cannot be read, or \
                    modules hide them.",
                &["collection", "arch", "reason"],
            ),
            resolve_seconds: r.seconds_by(
                "koschei_resolve_seconds",
                "Time to resolve one repository on one architecture.",
                &["collection", "arch"],
            ),
            solved: r.counters(
                "koschei_resolve_solved_total",
                "Source packages resolved, by solver and by the reason why libsolv was used.",
                &["solver", "reason"],
            ),
            checked: r.counter("koschei_resolve_checked_total", "Answers of our own solver checked with libsolv."),
            mismatches: r.counter(
                "koschei_resolve_mismatches_total",
                "Checked answers on which our own solver and libsolv disagreed.",
            ),
            predictions: r.counter(
                "koschei_prediction_differences_total",
                "Packages that a builder installed and Koschei had not predicted, or the reverse.",
            ),
            evaluations: r.counter("koschei_decide_evaluations_total", "Number of evaluations of the rules."),
            evaluation_seconds: r
                .seconds("koschei_decide_evaluation_seconds", "Time to evaluate the rules for all packages."),
            chosen: r.counter("koschei_decide_rebuilds_total", "Rebuilds decided."),
            held,
        }
    }
}

impl Metrics {
    /// Counts the resolution of a repository on an architecture: packages that resolve, do not
    /// resolve, are excluded there, and are unknown.
    pub fn resolved(&self, collection: &str, arch: &str, counts: [u32; 4], seconds: f64) {
        self.0.rules.resolve_seconds.with_label_values(&[collection, arch]).observe(seconds);
        for (verdict, n) in ["resolved", "unresolved", "excluded", "unknown"].into_iter().zip(counts) {
            self.0.rules.packages.with_label_values(&[collection, arch, verdict]).set(n.into());
        }
    }

    /// Counts what was left out when a repository was read for an architecture.
    pub fn passed_over(&self, collection: &str, arch: &str, counts: &BTreeMap<&'static str, u64>) {
        for oddity in Oddity::ALL {
            let n = counts.get(oddity.as_str()).copied().unwrap_or(0);
            let gauge = self.0.rules.passed_over.with_label_values(&[collection, arch, oddity.as_str()]);
            gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }

    /// Counts which solver resolved the source packages of one repository and architecture.
    pub fn solved(&self, native: u32, handed_over: &BTreeMap<&'static str, u32>) {
        self.0.rules.solved.with_label_values(&["native", ""]).inc_by(native.into());
        for (reason, n) in handed_over {
            self.0.rules.solved.with_label_values(&["libsolv", reason]).inc_by((*n).into());
        }
    }

    /// Counts answers of our own solver that libsolv checked, and those that differed.
    pub fn checked(&self, answers: u32, mismatches: usize) {
        self.0.rules.checked.inc_by(answers.into());
        self.0.rules.mismatches.inc_by(mismatches as u64);
    }

    /// Counts the packages that are in only one of a builder's buildroot and our prediction.
    pub fn prediction_differs(&self, packages: usize) {
        self.0.rules.predictions.inc_by(packages as u64);
    }

    /// Counts an evaluation of the rules.
    pub fn evaluated(&self, plan: &Plan, seconds: f64) {
        self.0.rules.evaluations.inc();
        self.0.rules.evaluation_seconds.observe(seconds);
        self.0.rules.chosen.inc_by(plan.chosen.len() as u64);
        // A reason that holds no package now reports 0 and does not vanish.
        for reason in Hold::keys() {
            let n = plan.held.get(*reason).copied().unwrap_or(0);
            self.0.rules.held.with_label_values(&[reason]).set(count(n));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_stay() {
        let metrics = Metrics::new();
        let mut plan = Plan::default();
        plan.held.insert("blocked".to_owned(), 3);
        metrics.evaluated(&plan, 0.1);
        assert!(metrics.render().contains(r#"koschei_decide_held_packages{reason="blocked"} 3"#));
        metrics.evaluated(&Plan::default(), 0.1);
        assert!(metrics.render().contains(r#"koschei_decide_held_packages{reason="blocked"} 0"#));
    }
}
