//! Tables of how rebuilds end: T44, T49-T51 and the texts of Koji and mock.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const QUIET: Ended<'_> = Ended {
    state: TaskState::Failed,
    fault: None,
    failed_steps: &[],
    any_step: false,
    cancelled_by: None,
    timed_out: false,
};

fn failed_with(code: i64, text: &str) -> Verdict {
    classify(&Ended { fault: Some(fault(code, text)), any_step: true, ..QUIET }, &Policy::default()).unwrap()
}

fn fault(code: i64, text: &str) -> Fault<'_> {
    Fault { code, text, host: None }
}

const TRACEBACK: &str = "Traceback (most recent call last):\n  File \"/usr/lib/python3/koji/tasks.py\", line 335, in \
    run\n    response = (handler(*params),)\nValueError: something nobody thought of\n";

#[rstest]
// T50: a web server between builder and hub answered, in both spellings that builders used.
#[case::t50_503(
    1,
    "xmlrpclib.ProtocolError: <ProtocolError for koji.example/kojihub: 503 Backend fetch failed>",
    FaultClass::Hub
)]
#[case::t50_503_plain(1000, "HTTP Error 503: Backend fetch failed", FaultClass::Hub)]
// T50: genuine failures.
#[case::t50_build(
    1005,
    "error building package (arch x86_64), mock exited with status 1; see build.log for more information",
    FaultClass::Build
)]
#[case::t50_build_10(1012, "error building package (arch ia64), mock exited with status 10", FaultClass::Build)]
// Changed on purpose: nothing is known about the text, so it does not count as the package's.
#[case::t50_generic(1000, "something went wrong", FaultClass::Unknown)]
// Koschei's rule for lock errors, and other faults that are not the package's.
#[case::lock(1001, "database is locked", FaultClass::Hub)]
// By the code alone.
#[case::lock_alone(1001, "odd", FaultClass::Hub)]
#[case::tag_alone(1003, "odd", FaultClass::InputVanished)]
#[case::buildroot_alone(1012, "odd", FaultClass::Builder)]
#[case::deprecated_alone(1013, "odd", FaultClass::Hub)]
#[case::plugin_alone(1016, "odd", FaultClass::Hub)]
#[case::image_alone(1025, "odd", FaultClass::Unknown)]
#[case::auth(1002, "unable to log in", FaultClass::Refused)]
#[case::tag(1003, "no such tag", FaultClass::InputVanished)]
#[case::policy(1004, "policy violation (build_from_repo_id)", FaultClass::Refused)]
#[case::expired(1007, "session expired", FaultClass::Hub)]
#[case::retry(1009, "unable to retry call", FaultClass::Hub)]
#[case::offline(1014, "database outage", FaultClass::Hub)]
#[case::arches(1005, "No matching arches were found", FaultClass::Refused)]
#[case::build_error(1005, "something went wrong", FaultClass::Unknown)]
#[case::buildroot_other(1012, "buildroot trouble", FaultClass::Builder)]
#[case::unexpected(1, TRACEBACK, FaultClass::Hub)]
#[case::not_kojis(-32_500, "server error", FaultClass::Hub)]
// mock.
#[case::dependencies(
    1005,
    "error building package (arch noarch), mock exited with status 30; see root.log for more information",
    FaultClass::Dependencies
)]
#[case::chroot(
    1005,
    "error building package (arch noarch), mock exited with status 20; see root.log for more information",
    FaultClass::Builder
)]
#[case::source(1005, "error building package (arch noarch), mock exited with status 40", FaultClass::SourcePackage)]
#[case::not_by_its_wrapper(
    1005,
    "error building package (arch noarch), mock exited with status 2",
    FaultClass::Builder
)]
#[case::no_configuration(1005, "error building package (arch noarch), mock exited with status 3", FaultClass::Builder)]
#[case::locked(1005, "error building package (arch noarch), mock exited with status 60", FaultClass::Builder)]
#[case::odd_status(1005, "error building package (arch noarch), mock exited with status 99999", FaultClass::Unknown)]
#[case::no_status(1005, "mock exited with status unknown", FaultClass::Unknown)]
#[case::timed_out(1005, "error building package (arch noarch), mock exited with status 11", FaultClass::Unknown)]
#[case::signalled(1005, "error building package (arch noarch), mock exited with status 143", FaultClass::Builder)]
#[case::bootstrap(1005, "error building package (arch noarch), mock exited with status 90", FaultClass::Builder)]
#[case::nspawn(1005, "error doing something else, mock exited with status 1; see root.log", FaultClass::Unknown)]
#[case::srpm_dnf(1005, "error building srpm, mock exited with status 30; see root.log", FaultClass::Builder)]
#[case::killed(
    1005,
    "error building package (arch s390x), mock was killed by signal 9; see build.log",
    FaultClass::Builder
)]
#[case::init(
    1012,
    "could not init mock buildroot, mock exited with status 30; see root.log for more information",
    FaultClass::Builder
)]
#[case::disk(1, "OSError: [Errno 28] No space left on device: '/var/lib/mock'", FaultClass::Builder)]
// Inputs that vanished (domain notes on binding to a repository; #338).
#[case::deleted(1005, "Bad repo: 16 (DELETED)", FaultClass::InputVanished)]
#[case::unknown_repo(1005, "No such repo: 99999", FaultClass::InputVanished)]
#[case::mismatch(1005, "Repo/Target mismatch: f98-build/f99-build", FaultClass::InputVanished)]
#[case::deleted_between(1012, "Requested repo (16) is DELETED", FaultClass::InputVanished)]
fn texts_and_codes(#[case] code: i64, #[case] text: &str, #[case] class: FaultClass) {
    let got = failed_with(code, text);
    assert_eq!((got.class, got.outcome), (Some(class), class.outcome()), "{}", got.reason);
    assert!(!got.reason.contains('\n'));
}

