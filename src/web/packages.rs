//! `/packages`: a table to sort, filter and search; of one collection in detail, or of all beside each other.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::Response;
use maud::{Markup, html};
use serde::Serialize;

use super::follower::View;
use super::params::{self, Key, Order, PackagesQuery, SEARCH_CHARS_MAX, Wanted};
use super::reply::{AsOf, Asked, Content, Refusal, reply};
use super::{KojiLinks, Site, links, parts};
use crate::decide::eligibility::priority_of;
use crate::fold::{Collection, Package};
use crate::model::{BuildId, Name, PackageState, TaskId};
use crate::view::package::{self as package_view, PackageView, Report, STATES, rank};
use crate::view::text::{one_line, points};

/// Longest reason in a row, characters.
const REASON: usize = 160;

/// What machines get: as `koschei status --json`, one page of it.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    report: Report,
    /// This page, from 1.
    page: usize,
    /// How many there are.
    pages: usize,
    /// How many packages fit, on all pages; one that several collections have counts once, as on the page for people.
    matching: usize,
}

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    query: Result<Query<PackagesQuery>, QueryRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&["collection", "state", "q", "order", "page", "rows"])?;
        let wanted = query?.0.check()?;
        let (json, koji) = (asked.json, site.koji.clone());
        site.look(move |view| {
            let content = if json { machine(view, &wanted)? } else { people(view, &wanted, &koji)? };
            Ok((AsOf::of(view), content))
        })
        .await
    })
    .await
}

type Entry<'a> = ((&'a Name, &'a Collection), (&'a Name, &'a Package));

/// The collections asked for; refused when there is none of that name.
fn collections<'a>(view: &'a View, wanted: &Wanted) -> Result<Vec<(&'a Name, &'a Collection)>, Refusal> {
    let all = view.state.collections.iter();
    match &wanted.collection {
        None => Ok(all.collect()),
        Some(name) => {
            let found = view.state.collections.get_key_value(name.as_str());
            found.map(|f| vec![f]).ok_or_else(|| {
                let known = all.map(|(n, _)| (n.to_string(), links::with_query("/packages", &[("collection", n)])));
                Refusal::NotFound(format!("there is no collection `{}`", params::short(name)), known.collect())
            })
        }
    }
}

fn fits(wanted: &Wanted, state: PackageState) -> bool {
    match wanted.states[..] {
        [] => !matches!(state, PackageState::Blocked | PackageState::Untracked),
        _ => wanted.states.contains(&state),
    }
}

/// Packages that fit, in the order asked for. Cost: O(packages · log packages).
fn select<'a>(view: &'a View, of: &[(&'a Name, &'a Collection)], wanted: &Wanted) -> Vec<Entry<'a>> {
    let mut found: Vec<Entry<'a>> = Vec::new();
    for (name, c) in of {
        let packages = c.packages.iter().filter(|(_, p)| fits(wanted, p.state(c.settings.track_all)));
        found.extend(packages.filter(|(p, _)| params::fits(&wanted.search, p)).map(|p| ((*name, *c), p)));
    }
    let now = view.state.recorded_at;
    // The first number of the key says it all, smallest first; names decide between equal ones.
    let key = |((_, c), (_, p)): &Entry<'_>| -> i64 {
        match wanted.order.key {
            Key::Name => 0,
            Key::State => i64::try_from(rank(p.state(c.settings.track_all))).unwrap_or(i64::MAX),
            Key::Priority => priority_of(c, p, now, &view.policy).map_or(i64::MAX, |p| -p.current.0),
            Key::Built => p.evidence.iter().map(|e| e.at).max().map_or(i64::MAX, |at| -at.micros()),
            Key::Running => -i64::from(u32::from(p.running) + u32::from(p.open_rebuild.is_some())),
        }
    };
    sort(&mut found, wanted.order, key, |e| (e.1.0, e.0.0));
    found
}

/// Sorts rows by a number, asked for once per row, and then by name.
fn sort<T, N: Ord>(rows: &mut Vec<T>, order: Order, key: impl Fn(&T) -> i64, name: impl Fn(&T) -> N) {
    let mut keyed: Vec<(i64, T)> = rows.drain(..).map(|row| (key(&row), row)).collect();
    keyed.sort_by(|(a, i), (b, j)| {
        let by_key = if order.reversed { b.cmp(a) } else { a.cmp(b) };
        let by_name = name(i).cmp(&name(j));
        by_key.then(if order.reversed && order.key == Key::Name { by_name.reverse() } else { by_name })
    });
    rows.extend(keyed.into_iter().map(|(_, row)| row));
}

