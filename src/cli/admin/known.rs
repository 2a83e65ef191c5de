//! Checks that the names in operator commands are known. A misspelt name would become an event
//! about nothing.

use super::super::CliError;
use crate::event::{Event, findings, hub_facts, observations, package_settings};
use crate::fold::{Collection, State};
use crate::model::nearest::{did_you_mean, distance};
use crate::model::{Hub, Name};

/// Checks the names of an event against what the log knows.
///
/// # Errors
/// Rejected, with similar names, for an unknown package or hub, and for a tag or target that looks
/// like a misspelling of a known one.
pub(super) fn check(state: &State, event: &Event) -> Result<(), CliError> {
    if let Some((collection, name)) = event.setting_of() {
        return package(state, collection, name);
    }
    match event {
        Event::CollectionCreated(e) => {
            let s = &e.settings;
            places(state, &s.hub, [("target", &s.target), ("tag", &s.build_tag), ("tag", &s.dest_tag)])
        }
        Event::CollectionEdited(e) => {
            let s = &e.settings;
            let before = state.collections.get(&e.collection).map(|c| &c.settings);
            if before.is_some_and(|b| {
                (&b.hub, &b.target, &b.build_tag, &b.dest_tag) == (&s.hub, &s.target, &s.build_tag, &s.dest_tag)
            }) {
                return Ok(());
            }
            places(state, &s.hub, [("target", &s.target), ("tag", &s.build_tag), ("tag", &s.dest_tag)])
        }
        Event::GroupMade(e) => group(state, &e.group).and_then(|()| anywhere(state, &e.packages)),
        Event::GroupChanged(e) => anywhere(state, &e.added),
        Event::RebuildCancelRequested(_)
        | Event::GroupDeleted(_)
        | Event::SubmissionsPaused(_)
        | Event::SubmissionsResumed(_)
        | Event::MessageDismissed(_)
        | package_settings!()
        | hub_facts!()
        | observations!()
        | findings!() => Ok(()),
    }
}

fn unknown(what: &str) -> CliError {
    CliError::Rejected(format!("run the command: {what} If it will exist later, add --force"))
}

fn package(state: &State, collection: &Name, package: &Name) -> Result<(), CliError> {
    // An unknown collection is refused elsewhere.
    let Some(c) = state.collections.get(collection) else { return Ok(()) };
    let listed = |c: &Collection| {
        let tag = state.hubs.get(&c.settings.hub).and_then(|h| h.tags.get(&c.settings.dest_tag));
        tag.is_some_and(|t| t.packages.contains_key(package))
    };
    if c.packages.contains_key(package) || listed(c) {
        return Ok(());
    }
    let near = did_you_mean(package, c.packages.keys().map(Name::as_str));
    let dot = if near.is_empty() { "." } else { "" };
    Err(unknown(&format!("no package `{package}` is known in `{collection}`{near}{dot}")))
}

/// Refuses a new group whose name differs by a letter or two from that of a known one.
fn group(state: &State, name: &Name) -> Result<(), CliError> {
    let is_near = |known: &&Name| is_slip(name, known) && 2 * distance(name, known) < name.len();
    match state.groups.keys().find(is_near) {
        None => Ok(()),
        Some(meant) => Err(CliError::Rejected(format!(
            "run the command: there is no group `{name}`; did you mean `{meant}`? To make another group, add --force"
        ))),
    }
}

/// Refuses packages that no collection knows.
fn anywhere(state: &State, packages: &[Name]) -> Result<(), CliError> {
    let is_listed = |name: &Name| state.hubs.values().any(|h| h.tags.values().any(|t| t.packages.contains_key(name)));
    let is_known = |name: &Name| state.collections.values().any(|c| c.packages.contains_key(name)) || is_listed(name);
    let missing: Vec<&Name> = packages.iter().filter(|name| !is_known(name)).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let near = did_you_mean(first, state.collections.values().flat_map(|c| c.packages.keys().map(Name::as_str)));
    let dot = if near.is_empty() { "." } else { "" };
    Err(unknown(&match missing.len() {
        1 => format!("no package `{first}` is known in any collection{near}{dot}"),
        n => format!("{n} packages are not known in any collection, such as `{first}`{near}{dot}"),
    }))
}

/// Refuses an unknown hub.
pub(super) fn hub(state: &State, hub: &Hub) -> Result<(), CliError> {
    // A log that knows no hub has nothing to compare with.
    if state.hubs.is_empty() || state.hubs.contains_key(hub) {
        return Ok(());
    }
    let known = || state.hubs.keys().map(Hub::as_str);
    let mut near = did_you_mean(hub.as_str(), known());
    if near.is_empty() {
        near = format!("; known are {}.", known().collect::<Vec<_>>().join(", "));
    }
    Err(unknown(&format!("no hub `{hub}` is known{near}")))
}

/// Checks whether a name looks like a misspelling of a known one. Releases also differ by a letter: f41
/// is not a misspelling of f42.
fn is_slip(name: &str, known: &str) -> bool {
    let digits = |t: &str| t.chars().filter(char::is_ascii_digit).collect::<String>();
    (1..=2).contains(&distance(name, known)) && digits(name) == digits(known)
}

/// Refuses a tag or a target that differs by a letter or two from a known one. Other unknown names
/// are accepted, because the log does not know every tag and target of a hub.
fn places(state: &State, on: &Hub, names: [(&str, &Name); 3]) -> Result<(), CliError> {
    hub(state, on)?;
    let Some(h) = state.hubs.get(on) else { return Ok(()) };
    let here = || state.collections.values().map(|c| &c.settings).filter(|s| s.hub == *on);
    for (what, name) in names {
        let known: Vec<&str> = match what {
            "target" => h.targets.keys().chain(here().map(|s| &s.target)).map(Name::as_str).collect(),
            _ => h.tags.keys().chain(here().flat_map(|s| [&s.build_tag, &s.dest_tag])).map(Name::as_str).collect(),
        };
        if known.contains(&name.as_str()) {
            continue;
        }
        if let Some(meant) = known.iter().find(|known| is_slip(name, known)) {
            return Err(unknown(&format!("no {what} `{name}` is known on {on}; did you mean `{meant}`?")));
        }
    }
    Ok(())
}
