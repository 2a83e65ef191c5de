//! The pages, one file each, and the table of their addresses.

mod cause;
mod causes;
mod collection;
mod event;
mod groups;
mod over;
mod overview;
mod package;
mod packages;
mod update;

use axum::routing::{MethodRouter, get};

use super::api::{v1, v2};
use super::{ICON, STYLE, Site, kept, page};

/// Makes the handler for an address of [`PAGES`].
pub(super) type Made = fn(&Site) -> MethodRouter<Site>;

/// Every page, with its address in the form of the router.
pub(super) const PAGES: &[(&str, Made)] = &[
    ("/", |site| page("overview", site, overview::show)),
    ("/packages", |site| page("packages", site, packages::show)),
    ("/package/{name}", |site| page("package", site, package::show)),
    ("/collection/{name}", |site| page("collection", site, collection::show)),
    ("/groups", |site| page("groups", site, groups::list)),
    ("/groups/{name}", |site| page("group", site, groups::show)),
    ("/causes", |site| page("causes", site, causes::list)),
    ("/cause/{id}", |site| page("cause", site, cause::show)),
    ("/update/{nvr}", |site| page("update", site, update::show)),
    ("/event/{seq}", |site| page("event", site, event::show)),
    ("/api/v1/packages", |site| page("api/v1/packages", site, v1::packages)),
    ("/api/v1/collections/diff/{one}/{other}", |site| page("api/v1/collections/diff", site, v1::diff)),
    ("/api/v2", |site| page("api/v2", site, v2::viewer)),
    ("/style.css", |_| get(|| async { kept("text/css; charset=utf-8", STYLE) })),
    ("/icon.svg", |_| get(|| async { kept("image/svg+xml", ICON) })),
    ("/robots.txt", |_| {
        get(|| async { kept("text/plain; charset=utf-8", "User-agent: *\nDisallow: /event/\nDisallow: /api/\n") })
    }),
];
