//! How many of its dependents a bad update breaks, and which.

use super::history::HITS;
use super::input::DISTANCES;
use super::maths::{LN_2, Row, exp, ln};
use super::model::Model;

/// The number of shares that stand for the continuum.
pub(super) const SHARES: usize = 8;

/// The smallest and the largest share: half a package of forty, and nearly all.
const SHARE_MIN: f64 = 0.5 / 41.0;
const SHARE_MAX: f64 = 0.97;
/// The nearness of a usual dependent, for which a share is meant.
const NEARNESS_MEAN: f64 = 0.5;

/// What each share means for dependents of each distance class.
#[derive(Debug, Clone)]
pub(super) struct Selectivity {
    /// The prior weight of each share. They sum to 1.
    pub weight: [f64; SHARES],
    /// The probability that a dependent is broken, by distance class and share.
    pub breaks: [[f64; SHARES]; DISTANCES],
}

/// The likelihood of everything seen for each level and share, relative to an update that is not bad.
#[derive(Debug, Clone)]
pub(super) struct Sums([Row<SHARES>; HITS]);

impl Selectivity {
    /// The selectivity of every update. Shares are spaced evenly in their logarithm. How many dependents
    /// an update has does not count: most were not built since it came, so they say nothing.
    pub(super) fn new(model: &Model) -> Self {
        let (low, high) = (ln(SHARE_MIN), ln(SHARE_MAX));
        let mut weight = [0.0; SHARES];
        let mut breaks = [[0.0; SHARES]; DISTANCES];
        let mut sum = 0.0;
        let mut at = 0.5;
        for share in 0..SHARES {
            let log = low + (high - low) * at / SHARES as f64;
            at += 1.0;
            let none = 1.0 - exp(log);
            // The density in the logarithm of the share is share^a (1 - share)^(b - 1).
            weight[share] = exp(model.share_few * log + (model.share_all - 1.0) * ln(none));
            sum += weight[share];
            // A choice without replacement whose weights are the nearness breaks a dependent with this probability.
            for (row, nearness) in breaks.iter_mut().zip(model.nearness) {
                row[share] = 1.0 - exp(ln(none) * nearness / NEARNESS_MEAN);
            }
        }
        for w in &mut weight {
            *w /= sum;
        }
        Self { weight, breaks }
    }

    /// The factors that one package contributes, whose results are `ratio` times as likely if it is broken.
    fn factors(&self, class: u8, ratio: f64) -> [f64; SHARES] {
        let breaks = &self.breaks[usize::from(class)];
        std::array::from_fn(|share| 1.0 + breaks[share] * (ratio - 1.0))
    }
}

impl Sums {
    /// The sums before anything is seen.
    pub(super) const ONE: Self = Self([Row::ONE; HITS]);

    /// The sums of packages that passed: those of an unchanged source, and those with a new one.
    pub(super) fn passed(model: &Model, selectivity: &Selectivity, passed: &[[u32; DISTANCES]; 2]) -> Self {
        let mut sums = Self::ONE;
        for (level, hit) in model.hit.iter().enumerate() {
            let ratio = [1.0 - hit.0, model.adapts + (1.0 - model.adapts) * (1.0 - hit.0)];
            for (passed, ratio) in passed.iter().zip(ratio) {
                for (class, count) in (0_u8..).zip(passed) {
                    sums.0[level].multiply_power(&selectivity.factors(class, ratio), *count);
                }
            }
        }
        sums
    }

    /// Takes one package's part out of the sums (its old ratio) and puts another in (its new one).
    pub(super) fn replace(&mut self, selectivity: &Selectivity, class: u8, old: [f64; HITS], new: [f64; HITS]) {
        for level in 0..HITS {
            let (a, b) = (selectivity.factors(class, new[level]), selectivity.factors(class, old[level]));
            self.0[level].multiply(&std::array::from_fn(|share| a[share] / b[share]));
        }
    }

    /// The logarithm of the likelihood of everything seen if the update is bad, relative to one that is not.
    pub(super) fn evidence(&self, model: &Model, selectivity: &Selectivity) -> f64 {
        let top = self.top();
        let mut sum = 0.0;
        for (level, hit) in model.hit.iter().enumerate() {
            for (number, weight) in self.0[level].relative(top).iter().zip(selectivity.weight) {
                sum += hit.1 * weight * number;
            }
        }
        ln(sum) + f64::from(top) * LN_2
    }

    /// The odds, for one package and without its own results, that the update is bad and breaks it (for each level),
    /// and that it is bad and does not; relative to that it is not bad. `odds` is the logarithm of the odds before any
    /// evidence, `ratio` what the package contributes.
    pub(super) fn without(
        &self,
        model: &Model,
        selectivity: &Selectivity,
        odds: f64,
        class: u8,
        ratio: [f64; HITS],
    ) -> ([f64; HITS], f64) {
        let top = self.top();
        let scale = exp((odds + f64::from(top) * LN_2).min(300.0));
        let mut breaks = [0.0; HITS];
        let mut spares = 0.0;
        for (level, hit) in model.hit.iter().enumerate() {
            let row = self.0[level].relative(top);
            let factors = selectivity.factors(class, ratio[level]);
            for share in 0..SHARES {
                let weight = scale * hit.1 * selectivity.weight[share] * row[share] / factors[share];
                let p = selectivity.breaks[usize::from(class)][share];
                breaks[level] += weight * p;
                spares += weight * (1.0 - p);
            }
        }
        (breaks, spares)
    }

    /// The largest exponent.
    fn top(&self) -> i32 {
        self.0.iter().map(Row::top).max().unwrap_or(0)
    }
}
