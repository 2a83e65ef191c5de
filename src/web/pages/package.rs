//! `/package/NAME`: the state of a package and why, whether it is rebuilt and why not, what
//! changed, what happened.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::Response;
use maud::{Markup, html};

use super::causes;
use crate::decide::arches::absent;
use crate::event::Record;
use crate::event::kinds::{collection_subject, package_subject};
use crate::fold::{Collection, Package};
use crate::log::{LogError, trail};
use crate::model::counted;
use crate::model::{BuildId, Hub, Name, PackageState, RepoId, Seq, TaskId};
use crate::view::answer::{self, Answer};
use crate::view::broken::{Broken, BrokenBy};
use crate::view::package::{self as package_view, BuildView};
use crate::view::text::{capitalised, percent, points};
use crate::web::params::PackageQuery;
use crate::web::parts::AsOf;
use crate::web::refusal::{Refusal, short};
use crate::web::reply::{Asked, Content, reply};
use crate::web::view::View;
use crate::web::{KojiLinks, Site, events, links, parts};

/// Largest number of suspects.
const SUSPECTS: usize = 5;
/// Smallest share of a suspect that is shown, in thousandths.
const SHARE: u32 = 10;
/// Number of events of the trail on one page.
const TRAIL: usize = 30;
/// Number of dependency changes that are shown by default.
const CHANGES: usize = 20;
/// Largest number of dependency changes that are shown on request.
const CHANGES_MAX: usize = 5_000;

/// The part of the page that comes from the state, and what the rest needs.
struct FromState {
    as_of: AsOf,
    name: Name,
    collection: Name,
    /// Its hub, and the hub it is built on.
    hubs: std::collections::BTreeSet<Hub>,
    answer: Answer,
    head: Markup,
    rest: Markup,
}

pub(super) async fn show(
    State(site): State<Site>,
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<PackageQuery>, QueryRejection>,
) -> Response<Body> {
    reply(&site, &asked, async {
        asked.only(&["collection", "before", "changes"])?;
        let (name, query) = (path?.0, query?.0);
        query.check()?;
        let before = query.before()?;
        let koji = site.koji.clone();
        let seen = site.look_as_of(&asked, move |view| seen(view, &name, &query, &koji)).await?;
        let as_of = seen.as_of;
        if asked.json {
            let subject = seen.answer.subject();
            let read = Box::pin(trail::newest_with_causes(&site.log, &subject, as_of.seq, answer::STEPS));
            let events = match as_of.seq {
                Some(seq) => site.trails_with_causes.get(&subject, seq.next(), answer::STEPS, read).await?,
                None => read.await.map(Arc::new)?,
            };
            return Ok((as_of, Content::json(&seen.answer.with_trail(&events).map_err(LogError::from)?)));
        }
        let title = format!("{} in {}", seen.name, seen.collection);
        // The trail must not show events that the state above it does not contain yet.
        let until = as_of.seq.map(Seq::next);
        let before = before.filter(|b| until.is_some_and(|u| *b < u)).or(until);
        let trail = newest(&site, &seen, before).await;
        let older = |b: &str| links::with_query(&links::package(&seen.collection, &seen.name), &[("before", b)]);
        let body = html! {
            (seen.head)
            @if let Ok(trail) = &trail { (since(&site, &seen, trail).await) }
            (seen.rest)
            h2 #trail { "What happened" }
            @match &trail {
                Ok(records) => (events::table(&site, records, TRAIL, older).await),
                Err(_) => p.notice { "The log does not answer, so its events cannot be shown now." },
            }
        };
        Ok((as_of, Content::Html { title, body }))
    })
    .await
}

/// Returns the last events about the package, in its collection and on its hubs, newest first.
/// Returns one more than is shown.
async fn newest(site: &Site, seen: &FromState, before: Option<Seq>) -> Result<Vec<Arc<Record>>, Refusal> {
    let of_collection = collection_subject(&seen.collection, Some(&seen.name));
    let mut subjects = vec![of_collection];
    subjects.extend(seen.hubs.iter().map(|hub| package_subject(hub.as_str(), &seen.name)));
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    events::newest(site, &subjects, before, TRAIL + 1).await
}

/// Shows since when the package is in its state, and the cause, if the trail goes back that far.
async fn since(site: &Site, seen: &FromState, trail: &[Arc<Record>]) -> Markup {
    let subject = collection_subject(&seen.collection, Some(&seen.name));
    let Some(changed) = trail.iter().find(|r| r.kind == "package_state_changed" && r.subject == subject) else {
        return html! {};
    };
    let of = |r: &Record| r.kind == "package_reason_changed" && r.subject == subject && r.seq > changed.seq;
    let reason = trail.iter().find(|r| of(r));
    html! {
        p {
            "Since " (parts::time(changed.occurred_at)) " (" (parts::event(changed.seq)) ")"
            (because(site, changed).await) "."
        }
        @if let Some(r) = reason {
            p {
                "For this reason since " (parts::time(r.occurred_at)) " (" (parts::event(r.seq)) ")"
                (because(site, r).await) "."
            }
        }
    }
}

