//! Collections and packages, in the form of `koschei status --json`.

use serde::Serialize;

use crate::fold::Collection;
use crate::model::Name;
use crate::view::package::{self as package_view, CollectionView, Report};
use crate::web::listing;
use crate::web::params::PackagesRequest;
use crate::web::refusal::Refusal;
use crate::web::reply::Content;
use crate::web::view::View;

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

/// Describes a collection.
pub(in crate::web) fn collection(view: &View, (name, c): (&Name, &Collection)) -> CollectionView {
    package_view::collection(&view.state, (name, c), view.counts(name))
}

/// Makes the output of `koschei status --json` without packages.
pub(in crate::web) fn collections(view: &View) -> Content {
    let mut report = Report::of(&view.state, view.state.recorded_at);
    report.collections = view.state.collections.iter().map(|c| collection(view, c)).collect();
    Content::json(&report)
}

/// Makes one page of the output of `koschei status --json`.
pub(in crate::web) fn packages(view: &View, wanted: &PackagesRequest) -> Result<Content, Refusal> {
    let of = listing::collections(view, wanted)?;
    let list = listing::page(view, &of, wanted)?;
    let now = view.state.recorded_at;
    let mut report = Report::of(&view.state, now);
    report.collections = of.iter().map(|c| collection(view, *c)).collect();
    let rows = list.rows.iter().flatten();
    report.packages = rows.map(|(c, p)| package_view::package(&view.state, *c, *p, now, &view.policy)).collect();
    Ok(Content::json(&Listed { report, page: wanted.page, pages: list.pages, matching: list.matching }))
}
