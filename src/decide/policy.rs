//! The numbers that decide.
//!
//! A [`Policy`] is adopted by an event and named in every evaluation by its [digest](Policy::digest), so that a
//! decision can be derived again years later with exactly the numbers it was taken with. Everything is an integer:
//! points are whole here and thousandths where scores are computed ([`super::priority`]), loads are thousandths, times
//! are hours or seconds.
//!
//! What this is not: configuration. Where the numbers come from, and which file a bad one stands in, is the config
//! room's business.
//!
//! Source of the defaults: Koschei 2.4, `config.py` and its shipped configuration, except where a field says otherwise.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fold::State;
use crate::model::{Class, Classified, Name};

/// Largest number of points any single field may give or ask for.
pub const MAX_FIELD_POINTS: i64 = 1_000_000;
/// Longest time constant of the priority curve: ten years, in hours.
pub const MAX_CURVE_HOURS: u32 = 87_600;
/// Longest delay, timeout or interval: thirty days, in seconds.
pub const MAX_WAIT_SECS: u64 = 30 * 86_400;
/// Most rebuilds that may be limited to, and most requests of one evaluation.
pub const MAX_BUILDS_BOUND: u32 = 100_000;
/// Most architectures a policy may list.
pub const MAX_BUILD_ARCHES: usize = 64;
/// Most times a text about which nothing is known may have to be seen.
pub const MAX_UNCLEAR_REPEATS: u32 = 10;
/// Most configured fault patterns.
pub const MAX_FAULT_PATTERNS: usize = 256;
/// Shortest fault pattern in bytes: a shorter text would call nearly every failure a fault.
pub const MIN_PATTERN_BYTES: usize = 4;
/// Longest fault pattern in bytes.
pub const MAX_PATTERN_BYTES: usize = 500;
/// Longest name of an architecture or a group in bytes.
pub const MAX_NAME_BYTES: usize = 100;

/// Once more on another host or day is enough.
const UNCLEAR_REPEATS: u32 = 2;
/// A try at about the same time of the next day is another day's, one in the same outage hardly.
const UNCLEAR_APART_SECS: u64 = 20 * 3600;
/// Longer than after a fault: it may be the package, and then nothing hurries.
const UNCLEAR_RETRY_BASE_SECS: u64 = 3600;

const fn is_default_repeats(n: &u32) -> bool {
    *n == UNCLEAR_REPEATS
}

const fn is_default_apart(secs: &u64) -> bool {
    *secs == UNCLEAR_APART_SECS
}

const fn is_default_unclear_base(secs: &u64) -> bool {
    *secs == UNCLEAR_RETRY_BASE_SECS
}