/// Shows the cause of an event, as the end of a sentence.
async fn because(site: &Site, of: &Record) -> Markup {
    let cause = match of.causation {
        Some(cause) => events::described(site, cause).await,
        None => None,
    };
    html! { @if let Some((seq, words)) = cause { ", because of this: " (words) " (" (parts::event(seq)) ")" } }
}

fn seen(view: &View, name: &str, query: &PackageQuery, koji: &KojiLinks) -> Result<FromState, Refusal> {
    let with: Vec<(&Name, &Collection)> =
        view.state.collections.iter().filter(|(_, c)| c.packages.contains_key(name)).collect();
    if with.is_empty() {
        let near = answer::near(&view.state, name);
        let links = near.into_iter().map(|n| (n.to_owned(), format!("/package/{}", links::encoded(n)))).collect();
        return Err(Refusal::NotFound(format!("no collection has a package `{}`", short(name)), links));
    }
    let c = match query.collection.as_deref().filter(|c| !c.is_empty()) {
        None => with[0],
        Some(wanted) => *with.iter().find(|(n, _)| n.as_str() == wanted).ok_or_else(|| {
            let what = match view.state.collections.contains_key(wanted) {
                true => format!("collection `{wanted}` has no package `{}`", short(name)),
                false => format!("there is no collection `{}`", short(wanted)),
            };
            let others = with.iter().map(|(n, _)| (format!("{} in {n}", short(name)), links::package(n, name)));
            Refusal::NotFound(what, others.collect())
        })?,
    };
    let missing = || Refusal::Broken("a package that was just found is not there".to_owned());
    let (pname, p) = c.1.packages.get_key_value(name).ok_or_else(missing)?;
    let failed = || view.failed(c.0, c.1);
    let answer = answer::answer(&view.state, view.queue(), c, name, failed).ok_or_else(missing)?;
    // How many other packages the same causes break.
    let of = |by: &BrokenBy| view.causes().iter().find(|cause| cause.id == by.cause);
    let others =
        answer.package.broken_by.iter().filter_map(of).map(|cause| (cause.id.clone(), cause.packages.len() - 1));
    let others: Vec<(String, usize)> = others.collect();
    Ok(FromState {
        as_of: AsOf::of(view),
        name: pname.clone(),
        collection: c.0.clone(),
        hubs: [&c.1.settings.hub, c.1.settings.building_hub()].into_iter().cloned().collect(),
        head: head(pname, c.0, &with, &answer, &others),
        rest: html! {
            (suspects(&answer.broken))
            (decision(&answer, c.1))
            (verdicts(&answer, c.1))
            (changes(&answer, query.all_changes()))
            (builds(&answer.package.last_builds, &c.1.settings.hub, koji))
            (groups(view, pname))
            (settings(c, p))
        },
        answer,
    })
}

fn head(
    name: &Name,
    collection: &Name,
    with: &[(&Name, &Collection)],
    answer: &Answer,
    others: &[(String, usize)],
) -> Markup {
    html! {
        h1 { (name) }
        nav.tabs aria-label="Collections" {
            @for (n, c) in with {
                a href=(links::package(n, name)) aria-current=[(*n == collection).then_some("page")] {
                    (n) " "
                    @if let Some(p) = c.packages.get(name) { (parts::state(p.state(c.settings.track_all))) }
                }
            }
        }
        p.lead { (parts::state(answer.package.state)) " " (parts::text(&answer.package.reason)) }
        @for by in &answer.package.broken_by {
            p.notice {
                a href=(links::cause(&by.cause)) { (parts::text(&capitalised(&by.words()))) }
                @match others.iter().find(|(id, _)| *id == by.cause) {
                    Some((_, others)) if *others > 0 => {
                        ". It breaks " (counted::count(*others, "other package", "other packages")) ", too."
                    }
                    _ => ".",
                }
            }
        }
        @for remark in &answer.package.remarks { p.notice { (parts::text(remark)) } }
        @if let Some(stale) = &answer.stale {
            p.notice { "The results for its dependencies are of an older repository; the newest could not be \
                resolved: " (parts::text(stale)) }
        }
    }
}

