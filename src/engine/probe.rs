//! What monitoring asks a running process over HTTP: `/metrics`, `/alive`, `/ready`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// Whether the process has caught up and takes part.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that it does.
    pub fn ready(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Serves until told to stop; returns the address it listens on (port 0 in `at` takes a free one).
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    at: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(at).await?;
    let address = listener.local_addr()?;
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let app = Router::new()
        .route("/metrics", get(move || async move { (text, metrics.render()) }))
        .route("/alive", get(|| async { "alive\n" }))
        .route(
            "/ready",
            get(move || async move {
                if readiness.0.load(Ordering::Acquire) {
                    (StatusCode::OK, "ready\n")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "folding the log\n")
                }
            }),
        );
    tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(e) = served {
            tracing::error!(error = %e, "monitoring stopped");
        }
    });
    Ok(address)
}
