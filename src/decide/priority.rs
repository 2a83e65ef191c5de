//! Computes how urgently a package should be rebuilt, in points.
//!
//! ```text
//! a       = build_threshold / (log10 t1 − log10 t0)
//! b       = −a · log10 t0
//! h       = hours since the last build was started
//! time    = max(a · log10(max(10⁻⁶, h)) + b, −30)
//! current = manual + static + coefficient · (dependency + build + time)
//! ```
//!
//! Source: Koschei 2.4, `models.py` (priority expression) and `repo_resolver.py` (dependency part).
//! The formulas are unchanged, but the clock is the `now` of the evaluation instead of the
//! database's.
//!
//! Invariants:
//!
//! - Every result is an integer number of thousandths and is the same on every machine. The
//!   arithmetic is IEEE, the logarithm is `libm`'s, and no float is compared or stored.
//! - No input makes a function here panic or overflow.
//!
//! This module does not decide whether a package may be rebuilt at all. A package that is blocked,
//! untracked, unresolved or running is held by [`super::eligibility`].

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::model::Timestamp;

/// Bound of every part and of the sum, in whole points. Larger values are cut to it.
pub const MAX_POINTS: i64 = 1_000_000_000;
/// Largest coefficient, in thousandths: a thousandfold.
pub const MAX_COEFFICIENT_THOUSANDTHS: u32 = 1_000_000;
/// Lowest value of the time part (Koschei's constant). A package that was just built then needs a
/// strong reason for a rebuild.
pub const TIME_FLOOR: Points = Points::whole(-30);
/// Largest distance with a count of its own. Everything farther counts as [`FAR_DISTANCE`].
pub const MAX_DISTANCE: u8 = 4;
/// Distance assumed for an unreached or removed dependency (Koschei: `distance or 8`).
pub const FAR_DISTANCE: u8 = 8;
/// How far into the future [`due_at`] looks, in seconds: a hundred years.
pub const DUE_HORIZON_SECS: i64 = 100 * 8766 * 3600;

const MICROS_PER_HOUR: f64 = 3_600_000_000.0;

/// Thousandths of a point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Points(pub i64);

impl Points {
    /// Zero points.
    pub const ZERO: Self = Self(0);

    /// Converts whole points, cut to ±[`MAX_POINTS`].
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

    /// Returns the thousandths of a point.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    fn clamped(thousandths: i128) -> Self {
        let bound = i128::from(MAX_POINTS) * 1000;
        Self(i64::try_from(thousandths.clamp(-bound, bound)).expect("the bound fits into 64 bits"))
    }
}

impl fmt::Display for Points {
    /// Writes the points with up to three decimals: `256`, `-30`, `39.245`.
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

/// Number of dependency changes at each distance. The formula needs nothing else, and it takes
/// twenty bytes per package.
///
/// A change counts once per dependency *name*, with the smallest distance over all architectures.
/// The caller that counts must ensure that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ChangeCounts {
    /// Changes at distance 1, 2, 3 and 4.
    pub near: [u32; MAX_DISTANCE as usize],
    /// Changes of dependencies that were removed, are part of the build group, or cannot be reached within four steps.
    pub far: u32,
}

impl ChangeCounts {
    /// Counts one more change. `None`, 0 and distances beyond [`MAX_DISTANCE`] count as far.
    pub fn add(&mut self, distance: Option<u8>) {
        let slot = match distance {
            Some(d @ 1..=MAX_DISTANCE) => &mut self.near[usize::from(d) - 1],
            _ => &mut self.far,
        };
        *slot = slot.saturating_add(1);
    }

    /// Returns the number of changes.
    pub fn total(&self) -> u64 {
        self.near.iter().map(|&n| u64::from(n)).sum::<u64>() + u64::from(self.far)
    }