/// Shows the groups that the package is in.
fn groups(view: &View, name: &Name) -> Markup {
    let groups: Vec<&Name> = view.state.groups_of(name).collect();
    html! { @if !groups.is_empty() {
        h2 { "Groups" }
        p { @for (at, group) in groups.into_iter().enumerate() {
            @if at > 0 { ", " }
            a href=(links::group(group)) { (group) }
        } }
    } }
}

/// Shows the suspects of the newest failed build.
fn suspects(broken: &Broken) -> Markup {
    let none = [(broken.none.own, "the package itself"), (broken.none.chance, "chance")];
    html! {
    @if let Some(line) = &broken.line { p { "Its log says:" } pre { (parts::text(line)) } }
    @if !broken.suspects.is_empty() { div.scroll { table {
        caption { "What may have broken its last build" }
        (parts::column_heads(&[("n", "Share"), ("", "Update"), ("n", "Repository"), ("", "Because")]))
        tbody {
            @for s in broken.suspects.iter().take(SUSPECTS).filter(|s| s.share >= SHARE) { tr {
                td.n { (percent(s.share)) }
                th scope="row" {
                    (causes::updated(&s.update))
                    @if !s.together.is_empty() { br; small { "or " (parts::text(&s.together.join(", "))) } }
                }
                td.n { @if let Some(repo) = s.repo { (repo) } }
                td.why { @for (at, why) in s.evidence.iter().enumerate() { @if at > 0 { br; } (parts::text(why)) } }
            } }
            @for (share, what) in none.iter().filter(|(share, _)| *share >= SHARE) { tr {
                td.n { (percent(*share)) } th scope="row" { (what) } td {} td {}
            } }
        }
    } } } }
}

