//! The numbers that decide which packages are rebuilt and when.
//!
//! An event adopts a [`Policy`], and every evaluation records its [digest](Policy::digest). A
//! decision can therefore be derived again years later with exactly the same numbers. All values
//! are integers: points are whole here, and thousandths where scores are computed
//! ([`super::priority`]). Loads are thousandths, and times are hours or seconds.
//!
//! This module does not read the configuration. The `config` module knows where the numbers come
//! from and which file has a bad one.
//!
//! The defaults are those of Koschei 2.4 (`config.py` and its shipped configuration), except where
//! a field says otherwise.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fold::State;
use crate::model::{Class, Classified, Name};

/// Largest absolute number of points in any single field.
pub const MAX_FIELD_POINTS: i64 = 1_000_000;
/// Longest time constant of the priority curve: ten years, in hours.
pub const MAX_CURVE_HOURS: u32 = 87_600;
/// Longest delay, timeout or interval: thirty days, in seconds.
pub const MAX_WAIT_SECS: u64 = 30 * 86_400;
/// Largest accepted limit on rebuilds, and most requests of one evaluation.
pub const MAX_BUILDS_BOUND: u32 = 100_000;
/// Most architectures a policy may list.
pub const MAX_BUILD_ARCHES: usize = 64;
/// Largest accepted value of `unclear_repeats`.
pub const MAX_UNCLEAR_REPEATS: u32 = 10;
/// Most configured fault patterns.
pub const MAX_FAULT_PATTERNS: usize = 256;
/// Shortest fault pattern in bytes. A shorter pattern would match nearly every failure.
pub const MIN_PATTERN_BYTES: usize = 4;
/// Longest fault pattern in bytes.
pub const MAX_PATTERN_BYTES: usize = 500;
/// Longest name of an architecture or a group in bytes.
pub const MAX_NAME_BYTES: usize = 100;

/// Default of `unclear_repeats`: one repetition on another host or day is enough.
const UNCLEAR_REPEATS: u32 = 2;
/// Default of `unclear_apart_secs`: 20 hours. A try at about the same time of the next day then
/// counts as another day, but a second try within the same outage hardly ever does.
const UNCLEAR_APART_SECS: u64 = 20 * 3600;
/// Default of `unclear_retry_base_secs`: longer than after a fault. The package itself may be the
/// cause, and then a retry is not urgent.
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
/// If a stored policy lacks a field, the field takes its default. Fields unknown to this version
/// are ignored when reading. The digest recorded with the adoption then differs from
/// [`Policy::digest`], so a reader notices that it would decide otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Policy {
    /// Priority at which a package is due. Whole points, at least 1.
    pub build_threshold: i64,
    /// Points for a changed dependency at distance 1. A change at distance d gives the d-th part of
    /// it.
    pub package_update: i64,
    /// Points for a package without any result here, such as an imported one. With the default it
    /// is rebuilt at once.
    pub newly_added: i64,
    /// Points for a package that has just started to fail, so that the failure is confirmed soon.
    pub failed_build_priority: i64,
    /// Hours after the last build at which the time part of the priority is 0 points.
    pub t0_hours: u32,
    /// Hours after the last build at which the time part alone reaches the threshold.
    pub t1_hours: u32,
    /// Most rebuilds running at once, over all collections. With 0, no rebuild starts.
    pub max_builds: u32,
    /// Most rebuilds running at once in one collection. If `None`, only the overall limit applies
    /// (Koschei has no such limit, D26).
    pub max_builds_per_collection: Option<u32>,
    /// Load above which an architecture is overloaded, in thousandths. Packages that need the
    /// architecture wait. 1000 or more switches the check off.
    pub load_threshold: u32,
    /// Architectures to build on. Empty means all architectures of the build tag. This differs from
    /// Koschei on purpose: its default is `i386`, `x86_64` and `armhfp`. Two of these no longer
    /// exist, and breakage on other architectures stays unseen (D25).
    #[schemars(with = "Vec<String>")]
    pub build_arches: Vec<Name>,
    /// Koji task priority of rebuilds, added to Koji's own 20. A higher value runs later. A
    /// negative value needs an administrator.
    pub task_priority: i32,
    /// Seconds after which a rebuild that is still running is given up.
    pub task_timeout_secs: u64,
    /// Most rebuilds that one evaluation requests. It bounds the size of one step and is not a
    /// rate. At least 1.
    pub max_requests_per_evaluation: u32,
    /// Delay before the first retry after an infrastructure fault, in seconds. It doubles with each
    /// further fault in a row.
    pub fault_retry_base_secs: u64,
    /// Longest delay of the doubling, in seconds.
    pub fault_retry_cap_secs: u64,
    /// Seconds between two evaluations when nothing else asks for one.
    pub tick_interval_secs: u64,
    /// Name of the group that Koji installs into every buildroot (kojid's is `build`).
    #[schemars(with = "String")]
    pub build_group: Name,
    /// Texts that mark a failure as an infrastructure fault, besides the built-in ones. Matching
    /// ignores ASCII case.
    pub fault_patterns: Vec<String>,
    /// Texts that mark a failure as the package's own, besides the built-in ones. Matching ignores
    /// ASCII case, and `fault_patterns` take precedence. Written only if not empty, so that earlier
    /// policies keep their digests. The next three fields are written only if they differ from
    /// their defaults, for the same reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub package_fault_patterns: Vec<String>,
    /// How often the same unrecognised failure text must be seen, on different hosts or days,
    /// before it counts as the package's own failure.
    #[serde(skip_serializing_if = "is_default_repeats")]
    pub unclear_repeats: u32,
    /// Seconds after which the same text on the same host counts as seen on another day.
    #[serde(skip_serializing_if = "is_default_apart")]
    pub unclear_apart_secs: u64,
    /// Delay before the first retry after a failure of unknown cause, in seconds. It doubles with
    /// each further one in a row, up to `fault_retry_cap_secs`.
    #[serde(skip_serializing_if = "is_default_unclear_base")]
    pub unclear_retry_base_secs: u64,
    /// If true, rebuilds are decided as usual but not submitted: each request is closed at once.
    /// Use it to watch the service before it may act. Written only if true, so that policies
    /// adopted before this field existed keep their digests.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
    /// Most rebuilds requested within any hour, over all collections. `None` sets no such limit. It
    /// protects against unforeseen floods and is not meant to set the pace. Requests that were
    /// turned down do not count. Written only if set, for the same reason as `passive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_submissions_per_hour: Option<u32>,
    /// Seconds after which one rebuild tries again what a policy of the hub refused. Written only
    /// if it differs from the default, for the same reason as `passive`.
    #[serde(skip_serializing_if = "is_refused_retry_default")]
    pub refused_retry_secs: u64,
}

