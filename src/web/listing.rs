//! Selects the packages of a list, and cuts out the requested page.

use super::links;
use super::orders::{Entry, index};
use super::params::{self, PackagesRequest, Search};
use super::people::Owned;
use super::refusal::{Refusal, short};
use super::view::View;
use crate::fold::{Collection, Group};
use crate::model::nearest::nearest;
use crate::model::{Name, PackageState};
use crate::view::package::{STATES, rank};

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

/// Finds a group.
///
/// # Errors
/// Refuses an unknown name, and offers similar ones.
pub(super) fn group<'a>(view: &'a View, name: &str) -> Result<(&'a Name, &'a Group), Refusal> {
    view.state.groups.get_key_value(name).ok_or_else(|| {
        let near = nearest(name, view.state.groups.keys().map(Name::as_str));
        let offered = near.into_iter().map(|n| (n.to_owned(), links::group(n))).collect();
        Refusal::NotFound(format!("there is no group `{}`", short(name)), offered)
    })
}

/// Counts the packages of a group in each of [`STATES`], over these collections. Cost: O(packages of
/// the group · collections).
pub(super) fn counts<'a>(
    group: &Group,
    of: impl IntoIterator<Item = (&'a Name, &'a Collection)>,
) -> [usize; STATES.len()] {
    let mut counts = [0; STATES.len()];
    for (_, c) in of {
        for package in group.packages.iter().filter_map(|name| c.packages.get(name)) {
            counts[rank(package.state(c.settings.track_all))] += 1;
        }
    }
    counts
}

/// The requested page of a list.
pub(super) struct Page<'a> {
    /// Each row has the packages of one name: one package if the list is of one collection, else
    /// those that fit of all collections.
    pub(super) rows: Vec<Vec<Entry<'a>>>,
    /// Number of rows on all pages.
    pub(super) matching: usize,
    /// Number of pages.
    pub(super) pages: usize,
}

/// Returns the packages that fit, in the requested order, cut to the requested page. Cost:
/// O(packages), of which the most is a look at two arrays.
pub(super) fn page<'a>(
    view: &'a View,
    of: &[(&'a Name, &'a Collection)],
    wanted: &PackagesRequest,
) -> Result<Page<'a>, Refusal> {
    let listing = view.listing();
    let only = match of {
        [(name, _)] => view.state.collections.get_index_of(*name).map(index),
        _ => None,
    };
    let fit = STATES.map(|state| match wanted.states[..] {
        [] => !matches!(state, PackageState::Blocked | PackageState::Untracked),
        _ => wanted.states.contains(&state),
    });
    let members = match &wanted.group {
        Some(name) => Some(listing.places.in_group(&view.state, group(view, name)?.1)),
        None => None,
    };
    let search = Search::new(&wanted.search);
    let found: Option<Vec<bool>> =
        search.map(|search| listing.places.lower.iter().map(|name| search.fits(name)).collect());
    // Rows of all collections begin where the first package of a name stands.
    let mut row_of = vec![u32::MAX; if only.is_some() { 0 } else { listing.places.lower.len() }];
    let from = (wanted.page - 1).saturating_mul(wanted.rows);
    let mut rows: Vec<Vec<Entry<'a>>> = Vec::new();
    let mut matching = 0;
    for at in view.order(wanted.order) {
        let (place, state) = (listing.places.sorted[*at as usize], listing.states[*at as usize]);
        let name = place.name as usize;
        let fits = only.is_none_or(|c| c == place.collection) && fit[rank(state)];
        let is_out = |names: &Option<Vec<bool>>| names.as_ref().is_some_and(|names| !names[name]);
        let is_own = |owned: &Owned| {
            let ((_, c), (package, _)) = place.entry(&view.state);
            owned.has(&view.state, c, package)
        };
        if !fits || is_out(&members) || is_out(&found) || !wanted.owned.as_ref().is_none_or(is_own) {
            continue;
        }
        let row = match row_of.get(name) {
            Some(row) if *row != u32::MAX => *row as usize,
            _ => {
                matching += 1;
                matching - 1
            }
        };
        if let Some(known) = row_of.get_mut(name) {
            *known = index(row);
        }
        match row.checked_sub(from) {
            Some(shown) if shown < rows.len() => rows[shown].push(place.entry(&view.state)),
            Some(shown) if shown < wanted.rows => rows.push(vec![place.entry(&view.state)]),
            _ => {}
        }
    }
    let pages = matching.div_ceil(wanted.rows).max(1);
    if wanted.page > pages {
        let last = (format!("page {pages}"), address(wanted, |w| w.page = pages));
        return Err(Refusal::NotFound(
            format!("there is no page {}; the last one is {pages}", wanted.page),
            vec![last],
        ));
    }
    Ok(Page { rows, matching, pages })
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
            ("group", w.group.as_deref().unwrap_or_default()),
            ("state", &states.join(",")),
            ("owner", w.owner.as_deref().unwrap_or_default()),
            ("q", &w.search),
            ("order", &unless(order == "state", order.clone())),
            ("page", &unless(w.page == 1, page)),
            ("rows", &unless(w.rows == params::ROWS, rows)),
        ],
    )
}
