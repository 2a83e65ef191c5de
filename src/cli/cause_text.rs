//! First causes in words.

use crate::resolve::{Culprit, Effect, FirstCause, PackageChange};

/// The change of a package: `libfoo.x86_64 1-1 → 2-1, built from libfoo-1-1 → libfoo-2-1`.
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
        some => format!(", which builds {} now", some.join(", ")),
    };
    format!("{name}.{arch} {moved}{built}{instead}")
}

/// What the change did.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Lost { requirement } => format!("provides {requirement} no longer"),
        Effect::Requires { requirement } => format!("requires {requirement} now, which cannot be had"),
        Effect::Provides { requirement } => format!("provides {requirement} now, which the build group asks for"),
        Effect::Conflict { with } => format!("cannot be installed together with {with} any more"),
    }
}

/// From what the source package asks for to what is missing.
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
