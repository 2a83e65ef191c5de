//! How a rebuild ended: was it the package, or the build system?
//!
//! Koji says only that a task failed; why stands in the fault that `getTaskResult` returns for the task and for its failed steps.
//! Only a *genuine* failure is evidence about the package. An *infrastructure* fault leaves the package's state alone and the
//! rebuild is tried again ([`super::retry`] sees to it that this never becomes a loop).
//!
//! Source: Koschei 2.4, `backend.py` `is_koji_fault` (lock errors and anything that is not Koji's own error is a fault, other Koji errors
//! are genuine). Kept for everything without a more telling text. Changed on purpose:
//! * texts are read, because Koji uses one code for many things: a repository that vanished, a chroot that could not be
//!   made and a compiler error are all 1005 or 1012. Vanished inputs and broken chroots are no evidence about the package (#338, #347);
//! * codes that speak of sessions, permissions, configuration or an offline hub are faults, though they are Koji's own;
//! * a failure to install build dependencies keeps a class of its own;
//! * a failed source package (`rebuildSRPM`) is genuine, as in Koschei since #310;
//! * cancelled and timed-out rebuilds are recorded as such, not deleted (#266).

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::facts::{FAULT_TEXT_BYTES_MAX, bounded_fault as bounded};
use crate::model::Outcome;
use crate::model::koji::TaskState;

/// Bytes of a fault's text that are looked at; of a longer one the first and the last half of it. As many as are stored.
pub const MAX_FAULT_TEXT_BYTES: usize = FAULT_TEXT_BYTES_MAX;
/// What is said of a task the hub does not know any more.
pub const VANISHED: &str = "the hub does not know the task any more";
/// Failed steps that are looked at; a task has one per architecture.
pub const MAX_STEPS: usize = 128;
/// Characters of a reason.
pub const MAX_REASON_CHARS: usize = 300;

/// An XML-RPC fault, as `getTaskResult` returns it for a failed task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault<'a> {
    /// `faultCode`; 1000 and up are Koji's own errors.
    pub code: i64,
    /// `faultString`: one line for Koji's errors, often a whole Python traceback for code 1.
    pub text: &'a str,
}

/// A subtask that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailedStep<'a> {
    /// Koji's method: `buildArch`, `rebuildSRPM`, …
    pub method: &'a str,
    /// Koji's label: the architecture, or `srpm`.
    pub label: &'a str,
    /// Its fault; `None` when it was not asked for, as in a recording.
    pub fault: Option<Fault<'a>>,
}

/// Who cancelled a task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Canceller {
    /// This service, because someone asked it to.
    Us,
    /// Somebody else, in Koji.
    Koji,
}

/// What is known of a rebuild's task.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// State of the `build` task.
    pub state: TaskState,
    /// Its own fault, if known.
    pub fault: Option<Fault<'a>>,
    /// Its failed steps.
    pub failed_steps: &'a [FailedStep<'a>],
    /// Whether any step was seen at all, failed or not.
    pub any_step: bool,
    /// Who cancelled it, if that is known.
    pub cancelled_by: Option<Canceller>,
    /// Whether we gave it up because it took too long.
    pub timed_out: bool,
}

/// What kind of failure it was, for statistics and for telling people where to look.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// Genuine: the package did not build.
    Build,
    /// Genuine: its source package could not be made.
    SourcePackage,
    /// Genuine: its build dependencies could not be installed; it is unresolved rather than failing, in a newer repository than
    /// the one it was resolved in (#271).
    Dependencies,
    /// Genuine for want of a better word: one of Koji's own errors without a text that tells more, or a failed step without a text.
    Other,
    /// Infrastructure: the repository or tag it was bound to is gone or does not fit.
    InputVanished,
    /// Infrastructure: the chroot could not be set up, or the builder died under it.
    Builder,
    /// Infrastructure: the hub refuses us, by policy, permission or configuration. An operator has to look.
    Refused,
    /// Infrastructure: the hub or something on the way to it did not answer properly.
    Hub,
    /// Infrastructure: a text the policy lists.
    Configured,
    /// Infrastructure: the task failed though no step of it did, and nobody says why.
    NoFailedStep,
}

