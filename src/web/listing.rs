//! Selects the packages of a list, sorts them, and cuts out the requested page.

use super::follower::View;
use super::links;
use super::params::{self, Order, PackagesRequest, SortKey};
use super::refusal::{Refusal, short};
use crate::decide::eligibility::priority_of;
use crate::fold::{Collection, Package};
use crate::model::{Name, PackageState};
use crate::view::package::rank;

/// A package and its collection.
pub(super) type Entry<'a> = ((&'a Name, &'a Collection), (&'a Name, &'a Package));

/// Returns the requested collections. Refuses an unknown name.
pub(super) fn collections<'a>(
    view: &'a View,
    wanted: &PackagesRequest,
) -> Result<Vec<(&'a Name, &'a Collection)>, Refusal> {
    let all = view.state.collections.iter();
    match &wanted.collection {
        None => Ok(all.collect()),
        Some(name) => {
            let found = view.state.collections.get_key_value(name.as_str());
            found.map(|f| vec![f]).ok_or_else(|| {
                let known = all.map(|(n, _)| (n.to_string(), links::with_query("/packages", &[("collection", n)])));
                Refusal::NotFound(format!("there is no collection `{}`", short(name)), known.collect())
            })
        }
    }
}

fn fits(wanted: &PackagesRequest, state: PackageState) -> bool {
    match wanted.states[..] {
        [] => !matches!(state, PackageState::Blocked | PackageState::Untracked),
        _ => wanted.states.contains(&state),
    }
}

/// Returns the packages that fit, in the requested order. Cost: O(packages · log packages).
pub(super) fn select<'a>(
    view: &'a View,
    of: &[(&'a Name, &'a Collection)],
    wanted: &PackagesRequest,
) -> Vec<Entry<'a>> {
    let mut found: Vec<Entry<'a>> = Vec::new();
    for (name, c) in of {
        let packages = c.packages.iter().filter(|(_, p)| fits(wanted, p.state(c.settings.track_all)));
        found.extend(packages.filter(|(p, _)| params::fits(&wanted.search, p)).map(|p| ((*name, *c), p)));
    }
    let now = view.state.recorded_at;
    // The key sorts ascending; names decide between equal keys.
    let key = |((_, c), (_, p)): &Entry<'_>| -> i64 {
        match wanted.order.key {
            SortKey::Name => 0,
            SortKey::State => i64::try_from(rank(p.state(c.settings.track_all))).unwrap_or(i64::MAX),
            SortKey::Priority => priority_of(c, p, now, &view.policy).map_or(i64::MAX, |p| -p.current.0),
            SortKey::Built => p.evidence.iter().map(|e| e.at).max().map_or(i64::MAX, |at| -at.micros()),
            SortKey::Running => -i64::from(u32::from(p.running) + u32::from(p.open_rebuild.is_some())),
        }
    };
    sort(&mut found, wanted.order, key, |e| (e.1.0, e.0.0));
    found
}

/// Sorts rows by a number, which is computed once per row, and then by name.
fn sort<T, N: Ord>(rows: &mut Vec<T>, order: Order, key: impl Fn(&T) -> i64, name: impl Fn(&T) -> N) {
    let mut keyed: Vec<(i64, T)> = rows.drain(..).map(|row| (key(&row), row)).collect();
    keyed.sort_by(|(a, i), (b, j)| {
        let by_key = if order.reversed { b.cmp(a) } else { a.cmp(b) };
        let by_name = name(i).cmp(&name(j));
        by_key.then(if order.reversed && order.key == SortKey::Name { by_name.reverse() } else { by_name })
    });
    rows.extend(keyed.into_iter().map(|(_, row)| row));
}

/// Returns the rows of the requested page, and the number of pages.
pub(super) fn page<'a, T>(rows: &'a [T], wanted: &PackagesRequest) -> Result<(&'a [T], usize), Refusal> {
    let pages = rows.len().div_ceil(wanted.rows).max(1);
    if wanted.page > pages {
        let last = (format!("page {pages}"), address(wanted, |w| w.page = pages));
        return Err(Refusal::NotFound(
            format!("there is no page {}; the last one is {pages}", wanted.page),
            vec![last],
        ));
    }
    Ok((rows.chunks(wanted.rows).nth(wanted.page - 1).unwrap_or_default(), pages))
}

/// Groups entries of the same name, at the place of the first one.
pub(super) fn grouped(found: Vec<Entry<'_>>, order: Order) -> Vec<(&Name, Vec<Entry<'_>>)> {
    let mut groups: indexmap::IndexMap<&Name, Vec<Entry<'_>>> = indexmap::IndexMap::new();
    for entry in found {
        groups.entry(entry.1.0).or_default().push(entry);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    if order.key == SortKey::Name {
        groups.sort_by(|a, b| if order.reversed { b.0.cmp(a.0) } else { a.0.cmp(b.0) });
    }
    groups
}

/// Returns the address of this list after a change.
pub(super) fn address(wanted: &PackagesRequest, change: impl FnOnce(&mut PackagesRequest)) -> String {
    let mut w = wanted.clone();
    change(&mut w);
    let states: Vec<&str> = w.states.iter().map(|s| s.as_str()).collect();
    let (order, page, rows) = (w.order.word(), w.page.to_string(), w.rows.to_string());
    let unless = |usual: bool, text: String| if usual { String::new() } else { text };
    links::with_query(
        "/packages",
        &[
            ("collection", w.collection.as_deref().unwrap_or_default()),
            ("state", &states.join(",")),
            ("q", &w.search),
            ("order", &unless(order == "state", order.clone())),
            ("page", &unless(w.page == 1, page)),
            ("rows", &unless(w.rows == params::ROWS, rows)),
        ],
    )
}
