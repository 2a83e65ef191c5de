//! Tests Koschei's formula (§3.1, T18, T21, T23, T27, T28) and its laws.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const DAY: i64 = 86_400;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Clock of T21–T25.
fn now() -> Timestamp {
    at("2017-10-10T10:00:00Z")
}

fn plain() -> PriorityInputs {
    PriorityInputs {
        static_points: 0,
        manual_points: 0,
        coefficient_thousandths: 1000,
        changes: ChangeCounts::default(),
        build_points: 0,
        last_build_started: Some(now()),
    }
}

fn with(distances: &[Option<u8>], build_points: i64) -> PriorityInputs {
    PriorityInputs { changes: distances.iter().copied().collect(), build_points, ..plain() }
}

fn micros(hours: f64) -> i64 {
    Timestamp::from_secs_f64(hours * 3600.0).unwrap().micros()
}

#[rstest]
#[case::t18(256, &[Some(1), Some(2), Some(3), Some(4), None], 565)]
#[case::t13_test_config(20, &[Some(2), Some(2)], 20)]
#[case::truncated_once(256, &[Some(3), Some(3), Some(3)], 256)]
#[case::one_third(256, &[Some(3)], 85)]
#[case::removed(256, &[None], 32)]
#[case::zero_is_far(256, &[Some(0)], 32)]
#[case::beyond_is_far(256, &[Some(5), Some(255)], 64)]
#[case::nothing(256, &[], 0)]
fn dependency_part(#[case] package_update: i64, #[case] distances: &[Option<u8>], #[case] whole: i64) {
    let counts: ChangeCounts = distances.iter().copied().collect();
    assert_eq!(counts.points(package_update), Points::whole(whole));
    assert_eq!(counts.total(), distances.len() as u64);
}

/// T21: every part is zero, and the package was just built.
#[test]
fn t21_just_built() {
    let p = priority(&plain(), now(), &Policy::default()).unwrap();
    assert_eq!(p.current, Points::whole(-30));
    assert_eq!(p.time_points, TIME_FLOOR);
}

#[rstest]
#[case::t23_two_hours("2017-10-10T08:00:00Z", -30.0)]
#[case::t23_ten_hours("2017-10-10T00:00:00Z", 39.244_698_002_409_8)]
#[case::t23_yesterday("2017-10-09T00:00:00Z", 133.262_489_989_25)]
#[case::t23_month("2017-09-10T00:00:00Z", 368.863_607_520_133)]
fn t23_time_since_start(#[case] started: &str, #[case] points: f64) {
    let inputs = PriorityInputs { last_build_started: Some(at(started)), ..plain() };
    let got = priority(&inputs, now(), &Policy::default()).unwrap().current.thousandths();
    assert!((got as f64 / 1000.0 - points).abs() <= 0.0005, "{got} is not {points} rounded to thousandths");
}

/// The "Time values" of §3.1, as computed with forty digits from 256·log₂₈(h/6).
#[rstest]
#[case(0.0, -30_000)]
#[case(4.0603, -30_000)]
#[case(6.0, 0)]
#[case(10.0, 39_245)]
#[case(24.0, 106_503)]
#[case(34.0, 133_262)]
#[case(48.0, 159_755)]
#[case(72.0, 190_905)]
#[case(168.0, 256_000)]
#[case(730.0, 368_864)]
#[case(8760.0, 559_769)]
fn time_values(#[case] hours: f64, #[case] thousandths: i64) {
    assert_eq!(time_points(micros(hours), &Policy::default()), Points(thousandths));
}

