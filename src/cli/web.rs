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
use crate::service::{signals, systemd};
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;
use crate::web::{Follower, KojiLinks, Site};

/// Interval between two drawings of the progress bar.
const DRAW: Duration = Duration::from_millis(100);

/// Serve web pages about a log: what is broken, since when, and why.
///
/// The log is only read. Another process may write to it; the pages follow. The server also answers
/// /metrics, /alive and /ready. It stops at SIGTERM or SIGINT, after it has answered open requests.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei web --db koschei.db --listen 127.0.0.1:8080 --weburl \
        https://koji.fedoraproject.org/koji")]
pub(crate) struct WebArgs {
    #[command(flatten)]
    db: DbArgs,
    /// Address to listen at; a port alone means this machine only; port 0 takes a free port and
    /// prints it
    #[arg(
        long,
        value_name = "[ADDR:]PORT",
        default_value = "127.0.0.1:8080",
        value_parser = crate::config::listen_address
    )]
    listen: SocketAddr,
    /// Address of Koji's web pages, for links; may be repeated with HUB=, or given once for all
    /// hubs
    #[arg(long, value_name = "[HUB=]URL")]
    weburl: Vec<String>,
    /// Point in the log to show, without following: an event (466), a time of recording
    /// ("2026-11-20 08:45"), the end of a day (2026-11-20) or a span ("1 hour ago")
    #[arg(long, value_name = "SEQ|TIME")]
    as_of: Option<AsOf>,
}

pub(super) async fn run(args: &WebArgs) -> Done {
    let mut koji = KojiLinks::default();
    for given in &args.weburl {
        // The name of a hub has no slash. An address has one before any `=`.
        let (hub, url) = match given.split_once('=') {
            Some((hub, url)) if !hub.contains('/') => (Some(Hub::new(hub)), url),
            _ => (None, given.as_str()),
        };
        koji.set(hub, url).map_err(|e| CliError::Rejected(e.to_string()))?;
    }
    let stop = CancellationToken::new();
    signals::stop_on_signals(stop.clone())?;
    let log = reading(&args.db.db).await?;
    let until = match args.as_of {
        None => None,
        Some(as_of) => settle(&log, as_of, Edge::End).await?.seq(&log).await?,
    };
    if args.as_of.is_some() && (until.is_none() || log.head().await?.seq < until) {
        return Err(CliError::Rejected("show the log as of a point that it does not reach".to_owned()));
    }
    let metrics = Metrics::new();
    let readiness = Readiness::default();
    let follower = Follower::new(metrics.clone());
    let watchdog = tokio::spawn(systemd::watchdog(crate::web::LOOP, metrics.clone(), stop.clone()));
    let site = Site::new(log.clone(), follower.clone(), metrics, koji);
    let serving = crate::web::serve(args.listen, site, readiness.clone(), Limits::default(), stop.clone())
        .await
        .map_err(|source| CliError::Listen { at: args.listen, source })?;
    eprintln!("koschei: pages at http://{}/", serving.address);
    let showing = tokio::spawn(progress(follower.clone(), readiness));
    let followed = follower.run(&log, until, &stop).await;
    stop.cancel();
    showing.abort();
    // Both tasks end now. They log their own errors.
    drop((serving.done.await, watchdog.await));
    log.close().await;
    followed?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the progress of folding. Reports readiness when the end of the log is reached.
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
    systemd::ready();
    let seq = follower.status().seq.map_or(0, Seq::get);
    eprintln!("koschei: {seq} events are folded");
}
