//! Web pages: what is broken, since when, why, and what is done about it.
//!
//! Pages are made on the server, without scripts, from a state that a [`Follower`] folds from the
//! log beside the writer. So a reader holds up nothing, and each page names the event it reflects.
//! Names, versions and problems come from packages and are hostile until escaped. [`maud`] escapes
//! them, and the headers forbid a browser to load or run anything but our stylesheet.
//!
//! | address | what |
//! | --- | --- |
//! | `/` | collections, what broke or was repaired lately, what runs; with `json=1` as `koschei status --json` |
//! | `/packages?collection=&group=&state=&q=&order=&page=` | packages; with `json=1` as `koschei status --json` |
//! | `/package/NAME?collection=` | one package; with `json=1` as `koschei why --json` |
//! | `/collection/NAME` | settings, architectures, repositories |
//! | `/groups`, `/groups/NAME` | groups of packages, and their packages by state |
//! | `/causes?collection=` | updates that break packages now; with `json=1` as a list |
//! | `/cause/ID` | one of them, and the packages it breaks; or broke, if it is over |
//! | `/update/NVR` | what an update broke, over all collections |
//! | `/event/SEQ?after=&content=` | one event with its causes and what followed; with `json=1` as `CloudEvents` 1.0 |
//! | `/api/v2`, `/api/v2/…` | everything that the pages show, for programs; described there |
//! | `/api/v1/packages?name=&collection=`, `/api/v1/collections/diff/A/B` | as the original Koschei's |
//! | `/metrics`, `/alive`, `/ready` | for monitoring, see [`crate::telemetry::probe`] |
//!
//! `pages` has a file for each page and the table of their addresses. `api` has what programs get.
//! Shared code stands beside them. `people` has who asks, and what they may do.

mod api;
mod effects;
mod events;
mod follower;
mod isolate;
mod kept_trail;
mod links;
mod listing;
#[cfg(test)]
mod once_tests;
mod orders;
mod pages;
mod params;
mod parts;
mod past;
mod people;
mod refusal;
mod reply;
mod running;
mod view;

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::routing::{MethodRouter, get};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use follower::{Follower, LOOP, Status};
pub use links::{BadWebUrl, KojiLinks};
pub use people::{LoginSettings, Oidc, Owners, OwnersError, People, ProviderError, Proxy, sweep};

use crate::base::clock::Stopwatch;
use crate::base::listen::{self, Limits};
use crate::event::Record;
use crate::log::AnyLog;
use crate::log::trail::WithCauses;
use crate::telemetry::Metrics;
use crate::telemetry::probe::{self, Readiness};
use kept_trail::KeptTrail;
use pages::PAGES;
use past::Past;
use refusal::Refusal;
use reply::Asked;
use view::View;

/// Number of pages that are made at a time; further requests wait. Pages must not take the
/// processors from the writer.
const PAGES_AT_ONCE: usize = 2;
/// Longest time a page may take, including the answers of the log.
const PAGE_TIME_MAX: Duration = Duration::from_secs(30);

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");
/// Version of the stylesheet. It is part of the address, so browsers may cache the file.
static STYLE_VERSION: LazyLock<String> =
    LazyLock::new(|| blake3::hash(format!("{STYLE}{ICON}").as_bytes()).to_hex().chars().take(12).collect());

/// What pages are made from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Site {
    log: AnyLog,
    follower: Follower,
    metrics: Metrics,
    koji: Arc<KojiLinks>,
    pages: Arc<Semaphore>,
    past: Past,
    people: People,
    /// Places for readers of the stream of events.
    streams: Arc<Semaphore>,
    /// Ends the streams.
    stop: CancellationToken,
    descriptions: events::Descriptions,
    /// What happened to packages, as pages show it, and as programs get it.
    trails: KeptTrail<Vec<Arc<Record>>>,
    trails_with_causes: KeptTrail<Vec<WithCauses>>,
}

impl Site {
    /// Makes pages about `log`, with the state that `follower` folds from it.
    pub fn new(log: AnyLog, follower: Follower, metrics: Metrics, koji: KojiLinks) -> Self {
        Self {
            log,
            follower,
            metrics,
            koji: Arc::new(koji),
            pages: Arc::new(Semaphore::new(PAGES_AT_ONCE)),
            past: Past::default(),
            people: People::default(),
            streams: Arc::new(Semaphore::new(api::v2::STREAMS_MAX)),
            stop: CancellationToken::new(),
            descriptions: events::Descriptions::default(),
            trails: KeptTrail::default(),
            trails_with_causes: KeptTrail::default(),
        }
    }

    /// Lets people log in.
    #[must_use]
    pub fn with_people(mut self, people: People) -> Self {
        self.people = people;
        self
    }

