//! Decides whether the package or the build system made a rebuild fail.
//!
//! Koji says only that a task failed. The reason is in the fault that `getTaskResult` returns for
//! the task and for its failed steps. There are three kinds of failure:
//!
//! - A failure is *genuine* only if it is known to be the package's own: its source package or its
//!   binaries did not build. Koji's own texts and mock's documented exit statuses show that
//!   ([`texts`]).
//! - An *infrastructure* fault leaves the package's state alone.
//! - A failure is *unclear* if nothing is known about its text.
//!
//! After the last two, the rebuild is tried again ([`super::retry`] ensures that this never becomes
//! a loop). An unclear failure counts as genuine once the same text ([`alike`]) was seen again on
//! another host or another day ([`confirm`]). If there is no text, as in a recording, the method of
//! the failed step decides: failures of `buildArch` and `rebuildSRPM` are the package's.
//!
//! Koschei 2.4 (`backend.py` `is_koji_fault`) calls every error of Koji's own classes genuine,
//! whatever its text. These things differ on purpose:
//! * Texts are read, because Koji uses one code for many things. A repository that vanished, a
//!   chroot that could not be made and a compiler error are all 1005 or 1012. Vanished inputs and
//!   broken chroots are no evidence about the package (#338, #347).
//! * An error of Koji's own without a known text does not count as the package's.
//! * A failure to install build dependencies has a class of its own.
//! * A failed source package (`rebuildSRPM`) is genuine, as in Koschei since #310.
//! * Cancelled and timed-out rebuilds are recorded as such, not deleted (#266).

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::event::facts::{FAULT_TEXT_BYTES_MAX, bounded_fault as bounded};
use crate::fold::Sighting;
use crate::model::koji::TaskState;
use crate::model::{Outcome, Timestamp};

pub mod alike;
pub mod texts;

/// Version number of these rules. Each judgement stores it, so that an audit accepts what was right
/// by the rules of its time. Increase it with every change that judges an old text differently. 1
/// means the rules from before judgements stored the number.
pub const RULES: u16 = 2;

/// Most bytes of a fault's text that are examined, which is also what is stored. Of a longer text,
/// the first and the last half of that many bytes are examined.
pub const MAX_FAULT_TEXT_BYTES: usize = FAULT_TEXT_BYTES_MAX;
/// Reason given for a task that the hub no longer knows.
pub const VANISHED: &str = "the hub does not know the task any more";
/// Most failed steps examined. A task has one per architecture.
pub const MAX_STEPS: usize = 128;
/// Most characters of a reason.
pub const MAX_REASON_CHARS: usize = 300;

/// An XML-RPC fault, as `getTaskResult` returns it for a failed task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault<'a> {
    /// The `faultCode`. Codes of 1000 and more are Koji's own errors.
    pub code: i64,
    /// The `faultString`: one line for Koji's errors, often a whole Python traceback for code 1.
    pub text: &'a str,
    /// Number of the host where the fault happened, if known.
    pub host: Option<i64>,
}

/// A subtask that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailedStep<'a> {
    /// Koji's method: `buildArch`, `rebuildSRPM`, …
    pub method: &'a str,
    /// Koji's label: the architecture, or `srpm`.
    pub label: &'a str,
    /// The step's fault. `None` if it was not fetched, as in a recording.
    pub fault: Option<Fault<'a>>,
}

/// The party that cancelled a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Canceller {
    /// This service, because somebody asked it to.
    Us,
    /// Somebody else, in Koji.
    Koji,
}

/// What is known about a rebuild's task, as input for [`classify`].
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// State of the `build` task.
    pub state: TaskState,
    /// The task's own fault, if known.
    pub fault: Option<Fault<'a>>,
    /// The task's failed steps.
    pub failed_steps: &'a [FailedStep<'a>],
    /// Whether any step was seen, failed or not.
    pub any_step: bool,
    /// The party that cancelled the task, if known.
    pub cancelled_by: Option<Canceller>,
    /// Whether this service gave the task up because it took too long.
    pub timed_out: bool,
}