#[test]
fn reason_of_a_traceback_is_its_last_line() {
    assert_eq!(failed_with(1, TRACEBACK).reason, "ValueError: something nobody thought of");
    assert_eq!(failed_with(1005, "first\nsecond").reason, "first");
    assert_eq!(failed_with(1, " \n").reason, "fault without text");
    let nothing = failed_with(1005, " \n");
    assert_eq!(nothing.class, Some(FaultClass::NoFailedStep), "it says nothing");
}

/// T51, #310: only `rebuildSRPM` failed. If that were a fault, the rebuild would be repeated for
/// ever.
#[rstest]
#[case::with_text(Some(fault(1005, "error building srpm, mock exited with status 1; see build.log")))]
#[case::generic(Some(fault(1000, "no spec file found")))]
#[case::without_text(None)]
fn t51_source_package_is_genuine(#[case] fault: Option<Fault<'_>>) {
    let steps = [FailedStep { method: "rebuildSRPM", label: "srpm", fault }];
    let got = classify(&Ended { fault, failed_steps: &steps, any_step: true, ..QUIET }, &Policy::default()).unwrap();
    assert_eq!((got.outcome, got.class), (Outcome::GenuineFailure, Some(FaultClass::SourcePackage)));
    assert!(got.reason.starts_with("rebuildSRPM (srpm)"), "{}", got.reason);
}

/// The parent repeats the fault of its only failed step. The step's method counts for that fault,
/// too.
#[test]
fn t51_text_known_of_the_parent_only() {
    let steps = [FailedStep { method: "rebuildSRPM", label: "srpm", fault: None }];
    let fault = Some(fault(1005, "error building srpm, mock exited with status 1"));
    let got = classify(&Ended { fault, failed_steps: &steps, any_step: true, ..QUIET }, &Policy::default()).unwrap();
    assert_eq!(got.class, Some(FaultClass::SourcePackage));
}

/// A source package that failed because of a missing repository or chroot is an infrastructure
/// fault.
#[test]
fn srpm_step_may_meet_infrastructure() {
    let fault = Some(fault(1012, "could not init mock buildroot, mock exited with status 30"));
    let steps = [FailedStep { method: "rebuildSRPM", label: "srpm", fault }];
    let got = classify(&Ended { failed_steps: &steps, any_step: true, ..QUIET }, &Policy::default()).unwrap();
    assert_eq!(got.class, Some(FaultClass::Builder));
}

/// Recordings without texts.
#[rstest]
#[case::nothing_began(&[], false, FaultClass::NoFailedStep, "failed before any build step began")]
#[case::no_step_failed(&[], true, FaultClass::NoFailedStep, "the build task failed though none of its steps did")]
#[case::step_failed(&[FailedStep { method: "buildArch", label: "x86_64", fault: None }], true, FaultClass::Other,
    "buildArch (x86_64) failed, and its fault is not known")]