    /// Makes something from the state, on a thread for blocking work.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&View) -> T + Send + 'static) -> T {
        // The semaphore is never closed.
        let permit = self.pages.acquire().await;
        let follower = self.follower.clone();
        let made = tokio::task::spawn_blocking(move || follower.look(look)).await;
        drop(permit);
        made.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
    }
}

/// A running server.
#[derive(Debug)]
pub struct Serving {
    /// Its address.
    pub address: SocketAddr,
    /// Ends when the server was told to stop and has answered all earlier requests.
    pub done: JoinHandle<()>,
}

/// Serves pages and monitoring at `at` (port 0 takes a free one) until told to stop.
///
/// # Errors
/// Returns an error if the address cannot be used.
pub async fn serve(
    at: SocketAddr,
    mut site: Site,
    readiness: Readiness,
    limits: Limits,
    stop: CancellationToken,
) -> std::io::Result<Serving> {
    let listener = tokio::net::TcpListener::bind(at).await?;
    site.stop = stop.clone();
    let address = listener.local_addr()?;
    let monitoring = probe::router(site.metrics.clone(), readiness).layer(middleware::from_fn(harden));
    let all = router(site).merge(monitoring.clone());
    Ok(Serving { address, done: tokio::spawn(listen::serve(listener, all, monitoring, limits, stop)) })
}

/// Returns every address that is served, including monitoring, in the form of the router: `{name}`
/// stands for any text.
pub fn addresses() -> impl Iterator<Item = &'static str> {
    let operations = api::v2::OPERATIONS.iter().map(|o| o.address);
    PAGES
        .iter()
        .map(|(address, _)| *address)
        .chain(operations)
        .chain(people::ADDRESSES.iter().copied())
        .chain(probe::addresses())
}

/// Returns the description of `/api/v2` as an OpenAPI document. `schemas/openapi.json` is this text.
pub fn openapi() -> String {
    api::v2::document()
}

/// Makes the router of all pages.
fn router(site: Site) -> Router {
    let pages = PAGES.iter().fold(Router::new(), |router, (address, made)| router.route(address, made(&site)));
    let all = api::v2::OPERATIONS.iter().fold(pages, |router, o| router.route(o.address, (o.made)(&site)));
    let all = all.merge(people::router(&site)).fallback(nothing_here);
    let known = middleware::from_fn_with_state(site.clone(), people::known);
    all.with_state(site).layer(known).layer(middleware::from_fn(harden))
}

/// Makes a page that is counted and timed under a name, and has a time limit.
fn page<H: Handler<T, Site>, T: 'static>(name: &'static str, site: &Site, show: H) -> MethodRouter<Site> {
    timed(get(show), name, site)
}

/// Counts and times the answers of a route under a name, and limits their time.
fn timed(route: MethodRouter<Site>, name: &'static str, site: &Site) -> MethodRouter<Site> {
    let metrics = site.metrics.clone();
    route.layer(middleware::from_fn(move |request: Request, next: Next| {
        let metrics = metrics.clone();
        async move {
            let watch = Stopwatch::start();
            let response = match tokio::time::timeout(PAGE_TIME_MAX, next.run(request)).await {
                Ok(response) => response,
                Err(_) => {
                    let mut response = Response::new(Body::from("This page took too long; try again in a moment.\n"));
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    response
                }
            };
            metrics.web_request(name.trim_start_matches('/'), response.status().as_u16(), watch.seconds());
            response
        }
    }))
}

async fn nothing_here(State(site): State<Site>, uri: Uri, asked: Asked) -> Response<Body> {
    let response = if uri.path().starts_with("/api/v2/") {
        let nothing = Refusal::not_found("there is no such operation; `/api/v2` describes all of them");
        api::v2::answer::refused(&site.follower.status(), nothing)
    } else {
        reply::reply(&site, &asked, async { Err(Refusal::not_found("there is no such page")) }).await
    };
    site.metrics.web_request("other", response.status().as_u16(), 0.0);
    response
}

/// Makes a reply that browsers may cache. Its address changes when the content does.
fn kept(kind: &'static str, text: &'static str) -> ([(HeaderName, &'static str); 2], &'static str) {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=86400")], text)
}

/// Adds the headers that restrict browsers, for every page.
async fn harden(request: Request, next: Next) -> Response<Body> {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, reply::POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stylesheet_is_small_and_loads_nothing() {
        assert!(STYLE.len() < 8_000, "{} bytes", STYLE.len());
        for outside in ["url(", "@import", "http"] {
            assert!(!STYLE.contains(outside), "{outside}");
        }
        assert!(STYLE.contains("prefers-color-scheme: dark"));
    }
}