impl FaultClass {
    /// Whether this says something about the package.
    pub const fn is_genuine(self) -> bool {
        matches!(self, Self::Build | Self::SourcePackage | Self::Dependencies | Self::Other)
    }

    /// Lower-case words, for reasons and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build failed",
            Self::SourcePackage => "source package failed",
            Self::Dependencies => "dependencies not installable",
            Self::Other => "failed",
            Self::InputVanished => "input vanished",
            Self::Builder => "builder trouble",
            Self::Refused => "refused by the hub",
            Self::Hub => "hub trouble",
            Self::Configured => "known infrastructure trouble",
            Self::NoFailedStep => "no failed step",
        }
    }
}

/// How a rebuild ended, and why we think so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What it means.
    pub outcome: Outcome,
    /// What kind of failure; `None` unless it failed.
    pub class: Option<FaultClass>,
    /// One line for people, at most [`MAX_REASON_CHARS`] characters.
    pub reason: String,
    /// The builder's own words that decided, where they are known; at most [`MAX_FAULT_TEXT_BYTES`] and a line break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

impl Verdict {
    fn new(outcome: Outcome, class: Option<FaultClass>, reason: impl AsRef<str>) -> Self {
        Self { outcome, class, reason: shorten(reason.as_ref()), words: None }
    }

    fn saying(self, text: &str) -> Self {
        Self { words: Some(bounded(text).into_owned()), ..self }
    }

    /// That of a task the hub does not know any more: nothing about the package, and nothing will come of it.
    pub fn vanished() -> Self {
        Self::failure(FaultClass::Hub, VANISHED)
    }

    fn failure(class: FaultClass, reason: impl AsRef<str>) -> Self {
        let outcome = if class.is_genuine() { Outcome::GenuineFailure } else { Outcome::InfrastructureFault };
        Self::new(outcome, Some(class), reason)
    }
}

