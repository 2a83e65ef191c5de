//! The frame of every page, and small parts they share. Everything that goes through [`maud`] is escaped.

use std::cmp::Ordering;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use smol_str::SmolStr;

use super::STYLE_VERSION;
use super::follower::Status;
use super::isolate::isolate;
use super::view::View;
use crate::base::clock;
use crate::model::nevra::Evr;
use crate::model::{BuildrootState, Outcome, PackageState, Seq, Timestamp};
use crate::view::package as package_view;
use crate::view::text::{minute, span_to_minute};

/// Lag behind the log from which a page warns, in seconds.
const BEHIND_WARN: i64 = 60;
/// Longest text from outside that is shown in one place, in characters.
const TEXT_MAX: usize = 4_000;

/// The moment that a page shows.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) as_of: AsOf,
    /// The address of the page, without the moment.
    pub(super) here: &'a str,
    /// Whether the request asked for a moment.
    pub(super) is_past: bool,
}

/// Makes the frame of a page. Without a moment, the page says nothing about the state.
pub(super) fn layout(title: &str, status: &Status, moment: Option<Moment<'_>>, main: Markup) -> Markup {
    let then = moment.filter(|m| m.is_past);
    let behind = status.behind_seconds(clock::now());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Koschei" }
                link rel="stylesheet" href={ "/style.css?v=" (STYLE_VERSION.as_str()) };
                link rel="icon" type="image/svg+xml" href={ "/icon.svg?v=" (STYLE_VERSION.as_str()) };
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    nav aria-label="Main" {
                        a.home href="/" { "Koschei" }
                        a href="/packages" { "Packages" }
                        a href="/groups" { "Groups" }
                        a href="/causes" { "Causes" }
                    }
                    form role="search" action="/packages" {
                        input type="search" name="q" maxlength="100" aria-label="Package name, * stands for \
                            anything" placeholder="python-*";
                        button { "Find" }
                    }
                    @if let Some(moment) = moment {
                        (freshness(moment, behind))
                        @if super::links::shows_state(moment.here) { (steps(moment, status.seq)) }
                    }
                }
                main #main {
                    @if let Some(moment) = then {
                        p.notice role="status" {
                            "This page shows what was known at " (time(moment.as_of.at))
                            ". What happened later is left out."
                        }
                    }
                    @if moment.is_some() {
                        @if let Some((since, _)) = &status.trouble {
                            p.notice role="status" {
                                "The log has not answered since " (time(*since)) ". The page shows what was known \
                                    then."
                            }
                        } @else if behind > BEHIND_WARN {
                            p.notice role="status" { "These pages are " (span_to_minute(behind)) " behind the log." }
                        }
                    }
                    (main)
                }
                footer { p { "Koschei " (env!("CARGO_PKG_VERSION")) " finds out which update broke the build of which \
                    package. " a href="/api/v2" { "API" } } }
            }
        }
    };
    let page = match then {
        Some(m) => super::links::carried(&page.into_string(), &m.as_of.seq.map_or(0, Seq::get).to_string()),
        None => page.into_string(),
    };
    PreEscaped(isolate(page))
}

/// Makes links to other moments of the same page.
fn steps(Moment { as_of, here, is_past }: Moment<'_>, end: Option<Seq>) -> Markup {
    let to = |moment: &str| super::links::with_query(here, &[("as_of", moment)]);
    let by_time = |secs: i64| to(&as_of.at.plus_secs(secs).to_string());
    let seq = as_of.seq.map_or(0, Seq::get);
    html! {
        nav.steps aria-label="Time" {
            "Earlier: "
            a href=(by_time(-86_400)) rel="nofollow" { "day" } " "
            a href=(by_time(-3_600)) rel="nofollow" { "hour" } " "
            @if seq > 0 { a href=(to(&(seq - 1).to_string())) rel="nofollow prev" { "event" } }
            @if is_past {
                " · later: "
                @if as_of.seq < end { a href=(to(&(seq + 1).to_string())) rel="nofollow next" { "event" } " " }
                a href=(by_time(3_600)) rel="nofollow" { "hour" } " "
                a href=(by_time(86_400)) rel="nofollow" { "day" } " · "
                a href=(here) { "now" }
            }
        }
    }
}

fn freshness(Moment { as_of, is_past, .. }: Moment<'_>, behind: i64) -> Markup {
    html! {
        p.asof {
            @match as_of.seq {
                Some(seq) => {
                    "As of " a href=(super::links::event(seq)) { "event " (seq) } ", " (time(as_of.at))
                    @if !is_past {
                        ", " (behind) @if behind == 1 { " second" } @else { " seconds" } " behind"
                    }
                }
                None if is_past => "Before the first event",
                None => "The log is empty",
            }
        }
    }
}

/// Shows a time to the minute; the machine-readable form has the rest.
pub(super) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at) { (minute(at)) " UTC" } }
}

/// Shows a state by a mark, a word and a colour, never by the colour alone.
pub(super) fn state(state: PackageState) -> Markup {
    let mark = match state {
        PackageState::Ok => "✔",
        PackageState::Failing => "✘",
        PackageState::Unresolved => "▲",
        PackageState::Unknown => "?",
        PackageState::Untracked => "–",
        PackageState::Blocked => "■",
    };
    html! { span class={ "state " (state) } { span aria-hidden="true" { (mark) } " " (state) } }
}

