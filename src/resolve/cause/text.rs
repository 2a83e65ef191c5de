//! Describes first causes in words.

use super::{Culprit, Effect, FirstCause, PackageChange};

/// Describes the change of a package: `libfoo.x86_64 1-1 → 2-1, built from libfoo-1-1 →
/// libfoo-2-1`.
pub(crate) fn culprit(cause: &FirstCause) -> String {
    let change = match &cause.culprit {
        Culprit::BuildRequires => return "the source package's own requirements".to_owned(),
        Culprit::BuildGroup => return "the members of the build group".to_owned(),
        Culprit::Package(change) => change,
    };
    let PackageChange { name, arch, old, new, source, successors } = &**change;
    let moved = match (old, new) {
        (Some(old), Some(new)) if old == new => format!("{old}, other metadata"),
        (Some(old), Some(new)) => format!("{old} → {new}"),
        (Some(old), None) => format!("{old} removed"),
        (None, Some(new)) => format!("{new} added"),
        (None, None) => String::new(),
    };
    let built = match source {
        Some((before, Some(after))) if before != after => format!(", built from {before} → {after}"),
        Some((before, Some(_))) => format!(", built from {before}"),
        Some((before, None)) => format!(", built from {before}, which is gone"),
        None => String::new(),
    };
    let instead = match successors.as_slice() {
        [] => String::new(),
        some => format!(", which now builds {}", some.join(", ")),
    };
    format!("{name}.{arch} {moved}{built}{instead}")
}

/// Describes the effect of the change.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Lost { requirement } => format!("no longer provides {requirement}"),
        Effect::Requires { requirement } => format!("now requires {requirement}, which cannot be installed"),
        Effect::Provides { requirement } => format!("now provides {requirement}, which the build group requires"),
        Effect::Conflict { with } => format!("can no longer be installed together with {with}"),
    }
}

/// Describes the path from what the source package requires to what is missing.
pub(crate) fn path(cause: &FirstCause) -> String {
    let mut text = String::new();
    if cause.in_group {
        text.push_str("build group: ");
    }
    for (at, link) in cause.path.iter().enumerate() {
        if at > 0 {
            text.push_str(" → ");
        }
        text.push_str(&link.requirement);
        if let Some(package) = &link.package
            && !link.requirement.starts_with(package.name.as_str())
        {
            text.push_str(&format!(" ({})", package.name));
        }
    }
    text
}

/// Describes a cause in one line: what changed, its effect, and the path to it.
pub(crate) fn sentence(cause: &FirstCause) -> String {
    format!("{} {} ({})", culprit(cause), effect(&cause.effect), path(cause))
}