/// The rows of the page asked for, and how many pages there are.
fn page<'a, T>(rows: &'a [T], wanted: &Wanted) -> Result<(&'a [T], usize), Refusal> {
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

fn machine(view: &View, wanted: &Wanted) -> Result<Content, Refusal> {
    let of = collections(view, wanted)?;
    let found = select(view, &of, wanted);
    let by_name: Vec<Vec<Entry<'_>>> = match of[..] {
        [_] => found.into_iter().map(|e| vec![e]).collect(),
        _ => grouped(found, wanted.order).into_iter().map(|(_, entries)| entries).collect(),
    };
    let (rows, pages) = page(&by_name, wanted)?;
    let now = view.state.recorded_at;
    let mut report = Report::of(&view.state, now);
    report.collections = of.iter().map(|(n, c)| package_view::collection(&view.state, n, c)).collect();
    let rows = rows.iter().flatten();
    report.packages = rows.map(|(c, p)| package_view::package(&view.state, *c, *p, now, &view.policy)).collect();
    Ok(Content::json(&Listed { report, page: wanted.page, pages, matching: by_name.len() }))
}

fn people(view: &View, wanted: &Wanted, koji: &KojiLinks) -> Result<Content, Refusal> {
    let of = collections(view, wanted)?;
    let found = select(view, &of, wanted);
    let (count, pages, table) = match of[..] {
        [(name, c)] => {
            let (rows, pages) = page(&found, wanted)?;
            (found.len(), pages, detailed(view, (name, c), rows, wanted, koji))
        }
        _ => {
            let by_name = grouped(found, wanted.order);
            let (rows, pages) = page(&by_name, wanted)?;
            (by_name.len(), pages, unified(&of, rows, wanted))
        }
    };
    let title = match &wanted.collection {
        Some(name) => format!("Packages of {name}"),
        None => "Packages".to_owned(),
    };
    let json = links::with_query(&address(wanted, |_| {}), &[("json", "1")]);
    let body = html! {
        h1 { (title) }
        (filters(view, &of, wanted))
        p.found {
            (parts::count(count, "package", "packages"))
            @if !wanted.search.is_empty() { " matching “" (wanted.search) "”" }
            @if pages > 1 { ", page " (wanted.page) " of " (pages) }
            " · " a href=(json) { "as JSON" }
        }
        @if count > 0 { div.scroll { (table) } (pager(wanted, pages)) }
    };
    Ok(Content::Html { title, body })
}

