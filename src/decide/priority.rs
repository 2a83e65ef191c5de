//! How urgently a package wants to be rebuilt, in points.
//!
//! ```text
//! a       = build_threshold / (log10 t1 − log10 t0)
//! b       = −a · log10 t0
//! h       = hours since the last build was started
//! time    = max(a · log10(max(10⁻⁶, h)) + b, −30)
//! current = manual + static + coefficient · (dependency + build + time)
//! ```
//!
//! Source: Koschei 2.4, `models.py` (priority expression) and `repo_resolver.py` (dependency part); kept. The clock is
//! the `now` of the evaluation instead of the database's.
//!
//! Invariants: every result is an integer number of thousandths and the same on every machine (IEEE arithmetic and
//! `libm`'s logarithm; no float is compared or stored); no input makes a function here panic or overflow. Whether a
//! package may be rebuilt at all (blocked, untracked, unresolved, running) is eligibility, not priority, and not
//! decided here.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::model::Timestamp;

/// Bound of every part and of the sum, in whole points; values beyond it are cut to it.
pub const MAX_POINTS: i64 = 1_000_000_000;
/// Largest coefficient: a thousandfold.
pub const MAX_COEFFICIENT_THOUSANDTHS: u32 = 1_000_000;
/// What the time part never falls below, so that a package just built needs a strong reason (Koschei's constant).
pub const TIME_FLOOR: Points = Points::whole(-30);
/// The farthest distance that is told apart; everything else counts as [`FAR_DISTANCE`].
pub const MAX_DISTANCE: u8 = 4;
/// What an unreached or removed dependency counts as (Koschei: `distance or 8`).
pub const FAR_DISTANCE: u8 = 8;
/// How far [`due_at`] looks: a hundred years.
pub const DUE_HORIZON_SECS: i64 = 100 * 8766 * 3600;

const MICROS_PER_HOUR: f64 = 3_600_000_000.0;

/// Thousandths of a point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Points(pub i64);

impl Points {
    /// None at all.
    pub const ZERO: Self = Self(0);

    /// From whole points; cut to ±[`MAX_POINTS`].
    pub const fn whole(points: i64) -> Self {
        let points = if points > MAX_POINTS {
            MAX_POINTS
        } else if points < -MAX_POINTS {
            -MAX_POINTS
        } else {
            points
        };
        Self(points * 1000)
    }

    /// Thousandths of a point.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    fn clamped(thousandths: i128) -> Self {
        let bound = i128::from(MAX_POINTS) * 1000;
        Self(i64::try_from(thousandths.clamp(-bound, bound)).expect("the bound fits into 64 bits"))
    }
}

impl fmt::Display for Points {
    /// Points with up to three decimals: `256`, `-30`, `39.245`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        let text = match rest {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{rest:03}").trim_end_matches('0').to_owned(),
        };
        f.write_str(&text)
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}pt")
    }
}

/// How many dependency changes there are at each distance: all the formula needs, in twenty bytes per package.
///
/// A change counts once per dependency *name*, with the smallest distance over all architectures; whoever counts sees
/// to that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ChangeCounts {
    /// Changes at distance 1, 2, 3 and 4.
    pub near: [u32; MAX_DISTANCE as usize],
    /// Changes of dependencies that were removed, are part of the build group, or cannot be reached within four steps.
    pub far: u32,
}

impl ChangeCounts {
    /// Counts one more change. `None`, 0 and anything beyond [`MAX_DISTANCE`] count as far.
    pub fn add(&mut self, distance: Option<u8>) {
        let slot = match distance {
            Some(d @ 1..=MAX_DISTANCE) => &mut self.near[usize::from(d) - 1],
            _ => &mut self.far,
        };
        *slot = slot.saturating_add(1);
    }

    /// Number of changes.
    pub fn total(&self) -> u64 {
        self.near.iter().map(|&n| u64::from(n)).sum::<u64>() + u64::from(self.far)
    }

    /// `Σ package_update / distance`, truncated to whole points once after summing. Exact: summed in 24ths, the common
    /// denominator of the distances 1, 2, 3, 4 and 8.
    pub fn points(&self, package_update: i64) -> Points {
        const DENOMINATOR: i128 = 24;
        let weighted: i128 = (1..=MAX_DISTANCE)
            .zip(self.near)
            .chain([(FAR_DISTANCE, self.far)])
            .map(|(distance, count)| DENOMINATOR / i128::from(distance) * i128::from(count))
            .sum();
        let update = i128::from(package_update.clamp(-MAX_POINTS, MAX_POINTS));
        Points::clamped(update * weighted / DENOMINATOR * 1000)
    }
}

impl FromIterator<Option<u8>> for ChangeCounts {
    fn from_iter<I: IntoIterator<Item = Option<u8>>>(distances: I) -> Self {
        let mut counts = Self::default();
        distances.into_iter().for_each(|d| counts.add(d));
        counts
    }
}

/// What a package brings to its priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PriorityInputs {
    /// Set by an administrator, in whole points; stays.
    pub static_points: i64,
    /// Set by a user, in whole points; spent by the next rebuild.
    pub manual_points: i64,
    /// The collection's coefficient; 1000 leaves everything as it is, 0 leaves only static and manual points.
    pub coefficient_thousandths: u32,
    /// What changed among the dependencies since the last build.
    pub changes: ChangeCounts,
    /// Whole points from builds: `failed_build_priority` or `newly_added` of the policy, or 0.
    pub build_points: i64,
    /// When the last build, complete or not, was started; `None` when there never was one.
    pub last_build_started: Option<Timestamp>,
}

