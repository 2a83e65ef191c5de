//! Collections and packages, in the form of `koschei status --json`.

use serde::Serialize;

use crate::view::package::{self as package_view, Report};
use crate::web::follower::View;
use crate::web::listing::{self, Entry};
use crate::web::params::PackagesRequest;
use crate::web::refusal::Refusal;
use crate::web::reply::Content;

/// One page of the output of `koschei status --json`.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    report: Report,
    /// Number of this page, from 1.
    page: usize,
    /// Number of pages.
    pages: usize,
    /// Number of packages that fit, on all pages. A package of several collections counts once, as
    /// on the HTML page.
    matching: usize,
}

/// Makes the output of `koschei status --json` without packages.
pub(in crate::web) fn collections(view: &View) -> Content {
    let mut report = Report::of(&view.state, view.state.recorded_at);
    let collections = view.state.collections.iter();
    report.collections = collections.map(|(n, c)| package_view::collection(&view.state, n, c)).collect();
    Content::json(&report)
}

/// Makes one page of the output of `koschei status --json`.
pub(in crate::web) fn packages(view: &View, wanted: &PackagesRequest) -> Result<Content, Refusal> {
    let of = listing::collections(view, wanted)?;
    let found = listing::select(view, &of, wanted);
    let by_name: Vec<Vec<Entry<'_>>> = match of[..] {
        [_] => found.into_iter().map(|e| vec![e]).collect(),
        _ => listing::grouped(found, wanted.order).into_iter().map(|(_, entries)| entries).collect(),
    };
    let (rows, pages) = listing::page(&by_name, wanted)?;
    let now = view.state.recorded_at;
    let mut report = Report::of(&view.state, now);
    report.collections = of.iter().map(|(n, c)| package_view::collection(&view.state, n, c)).collect();
    let rows = rows.iter().flatten();
    report.packages = rows.map(|(c, p)| package_view::package(&view.state, *c, *p, now, &view.policy)).collect();
    Ok(Content::json(&Listed { report, page: wanted.page, pages, matching: by_name.len() }))
}