/// All numbers that decide what is rebuilt and when.
///
/// Fields a stored policy lacks take their default. Fields this version does not know are ignored when reading; the
/// digest recorded with the adoption then differs from [`Policy::digest`], which is how a reader notices that it would
/// decide otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Policy {
    /// A package is due when its priority reaches this many points. Whole points, at least 1.
    pub build_threshold: i64,
    /// Points for a changed dependency at distance 1; one at distance d gives the d-th part.
    pub package_update: i64,
    /// Points for a package whose last build could not be resolved: in practice, at once.
    pub newly_added: i64,
    /// Points for a package that started to fail, so that the failure is confirmed soon.
    pub failed_build_priority: i64,
    /// Hours after which time alone gives 0 points.
    pub t0_hours: u32,
    /// Hours after which time alone reaches the threshold.
    pub t1_hours: u32,
    /// Most rebuilds running at once, over all collections. 0 starts none.
    pub max_builds: u32,
    /// Most rebuilds running at once in one collection; `None` leaves only the overall limit (Koschei has no such
    /// limit, D26).
    pub max_builds_per_collection: Option<u32>,
    /// Packages wait while an architecture they need is loaded above this, in thousandths. 1000 or more switches it
    /// off.
    pub load_threshold: u32,
    /// Architectures to build on. Empty means all arches of the build tag. Deliberate deviation: Koschei's default is
    /// `i386`, `x86_64` and `armhfp`, two of which no longer exist, and which leaves breakage elsewhere unseen (D25).
    #[schemars(with = "Vec<String>")]
    pub build_arches: Vec<Name>,
    /// Added to Koji's own 20 for our tasks; higher is later. Negative needs an administrator.
    pub task_priority: i32,
    /// A rebuild still running after this many seconds is given up.
    pub task_timeout_secs: u64,
    /// Most rebuilds one evaluation requests: a bound on the size of one step, not a rate. At least 1.
    pub max_requests_per_evaluation: u32,
    /// Delay before the first retry after an infrastructure fault, in seconds; doubled with each further one in a row.
    pub fault_retry_base_secs: u64,
    /// Where the doubling stops, in seconds.
    pub fault_retry_cap_secs: u64,
    /// Seconds between two evaluations when nothing else asks for one.
    pub tick_interval_secs: u64,
    /// Name of the group installed into every buildroot (kojid's is `build`).
    #[schemars(with = "String")]
    pub build_group: Name,
    /// Texts that mark a failure as an infrastructure fault, besides the built-in ones; compared without regard to
    /// ASCII case.
    pub fault_patterns: Vec<String>,
    /// Texts that mark a failure as the package's own, besides the built-in ones; compared as those before, which go
    /// first. Written only when there are any, as are the next three where they are not the default, so that earlier
    /// policies keep their digests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub package_fault_patterns: Vec<String>,
    /// How often the same text about which nothing is known has to be seen, on different hosts or days, to count as the
    /// package's own.
    #[serde(skip_serializing_if = "is_default_repeats")]
    pub unclear_repeats: u32,
    /// Seconds after which the same text on the same host counts as another day's.
    #[serde(skip_serializing_if = "is_default_apart")]
    pub unclear_apart_secs: u64,
    /// Delay before the first retry after a failure of unknown cause, in seconds; doubled with each further one in a
    /// row, up to the same end as after faults.
    #[serde(skip_serializing_if = "is_default_unclear_base")]
    pub unclear_retry_base_secs: u64,
    /// Decide as ever, and submit nothing: each request is closed at once. For looking on before the service may act.
    /// Written only when it is on, so that policies adopted before this field was keep their digests.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
    /// Most rebuilds requested within any hour, over all collections; `None` sets no bound of this kind. A brake for
    /// what nobody foresaw, not a pace: requests that were turned down do not count. Written only when set, as
    /// `passive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_submissions_per_hour: Option<u32>,
    /// Seconds after which what a policy of the hub refused is tried again, by one rebuild. Written only when it is not
    /// the default, as `passive`.
    #[serde(skip_serializing_if = "is_refused_retry_default")]
    pub refused_retry_secs: u64,
}

/// A day: whoever changes a hub's policies for us tells us, or waits that long.
const REFUSED_RETRY_SECS: u64 = 86_400;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_refused_retry_default(secs: &u64) -> bool {
    *secs == REFUSED_RETRY_SECS
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            build_threshold: 256,
            package_update: 256,
            newly_added: 3000,
            failed_build_priority: 200,
            t0_hours: 6,
            t1_hours: 168,
            max_builds: 30,
            max_builds_per_collection: None,
            load_threshold: 500,
            build_arches: Vec::new(),
            task_priority: 30,
            task_timeout_secs: 172_800,
            max_requests_per_evaluation: 50,
            fault_retry_base_secs: 600,
            fault_retry_cap_secs: 86_400,
            tick_interval_secs: 60,
            build_group: Name::new_static("build"),
            fault_patterns: Vec::new(),
            package_fault_patterns: Vec::new(),
            unclear_repeats: UNCLEAR_REPEATS,
            unclear_apart_secs: UNCLEAR_APART_SECS,
            unclear_retry_base_secs: UNCLEAR_RETRY_BASE_SECS,
            passive: false,
            max_submissions_per_hour: None,
            refused_retry_secs: REFUSED_RETRY_SECS,
        }
    }
}