/// The "Situation" table of §3.1: when waiting alone makes a package reach the threshold.
#[rstest]
#[case::nothing_changed(&[], 0, 168.0)]
#[case::one_direct(&[Some(1)], 0, 6.0)]
#[case::two_direct(&[Some(1), Some(1)], 0, 0.0)]
#[case::one_at_two(&[Some(2)], 0, 31.75)]
#[case::one_at_three(&[Some(3)], 0, 55.6)]
#[case::one_at_four(&[Some(4)], 0, 73.0)]
#[case::one_removed(&[None], 0, 110.8)]
#[case::started_to_fail(&[], 200, 12.44)]
#[case::last_build_unresolvable(&[], 3000, 0.0)]
fn situations(#[case] distances: &[Option<u8>], #[case] build_points: i64, #[case] hours: f64) {
    let inputs = with(distances, build_points);
    let due = due_at(&inputs, &Policy::default()).unwrap();
    let got = due.since(now()) as f64 / 3.6e9;
    assert!((got - hours).abs() < 0.05, "due after {got} h, not {hours} h");
    let millihours = millihours_until_due(&inputs, now(), &Policy::default()).unwrap();
    assert!((millihours as f64 / 1000.0 - hours).abs() < 0.05);
}

#[rstest]
#[case::half(500, Some(4704.0))]
#[case::a_fifth_is_never(200, None)]
#[case::frozen(0, None)]
fn coefficient_slows_time(#[case] coefficient_thousandths: u32, #[case] hours: Option<f64>) {
    let due = due_at(&PriorityInputs { coefficient_thousandths, ..plain() }, &Policy::default());
    assert_eq!(due.is_some(), hours.is_some());
    if let (Some(due), Some(hours)) = (due, hours) {
        let got = due.since(now()) as f64 / 3.6e9;
        assert!((got - hours).abs() < 1.0, "due after {got} h");
    }
}

#[rstest]
#[case::scales_three_parts(500, 1, 2, 1000, "538")] // 1 + 2 + 0.5 · (100 − 30 + 1000)
#[case::zero_leaves_manual_and_static(0, 7, 1000, 3000, "1007")]
#[case::rounds_half_away(1, 0, 0, 30, "0.1")] // 0.001 · (100 − 30 + 30)
fn coefficient(#[case] c: u32, #[case] fixed: i64, #[case] manual: i64, #[case] build: i64, #[case] sum: &str) {
    let policy = Policy { package_update: 100, ..Policy::default() };
    let inputs = PriorityInputs {
        static_points: fixed,
        manual_points: manual,
        coefficient_thousandths: c,
        ..with(&[Some(1)], build)
    };
    assert_eq!(priority(&inputs, now(), &policy).unwrap().current.to_string(), sum);
}

/// The time part is not a whole number, so its product with a coefficient is rounded. Ties go away
/// from zero.
#[rstest]
#[case(10.0, 500, "19.623")] // 39.245 / 2 = 19.6225
#[case(5.0, 500, "-7.004")] // −14.007 / 2 = −7.0035
fn coefficient_product_is_rounded_once(#[case] hours: f64, #[case] c: u32, #[case] sum: &str) {
    let inputs = PriorityInputs { coefficient_thousandths: c, ..plain() };
    let later = Timestamp(now().micros() + micros(hours));
    assert_eq!(priority(&inputs, later, &Policy::default()).unwrap().current.to_string(), sum);
}

/// T27, T28: reaching the threshold exactly is enough. The time part is -30, so a priority of x
/// needs build points of x + 30.
#[rstest]
#[case::t27_low(10, false)]
#[case::t28_boundary(256, true)]
#[case::t28_just_below(255, false)]
fn threshold_is_inclusive(#[case] x: i64, #[case] due: bool) {
    let policy = Policy::default();
    let p = priority(&with(&[], x + 30), now(), &policy).unwrap();
    assert_eq!((p.current, p.reaches(&policy)), (Points::whole(x), due));
}

#[test]
fn never_built_has_no_priority() {
    let inputs = PriorityInputs { last_build_started: None, manual_points: 10_000, ..plain() };
    assert_eq!(priority(&inputs, now(), &Policy::default()), None);
    assert_eq!(due_at(&inputs, &Policy::default()), None);
}

