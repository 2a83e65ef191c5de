//! `/packages`: a table of packages to sort, filter and search. It shows one collection in detail,
//! or all side by side.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::Response;
use maud::{Markup, html};

use crate::fold::{Collection, Group, Package};
use crate::model::counted;
use crate::model::{BuildId, Name, TaskId};
use crate::view::package::{self as package_view, PackageView, STATES, rank};
use crate::view::text::{one_line, points};
use crate::web::api::status;
use crate::web::listing::{address, collections, group, page};
use crate::web::orders::Entry;
use crate::web::params::{Order, PackagesQuery, PackagesRequest, SEARCH_CHARS_MAX, SortKey};
use crate::web::parts::AsOf;
use crate::web::people::Owned;
use crate::web::refusal::Refusal;
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;
use crate::web::{KojiLinks, Site, links, listing, parts};

/// Longest reason in a row, in characters.
const REASON: usize = 160;

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    query: Result<Query<PackagesQuery>, QueryRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&["collection", "group", "owner", "state", "q", "order", "page", "rows"])?;
        let mut wanted = query?.0.check()?;
        if let Some(owner) = &wanted.owner {
            wanted.owned = Some(Owned::by(&site, owner).await?);
        }
        let (json, koji) = (asked.json, site.koji.clone());
        site.look_as_of(&asked, move |view| {
            let content = if json { status::packages(view, &wanted)? } else { people(view, &wanted, &koji)? };
            Ok((AsOf::of(view), content))
        })
        .await
    })
    .await
}

fn people(view: &View, wanted: &PackagesRequest, koji: &KojiLinks) -> Result<Content, Refusal> {
    let of = collections(view, wanted)?;
    let list = page(view, &of, wanted)?;
    let (count, pages) = (list.matching, list.pages);
    let table = match of[..] {
        [(name, c)] => detailed(view, (name, c), &list.rows, wanted, koji),
        _ => unified(&of, &list.rows, wanted),
    };
    let mut title = match &wanted.collection {
        Some(name) => format!("Packages of {name}"),
        None => "Packages".to_owned(),
    };
    let group = wanted.group.as_deref().map(|name| group(view, name)).transpose()?;
    if let Some((name, _)) = group {
        title = format!("{title} in group {name}");
    }
    let json = links::with_query(&address(wanted, |_| {}), &[("json", "1")]);
    let body = html! {
        h1 { (title) }
        @if let Some((name, _)) = group {
            p { a href=(links::group(name)) { "Group " (name) } " · "
                a href=(address(wanted, |w| { w.group = None; w.page = 1 })) { "packages of all groups and none" } }
        }
        (filters(view, &of, group.map(|(_, group)| group), wanted))
        p.found {
            (counted::count(count, "package", "packages"))
            @if !wanted.search.is_empty() { " matching “" (wanted.search) "”" }
            @if pages > 1 { ", page " (wanted.page) " of " (pages) }
            " · " a href=(json) { "as JSON" }
        }
        @if count > 0 { div.scroll { (table) } (pager(wanted, pages)) }
    };
    Ok(Content::Html { title, body })
}

fn filters(view: &View, of: &[(&Name, &Collection)], group: Option<&Group>, wanted: &PackagesRequest) -> Markup {
    let mut counts = [0; STATES.len()];
    match group {
        Some(group) => counts = listing::counts(group, of.iter().copied()),
        None => of.iter().for_each(|(name, _)| {
            counts.iter_mut().zip(view.counts(name)).for_each(|(sum, n)| *sum += n);
        }),
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
            @if let Some(g) = &wanted.group { input type="hidden" name="group" value=(g); }
            @if let Some(owner) = &wanted.owner { input type="hidden" name="owner" value=(owner); }
            @if !states.is_empty() { input type="hidden" name="state" value=(states.join(",")); }
            @if wanted.order.word() != "state" { input type="hidden" name="order" value=(wanted.order.word()); }
            label { "Name " input type="search" name="q" value=(wanted.search) maxlength=(SEARCH_CHARS_MAX); }
            button { "Search" }
            " " small { "* stands for anything" }
        }
    }
}

/// Makes the head of a column that can be sorted.
fn head(wanted: &PackagesRequest, key: SortKey, title: &str, class: &str) -> Markup {
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

fn detailed(
    view: &View,
    c: (&Name, &Collection),
    rows: &[Vec<Entry<'_>>],
    wanted: &PackagesRequest,
    koji: &KojiLinks,
) -> Markup {
    let now = view.state.recorded_at;
    let threshold = view.policy.build_threshold.saturating_mul(1000);
    html! { table {
        caption.hidden { "Packages of " (c.0) }
        thead { tr {
            (head(wanted, SortKey::Name, "Package", ""))
            (head(wanted, SortKey::State, "State", ""))
            (head(wanted, SortKey::Running, "Running", "minor"))
            (head(wanted, SortKey::Built, "Last build", "minor"))
            (head(wanted, SortKey::Priority, "Priority", "n minor"))
            th.minor scope="col" { "Changed since" }
            th scope="col" { "Why" }
        } }
        tbody {
            @for (_, p) in rows.iter().flatten() {
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
            @else if package.open_rebuild.is_some() { "no task yet" }
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

fn unified(of: &[(&Name, &Collection)], rows: &[Vec<Entry<'_>>], wanted: &PackagesRequest) -> Markup {
    html! { table {
        caption.hidden { "Packages of all collections" }
        thead { tr {
            (head(wanted, SortKey::Name, "Package", ""))
            @for (name, _) in of {
                th scope="col" {
                    a href=(address(wanted, |w| { w.collection = Some(name.to_string()); w.page = 1 })) { (name) }
                }
            }
            (head(wanted, SortKey::State, "Worst", ""))
            (head(wanted, SortKey::Running, "Running", "n"))
        } }
        tbody { @for entries in rows {
            @let name = entries[0].1.0;
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

fn pager(wanted: &PackagesRequest, pages: usize) -> Markup {
    let to = |page: usize| address(wanted, |w| w.page = page);
    html! { @if pages > 1 { nav.pager aria-label="Pages" {
        @if wanted.page > 1 { a href=(to(1)) { "First" } a href=(to(wanted.page - 1)) rel="prev" { "Previous" } }
        span { "Page " (wanted.page) " of " (pages) }
        @if wanted.page < pages { a href=(to(wanted.page + 1)) rel="next" { "Next" } a href=(to(pages)) { "Last" } }
    } } }
}