/// A policy that cannot be adopted. Class: rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A number outside its bounds.
    #[error("accept policy: `{field}` is {value}, but must be between {min} and {max}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// What it was.
        value: i128,
        /// Smallest allowed value.
        min: i128,
        /// Largest allowed value.
        max: i128,
    },
    /// Two numbers in the wrong order.
    #[error("accept policy: `{low_field}` ({low}) must be {relation} `{high_field}` ({high})")]
    WrongOrder {
        /// Field that must be the smaller one.
        low_field: &'static str,
        /// Its value.
        low: u64,
        /// `less than` or `at most`.
        relation: &'static str,
        /// Field that must be the larger one.
        high_field: &'static str,
        /// Its value.
        high: u64,
    },
    /// A list that is too long.
    #[error("accept policy: `{field}` has {count} entries, at most {max} are allowed")]
    TooMany {
        /// Name of the field.
        field: &'static str,
        /// How many it has.
        count: usize,
        /// How many it may have.
        max: usize,
    },
    /// A text that cannot be what it should be.
    #[error("accept policy: `{text}` in `{field}` is not acceptable: it must be {expected}")]
    BadText {
        /// Name of the field.
        field: &'static str,
        /// The text, shortened.
        text: String,
        /// What would be acceptable.
        expected: &'static str,
    },
}

impl Classified for PolicyError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl Policy {
    /// The rules a state says were adopted; `None`: none were, or this program cannot read them.
    pub fn adopted(state: &State) -> Option<Self> {
        serde_json::from_value(state.policy.as_ref()?.policy.clone()).ok()
    }

    /// The rules in force in a state: those adopted, else the default ones.
    pub fn in_force(state: &State) -> Self {
        Self::adopted(state).unwrap_or_default()
    }

    /// BLAKE3 of the policy's canonical JSON (keys sorted, no spaces, every field written), as 64 hex digits.
    /// Names the policy in evaluations. Equal policies have equal digests on any machine, in any build of this version.
    pub fn digest(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("integers, texts and lists of texts always serialise");
        // Sorted explicitly: the order of a `serde_json::Map` depends on a feature any dependency may switch on.
        let fields: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&bytes).expect("what was just written is an object");
        let canonical = serde_json::to_vec(&fields).expect("values just read always serialise");
        blake3::hash(&canonical).to_hex().to_string()
    }

    /// Whether the load of builders is looked at.
    pub const fn load_is_limited(&self) -> bool {
        self.load_threshold < 1000
    }

    /// Checks every bound. The formulas never panic on an invalid policy, but what they then say means nothing.
    ///
    /// # Errors
    /// [`PolicyError`] (rejected) for the first field that is not acceptable.
    pub fn validate(&self) -> Result<(), PolicyError> {
        in_range("build_threshold", self.build_threshold, 1, MAX_FIELD_POINTS)?;
        in_range("package_update", self.package_update, 0, MAX_FIELD_POINTS)?;
        in_range("newly_added", self.newly_added, 0, MAX_FIELD_POINTS)?;
        in_range("failed_build_priority", self.failed_build_priority, 0, MAX_FIELD_POINTS)?;
        in_range("t0_hours", self.t0_hours, 1, MAX_CURVE_HOURS)?;
        in_range("t1_hours", self.t1_hours, 1, MAX_CURVE_HOURS)?;
        if self.t0_hours >= self.t1_hours {
            return Err(PolicyError::WrongOrder {
                low_field: "t0_hours",
                low: self.t0_hours.into(),
                relation: "less than",
                high_field: "t1_hours",
                high: self.t1_hours.into(),
            });
        }
        in_range("max_builds", self.max_builds, 0, MAX_BUILDS_BOUND)?;
        in_range("max_builds_per_collection", self.max_builds_per_collection.unwrap_or(0), 0, MAX_BUILDS_BOUND)?;
        in_range("max_submissions_per_hour", self.max_submissions_per_hour.unwrap_or(0), 0, MAX_BUILDS_BOUND)?;
        in_range("max_requests_per_evaluation", self.max_requests_per_evaluation, 1, MAX_BUILDS_BOUND)?;
        in_range("task_priority", self.task_priority, -100, 1000)?;
        in_range("task_timeout_secs", self.task_timeout_secs, 60, MAX_WAIT_SECS)?;
        in_range("fault_retry_base_secs", self.fault_retry_base_secs, 1, MAX_WAIT_SECS)?;
        in_range("fault_retry_cap_secs", self.fault_retry_cap_secs, 1, MAX_WAIT_SECS)?;
        if self.fault_retry_base_secs > self.fault_retry_cap_secs {
            return Err(PolicyError::WrongOrder {
                low_field: "fault_retry_base_secs",
                low: self.fault_retry_base_secs,
                relation: "at most",
                high_field: "fault_retry_cap_secs",
                high: self.fault_retry_cap_secs,
            });
        }
        in_range("unclear_repeats", self.unclear_repeats, 1, MAX_UNCLEAR_REPEATS)?;
        in_range("unclear_apart_secs", self.unclear_apart_secs, 1, MAX_WAIT_SECS)?;
        in_range("unclear_retry_base_secs", self.unclear_retry_base_secs, 1, MAX_WAIT_SECS)?;
        in_range("refused_retry_secs", self.refused_retry_secs, 1, MAX_WAIT_SECS)?;
        in_range("tick_interval_secs", self.tick_interval_secs, 1, 86_400)?;
        self.validate_texts()
    }

    fn validate_texts(&self) -> Result<(), PolicyError> {
        at_most("build_arches", self.build_arches.len(), MAX_BUILD_ARCHES)?;
        for arch in &self.build_arches {
            is_name("build_arches", arch)?;
        }
        is_name("build_group", &self.build_group)?;
        for (field, patterns) in
            [("fault_patterns", &self.fault_patterns), ("package_fault_patterns", &self.package_fault_patterns)]
        {
            at_most(field, patterns.len(), MAX_FAULT_PATTERNS)?;
            for pattern in patterns {
                if !(MIN_PATTERN_BYTES..=MAX_PATTERN_BYTES).contains(&pattern.trim().len()) {
                    return Err(bad_text(field, pattern, "4 to 500 bytes long, not counting outer spaces"));
                }
            }
        }
        Ok(())
    }
}