/// A priority and where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Priority {
    /// Static part.
    #[serde(rename = "static")]
    pub static_points: Points,
    /// Manual part.
    #[serde(rename = "manual")]
    pub manual_points: Points,
    /// Build part, before the coefficient.
    #[serde(rename = "build")]
    pub build_points: Points,
    /// Dependency part, before the coefficient.
    #[serde(rename = "dependency")]
    pub dependency_points: Points,
    /// Time part, before the coefficient.
    #[serde(rename = "time")]
    pub time_points: Points,
    /// The coefficient that was used, in thousandths.
    #[serde(rename = "coefficient")]
    pub coefficient_thousandths: u32,
    /// The sum that is compared with the threshold.
    pub current: Points,
}

impl Priority {
    /// Whether the threshold is reached; reaching it exactly is enough.
    pub fn reaches(&self, policy: &Policy) -> bool {
        self.current >= Points::whole(policy.build_threshold)
    }
}

/// What the time part of every package under one policy shares: two logarithms.
#[derive(Clone, Copy, Debug)]
pub struct TimeScale {
    a: f64,
    log_t0: f64,
}

impl TimeScale {
    /// That of `policy`.
    pub fn of(policy: &Policy) -> Self {
        let log_t0 = libm::log10(f64::from(policy.t0_hours));
        Self { a: to_f64(policy.build_threshold) / (libm::log10(f64::from(policy.t1_hours)) - log_t0), log_t0 }
    }

    /// The time part after `elapsed_micros` since the last build was started, rounded to the nearest thousandth, ties
    /// away from zero. Negative elapsed time (a start after `now`) counts as none. Constant time, one logarithm.
    pub fn points(self, elapsed_micros: i64) -> Points {
        let hours = to_f64(elapsed_micros) / MICROS_PER_HOUR;
        let points = self.a * (libm::log10(hours.max(1e-6)) - self.log_t0);
        // An unvalidated policy (t0 = t1) would divide by zero; the floor is then as good as any other answer.
        if !points.is_finite() {
            return TIME_FLOOR;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`as` from float saturates, and the value is clamped just after"
        )]
        let thousandths = libm::round(points * 1000.0) as i64;
        Points::clamped(thousandths.into()).max(TIME_FLOOR)
    }
}

/// The time part under `policy`, as [`TimeScale::points`].
pub fn time_points(elapsed_micros: i64, policy: &Policy) -> Points {
    TimeScale::of(policy).points(elapsed_micros)
}

/// The priority at `now`, with its parts; `None` when the package was never built, since without a start there is no
/// time part (Koschei: no priority without a last build).
///
/// The product with the coefficient is exact in millionths of a point and rounded to the nearest thousandth, ties away
/// from zero.
pub fn priority(inputs: &PriorityInputs, now: Timestamp, policy: &Policy) -> Option<Priority> {
    priority_on(TimeScale::of(policy), inputs, now, policy)
}

/// As [`priority`], with the scale of `policy` at hand.
pub fn priority_on(scale: TimeScale, inputs: &PriorityInputs, now: Timestamp, policy: &Policy) -> Option<Priority> {
    let started = inputs.last_build_started?;
    let static_points = Points::whole(inputs.static_points);
    let manual_points = Points::whole(inputs.manual_points);
    let build_points = Points::whole(inputs.build_points);
    let dependency_points = inputs.changes.points(policy.package_update);
    let time_points = scale.points(now.since(started));
    let coefficient_thousandths = inputs.coefficient_thousandths.min(MAX_COEFFICIENT_THOUSANDTHS);

    let scaled = i128::from(coefficient_thousandths)
        * (i128::from(dependency_points.0) + i128::from(build_points.0) + i128::from(time_points.0));
    let half = if scaled < 0 { -500 } else { 500 };
    let rounded = (scaled + half) / 1000;
    let current = Points::clamped(i128::from(static_points.0) + i128::from(manual_points.0) + rounded);
    Some(Priority {
        static_points,
        manual_points,
        build_points,
        dependency_points,
        time_points,
        coefficient_thousandths,
        current,
    })
}

/// When the threshold is reached by the passing of time alone: the first microsecond, from the start of the last build
/// on, at which [`priority`] reaches it. `None` when there was no build, or when it takes longer than
/// [`DUE_HORIZON_SECS`].
///
/// Found by bisection of the very function that decides, so the two can never disagree; about 52 evaluations of it.
/// Thousandths are rounded, so the answer may lie a few seconds before that of the unrounded formula.
pub fn due_at(inputs: &PriorityInputs, policy: &Policy) -> Option<Timestamp> {
    let started = inputs.last_build_started?;
    let scale = TimeScale::of(policy);
    let reached = |at: Timestamp| priority_on(scale, inputs, at, policy).is_some_and(|p| p.reaches(policy));
    let (mut early, mut late) = (started.micros(), started.plus_secs(DUE_HORIZON_SECS).micros());
    if !reached(Timestamp(late)) {
        return None;
    }
    while early < late {
        let middle = early.midpoint(late);
        if reached(Timestamp(middle)) {
            late = middle;
        } else {
            early = middle + 1;
        }
    }
    Some(Timestamp(late))
}

/// Time from `now` until [`due_at`], in thousandths of an hour, rounded up; 0 when it is reached already.
pub fn millihours_until_due(inputs: &PriorityInputs, now: Timestamp, policy: &Policy) -> Option<u64> {
    const MICROS_PER_MILLIHOUR: u64 = 3_600_000;
    let wait = due_at(inputs, policy)?.since(now).max(0);
    Some(wait.unsigned_abs().div_ceil(MICROS_PER_MILLIHOUR))
}

/// Exact below 2⁵³ (285 years in microseconds), nearest beyond.
#[expect(
    clippy::cast_precision_loss,
    reason = "rounding beyond 2⁵³ is the same everywhere and far below a thousandth of a point"
)]
fn to_f64(n: i64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