/// The kind of a failure, for statistics and for telling people where to look.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// Genuine: the package did not build.
    Build,
    /// Genuine: the source package could not be made.
    SourcePackage,
    /// Genuine: the build dependencies could not be installed. The package is unresolved rather
    /// than failing, in a newer repository than the one it was resolved in (#271).
    Dependencies,
    /// Genuine: a step that builds the package failed, and there is no text.
    Other,
    /// Genuine: nothing is known about the text, but it came again on another host or another day.
    Repeated,
    /// Genuine: the policy lists the text as the package's own.
    ConfiguredOwn,
    /// Unclear: nothing is known about the text.
    Unknown,
    /// Infrastructure: the repository or tag that the build used is gone or does not fit.
    InputVanished,
    /// Infrastructure: the chroot could not be set up, or the builder died during the build.
    Builder,
    /// Infrastructure: the hub refuses the request, by policy, permission or configuration. An
    /// operator has to look.
    Refused,
    /// Infrastructure: the hub or something on the way to it did not answer properly.
    Hub,
    /// Infrastructure: the policy lists the text as a fault.
    Configured,
    /// Infrastructure: the task failed although none of its steps did, and no text says why.
    NoFailedStep,
    /// Infrastructure: a step that does not build the package failed, such as `waitrepo`.
    OtherStep,
}

impl FaultClass {
    /// Returns the outcome that the class stands for.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Build
            | Self::SourcePackage
            | Self::Dependencies
            | Self::Other
            | Self::Repeated
            | Self::ConfiguredOwn => Outcome::GenuineFailure,
            Self::Unknown => Outcome::Unclear,
            Self::InputVanished
            | Self::Builder
            | Self::Refused
            | Self::Hub
            | Self::Configured
            | Self::NoFailedStep
            | Self::OtherStep => Outcome::InfrastructureFault,
        }
    }
}

/// The outcome of a rebuild, and the reason for that judgement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// How the rebuild ended.
    pub outcome: Outcome,
    /// Kind of failure. `None` unless the rebuild failed.
    pub class: Option<FaultClass>,
    /// One line for people, at most [`MAX_REASON_CHARS`] characters.
    pub reason: String,
    /// The builder's text that decided, if known. At most [`MAX_FAULT_TEXT_BYTES`] and a line
    /// break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// Digest of the text and all texts alike ([`alike::mark`]). Present only if nothing is known
    /// about the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Number of the host that the text comes from, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<i64>,
}

impl Verdict {
    fn new(outcome: Outcome, class: Option<FaultClass>, reason: impl AsRef<str>) -> Self {
        Self { outcome, class, reason: shorten(reason.as_ref()), words: None, mark: None, host: None }
    }

    fn saying(self, fault: Fault<'_>) -> Self {
        let mark = (self.outcome == Outcome::Unclear).then(|| alike::mark(&bounded(fault.text)));
        Self { words: Some(bounded(fault.text).into_owned()), mark, host: fault.host, ..self }
    }

    /// Returns the verdict for a task that the hub no longer knows. It says nothing about the
    /// package, and the task will give no result.
    pub fn vanished() -> Self {
        Self::failure(FaultClass::Hub, VANISHED)
    }

    fn failure(class: FaultClass, reason: impl AsRef<str>) -> Self {
        Self::new(class.outcome(), Some(class), reason)
    }
}

