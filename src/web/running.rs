//! Rebuilds that run, or are decided and have no task yet.

use maud::{Markup, html};

use super::view::View;
use super::{KojiLinks, links, parts};
use crate::fold::{Collection, EvidenceKind};
use crate::model::{Hub, Name, TaskId, Timestamp};
use crate::view::text::span_to_minute;

/// Largest number of rows.
const SHOWN: usize = 50;

/// A rebuild that runs, or is decided and has no task yet.
pub(super) struct Running {
    pub(super) collection: Name,
    pub(super) package: Name,
    pub(super) hub: Hub,
    pub(super) task: Option<TaskId>,
    pub(super) since: Option<Timestamp>,
}

/// Returns the rebuilds of a collection, or of all, oldest first; those without a task last. Cost:
/// visits every package.
pub(super) fn all(view: &View, only: Option<&str>) -> Vec<Running> {
    let mut running: Vec<Running> = Vec::new();
    for (name, c) in view.state.collections.iter().filter(|(n, _)| only.is_none_or(|o| o == n.as_str())) {
        of_collection(name, c, &mut running);
    }
    running.sort_by(|a, b| {
        (a.since.is_none(), a.since, &a.package, &a.collection).cmp(&(
            b.since.is_none(),
            b.since,
            &b.package,
            &b.collection,
        ))
    });
    running
}

/// Returns the number of rebuilds of a collection, or of all, and a table of the oldest ones. Cost:
/// visits every package.
pub(super) fn table(view: &View, only: Option<&str>, koji: &KojiLinks) -> (usize, Markup) {
    let running = all(view, only);
    let now = view.state.recorded_at;
    let table = html! {
        @if running.is_empty() { p { "None." } }
        @else {
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Package" } @if only.is_none() { th scope="col" { "Collection" } }
                    th scope="col" { "Task" } th scope="col" { "Since" } th.n scope="col" { "For" }
                } }
                tbody { @for r in running.iter().take(SHOWN) { tr {
                    th scope="row" { a href=(links::package(&r.collection, &r.package)) { (r.package) } }
                    @if only.is_none() { td { a href=(links::collection(&r.collection)) { (r.collection) } } }
                    td { @match r.task {
                        Some(task) => (parts::maybe_link(koji.task(&r.hub, task), task)),
                        None => "no task yet",
                    } }
                    td { @if let Some(since) = r.since { (parts::time(since)) } }
                    td.n { @if let Some(since) = r.since { (span_to_minute(now.since(since) / 1_000_000)) } }
                } } }
            } }
            @if running.len() > SHOWN { p { "And " (running.len() - SHOWN) " more." } }
        }
    };
    (running.len(), table)
}

fn of_collection(name: &Name, c: &Collection, running: &mut Vec<Running>) {
    let own = &c.settings.hub;
    let add = |package: &Name, hub: &Hub, task, since| Running {
        collection: name.clone(),
        package: package.clone(),
        hub: hub.clone(),
        task,
        since,
    };
    for (package, p) in c.packages.iter().filter(|(_, p)| p.running > 0 || p.open_rebuild.is_some()) {
        for e in p.evidence.iter().filter(|e| e.running) {
            if let EvidenceKind::Scratch(task) = e.kind {
                running.push(add(package, e.hub(own), Some(task), Some(e.at)));
            }
        }
        if p.open_rebuild.is_some() {
            running.push(add(package, c.settings.building_hub(), None, None));
        }
    }
}