#[test]
fn due_is_the_first_moment() {
    let policy = Policy::default();
    let inputs = with(&[Some(2)], 0);
    let due = due_at(&inputs, &policy).unwrap();
    assert!(priority(&inputs, due, &policy).unwrap().reaches(&policy));
    assert!(!priority(&inputs, Timestamp(due.micros() - 1), &policy).unwrap().reaches(&policy));
    assert_eq!(millihours_until_due(&inputs, Timestamp(due.micros() - 1), &policy), Some(1), "rounded up");
    assert_eq!(millihours_until_due(&inputs, due.plus_secs(DAY), &policy), Some(0));
}

#[rstest]
#[case(0, "0")]
#[case(-30_000, "-30")]
#[case(39_245, "39.245")]
#[case(100, "0.1")]
#[case(-50, "-0.05")]
fn points_in_words(#[case] thousandths: i64, #[case] text: &str) {
    assert_eq!(Points(thousandths).to_string(), text);
}

#[test]
fn extremes_are_cut_not_wrapped() {
    let wild =
        Policy { t0_hours: 0, t1_hours: 0, build_threshold: i64::MAX, package_update: i64::MAX, ..Policy::default() };
    let inputs = PriorityInputs {
        static_points: i64::MAX,
        manual_points: i64::MAX,
        coefficient_thousandths: u32::MAX,
        changes: ChangeCounts { near: [u32::MAX; 4], far: u32::MAX },
        build_points: i64::MAX,
        last_build_started: Some(Timestamp(i64::MIN)),
    };
    let top = priority(&inputs, Timestamp(i64::MAX), &wild).unwrap();
    assert_eq!(top.current, Points::whole(MAX_POINTS));
    let low = PriorityInputs { static_points: i64::MIN, manual_points: i64::MIN, build_points: i64::MIN, ..plain() };
    assert_eq!(priority(&low, Timestamp(i64::MIN), &wild).unwrap().current, Points::whole(-MAX_POINTS));
}

fn any_inputs() -> impl Strategy<Value = PriorityInputs> {
    let distances = prop::collection::vec(prop::option::of(0_u8..7), 0..40);
    (-5000_i64..5000, -5000_i64..5000, 0_u32..3000, distances, 0_i64..5000, 0_i64..400 * DAY).prop_map(
        |(static_points, manual_points, coefficient_thousandths, distances, build_points, ago)| PriorityInputs {
            static_points,
            manual_points,
            coefficient_thousandths,
            changes: distances.into_iter().collect(),
            build_points,
            last_build_started: Some(now().plus_secs(-ago)),
        },
    )
}

fn current(inputs: &PriorityInputs, at: Timestamp) -> Points {
    priority(inputs, at, &Policy::default()).unwrap().current
}

proptest! {
    #[test]
    fn a_further_change_never_lowers(inputs in any_inputs(), distance in prop::option::of(0_u8..7)) {
        let mut more = inputs;
        more.changes.add(distance);
        prop_assert!(current(&more, now()) >= current(&inputs, now()));
    }

    #[test]
    fn later_never_lowers(inputs in any_inputs(), wait in 0_i64..40_000_000_000_000) {
        prop_assert!(current(&inputs, Timestamp(now().micros() + wait)) >= current(&inputs, now()));
    }

    #[test]
    fn closer_never_lowers(inputs in any_inputs(), far in 2_u8..=5, closer in 1_u8..5) {
        let distance = |d: u8| (d <= MAX_DISTANCE).then_some(d);
        let (mut near, mut away) = (inputs, inputs);
        near.changes.add(distance(closer.min(far)));
        away.changes.add(distance(far));
        prop_assert!(current(&near, now()) >= current(&away, now()));
    }

    #[test]
    fn due_agrees_with_priority(inputs in any_inputs()) {
        let policy = Policy::default();
        let started = inputs.last_build_started.unwrap();
        if let Some(due) = due_at(&inputs, &policy) {
            prop_assert!(priority(&inputs, due, &policy).unwrap().reaches(&policy));
            let before = Timestamp(due.micros() - 1);
            prop_assert!(due == started || !priority(&inputs, before, &policy).unwrap().reaches(&policy));
        } else {
            let end = started.plus_secs(DUE_HORIZON_SECS);
            prop_assert!(!priority(&inputs, end, &policy).unwrap().reaches(&policy));
        }
    }
}
