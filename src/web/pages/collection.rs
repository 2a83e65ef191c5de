//! `/collection/NAME`: settings of a collection, its buildroot on every architecture, its newest
//! repositories.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::Response;
use maud::{Markup, html};

use crate::decide::Policy;
use crate::decide::eligibility::stopped;
use crate::decide::refusal::unbound;
use crate::event::Event;
use crate::event::kinds::collection_subject;
use crate::fold::{Collection, Repo};
use crate::log::trail;
use crate::model::koji::RepoState;
use crate::model::nearest::nearest;
use crate::model::{Name, RepoId, Seq};
use crate::view::package::STATES;
use crate::view::text::one_line;
use crate::web::api::status;
use crate::web::params::TrailQuery;
use crate::web::parts::AsOf;
use crate::web::refusal::{Refusal, short};
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;
use crate::web::{KojiLinks, Site, events, links, parts, running};

/// Largest number of repositories that are shown.
const REPOS: usize = 20;
/// Number of events about broken or unresolved repositories that are read.
const TROUBLES: usize = 200;
/// Number of events of the trail on one page.
const TRAIL: usize = 20;

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<TrailQuery>, QueryRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&["before"])?;
        let (name, before) = (path?.0, query?.0.before()?);
        let until = site.moment(asked.as_of.as_deref()).await?.map(|then| then.map_or(Seq::FIRST, Seq::next));
        let troubles = troubles(&site, &name, until).await.unwrap_or_default();
        let (wanted, koji, json) = (name.clone(), site.koji.clone(), asked.json);
        let look = move |view: &View| seen(view, &wanted, &troubles, &koji, json).map(|c| (AsOf::of(view), c));
        let (as_of, content) = site.look_as_of(&asked, look).await?;
        let Content::Html { title, body } = content else { return Ok((as_of, content)) };
        let until = as_of.seq.map(Seq::next);
        let before = before.filter(|b| until.is_some_and(|u| *b < u)).or(until);
        let older = |b: &str| links::with_query(&links::collection(&name), &[("before", b)]);
        let body = html! {
            (body)
            h2 #trail { "What happened" }
            @match events::newest(&site, &[&collection_subject(&name, None)], before, TRAIL + 1).await {
                Ok(records) => (events::table(&site, &records, TRAIL, older).await),
                Err(_) => p.notice { "The log does not answer, so its events cannot be shown now." },
            }
        };
        Ok((as_of, Content::Html { title, body }))
    })
    .await
}

fn seen(view: &View, name: &str, troubles: &Troubles, koji: &KojiLinks, json: bool) -> Result<Content, Refusal> {
    let Some((name, c)) = view.state.collections.get_key_value(name) else {
        let all: Vec<&str> = view.state.collections.keys().map(Name::as_str).collect();
        let near = nearest(name, all.iter().copied());
        let offered = if near.is_empty() { all } else { near };
        let known = offered.into_iter().map(|n| (n.to_owned(), links::collection(n))).collect();
        return Err(Refusal::NotFound(format!("there is no collection `{}`", short(name)), known));
    };
    if json {
        return Ok(Content::json(&status::collection(view, (name, c))));
    }
    let (count, table) = running::table(view, Some(name), koji);
    let policy = Policy::in_force(&view.state);
    let body = html! {
        h1 { (name) }
        p.lead {
            "Buildroot " (parts::buildroot(c.buildroot()))
            @if c.settings.display_name != name.as_str() { " " (parts::text(&c.settings.display_name)) }
        }
        @for hold in stopped(&view.state, c, &policy) { p.notice { "No package of it is rebuilt: " (hold) "." } }
        @if let Some(unbound) = unbound(&view.state, c, &policy) { p.notice { (parts::text(&format!("{unbound}."))) } }
        @if let Some((repo, why)) = &c.stale {
            p.notice {
                "The results for dependencies are of an older repository, because repository " (repo)
                " could not be resolved: " (parts::text(why))
            }
        }
        p.states { @for (state, n) in STATES.into_iter().zip(view.counts(name)) {
            a href=(links::with_query("/packages", &[("collection", name), ("state", state.as_str())])) {
                (parts::state(state)) " " (n)
            }
        } }
        (architectures(c))
        (repositories(view, (name, c), troubles, koji))
        h2 { "Running rebuilds (" (count) ")" }
        (table)
        (settings(c))
    };
    Ok(Content::Html { title: format!("Collection {name}"), body })
}