/// Entries of the same name together, where the first of them stood.
fn grouped(found: Vec<Entry<'_>>, order: Order) -> Vec<(&Name, Vec<Entry<'_>>)> {
    let mut groups: indexmap::IndexMap<&Name, Vec<Entry<'_>>> = indexmap::IndexMap::new();
    for entry in found {
        groups.entry(entry.1.0).or_default().push(entry);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    if order.key == Key::Name {
        groups.sort_by(|a, b| if order.reversed { b.0.cmp(a.0) } else { a.0.cmp(b.0) });
    }
    groups
}

/// The address of this list with something changed.
fn address(wanted: &Wanted, change: impl FnOnce(&mut Wanted)) -> String {
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

fn filters(view: &View, of: &[(&Name, &Collection)], wanted: &Wanted) -> Markup {
    let mut counts = [0; STATES.len()];
    for (_, c) in of {
        counts.iter_mut().zip(package_view::counts(c)).for_each(|(sum, n)| *sum += n);
    }
    let current = |is: bool| is.then_some("page");
    let states: Vec<&str> = wanted.states.iter().map(|s| s.as_str()).collect();
    html! {
        @if view.state.collections.len() > 1 {
            nav.tabs aria-label="Collections" {
                @let here = current(wanted.collection.is_none());
                a href=(address(wanted, |w| { w.collection = None; w.page = 1 })) aria-current=[here] {
                    "All collections"
                }
                @for name in view.state.collections.keys() {
                    a href=(address(wanted, |w| { w.collection = Some(name.to_string()); w.page = 1 }))
                        aria-current=[current(wanted.collection.as_deref() == Some(name.as_str()))] { (name) }
                }
            }
        }
        nav.tabs aria-label="States" {
            @let here = current(wanted.states.is_empty());
            a href=(address(wanted, |w| { w.states.clear(); w.page = 1 })) aria-current=[here] { "all tracked" }
            @for (state, n) in STATES.into_iter().zip(counts) {
                @let here = current(wanted.states == [state]);
                a href=(address(wanted, |w| { w.states = vec![state]; w.page = 1 })) aria-current=[here] {
                    (parts::state(state)) " " (n)
                }
            }
        }
        form.search action="/packages" {
            @if let Some(c) = &wanted.collection { input type="hidden" name="collection" value=(c); }
            @if !states.is_empty() { input type="hidden" name="state" value=(states.join(",")); }
            @if wanted.order.word() != "state" { input type="hidden" name="order" value=(wanted.order.word()); }
            label { "Name " input type="search" name="q" value=(wanted.search) maxlength=(SEARCH_CHARS_MAX); }
            button { "Search" }
            " " small { "* stands for anything" }
        }
    }
}

/// The head of a column that one can sort by.
fn head(wanted: &Wanted, key: Key, title: &str, class: &str) -> Markup {
    let mine = wanted.order.key == key;
    let next = Order { key, reversed: mine && !wanted.order.reversed };
    let sorted = mine.then_some(if wanted.order.reversed { "descending" } else { "ascending" });
    html! {
        th scope="col" class=[(!class.is_empty()).then_some(class)] aria-sort=[sorted] {
            a href=(address(wanted, |w| { w.order = next; w.page = 1 })) {
                (title) @if mine { @if wanted.order.reversed { " ▴" } @else { " ▾" } }
            }
        }
    }
}

fn detailed(view: &View, c: (&Name, &Collection), rows: &[Entry<'_>], wanted: &Wanted, koji: &KojiLinks) -> Markup {
    let now = view.state.recorded_at;
    let threshold = view.policy.build_threshold.saturating_mul(1000);
    html! { table {
        caption.hidden { "Packages of " (c.0) }
        thead { tr {
            (head(wanted, Key::Name, "Package", ""))
            (head(wanted, Key::State, "State", ""))
            (head(wanted, Key::Running, "Running", "minor"))
            (head(wanted, Key::Built, "Last build", "minor"))
            (head(wanted, Key::Priority, "Priority", "n minor"))
            th.minor scope="col" { "Changed since" }
            th scope="col" { "Why" }
        } }
        tbody {
            @for (_, p) in rows {
                (row(&package_view::package(&view.state, c, *p, now, &view.policy), c, p.1, threshold, koji))
            }
        }
    } }
}

fn row(
    p: &PackageView,
    (cname, c): (&Name, &Collection),
    package: &Package,
    threshold: i64,
    koji: &KojiLinks,
) -> Markup {
    let hub = &c.settings.hub;
    let last = p.last_build();
    let link = |b: &package_view::BuildView| {
        let task = || b.task_id.and_then(|t| koji.task(b.hub.as_ref().unwrap_or(hub), TaskId(t)));
        b.build_id.and_then(|id| koji.build(hub, BuildId(id))).or_else(task)
    };
    html! { tr {
        th scope="row" { a href=(links::package(cname, &p.package)) { (p.package) } }
        td { (parts::state(p.state)) }
        td.minor {
            @if package.running > 0 { (parts::outcome(None, true)) }
            @else if package.open_rebuild.is_some() { "on its way" }
        }
        td.minor { @if let Some(b) = last {
            (parts::maybe_link(link(b), b.kind)) " " (parts::outcome(b.outcome, b.running))
            br; small { (parts::time(b.at.parse().unwrap_or_default())) }
        } }
        td.n.minor { @match p.priority {
            Some(x) if x.current >= threshold => b { (points(x.current)) },
            Some(x) => (points(x.current)),
            None => "–",
        } }
        td.minor { (parts::text(&one_line(&package_view::closest_change(p), REASON))) }
        td.why { (parts::text(&one_line(&p.reasons(), REASON))) }
    } }
}

fn unified(of: &[(&Name, &Collection)], rows: &[(&Name, Vec<Entry<'_>>)], wanted: &Wanted) -> Markup {
    html! { table {
        caption.hidden { "Packages of all collections" }
        thead { tr {
            (head(wanted, Key::Name, "Package", ""))
            @for (name, _) in of {
                th scope="col" {
                    a href=(address(wanted, |w| { w.collection = Some(name.to_string()); w.page = 1 })) { (name) }
                }
            }
            (head(wanted, Key::State, "Worst", ""))
            (head(wanted, Key::Running, "Running", "n"))
        } }
        tbody { @for (name, entries) in rows {
            @let by_collection: BTreeMap<&str, &Entry<'_>> = entries.iter().map(|e| (e.0.0.as_str(), e)).collect();
            @let running: u32 = entries.iter().map(|e| u32::from(e.1.1.running)).sum();
            tr {
                th scope="row" { a href=(links::package(entries[0].0.0, name)) { (name) } }
                @for (collection, c) in of { td {
                    @if let Some(e) = by_collection.get(collection.as_str()) {
                        a href=(links::package(collection, name)) { (parts::state(e.1.1.state(c.settings.track_all))) }
                    }
                } }
                @let states = entries.iter().map(|e| e.1.1.state(e.0.1.settings.track_all));
                td { @if let Some(worst) = states.min_by_key(|s| rank(*s)) { (parts::state(worst)) } }
                td.n { @if running > 0 { (running) } }
            }
        } }
    } }
}

fn pager(wanted: &Wanted, pages: usize) -> Markup {
    let to = |page: usize| address(wanted, |w| w.page = page);
    html! { @if pages > 1 { nav.pager aria-label="Pages" {
        @if wanted.page > 1 { a href=(to(1)) { "First" } a href=(to(wanted.page - 1)) rel="prev" { "Previous" } }
        span { "Page " (wanted.page) " of " (pages) }
        @if wanted.page < pages { a href=(to(wanted.page + 1)) rel="next" { "Next" } a href=(to(pages)) { "Last" } }
    } } }
}