    /// Returns `Σ package_update / distance`, truncated to whole points once after summing. The sum
    /// is exact: it is computed in 24ths, the common denominator of the distances 1, 2, 3, 4 and 8.
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

/// The values of a package that its priority depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PriorityInputs {
    /// Whole points set by an administrator. They stay.
    pub static_points: i64,
    /// Whole points set by a user. The next rebuild uses them up.
    pub manual_points: i64,
    /// The collection's coefficient, in thousandths. 1000 changes nothing, and 0 leaves only static
    /// and manual points.
    pub coefficient_thousandths: u32,
    /// Dependency changes since the last build.
    pub changes: ChangeCounts,
    /// Whole points that follow from builds: the policy's `failed_build_priority` or `newly_added`,
    /// or 0.
    pub build_points: i64,
    /// Start of the last build, complete or not. `None` if there never was one.
    pub last_build_started: Option<Timestamp>,
}

/// A priority and its parts.
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
    /// The coefficient used, in thousandths.
    #[serde(rename = "coefficient")]
    pub coefficient_thousandths: u32,
    /// The sum, which is compared with the threshold.
    pub current: Points,
}

impl Priority {
    /// Returns whether the priority reaches the threshold. Reaching it exactly is enough.
    pub fn reaches(&self, policy: &Policy) -> bool {
        self.current >= Points::whole(policy.build_threshold)
    }
}

/// The two logarithms that the time parts of all packages under one policy share.
#[derive(Clone, Copy, Debug)]
pub struct TimeScale {
    a: f64,
    log_t0: f64,
}

impl TimeScale {
    /// Computes the scale of `policy`.
    pub fn of(policy: &Policy) -> Self {
        let log_t0 = libm::log10(f64::from(policy.t0_hours));
        Self { a: to_f64(policy.build_threshold) / (libm::log10(f64::from(policy.t1_hours)) - log_t0), log_t0 }
    }

    /// Returns the time part `elapsed_micros` after the start of the last build. It is rounded to
    /// the nearest thousandth, ties away from zero. A negative elapsed time (a start after `now`)
    /// counts as zero. Takes constant time: one logarithm.
    pub fn points(self, elapsed_micros: i64) -> Points {
        let hours = to_f64(elapsed_micros) / MICROS_PER_HOUR;
        let points = self.a * (libm::log10(hours.max(1e-6)) - self.log_t0);
        // A policy that was not validated (t0 = t1) would divide by zero. The floor is then as good
        // as any other value.
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

/// Returns the time part under `policy`, like [`TimeScale::points`].
pub fn time_points(elapsed_micros: i64, policy: &Policy) -> Points {
    TimeScale::of(policy).points(elapsed_micros)
}

/// Returns the priority at `now`, with its parts. Returns `None` if the package was never built:
/// without a start there is no time part (Koschei: no priority without a last build).
///
/// The product with the coefficient is exact in millionths of a point, then rounded to the nearest
/// thousandth, ties away from zero.
pub fn priority(inputs: &PriorityInputs, now: Timestamp, policy: &Policy) -> Option<Priority> {
    priority_on(TimeScale::of(policy), inputs, now, policy)
}

/// Computes the same as [`priority`] with a ready `scale`, which must be that of `policy`.
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

/// Returns when waiting alone makes the package due: the first microsecond, from the start of the
/// last build on, at which [`priority`] reaches the threshold. Returns `None` if there was no
/// build, or if it takes longer than [`DUE_HORIZON_SECS`].
///
/// The time is found by bisection of the function that decides, so the two can never disagree. That
/// takes about 52 evaluations. Thousandths are rounded, so the result may lie a few seconds before
/// that of the unrounded formula.
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

/// Returns the time from `now` until [`due_at`], in thousandths of an hour, rounded up. Returns 0
/// if that time is past.
pub fn millihours_until_due(inputs: &PriorityInputs, now: Timestamp, policy: &Policy) -> Option<u64> {
    const MICROS_PER_MILLIHOUR: u64 = 3_600_000;
    let wait = due_at(inputs, policy)?.since(now).max(0);
    Some(wait.unsigned_abs().div_ceil(MICROS_PER_MILLIHOUR))
}

/// Converts to a float. The result is exact below 2⁵³ (285 years in microseconds), and the nearest
/// float beyond.
#[expect(
    clippy::cast_precision_loss,
    reason = "rounding beyond 2⁵³ is the same everywhere and far below a thousandth of a point"
)]
fn to_f64(n: i64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