fn architectures(c: &Collection) -> Markup {
    html! {
        h2 { "Architectures" }
        @if c.arches.is_empty() { p { "No repository has been resolved yet." } }
        @else { div.scroll { table {
            (parts::column_heads(&[
                ("", "Architecture"), ("n", "Resolved repository"), ("", "Build group"), ("", "Problems"),
            ]))
            tbody { @for (arch, a) in &c.arches { tr {
                th scope="row" { (arch) }
                td.n { @match a.repo_id { Some(repo) => (repo), None => "none" } }
                td { @match a.group_ok {
                    Some(true) => span class="state ok" { "installs" },
                    Some(false) => span class="state failing" { "does not install" },
                    None => span class="state unknown" { "not checked" },
                } }
                td.why { @for problem in &a.problems { pre { (parts::text(problem)) } } }
            } } }
        } } }
    }
}

fn repositories(view: &View, (name, c): (&Name, &Collection), troubles: &Troubles, koji: &KojiLinks) -> Markup {
    let hub = view.state.hubs.get(&c.settings.hub);
    let mut repos: Vec<(RepoId, &Repo)> = hub.map_or_else(Vec::new, |h| {
        h.repos.iter().filter(|(_, r)| r.tag == c.settings.build_tag).map(|(id, r)| (*id, r)).collect()
    });
    // Ids and Koji events rise together, except when one generation overtakes another. So the
    // newest one is marked.
    repos.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    html! {
        h2 { "Newest repositories" }
        @if repos.is_empty() { p { "No repository is known yet." } }
        @else { div.scroll { table {
            (parts::column_heads(&[
                ("n", "Repository"), ("", "State"), ("n minor", "Koji event"), ("", "Resolved on"),
                ("", "Problems"),
            ]))
            tbody { @for (id, r) in repos.iter().take(REPOS) { tr {
                th.n scope="row" {
                    (parts::maybe_link(koji.repo(&c.settings.hub, *id), id))
                    @if c.newest_repo == Some(*id) { " " small { "newest" } }
                }
                td { (r.state.word()) }
                td.n.minor { @match r.create_event { Some(event) => (event), None => "–" } }
                td { (resolved_on(r, c)) }
                td.why {
                    @let known = troubles.of(*id);
                    @for (seq, what) in &known { (parts::event(*seq)) " " (parts::text(what)) br; }
                    @if known.is_empty() && is_passed_over(name, c, *id, r) { "skipped: a newer one came before it \
                        was resolved" }
                }
            } } }
        } }
        @if repos.len() > REPOS { p { "And " (repos.len() - REPOS) " older ones." } } }
    }
}

/// Problems of repositories, from the log.
#[derive(Default)]
struct Troubles {
    /// Per repository, the events and their descriptions.
    by_repo: BTreeMap<RepoId, Vec<(Seq, String)>>,
    /// Build groups that did not install: architecture, event, the first repository, and the first
    /// one without the problem.
    groups: Vec<(Name, Seq, RepoId, Option<RepoId>)>,
}

impl Troubles {
    fn of(&self, id: RepoId) -> Vec<(Seq, String)> {
        let mut all = self.by_repo.get(&id).cloned().unwrap_or_default();
        let still = self.groups.iter().filter(|(_, _, from, to)| *from < id && to.is_none_or(|to| id < to));
        all.extend(still.map(|(arch, seq, ..)| (*seq, format!("the build group still did not install on {arch}"))));
        all
    }
}

