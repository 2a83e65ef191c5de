//! Decides when a rebuild is tried again, when it is given up, and when a failure is worth a second
//! look.
//!
//! Source: Koschei 2.4, `backend.py`. The timeout and the points for a package that started to fail
//! are kept. Two things differ on purpose:
//!
//! - After an infrastructure fault Koschei resubmits at once, up to 600 times a day (#310). Here
//!   each further rebuild in a row without a result doubles the wait. Such a rebuild met a fault,
//!   failed for an unknown cause, was cancelled or was given up.
//! - The "earlier build" of the started-to-fail rule is a build of the *same package* (D3).
//!
//! There is no randomness here. The spread of retries is derived from the package's name, so that
//! every replay gets the same times.

use super::policy::Policy;
use crate::model::{Outcome, Timestamp};

/// A retry waits longer than its delay by up to the n-th part of it. Packages that failed together
/// are thus not retried together.
pub const JITTER_PART: u64 = 4;

/// Returns the seconds to wait after `faults` rebuilds in a row without a result. `last` is the
/// outcome of the last one. The wait is 0 after none, then the base delay, doubled with each
/// further rebuild up to the cap. Jitter is not included.
pub fn delay_secs(faults: u32, last: Outcome, policy: &Policy) -> u64 {
    let Some(doublings) = faults.checked_sub(1) else { return 0 };
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    let base = match last {
        Outcome::Unclear => policy.unclear_retry_base_secs,
        _ => policy.fault_retry_base_secs,
    };
    base.saturating_mul(factor).min(policy.fault_retry_cap_secs)
}

/// Returns the seconds added to a delay: less than its [`JITTER_PART`]th part. The same collection,
/// package and count always give the same value, on every machine.
pub fn jitter_secs(collection: &str, package: &str, faults: u32, delay: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    // Hash the lengths first, so that different triples never give the same bytes.
    for text in [collection, package] {
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes()).update(text.as_bytes());
    }
    let hash = hasher.update(&faults.to_le_bytes()).finalize();
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first) % (delay / JITTER_PART).max(1)
}

/// Returns when a package may be rebuilt again after `faults` rebuilds in a row without a result.
/// The last of them ended at `at` with outcome `last`. The time is never before the delay is over,
/// and less than a quarter of the delay later.
pub fn retry_at(
    (last, at): (Outcome, Timestamp),
    collection: &str,
    package: &str,
    faults: u32,
    policy: &Policy,
) -> Timestamp {
    let delay = delay_secs(faults, last, policy);
    let wait = delay.saturating_add(jitter_secs(collection, package, faults, delay));
    at.plus_secs(i64::try_from(wait).unwrap_or(i64::MAX))
}

/// Returns whether a rebuild that began at `started` has exceeded its time. A duration of exactly
/// the timeout is still in time.
pub fn is_timed_out(started: Timestamp, now: Timestamp, policy: &Policy) -> bool {
    let timeout = i64::try_from(policy.task_timeout_secs).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    now.since(started) > timeout
}

/// Returns whether a package started to fail: it failed genuinely now, and its previous complete
/// build did not.
///
/// `earlier` are the outcomes of earlier builds of the same package in the same collection, newest
/// first. Outcomes that say nothing about the package (fault, cancelled, timed out) are skipped. A
/// package that was never built before starts to fail, too.
pub fn started_to_fail(ended: Outcome, earlier: impl IntoIterator<Item = Outcome>) -> bool {
    let previous = earlier.into_iter().find(|o| o.is_complete());
    ended == Outcome::GenuineFailure && previous != Some(Outcome::GenuineFailure)
}