/// Shows the state of a build group.
pub(super) fn buildroot(state: BuildrootState) -> Markup {
    let (class, mark, word) = match state {
        BuildrootState::Ok => ("ok", "✔", "ok"),
        BuildrootState::Unresolved => ("failing", "✘", "broken"),
        BuildrootState::Unknown => ("unknown", "?", "unknown"),
    };
    html! { span class={ "state " (class) } { span aria-hidden="true" { (mark) } " " (word) } }
}

/// Shows how a build ended.
pub(super) fn outcome(outcome: Option<Outcome>, running: bool) -> Markup {
    let word = package_view::result(outcome, running);
    let (class, word) = match outcome {
        Some(Outcome::Ok) => ("ok", word),
        Some(Outcome::GenuineFailure) => ("failing", "failed"),
        Some(Outcome::InfrastructureFault | Outcome::Cancelled | Outcome::TimedOut | Outcome::Unclear) => {
            ("unknown", word)
        }
        None if running => ("running", word),
        None => ("unknown", word),
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// Makes the head of a table. Each column has the classes of its cell, and its words.
pub(super) fn column_heads(columns: &[(&str, &str)]) -> Markup {
    html! {
        thead { tr {
            @for (class, words) in columns {
                th class=[(!class.is_empty()).then_some(class)] scope="col" { (words) }
            }
        } }
    }
}

/// Makes a link, or the text alone if there is no address.
pub(super) fn maybe_link(href: Option<String>, text: impl std::fmt::Display) -> Markup {
    html! { @match href { Some(href) => a href=(href) rel="noreferrer" { (text) }, None => (text) } }
}

/// Makes a link to an event.
pub(super) fn event(seq: Seq) -> Markup {
    html! { a href=(super::links::event(seq)) { "#" (seq) } }
}

/// Shows text from outside, cut at [`TEXT_MAX`].
pub(super) fn text(text: &str) -> Markup {
    html! { @match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => { (text.get(..end).unwrap_or_default()) "… (cut)" },
        None => (text),
    } }
}

/// Splits `[epoch:]version-release` into its parts.
fn evr(text: &str) -> Evr {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => (epoch.parse().ok(), rest),
        _ => (None, text),
    };
    let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
    Evr { epoch, version: version.into(), release: release.into() }
}

/// Returns how a package changed: mark, word, class.
pub(super) fn direction(old: Option<&SmolStr>, new: Option<&SmolStr>) -> (&'static str, &'static str, &'static str) {
    match (old, new) {
        (None, Some(_)) => ("+", "added", "added"),
        (Some(_), None) => ("−", "removed", "removed"),
        (Some(old), Some(new)) => match evr(new).cmp(&evr(old)) {
            Ordering::Greater => ("↑", "upgraded", "up"),
            Ordering::Less => ("↓", "downgraded", "down"),
            Ordering::Equal => ("=", "the same version", "same"),
        },
        (None, None) => ("", "", "same"),
    }
}

/// Shows the new version of a package, with emphasis from the first part on that differs from the
/// old one.
pub(super) fn new_version(old: Option<&SmolStr>, new: &str) -> Markup {
    let Some(old) = old else { return html! { (new) } };
    let (from, to) = (evr(old), evr(new));
    let same = match new.strip_suffix(to.release.as_str()) {
        _ if from.epoch() != to.epoch() => "",
        Some(before) if from.version == to.version => before,
        _ => match new.split_once(':') {
            Some((epoch, _)) => new.get(..=epoch.len()).unwrap_or_default(),
            None => "",
        },
    };
    html! { (same) b { (new.strip_prefix(same).unwrap_or(new)) } }
}

/// The event a reply reflects.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsOf {
    pub(super) seq: Option<Seq>,
    pub(super) at: Timestamp,
}

impl AsOf {
    pub(super) fn of(view: &View) -> Self {
        Self { seq: view.state.seq, at: view.state.recorded_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_move_as_rpm_orders_them() {
        let word = |old: &str, new: &str| direction(Some(&old.into()), Some(&new.into())).1;
        assert_eq!(word("1.9-1", "1.10-1"), "upgraded");
        assert_eq!(word("1:1.0-1", "2.0-1"), "downgraded", "the epoch counts most");
        assert_eq!(word("1.0~rc1-1", "1.0-1"), "upgraded");
        assert_eq!(direction(None, Some(&"1-1".into())).1, "added");
        assert_eq!(direction(Some(&"1-1".into()), None).1, "removed");
    }

    #[test]
    fn what_differs_is_set_off() {
        let shown = |old: &str, new: &str| new_version(Some(&old.into()), new).into_string();
        assert_eq!(shown("4.4.1-1.fc99", "4.4.1-2.fc99"), "4.4.1-<b>2.fc99</b>");
        assert_eq!(shown("1:4.4-1", "1:4.5-1"), "1:<b>4.5-1</b>");
        assert_eq!(shown("4.4-1", "1:4.4-1"), "<b>1:4.4-1</b>");
        assert_eq!(shown("1-1", "<i>-2"), "<b>&lt;i&gt;-2</b>");
    }
}