/// Says how a rebuild ended; `None` while it has not. `patterns` are the policy's `fault_patterns`.
///
/// A final state counts even when we gave the task up: it may have ended just before. Among several failures one that is
/// genuine decides, because it stays true whatever else went wrong. Cost: length of the texts times number of patterns.
pub fn classify(ended: &Ended<'_>, patterns: &[String]) -> Option<Verdict> {
    match ended.state {
        TaskState::Closed => Some(Verdict::new(Outcome::Ok, None, "the build task succeeded")),
        TaskState::Failed => Some(classify_failure(ended, patterns)),
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

fn classify_failure(ended: &Ended<'_>, patterns: &[String]) -> Verdict {
    let steps = ended.failed_steps.get(..MAX_STEPS).unwrap_or(ended.failed_steps);
    // The task repeats the fault of its first failed step, so a step's word, which knows its method, comes first.
    let from_steps = steps.iter().filter_map(|s| Some((Some(s), s.fault?)));
    let told: Vec<Verdict> = from_steps
        .chain(ended.fault.map(|fault| (None, fault)))
        .map(|(step, fault)| classify_fault(fault, step.or(only(steps)), patterns))
        .collect();
    if let Some(verdict) = told.iter().find(|v| v.outcome == Outcome::GenuineFailure).or(told.first()) {
        return verdict.clone();
    }
    match steps.first() {
        Some(step) => {
            let class = if makes_source_package(step) { FaultClass::SourcePackage } else { FaultClass::Other };
            Verdict::failure(class, format!("{} failed, and its fault is not known", describe(step)))
        }
        None if ended.any_step => {
            Verdict::failure(FaultClass::NoFailedStep, "the build task failed though none of its steps did")
        }
        None => Verdict::failure(FaultClass::NoFailedStep, "failed before any build step began"),
    }
}

fn classify_fault(fault: Fault<'_>, step: Option<&FailedStep<'_>>, patterns: &[String]) -> Verdict {
    let text = bounded(fault.text).to_ascii_lowercase();
    let line = telling_line(fault.text);
    let reason = match step {
        Some(step) => format!("{}: {line}", describe(step)),
        None => line.into_owned(),
    };
    if is_cancelled_step(fault.code, &text) {
        return Verdict::new(Outcome::Cancelled, None, format!("a step was cancelled in Koji ({reason})"))
            .saying(fault.text);
    }
    if patterns.iter().any(|p| !p.trim().is_empty() && text.contains(&p.trim().to_ascii_lowercase())) {
        return Verdict::failure(FaultClass::Configured, reason).saying(fault.text);
    }
    let class = class_by_text(&text).or_else(|| class_by_mock(&text)).unwrap_or_else(|| class_by_code(fault.code));
    let class = match (class, step) {
        (FaultClass::Build | FaultClass::Other, Some(step)) if makes_source_package(step) => FaultClass::SourcePackage,
        (class, _) => class,
    };
    Verdict::failure(class, reason).saying(fault.text)
}

/// Texts that mean the same whatever the code. Lower case.
fn class_by_text(text: &str) -> Option<FaultClass> {
    /// kojid's `build` and `buildArch` when the repository it was told to use is not there (or not that tag's) any more.
    const VANISHED: [&str; 3] = ["bad repo:", "no such repo:", "repo/target mismatch:"];
    const HUB: [&str; 7] = [
        "backend fetch failed",
        "service unavailable",
        "protocolerror",
        "server is offline",
        "connection reset by peer",
        "connection refused",
        "connection timed out",
    ];
    const BUILDER: [&str; 5] = [
        "no space left on device",
        "could not init mock buildroot",
        "mock was killed by signal",
        "cannot allocate memory",
        "read-only file system",
    ];
    let has = |texts: &[&str]| texts.iter().any(|t| text.contains(t));
    if has(&VANISHED) || (text.contains("requested repo (") && text.contains(") is ")) {
        Some(FaultClass::InputVanished)
    } else if has(&HUB) {
        Some(FaultClass::Hub)
    } else if has(&BUILDER) {
        // The chroot holds the build group only: whatever is wrong with it, it is not this package.
        Some(FaultClass::Builder)
    } else {
        None
    }
}

/// By mock's exit status, which kojid puts into the text: `error building package (arch x86_64), mock exited with status 30; …`.
/// Source: mock's `exception.py` (result codes).
fn class_by_mock(text: &str) -> Option<FaultClass> {
    let (_, rest) = text.split_once("mock exited with status ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(4).collect();
    Some(match digits.parse::<u16>().ok()? {
        // Command line and configuration; chroot; architecture; chroot in use; result directory; namespaces.
        5 | 20 | 25 | 60 | 70 | 80 => FaultClass::Builder,
        30 => FaultClass::Dependencies,
        40 => FaultClass::SourcePackage,
        _ => FaultClass::Build,
    })
}

/// By Koji's fault code alone. Source: `faultCode` of the exceptions in `koji/__init__.py`.
const fn class_by_code(code: i64) -> FaultClass {
    match code {
        // Locks, sessions, retries, offline: LockError, AuthLockError, AuthExpired, SequenceError, RetryError, ServerOffline.
        1001 | 1006 | 1007 | 1008 | 1009 | 1014 => FaultClass::Hub,
        // AuthError, ActionNotAllowed, ConfigurationError, GSSAPIAuthError.
        1002 | 1004 | 1021 | 1023 => FaultClass::Refused,
        // TagError: the tag or target is not what it was when we asked.
        1003 => FaultClass::InputVanished,
        // GenericError, BuildError, BuildrootError and the rest of Koji's own.
        1000..=1999 => FaultClass::Other,
        // 1 is any unexpected exception on hub or builder; others are not Koji's at all.
        _ => FaultClass::Hub,
    }
}

/// A step cancelled by hand fails its parent with the generic fault `Task N is canceled`.
fn is_cancelled_step(code: i64, text: &str) -> bool {
    let number = text.trim().strip_prefix("task ").and_then(|t| t.strip_suffix(" is canceled"));
    code == 1000 && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn makes_source_package(step: &FailedStep<'_>) -> bool {
    matches!(step.method, "rebuildSRPM" | "buildSRPMFromSCM")
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

/// The line that says most: of a traceback the last one, else the first one.
fn telling_line(text: &str) -> Cow<'_, str> {
    let text = bounded(text);
    let traceback = text.contains("Traceback (most recent call last)");
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let line = if traceback { lines.next_back() } else { lines.next() };
    Cow::Owned(line.unwrap_or("fault without text").to_owned())
}

fn shorten(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= MAX_REASON_CHARS {
        return clean.collect();
    }
    clean.take(MAX_REASON_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