fn without_texts(
    #[case] steps: &[FailedStep<'_>],
    #[case] any_step: bool,
    #[case] class: FaultClass,
    #[case] says: &str,
) {
    let got = classify(&Ended { failed_steps: steps, any_step, ..QUIET }, &Policy::default()).unwrap();
    assert_eq!((got.class, got.outcome, got.reason.as_str()), (Some(class), class.outcome(), says));
}

/// A compiler error on one architecture decides, whatever else went wrong.
#[rstest]
#[case::genuine_last(1, 0)]
#[case::genuine_first(0, 1)]
fn genuine_step_decides(#[case] disk_at: usize, #[case] build_at: usize) {
    let disk = Some(fault(1, "No space left on device"));
    let build = Some(fault(1005, "error building package (arch x86_64), mock exited with status 1"));
    let mut steps = [FailedStep { method: "buildArch", label: "aarch64", fault: disk }; 2];
    steps[disk_at].fault = disk;
    steps[build_at] = FailedStep { method: "buildArch", label: "x86_64", fault: build };
    let got =
        classify(&Ended { fault: disk, failed_steps: &steps, any_step: true, ..QUIET }, &Policy::default()).unwrap();
    assert_eq!(got.class, Some(FaultClass::Build));
    assert!(got.reason.starts_with("buildArch (x86_64): error building"), "{}", got.reason);
}

#[rstest]
#[case::t44_closed(TaskState::Closed, None, false, Some(Outcome::Ok))]
#[case::t49_cancelled_by_us(TaskState::Canceled, Some(Canceller::Us), false, Some(Outcome::Cancelled))]
#[case::cancelled_in_koji(TaskState::Canceled, Some(Canceller::Koji), false, Some(Outcome::Cancelled))]
#[case::given_up(TaskState::Canceled, Some(Canceller::Us), true, Some(Outcome::TimedOut))]
#[case::given_up_still_open(TaskState::Open, None, true, Some(Outcome::TimedOut))]
#[case::closed_just_before(TaskState::Closed, None, true, Some(Outcome::Ok))]
#[case::running(TaskState::Open, None, false, None)]
#[case::freed_again(TaskState::Free, None, false, None)]
#[case::cancel_not_done_yet(TaskState::Assigned, Some(Canceller::Us), false, None)]
#[case::unknown_state(TaskState::Unknown(17), None, false, None)]
fn other_endings(
    #[case] state: TaskState,
    #[case] cancelled_by: Option<Canceller>,
    #[case] timed_out: bool,
    #[case] outcome: Option<Outcome>,
) {
    let got = classify(&Ended { state, cancelled_by, timed_out, ..QUIET }, &Policy::default());
    assert_eq!(got.as_ref().map(|v| v.outcome), outcome);
    assert_eq!(got.and_then(|v| v.class), None);
}

/// T50's cancelled task: the fault is generic, but nothing failed.
#[rstest]
#[case("Task 332 is canceled", Outcome::Cancelled)]
#[case("Task is canceled", Outcome::Unclear)]
#[case("Task x is canceled", Outcome::Unclear)]
fn step_cancelled_by_hand(#[case] text: &str, #[case] outcome: Outcome) {
    assert_eq!(failed_with(1000, text).outcome, outcome);
}

#[rstest]
#[case("ssh-agent vanished", true)]
#[case("  Ssh-Agent VANISHED ", true)]
#[case("something else", false)]
#[case("", false)]
fn configured_patterns(#[case] pattern: &str, #[case] matches: bool) {
    let fault = Some(fault(1005, "error: SSH-agent vanished from builder 7"));
    let policy = Policy { fault_patterns: vec![pattern.to_owned()], ..Policy::default() };
    let got = classify(&Ended { fault, any_step: true, ..QUIET }, &policy).unwrap();
    assert_eq!(got.class == Some(FaultClass::Configured), matches);
}

#[test]
fn long_texts_are_bounded() {
    let long = format!("{}\n{}\nBad repo: 16 (DELETED)", "ä".repeat(100_000), "é".repeat(100_000));
    let got = failed_with(1005, &long);
    assert_eq!(got.class, Some(FaultClass::InputVanished), "the end is looked at too");
    assert_eq!(got.reason.chars().count(), MAX_REASON_CHARS);
}

proptest! {
    #[test]
    fn any_fault_gets_a_verdict(code in any::<i64>(), text in "\\PC*|[a-z\\n ]{0,400}") {
        let got = failed_with(code, &text);
        prop_assert!(got.reason.chars().count() <= MAX_REASON_CHARS);
        prop_assert!(!got.reason.contains('\n'));
        prop_assert!(got.outcome != Outcome::Ok);
    }
}