/// Default of `refused_retry_secs`: a day. After a change of the hub's policies, an operator
/// resumes by hand or waits that long.
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

/// An error for a policy that cannot be adopted. Class: rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A number is outside its bounds.
    #[error("accept policy: `{field}` is {value}, but must be between {min} and {max}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The rejected value.
        value: i128,
        /// Smallest allowed value.
        min: i128,
        /// Largest allowed value.
        max: i128,
    },
    /// Two numbers are in the wrong order.
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
    /// A list is too long.
    #[error("accept policy: `{field}` has {count} entries, at most {max} are allowed")]
    TooMany {
        /// Name of the field.
        field: &'static str,
        /// How many entries the list has.
        count: usize,
        /// Most entries allowed.
        max: usize,
    },
    /// A text is not acceptable in its field.
    #[error("accept policy: `{text}` in `{field}` is not acceptable: it must be {expected}")]
    BadText {
        /// Name of the field.
        field: &'static str,
        /// The text, cut to 80 characters.
        text: String,
        /// Description of acceptable texts.
        expected: &'static str,
    },
}

impl Classified for PolicyError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

impl Policy {
    /// Returns the policy that a state has adopted. Returns `None` if none was adopted, or if this
    /// program cannot read it.
    pub fn adopted(state: &State) -> Option<Self> {
        serde_json::from_value(state.policy.as_ref()?.policy.clone()).ok()
    }

    /// Returns the policy in force in a state: the adopted one, or else the default.
    pub fn in_force(state: &State) -> Self {
        Self::adopted(state).unwrap_or_default()
    }

    /// Returns the BLAKE3 digest of the policy's canonical JSON, as 64 hex digits. The JSON has
    /// sorted keys, no spaces and every field that is written. Evaluations name the policy by this
    /// digest. Equal policies have equal digests on any machine and in any build of this version.
    pub fn digest(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("integers, texts and lists of texts always serialise");
        // Sort explicitly: the order of a `serde_json::Map` depends on a feature that any
        // dependency may switch on.
        let fields: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&bytes).expect("what was just written is an object");
        let canonical = serde_json::to_vec(&fields).expect("values just read always serialise");
        blake3::hash(&canonical).to_hex().to_string()
    }

    /// Returns whether the load of builders limits rebuilds.
    pub const fn load_is_limited(&self) -> bool {
        self.load_threshold < 1000
    }

    /// Checks every bound. With an invalid policy the formulas do not panic, but their results mean
    /// nothing.
    ///
    /// # Errors
    /// Returns [`PolicyError`] (rejected) for the first field that is not acceptable.
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
        // The digest is pinned: a new default or field changes what old evaluations would decide.
        // Such a change must be a decision, not an accident.
        assert_eq!(p.digest(), "64ebd8334dc550b0cf49963c116095b70538f96992107fa222f71b04eb2d700f");
        assert_ne!(p.digest(), Policy { max_builds: 31, ..p.clone() }.digest());
        // Later fields are written only if set, so that a policy adopted before them keeps its
        // digest.
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