/// Returns the build points, in whole points, after a rebuild that is evidence about the package:
/// `failed_build_priority` if it [started to fail](started_to_fail), else 0. Returns `None` if the
/// rebuild is no evidence, and the points stay as they are.
pub fn build_points_after(ended: Outcome, earlier: impl IntoIterator<Item = Outcome>, policy: &Policy) -> Option<i64> {
    ended.is_complete().then(|| if started_to_fail(ended, earlier) { policy.failed_build_priority } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, 0)]
    #[case(1, 600)]
    #[case(2, 1200)]
    #[case(3, 2400)]
    #[case(8, 76_800)]
    #[case(9, 86_400)]
    #[case(64, 86_400)]
    #[case(65, 86_400)]
    #[case(u32::MAX, 86_400)]
    fn delays_double_up_to_the_cap(#[case] faults: u32, #[case] secs: u64) {
        assert_eq!(delay_secs(faults, Infra, &Policy::default()), secs);
    }

    #[rstest]
    #[case(Unclear, 1, 3600)]
    #[case(Unclear, 3, 14_400)]
    #[case(Unclear, 9, 86_400)]
    #[case(Cancelled, 1, 600)]
    #[case(TimedOut, 2, 1200)]
    fn others_wait_too(#[case] last: Outcome, #[case] faults: u32, #[case] secs: u64) {
        assert_eq!(delay_secs(faults, last, &Policy::default()), secs);
    }

    /// #310: a package whose rebuilds meet only faults is tried about nine times in the first two
    /// days, not 600 times in one day.
    #[test]
    fn a_systematic_fault_does_not_loop() {
        let policy = Policy::default();
        let mut at = Timestamp::EPOCH;
        let mut tries = 0;
        while at < Timestamp::from_secs(2 * 86_400) {
            tries += 1;
            at = retry_at((Infra, at), "f99", "python-debtcollector", tries, &policy);
        }
        assert!((8..=10).contains(&tries), "{tries} tries");
    }

    #[test]
    fn retries_spread_and_repeat() {
        let policy = Policy::default();
        let at =
            |collection, package, faults| retry_at((Infra, Timestamp::EPOCH), collection, package, faults, &policy);
        assert_eq!(at("f99", "bash", 3), at("f99", "bash", 3));
        let packages: Vec<String> = (0..100).map(|n| format!("pkg{n}")).collect();
        let times: BTreeSet<_> = packages.iter().map(|p| at("f99", p, 3)).collect();
        assert!(times.len() > 80, "only {} different times", times.len());
        assert_ne!(at("f99", "bash", 3), at("f98", "bash", 3));
        assert_ne!(jitter_secs("f9", "9bash", 3, 1 << 60), jitter_secs("f99", "bash", 3, 1 << 60));
    }

    /// The value is pinned: later versions must be able to derive evaluations recorded with these
    /// times.
    #[test]
    fn jitter_is_for_ever() {
        assert_eq!(jitter_secs("f99", "bash", 3, 2400), 270);
    }

    #[rstest]
    #[case(172_800_000_000, false)]
    #[case(172_800_000_001, true)]
    #[case(-1, false)]
    #[case(i64::MAX, true)]
    fn timeouts(#[case] micros: i64, #[case] timed_out: bool) {
        assert_eq!(is_timed_out(Timestamp::EPOCH, Timestamp(micros), &Policy::default()), timed_out);
    }

    use Outcome::{Cancelled, GenuineFailure as Fail, InfrastructureFault as Infra, Ok as Good, TimedOut, Unclear};

    #[rstest]
    #[case::t46(Fail, &[Good], Some(200))]
    #[case::first_build_ever(Fail, &[], Some(200))]
    #[case::still_failing(Fail, &[Fail, Good], Some(0))]
    #[case::t44_fixed(Good, &[Fail], Some(0))]
    #[case::noise_between_is_passed_over(Fail, &[Infra, Cancelled, TimedOut, Fail], Some(0))]
    #[case::noise_before_success(Fail, &[Infra, Good], Some(200))]
    #[case::only_noise_before(Fail, &[Cancelled], Some(200))]
    #[case::fault_changes_nothing(Infra, &[Good], None)]
    #[case::cancelled_changes_nothing(Cancelled, &[Good], None)]
    #[case::unclear_changes_nothing(Unclear, &[Good], None)]
    #[case::timeout_changes_nothing(TimedOut, &[Good], None)]
    fn failed_build_points(#[case] ended: Outcome, #[case] earlier: &[Outcome], #[case] points: Option<i64>) {
        assert_eq!(build_points_after(ended, earlier.iter().copied(), &Policy::default()), points);
        assert_eq!(started_to_fail(ended, earlier.iter().copied()), points == Some(200));
    }

    /// D3 is not carried over: in Koschei the success of `healthy` in between made `broken` start
    /// to fail again and again.
    #[test]
    fn other_packages_do_not_matter() {
        let history = [("broken", Fail), ("healthy", Good), ("broken", Fail)];
        let (&(package, ended), earlier) = history.split_last().unwrap();
        let own = earlier.iter().rev().filter(|(p, _)| *p == package).map(|&(_, o)| o);
        assert!(!started_to_fail(ended, own));
        assert!(started_to_fail(ended, earlier.iter().rev().map(|&(_, o)| o)), "what D3 did");
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_part(package in "[a-z]{1,20}", faults in any::<u32>(), base in 1_u64..100_000) {
            let policy = Policy { fault_retry_base_secs: base, fault_retry_cap_secs: 1_000_000, ..Policy::default() };
            let delay = i64::try_from(delay_secs(faults, Infra, &policy)).unwrap();
            let at = retry_at((Infra, Timestamp::EPOCH), "f99", &package, faults, &policy);
            prop_assert!(at >= Timestamp::from_secs(delay));
            prop_assert!(at <= Timestamp::from_secs(delay + delay / 4));
        }

        #[test]
        fn more_faults_never_wait_less(faults in 0_u32..1000) {
            for last in [Infra, Cancelled, TimedOut, Unclear] {
                let delay = |faults| delay_secs(faults, last, &Policy::default());
                prop_assert!(delay(faults + 1) >= delay(faults));
            }
        }
    }
}