/// Checks whether a repository was usable, but was never resolved for the collection although later
/// ones were.
fn is_passed_over(name: &Name, c: &Collection, id: RepoId, r: &Repo) -> bool {
    let resolved = r.resolved.iter().any(|(of, ..)| of == name);
    let later = c.arches.values().any(|a| a.repo_id.is_some_and(|newest| newest > id));
    !resolved && later && !matches!(r.state, RepoState::Init | RepoState::Problem)
}

/// Reads from the log the newest repositories that could not be resolved, and those in which the
/// build group did not install, up to an event (absent: to the end).
async fn troubles(site: &Site, collection: &str, until: Option<Seq>) -> Result<Troubles, Refusal> {
    let subject = collection_subject(collection, None);
    let wanted = |kind: &str| matches!(kind, "repo_not_resolved" | "buildroot_broken" | "buildroot_resolved");
    let records = trail::newest_of(&site.log, &subject, until, &wanted, TROUBLES).await?;
    let mut found = Troubles::default();
    for record in records.iter().rev() {
        let Ok(envelope) = record.decode() else { continue };
        let (id, what) = match envelope.event {
            Event::RepoNotResolved(e) => {
                let on = e.arch.map_or_else(String::new, |a| format!(" on {a}"));
                (e.repo_id, format!("could not be resolved{on}: {}", e.reason))
            }
            Event::BuildrootBroken(e) => {
                found.end(&e.arch, e.repo_id);
                found.groups.push((e.arch.clone(), record.seq, e.repo_id, None));
                (e.repo_id, format!("the build group does not install on {}: {}", e.arch, e.problems.join("; ")))
            }
            Event::BuildrootResolved(e) => {
                found.end(&e.arch, e.repo_id);
                continue;
            }
            _ => continue,
        };
        found.by_repo.entry(id).or_default().push((record.seq, one_line(&what, 400)));
    }
    Ok(found)
}

impl Troubles {
    /// Notes that a problem on an architecture ends, or begins anew, with a repository.
    fn end(&mut self, arch: &Name, at: RepoId) {
        for (_, _, _, to) in self.groups.iter_mut().filter(|(a, ..)| a == arch) {
            to.get_or_insert(at);
        }
    }
}

fn resolved_on(r: &Repo, c: &Collection) -> String {
    // An attachment names its collection. Those of other collections with the same tag do not
    // count.
    let arches = c.arches.keys().filter(|a| r.resolved.iter().any(|(_, arch, _)| arch == *a));
    arches.map(Name::as_str).collect::<Vec<_>>().join(", ")
}

fn settings(c: &Collection) -> Markup {
    let s = &c.settings;
    let list = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    html! {
        h2 { "Settings" }
        dl {
            dt { "Hub" } dd { (s.hub) }
            @match &s.builds_on {
                None => { dt { "Target" } dd { (s.target) } }
                Some(b) => {
                    dt { "Built on" }
                    dd {
                        "hub " (b.hub) ", target " (b.target) ", source packages at "
                        code { (parts::text(&b.srpm_root)) }
                    }
                }
            }
            dt { "Build tag" } dd { (s.build_tag) }
            dt { "Destination tag" }
            dd { (s.dest_tag) @if c.chain.len() > 1 { ", which inherits from " (list(&c.chain[1..])) } }
            dt { "Build group" } dd { (s.build_group) }
            dt { "Architectures" } dd { @if s.arches.is_empty() { "all of the build tag" } @else { (list(&s.arches)) } }
            dt { "Tracks every package" } dd { @if s.track_all { "yes" } @else { "no" } }
            dt { "Rebuilds at a time" }
            dd { @match s.max_builds { Some(max) => (max), None => "as many as all collections together may have" } }
            dt { "Coefficient" } dd { (s.coefficient / 1000) "." (format!("{:03}", s.coefficient % 1000)) }
            @if s.found { dt { "Created" } dd { "because its tag got a repository" } }
        }
    }
}