/// Turns an unclear verdict into a genuine failure if its text was seen on different hosts or days,
/// `policy.unclear_repeats` times in all. `earlier` are the unclear ends of the package's rebuilds.
/// `source` is the source package of this rebuild, and `at` is when it ended.
pub fn confirm(verdict: Verdict, earlier: &[Sighting], source: &str, at: Timestamp, policy: &Policy) -> Verdict {
    let Some(mark) = verdict.mark.as_deref().filter(|_| verdict.outcome == Outcome::Unclear) else { return verdict };
    let apart_micros = i64::try_from(policy.unclear_apart_secs).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let are_apart = |(a, at): (Option<i64>, Timestamp), (b, bt): (Option<i64>, Timestamp)| {
        a.zip(b).is_some_and(|(a, b)| a != b) || at.since(bt).abs() >= apart_micros
    };
    let mut seen = vec![(verdict.host, at)];
    for s in earlier.iter().filter(|s| s.mark == mark && s.source == source) {
        if seen.iter().all(|one| are_apart(*one, (s.host, s.at))) {
            seen.push((s.host, s.at));
        }
    }
    if seen.len() < policy.unclear_repeats as usize {
        return verdict;
    }
    let again = match seen.len() {
        0..=1 => String::new(),
        n => format!("; the same {n} times, on different hosts or days"),
    };
    // Shorten the text first, so that the addition always fits.
    let room = MAX_REASON_CHARS - again.chars().count();
    let reason = format!("{}{again}", shorten_to(&verdict.reason, room));
    Verdict { outcome: Outcome::GenuineFailure, class: Some(FaultClass::Repeated), reason, ..verdict }
}

/// Classifies how a rebuild ended. Returns `None` while it has not ended.
///
/// A final state counts even if this service gave the task up, because the task may have ended just
/// before. Among several failures, a genuine one decides, because it stays true whatever else went
/// wrong. Otherwise an unclear one decides, because it may be genuine. Cost: length of the texts
/// times number of known texts and patterns.
pub fn classify(ended: &Ended<'_>, policy: &Policy) -> Option<Verdict> {
    match ended.state {
        TaskState::Closed => Some(Verdict::new(Outcome::Ok, None, "the build task succeeded")),
        TaskState::Failed => Some(classify_failure(ended, policy)),
        _ if ended.timed_out => {
            Some(Verdict::new(Outcome::TimedOut, None, "given up: it ran longer than task_timeout_secs allows"))
        }
        TaskState::Canceled => Some(Verdict::new(
            Outcome::Cancelled,
            None,
            match ended.cancelled_by {
                Some(Canceller::Us) => "cancelled on request",
                Some(Canceller::Koji) => "cancelled in Koji",
                None => "cancelled",
            },
        )),
        TaskState::Free | TaskState::Open | TaskState::Assigned | TaskState::Unknown(_) => None,
    }
}

fn classify_failure(ended: &Ended<'_>, policy: &Policy) -> Verdict {
    let steps = ended.failed_steps.get(..MAX_STEPS).unwrap_or(ended.failed_steps);
    let mut told: Vec<Verdict> = steps
        .iter()
        .filter_map(|step| Some((step, step.fault.filter(|f| says_something(*f))?)))
        .map(|(step, fault)| classify_fault(fault, Some(step), policy))
        .collect();
    // The task repeats the fault of its first failed step. The step also tells the method, so its
    // copy is used.
    let own = ended.fault.filter(|f| says_something(*f));
    if let Some(own) = own.filter(|own| !steps.iter().any(|s| s.fault.is_some_and(|f| f.text == own.text))) {
        told.push(classify_fault(own, only(steps), policy));
    }
    let of = |outcome| told.iter().find(|v: &&Verdict| v.outcome == outcome);
    if let Some(verdict) = of(Outcome::GenuineFailure).or(of(Outcome::Unclear)).or(told.first()) {
        return verdict.clone();
    }
    match steps.iter().find(|s| builds_package(s)).or(steps.first()) {
        Some(step) => {
            let class = match step {
                step if !builds_package(step) => FaultClass::OtherStep,
                step if makes_source_package(step) => FaultClass::SourcePackage,
                _ => FaultClass::Other,
            };
            Verdict::failure(class, format!("{} failed, and its fault is not known", describe(step)))
        }
        None if ended.any_step => {
            Verdict::failure(FaultClass::NoFailedStep, "the build task failed though none of its steps did")
        }
        None => Verdict::failure(FaultClass::NoFailedStep, "failed before any build step began"),
    }
}