/// Shows whether the package is rebuilt, every reason why not, and the priority with its parts.
fn decision(a: &Answer, c: &Collection) -> Markup {
    let w = &a.why;
    html! {
        h2 { "Rebuilding it" }
        @if w.chosen {
            p { (capitalised(answer::CHOSEN)) "." }
        } @else {
            p { "It is not rebuilt now. " @if w.deciding.len() > 1 { "Each of these would have to \
                change:" } @else { "This would have to change:" } }
            ul { @for hold in &w.deciding { li { (hold) } } }
        }
        @match &w.priority {
            None => p { "It has no priority, because no build of it is known." },
            Some(x) => {
                table {
                    caption { "Priority, in points" }
                    (parts::column_heads(&[("", "Part"), ("n", "Points")]))
                    tbody {
                        tr { th scope="row" { "Set permanently" } td.n { (points(x.r#static)) } }
                        tr { th scope="row" { "Set for the next rebuild" } td.n { (points(x.manual)) } }
                        tr { th scope="row" { "Its last builds" } td.n { (points(x.build)) } }
                        tr { th scope="row" { "Changed dependencies" } td.n { (points(x.dependency)) } }
                        tr { th scope="row" { "Time since the last build" } td.n { (points(x.time)) } }
                        @if c.settings.coefficient != 1000 {
                            tr {
                                th scope="row" { "The last three count" }
                                td.n { "× " (thousandths(c.settings.coefficient)) }
                            }
                        }
                    }
                    tfoot {
                        tr { th scope="row" { "Total" } td.n { b { (points(x.current)) } } }
                        tr { th scope="row" { "Threshold for a rebuild" } td.n { (points(w.threshold)) } }
                    }
                }
                @if let Some(at) = w.due_at { p { "If nothing else changes, it is due on " (parts::time(at)) "." } }
            }
        }
        @if !w.arches.is_empty() {
            p { "A rebuild would use " (w.arches.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")) "." }
        }
    }
}

/// Formats a factor given in thousandths.
fn thousandths(n: u32) -> String {
    let text = format!("{}.{:03}", n / 1000, n % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn verdicts(a: &Answer, c: &Collection) -> Markup {
    html! {
        h2 { "Build dependencies" }
        @if a.package.verdicts.is_empty() { p { "They have not been resolved yet." } }
        @if let Some(another) = package_view::another_in_buildroot(&a.package) {
            p.notice { "As of the last repository, " (parts::text(&another)) "." }
        }
        @if !a.package.verdicts.is_empty() { div.scroll { table {
            (parts::column_heads(&[
                ("", "Architecture"), ("", "Source"), ("", "Repository"), ("", "Installable"), ("", "Problem"),
            ]))
            tbody { @for v in &a.package.verdicts { tr {
                th scope="row" { (v.arch) }
                td { (parts::text(&v.source)) }
                td { @if let Some(repo) = c.arches.get(&v.arch).and_then(|r| r.repo_id) { (repo) } }
                td { @match v.ok {
                    Some(true) => span class="state ok" { "yes" },
                    Some(false) => span class="state failing" { "no" },
                    None => span class="state unknown" { "not for this architecture" },
                } }
                td.why { @if let Some(problem) = &v.problem { pre { (parts::text(problem)) } } }
            } } }
        } } }
    }
}

fn changes(a: &Answer, all: bool) -> Markup {
    let changes = package_view::grouped(&a.package);
    let shown = if all { CHANGES_MAX } else { CHANGES };
    html! {
        h2 #changes { "Changed since its last build" }
        @if changes.is_empty() {
            p { @if a.package.state == PackageState::Unresolved { "Unknown while its dependencies cannot be \
                installed." } @else { "Nothing." } }
        } @else { div.scroll { table {
            thead { tr {
                th scope="col" { "Dependency" } th scope="col" { "Was" }
                th scope="col" { span.hidden { "Direction" } }
                th scope="col" { "Is" } th.n scope="col" { "Distance" } th scope="col" { "On" }
            } }
            tbody { @for g in changes.iter().take(shown) {
                @let (mark, word, class) = parts::direction(g.old.as_ref(), g.new.as_ref());
                tr {
                    th scope="row" { (g.name) }
                    td { @match g.old { Some(old) => (old), None => "–" } }
                    td {
                        span class={ "move " (class) } title=(word) {
                            span aria-hidden="true" { (mark) } span.hidden { (word) }
                        }
                    }
                    td { @match g.new { Some(new) => (parts::new_version(g.old.as_ref(), new)), None => "–" } }
                    td.n { @match g.distance { Some(d) => (d), None => "not reached" } }
                    td { (g.arches.iter().copied().collect::<Vec<_>>().join(", ")) }
                }
            } }
        } }
        @if changes.len() > shown {
            @let page = links::package(&a.package.collection, &a.package.package);
            p {
                "And " (changes.len() - shown) " more"
                @if !all { ": " a href=(links::with_query(&page, &[("changes", "all")])) { "show all" } } "."
            }
        } }
    }
}

fn builds(builds: &[BuildView], hub: &Hub, koji: &KojiLinks) -> Markup {
    html! {
        h2 { "Last builds" }
        @if builds.is_empty() { p { "No build is known." } }
        @else { div.scroll { table {
            (parts::column_heads(&[
                ("", "When"), ("", "What"), ("", "Source"), ("", "Result"), ("", "Koji"), ("n", "Repository"),
                ("", "Why"),
            ]))
            tbody { @for b in builds { tr.withdrawn[b.withdrawn] {
                td { (parts::time(b.at.parse().unwrap_or_default())) }
                td { (b.kind) @if b.withdrawn { br; small { "untagged later" } } }
                td { (parts::text(&b.nvr)) }
                td { (parts::outcome(b.outcome, b.running)) }
                td {
                    @if let Some(id) = b.build_id { "build " (parts::maybe_link(koji.build(hub, BuildId(id)), id)) }
                    @if let Some(id) = b.task_id {
                        @if b.build_id.is_some() { br; }
                        "task " (parts::maybe_link(koji.task(b.hub.as_ref().unwrap_or(hub), TaskId(id)), id))
                    }
                    @if let Some(elsewhere) = &b.hub { br; small { "on " (elsewhere) } }
                }
                td.n { @if let Some(id) = b.repo_id {
                    (parts::maybe_link(koji.repo(hub, RepoId(id)), id))
                    @if b.repo_assumed { br; small { "assumed" } }
                } }
                td.why { @if let Some(reason) = &b.reason { (parts::text(reason)) } }
            } } }
        } } }
    }
}

fn settings((name, c): (&Name, &Collection), p: &Package) -> Markup {
    let yes = |is: bool| if is { "yes" } else { "no" };
    html! {
        h2 { "Settings" }
        dl {
            dt { "Collection" } dd { a href=(links::collection(name)) { (name) } }
            dt { "Newest source" }
            dd { @match &p.latest {
                Some(l) => { (parts::text(&l.source)) ", tagged " (parts::time(l.at)) },
                None => "none",
            } }
            dt { "Tracked" } dd { (yes(p.is_tracked(c.settings.track_all))) }
            dt { "Blocked in Koji" } dd { (yes(p.blocked)) }
            dt { "Architectures" } dd { @match &p.arch_override {
                Some(o) => { (parts::text(&o.to_string())) @if !absent(c, p).is_empty() {
                    " (its build tag has no "
                    (absent(c, p).into_iter().map(Name::as_str).collect::<Vec<_>>().join(", ")) ")"
                } },
                None => "those of the collection",
            } }
            dt { "Resolves dependencies first" } dd { (yes(!p.skip_resolution)) }
            @if p.faults > 0 { dt { "Rebuilds in a row without a result" } dd { (p.faults) } }
        }
    }
}
