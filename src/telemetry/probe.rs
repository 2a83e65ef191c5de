//! Probes for monitoring over HTTP: `/metrics`, `/alive`, `/ready`.
//!
//! [`crate::web`] serves them beside the pages. [`serve`] is for processes without pages.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::listen::{self, Limits};
use crate::telemetry::Metrics;

/// Whether the process is ready. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<watch::Sender<Parts>>);

/// The parts of readiness.
#[derive(Debug, Default)]
struct Parts {
    caught_up: bool,
    /// Servers that the process needs and that do not answer.
    away: BTreeSet<&'static str>,
}

impl Parts {
    fn ready(&self) -> bool {
        self.caught_up && self.away.is_empty()
    }
}

impl Readiness {
    /// Notes that the process has caught up.
    pub fn ready(&self) {
        self.0.send_modify(|parts| parts.caught_up = true);
    }

    /// Notes that the process waits for a server it needs, such as `the database`.
    pub fn waits_for(&self, whom: &'static str) {
        self.0.send_if_modified(|parts| parts.away.insert(whom));
    }

    /// Notes that the server answers again.
    pub fn is_back(&self, whom: &'static str) {
        self.0.send_if_modified(|parts| parts.away.remove(whom));
    }

    /// Checks whether the process is ready.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().ready()
    }
}

/// What the probes report.
#[derive(Clone, Debug)]
struct Told {
    metrics: Metrics,
    readiness: Readiness,
}

/// Makes the handler for an address of [`PROBES`].
type Made = fn() -> MethodRouter<Told>;

/// The three addresses.
const PROBES: [(&str, Made); 3] =
    [("/metrics", || get(metrics)), ("/alive", || get(|| async { "alive\n" })), ("/ready", || get(ready))];

/// Returns the addresses of all probes.
pub fn addresses() -> impl Iterator<Item = &'static str> {
    PROBES.into_iter().map(|(address, _)| address)
}

/// The three addresses.
pub fn router(metrics: Metrics, readiness: Readiness) -> Router {
    let probes = PROBES.into_iter().fold(Router::new(), |router, (address, made)| router.route(address, made()));
    probes.with_state(Told { metrics, readiness })
}

async fn metrics(State(told): State<Told>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], told.metrics.render())
}

async fn ready(State(told): State<Told>) -> (StatusCode, String) {
    let parts = told.readiness.0.borrow();
    match parts.away.first() {
        Some(whom) => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {whom}\n")),
        None if parts.caught_up => (StatusCode::OK, "ready\n".to_owned()),
        None => (StatusCode::SERVICE_UNAVAILABLE, "folding the log\n".to_owned()),
    }
}

/// Serves the probes until told to stop. Returns the address it listens at; port 0 in `at` takes a
/// free one.
///
/// # Errors
/// Returns an error if the address cannot be used.
pub async fn serve(
    at: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
    limits: Limits,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(at).await?;
    let address = listener.local_addr()?;
    let app = router(metrics, readiness);
    tokio::spawn(listen::serve(listener, app.clone(), app, limits, stop));
    Ok(address)
}