fn in_range<T: Into<i128>>(field: &'static str, value: T, min: T, max: T) -> Result<(), PolicyError> {
    let (value, min, max) = (value.into(), min.into(), max.into());
    if (min..=max).contains(&value) { Ok(()) } else { Err(PolicyError::OutOfRange { field, value, min, max }) }
}

fn at_most(field: &'static str, count: usize, max: usize) -> Result<(), PolicyError> {
    if count <= max { Ok(()) } else { Err(PolicyError::TooMany { field, count, max }) }
}

fn is_name(field: &'static str, text: &str) -> Result<(), PolicyError> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    if !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.chars().all(word) {
        Ok(())
    } else {
        Err(bad_text(field, text, "a name of letters, digits and `_-.+`, up to 100 bytes"))
    }
}

fn bad_text(field: &'static str, text: &str, expected: &'static str) -> PolicyError {
    PolicyError::BadText { field, text: text.chars().take(80).collect(), expected }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn defaults_are_koscheis_and_valid() {
        let p = Policy::default();
        assert_eq!(p.validate(), Ok(()));
        assert_eq!(
            (p.build_threshold, p.package_update, p.newly_added, p.failed_build_priority),
            (256, 256, 3000, 200)
        );
        assert_eq!((p.t0_hours, p.t1_hours, p.max_builds, p.task_priority), (6, 168, 30, 30));
        assert!(p.build_arches.is_empty(), "all arches of the tag");
    }

    #[test]
    fn digest_names_the_numbers() {
        let p = Policy::default();
        // Pinned: a new default or field changes what old evaluations would decide, and must be a decision, not an
        // accident.
        assert_eq!(p.digest(), "64ebd8334dc550b0cf49963c116095b70538f96992107fa222f71b04eb2d700f");
        assert_ne!(p.digest(), Policy { max_builds: 31, ..p.clone() }.digest());
        // Later fields are silent unless set, so that what was adopted before them still has the digest it was adopted
        // with.
        assert_ne!(p.digest(), Policy { passive: true, ..p.clone() }.digest());
        assert_ne!(p.digest(), Policy { refused_retry_secs: 60, ..p.clone() }.digest());
        assert_ne!(p.digest(), Policy { max_submissions_per_hour: Some(0), ..p.clone() }.digest());
        assert_ne!(p.digest(), Policy { unclear_repeats: 3, ..p.clone() }.digest());
        assert_ne!(p.digest(), Policy { unclear_apart_secs: 1, ..p.clone() }.digest());
        assert_ne!(p.digest(), Policy { unclear_retry_base_secs: 1, ..p.clone() }.digest());
        assert_ne!(p.digest(), Policy { package_fault_patterns: vec!["text".into()], ..p.clone() }.digest());
        let back: Policy = serde_json::from_str(&serde_json::to_string(&p).unwrap()).unwrap();
        assert_eq!((back.digest(), &back), (p.digest(), &p));
    }

    #[test]
    fn absent_fields_take_defaults() {
        let p: Policy = serde_json::from_str(r#"{"max_builds": 2}"#).unwrap();
        assert_eq!(p, Policy { max_builds: 2, ..Policy::default() });
    }

    #[rstest]
    #[case::threshold(Policy { build_threshold: 0, ..Policy::default() }, "`build_threshold` is 0")]
    #[case::negative(Policy { package_update: -1, ..Policy::default() }, "`package_update` is -1")]
    #[case::t0_zero(Policy { t0_hours: 0, ..Policy::default() }, "`t0_hours` is 0")]
    #[case::curve(Policy { t0_hours: 168, ..Policy::default() }, "`t0_hours` (168) must be less than `t1_hours` (168)")]
    #[case::no_requests(Policy { max_requests_per_evaluation: 0, ..Policy::default() }, "`max_requests_per_evaluation` \
        is 0")]
    #[case::timeout(Policy { task_timeout_secs: 1, ..Policy::default() }, "`task_timeout_secs` is 1")]
    #[case::cap(Policy { fault_retry_cap_secs: 599, ..Policy::default() }, "(600) must be at most \
        `fault_retry_cap_secs` (599)")]
    #[case::tick(Policy { tick_interval_secs: 0, ..Policy::default() }, "`tick_interval_secs` is 0")]
    #[case::hour(Policy { max_submissions_per_hour: Some(100_001), ..Policy::default() }, "`max_submissions_per_hour` \
        is 100001")]
    #[case::group(Policy { build_group: "".into(), ..Policy::default() }, "in `build_group`")]
    #[case::arch(
        Policy { build_arches: vec!["x86_64 i686".into()], ..Policy::default() }, "`x86_64 i686` in `build_arches`"
    )]
    #[case::pattern(Policy { fault_patterns: vec!["  e  ".into()], ..Policy::default() }, "in `fault_patterns`")]
    #[case::own(
        Policy { package_fault_patterns: vec!["e".into()], ..Policy::default() }, "in `package_fault_patterns`"
    )]
    #[case::never(Policy { unclear_repeats: 0, ..Policy::default() }, "`unclear_repeats` is 0")]
    #[case::often(Policy { unclear_repeats: 11, ..Policy::default() }, "`unclear_repeats` is 11")]
    #[case::apart(Policy { unclear_apart_secs: 0, ..Policy::default() }, "`unclear_apart_secs` is 0")]
    #[case::unclear(Policy { unclear_retry_base_secs: 0, ..Policy::default() }, "`unclear_retry_base_secs` is 0")]
    #[case::patterns(
        Policy { fault_patterns: vec!["a pattern".into(); 257], ..Policy::default() }, "has 257 entries, at most 256"
    )]
    fn bounds_are_kept(#[case] policy: Policy, #[case] says: &str) {
        let error = policy.validate().unwrap_err();
        assert_eq!(error.class(), Class::Rejected);
        assert!(error.to_string().contains(says), "{error}");
    }

    #[test]
    fn zero_builds_is_a_pause_and_full_load_no_limit() {
        assert_eq!(
            Policy { max_builds: 0, max_builds_per_collection: Some(0), ..Policy::default() }.validate(),
            Ok(())
        );
        assert!(Policy { load_threshold: 999, ..Policy::default() }.load_is_limited());
        assert!(!Policy { load_threshold: 1000, ..Policy::default() }.load_is_limited());
    }
}
