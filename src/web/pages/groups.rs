//! `/groups` and `/groups/NAME`: groups of packages, and how their packages do.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::Response;
use maud::{Markup, html};

use crate::event::kinds::group_subject;
use crate::fold::Group;
use crate::model::{Name, Seq, counted};
use crate::view::package::STATES;
use crate::web::api::v2::GroupSummary;
use crate::web::listing::{self, counts};
use crate::web::params::TrailQuery;
use crate::web::parts::AsOf;
use crate::web::refusal::Refusal;
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;
use crate::web::{Site, events, links, parts};

/// Largest number of names that are shown.
const NAMES_MAX: usize = 1_000;
/// Number of events of the trail on one page.
const TRAIL: usize = 20;

pub(super) async fn list(State(site): State<Site>, asked: Asked) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&[])?;
        let json = asked.json;
        site.look_as_of(&asked, move |view| {
            let content = match json {
                true => Content::json(&view.state.groups.iter().map(|g| summary(view, g)).collect::<Vec<_>>()),
                false => Content::Html { title: "Groups".to_owned(), body: all(view) },
            };
            Ok((AsOf::of(view), content))
        })
        .await
    })
    .await
}

fn summary<'a>(view: &'a View, group: (&'a Name, &Group)) -> GroupSummary<'a> {
    GroupSummary::of(group, &view.state.collections)
}

fn all(view: &View) -> Markup {
    html! {
        h1 { "Groups" }
        @if view.state.groups.is_empty() {
            p { "There is no group. The configuration or " code { "koschei admin group" } " makes them." }
        } @else { div.scroll { table {
            caption.hidden { "Groups of packages" }
            thead { tr {
                th scope="col" { "Group" }
                th.n scope="col" { "Packages" }
                @for state in STATES { th.n scope="col" { (parts::state(state)) } }
            } }
            tbody { @for (name, group) in &view.state.groups { tr {
                th scope="row" { a href=(links::group(name)) { (name) } }
                td.n { (group.packages.len()) }
                (states(name, None, counts(group, &view.state.collections)))
            } } }
        } }
        p { "States are counted over all collections." } }
    }
}

/// Shows the number of packages of a group in each state, with links to them.
fn states(group: &str, collection: Option<&str>, counts: [usize; STATES.len()]) -> Markup {
    let address = |state: &str| {
        let query = [("collection", collection.unwrap_or_default()), ("group", group), ("state", state)];
        links::with_query("/packages", &query)
    };
    html! { @for (state, n) in STATES.into_iter().zip(counts) {
        td.n { @if n > 0 { a href=(address(state.as_str())) { (n) } } @else { "0" } }
    } }
}

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<TrailQuery>, QueryRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&["before"])?;
        let (name, before) = (path?.0, query?.0.before()?);
        let (wanted, json) = (name.clone(), asked.json);
        let (as_of, content) =
            site.look_as_of(&asked, move |view| seen(view, &wanted, json).map(|c| (AsOf::of(view), c))).await?;
        let Content::Html { title, body } = content else { return Ok((as_of, content)) };
        let until = as_of.seq.map(Seq::next);
        let before = before.filter(|b| until.is_some_and(|u| *b < u)).or(until);
        let older = |b: &str| links::with_query(&links::group(&name), &[("before", b)]);
        let body = html! {
            (body)
            h2 #trail { "What happened" }
            @match events::newest(&site, &[&group_subject(&name)], before, TRAIL + 1).await {
                Ok(records) => (events::table(&site, &records, TRAIL, older).await),
                Err(_) => p.notice { "The log does not answer, so its events cannot be shown now." },
            }
        };
        Ok((as_of, Content::Html { title, body }))
    })
    .await
}

fn seen(view: &View, name: &str, json: bool) -> Result<Content, Refusal> {
    let (name, group) = listing::group(view, name)?;
    if json {
        return Ok(Content::json(&summary(view, (name, group))));
    }
    let more = group.packages.len().saturating_sub(NAMES_MAX);
    let is_known = |package: &Name| view.state.collections.values().any(|c| c.packages.contains_key(package));
    let all = links::with_query("/packages", &[("group", name)]);
    let body = html! {
        h1 { (name) }
        p.lead {
            "A group of " a href=(all) { (counted::count(group.packages.len(), "package", "packages")) } ", with "
            (counted::count(group.maintainers.len(), "maintainer", "maintainers"))
            @if group.configured { ", from the configuration" }
            ". Changed " (parts::time(group.changed_at)) "."
        }
        h2 { "States" }
        div.scroll { table {
            caption.hidden { "Packages by state in each collection" }
            thead { tr {
                th scope="col" { "Collection" }
                @for state in STATES { th.n scope="col" { (parts::state(state)) } }
            } }
            tbody { @for (collection, c) in &view.state.collections { tr {
                th scope="row" {
                    a href=(links::with_query("/packages", &[("collection", collection), ("group", name)])) {
                        (collection)
                    }
                }
                (states(name, Some(collection), counts(group, [(collection, c)])))
            } } }
        } }
        h2 { "Packages" }
        p {
            @for (at, package) in group.packages.iter().take(NAMES_MAX).enumerate() {
                @if at > 0 { ", " }
                @match is_known(package) {
                    true => a href={ "/package/" (links::encoded(package)) } { (package) },
                    false => { (package) " (not known)" }
                }
            }
            @if more > 0 { " and " (more) " more" }
        }
    };
    Ok(Content::Html { title: format!("Group {name}"), body })
}
