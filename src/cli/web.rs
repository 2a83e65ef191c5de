//! `koschei web`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::as_of::{AsOf, Edge, settle};
use super::open::reading;
use super::{CliError, DbArgs, Done};
use crate::base::listen::Limits;
use crate::log::EventLog;
use crate::model::{Hub, Seq};
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;
use crate::web::{Follower, KojiLinks, Site};

/// How often progress is drawn.
const DRAW: Duration = Duration::from_millis(100);

/// Serve pages over a log: what is broken, since when, why, and what is done about it.
///
/// Reads only; the log may be written by another process meanwhile, and the pages follow it. Also serves /metrics,
/// /alive and /ready. Ends at SIGTERM or SIGINT after answering what was asked.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei web --db koschei.db --listen 127.0.0.1:8080 --weburl \
        https://koji.fedoraproject.org/koji")]
pub(crate) struct WebArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Where to listen: an address, `localhost:8080`, or a port, which is this machine's only; port 0 takes a free one,
    /// which is printed
    #[arg(
        long,
        value_name = "[ADDR:]PORT",
        default_value = "127.0.0.1:8080",
        value_parser = crate::config::listen_address
    )]
    listen: SocketAddr,
    /// Koji's own web pages, to link to; once for each hub with its name in front, or without for all
    #[arg(long, value_name = "[HUB=]URL")]
    weburl: Vec<String>,
    /// Show things as they were after this event, or at this (recorded) time (466, "2026-11-20 08:45", 2026-11-20, "1
    /// hour ago"), and do not follow
    #[arg(long, value_name = "SEQ|TIME")]
    as_of: Option<AsOf>,
}

pub(super) async fn run(args: &WebArgs) -> Done {
    let mut koji = KojiLinks::default();
    for given in &args.weburl {
        // A hub's name has no slash; an address has one before any `=`.
        let (hub, url) = match given.split_once('=') {
            Some((hub, url)) if !hub.contains('/') => (Some(Hub::new(hub)), url),
            _ => (None, given.as_str()),
        };
        koji.set(hub, url).map_err(|e| CliError::Rejected(e.to_string()))?;
    }
    let stop = CancellationToken::new();
    super::follow::stop_on_signals(stop.clone())?;
    let log = reading(&args.db.db).await?;
    let until = match args.as_of {
        None => None,
        Some(as_of) => settle(&log, as_of, Edge::End).await?.seq(&log).await?,
    };
    if args.as_of.is_some() && (until.is_none() || log.head().await?.seq < until) {
        return Err(CliError::Rejected("show things as of a point the log does not have".to_owned()));
    }
    let metrics = Metrics::new();
    let readiness = Readiness::default();
    let follower = Follower::new(metrics.clone());
    let watchdog = tokio::spawn(super::systemd::watchdog(crate::web::LOOP, metrics.clone(), stop.clone()));
    let site = Site::new(log.clone(), follower.clone(), metrics, koji);
    let serving = crate::web::serve(args.listen, site, readiness.clone(), Limits::default(), stop.clone())
        .await
        .map_err(|source| CliError::Listen { at: args.listen, source })?;
    eprintln!("koschei: pages at http://{}/", serving.address);
    let showing = tokio::spawn(progress(follower.clone(), readiness));
    let followed = follower.run(&log, until, &stop).await;
    stop.cancel();
    showing.abort();
    // They end by themselves now; whether they did so in an orderly way has been logged.
    drop((serving.done.await, watchdog.await));
    log.close().await;
    followed?;
    Ok(ExitCode::SUCCESS)
}

/// Shows how far folding is, until the end of the log is reached; then we are ready.
async fn progress(follower: Follower, readiness: Readiness) {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let caught_up = follower.caught_up();
    let mut caught_up = std::pin::pin!(caught_up);
    loop {
        tokio::select! {
            () = &mut caught_up => break,
            () = tokio::time::sleep(DRAW) => {}
        }
        let status = follower.status();
        bar.set_length(status.head.map_or(0, Seq::get));
        bar.set_position(status.seq.map_or(0, Seq::get));
    }
    bar.finish_and_clear();
    readiness.ready();
    if let Err(error) = super::systemd::notify("READY=1") {
        tracing::debug!(error = %crate::model::causes::with_causes(&error), "nobody waits to hear that we are ready");
    }
    let seq = follower.status().seq.map_or(0, Seq::get);
    eprintln!("koschei: {seq} events are folded");
}