/// Checks whether a fault carries information. A fault without a text does so only by its code.
fn says_something(fault: Fault<'_>) -> bool {
    !fault.text.trim().is_empty() || texts::class_by_code(fault.code) != FaultClass::Unknown
}

fn classify_fault(fault: Fault<'_>, step: Option<&FailedStep<'_>>, policy: &Policy) -> Verdict {
    let text = bounded(fault.text).to_ascii_lowercase();
    let line = telling_line(fault.text);
    let reason = match step {
        Some(step) => format!("{}: {line}", describe(step)),
        None => line.into_owned(),
    };
    if is_cancelled_step(fault.code, &text) {
        return Verdict::new(Outcome::Cancelled, None, format!("a step was cancelled in Koji ({reason})"))
            .saying(fault);
    }
    let listed = |patterns: &[String]| {
        patterns.iter().any(|p| !p.trim().is_empty() && text.contains(&p.trim().to_ascii_lowercase()))
    };
    let of_source = step.is_some_and(makes_source_package);
    let class = if listed(&policy.fault_patterns) {
        FaultClass::Configured
    } else if listed(&policy.package_fault_patterns) {
        FaultClass::ConfiguredOwn
    } else {
        texts::class_of(&text, of_source).unwrap_or_else(|| texts::class_by_code(fault.code))
    };
    let class = match (class, step) {
        // Whatever the text says, the package did not fail in this step.
        (class, Some(step)) if step_is_not_the_packages(step) && class.outcome() != Outcome::InfrastructureFault => {
            FaultClass::OtherStep
        }
        (FaultClass::Build, Some(step)) if makes_source_package(step) => FaultClass::SourcePackage,
        (class, _) => class,
    };
    Verdict::failure(class, reason).saying(fault)
}

/// Checks for a step cancelled by hand. It fails its parent with the generic fault `Task N is
/// canceled`.
fn is_cancelled_step(code: i64, text: &str) -> bool {
    let number = text.trim().strip_prefix("task ").and_then(|t| t.strip_suffix(" is canceled"));
    code == 1000 && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn makes_source_package(step: &FailedStep<'_>) -> bool {
    matches!(step.method, "rebuildSRPM" | "buildSRPMFromSCM")
}

/// Checks whether a failure of the step counts as the package's if no text says more.
/// `buildSRPMFromSCM` does not count: it first fetches the sources over the network, and rebuilds
/// of this service never run it.
fn builds_package(step: &FailedStep<'_>) -> bool {
    matches!(step.method, "buildArch" | "rebuildSRPM")
}

fn step_is_not_the_packages(step: &FailedStep<'_>) -> bool {
    !builds_package(step) && !makes_source_package(step)
}

fn only<'s, 'a>(steps: &'s [FailedStep<'a>]) -> Option<&'s FailedStep<'a>> {
    match steps {
        [step] => Some(step),
        _ => None,
    }
}

fn describe(step: &FailedStep<'_>) -> String {
    if step.label.is_empty() { step.method.to_owned() } else { format!("{} ({})", step.method, step.label) }
}

/// Returns the most informative line: the last one of a traceback, else the first one.
fn telling_line(text: &str) -> Cow<'_, str> {
    let text = bounded(text);
    let traceback = text.contains("Traceback (most recent call last)");
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let line = if traceback { lines.next_back() } else { lines.next() };
    Cow::Owned(line.unwrap_or("fault without text").to_owned())
}

fn shorten(text: &str) -> String {
    shorten_to(text, MAX_REASON_CHARS)
}

fn shorten_to(text: &str, chars: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= chars {
        return clean.collect();
    }
    clean.take(chars - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
