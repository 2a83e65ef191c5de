//! `koschei follow`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{CliError, DbArgs, Done};
use crate::bus::{CommandSink, Connection, Server, SourceSettings};
use crate::config::Config;
use crate::engine::archive_eyes::ArchiveEyes;
use crate::engine::live::{self, Following};
use crate::engine::probe::{self, Readiness};
use crate::engine::{Blind, EngineError, Eyes, ingest};
use crate::event::Source;
use crate::koji::Archive;
use crate::log::{self, AnyLog, EventLog, Options};
use crate::model::Hub;
use crate::telemetry::Metrics;

/// Follow a NATS JetStream stream of Koji's messages: note, acknowledge, fold, decide, publish commands.
///
/// Each message of the stream is one JSON object as in a recording. It is acknowledged when it stands in the inbox. Ends at SIGTERM or
/// SIGINT after finishing what is in hand.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  koschei follow --nats nats://127.0.0.1:4222 --stream KOJI --subject 'koji.>' --commands-stream KOSCHEI --commands-subject koschei.commands --listen 127.0.0.1:9464"
)]
pub(crate) struct FollowArgs {
    /// Servers, separated by commas; user and password may stand in the address
    #[arg(long, value_name = "URL", env = "KOSCHEI_NATS")]
    nats: String,
    /// Certificates to trust, PEM
    #[arg(long, value_name = "FILE")]
    nats_ca: Option<PathBuf>,
    /// Our certificate, PEM
    #[arg(long, value_name = "FILE", requires = "nats_key")]
    nats_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "nats_cert")]
    nats_key: Option<PathBuf>,
    /// Stream with the messages; made when absent
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Subject of the messages in it, wildcards allowed
    #[arg(long, value_name = "SUBJECT")]
    subject: String,
    /// Durable consumer, which remembers how far we are; made when absent
    #[arg(long, value_name = "NAME", default_value = "koschei")]
    consumer: String,
    /// Stream for rebuild commands; made when absent
    #[arg(long, value_name = "NAME", requires = "commands_subject")]
    commands_stream: Option<String>,
    /// Subject to publish rebuild commands to
    #[arg(long, value_name = "SUBJECT", requires = "commands_stream")]
    commands_subject: Option<String>,
    /// Directory looked into where a hub would be asked
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    db: DbArgs,
    /// Collections, tracking, rules
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve /metrics, /alive and /ready here
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Messages in one commit
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// End when the stream holds nothing more
    #[arg(long)]
    until_idle: bool,
    /// Seconds after which a message that was not acknowledged comes again
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ack_wait: u64,
}

pub(super) async fn run(args: &FollowArgs) -> Done {
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let archive = match &args.archive {
        Some(dir) => Some(
            Archive::open(dir, Hub::new(&config.default_hub))
                .map_err(|e| CliError::Rejected(super::with_causes("open archive", &e)))?,
        ),
        None => None,
    };
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let metrics = Metrics::new();
    let readiness = Readiness::default();
    if let Some(at) = args.listen {
        let address = probe::serve(at, metrics.clone(), readiness.clone(), stop.clone())
            .await
            .map_err(|e| CliError::Rejected(format!("listen on {at}: {e}")))?;
        eprintln!("koschei: metrics at http://{address}/metrics");
    }
    let log = log::open(&args.db.db, &Options::default()).await?;
    let settings = config.settings(Source::Bus);
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let done = match archive {
        Some(archive) => {
            let eyes = ArchiveEyes::new(archive, settings.mode, threads).checking(settings.check_percent);
            follow(args, &log, settings, eyes, &metrics, &readiness, &stop).await
        }
        None => follow(args, &log, settings, Blind, &metrics, &readiness, &stop).await,
    };
    stop.cancel();
    log.close().await;
    let done = done?;
    eprintln!(
        "koschei: {} messages taken in, {} handled, {} seen before, {} set aside",
        done.read, done.handled, done.duplicates, done.parked
    );
    Ok(ExitCode::SUCCESS)
}

async fn follow<E: Eyes>(
    args: &FollowArgs,
    log: &AnyLog,
    settings: crate::engine::Settings,
    eyes: E,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<ingest::Ingested, CliError> {
    let mut brain = ingest::awaken(log, settings, eyes, metrics.clone()).await?;
    let server = Server {
        url: args.nats.clone(),
        root_certificates: args.nats_ca.clone(),
        client_certificate: args.nats_cert.clone().zip(args.nats_key.clone()),
    };
    let stream = |e: crate::bus::JetStreamError| EngineError::from(crate::bus::SinkError::Stream(e));
    let connection = Connection::open(&server).await.map_err(stream)?;
    let source = connection
        .source(&SourceSettings {
            stream: args.stream.clone(),
            subject: args.subject.clone(),
            consumer: args.consumer.clone(),
            ack_wait: Duration::from_secs(args.ack_wait),
        })
        .await
        .map_err(stream)?;
    let sink = match (&args.commands_stream, &args.commands_subject) {
        (Some(name), Some(subject)) => {
            Some(CommandSink::Stream(Box::new(connection.commands(name, subject).await.map_err(stream)?)))
        }
        _ => None,
    };
    readiness.ready();
    metrics.intake_begins(crate::engine::clock::now());
    let how = Following { batch: args.batch as usize, until_idle: args.until_idle };
    Ok(live::follow(&mut brain, log, &source, sink, how, metrics, stop).await?)
}

pub(super) fn stop_on_signals(stop: CancellationToken) -> Result<(), CliError> {
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stop.cancel();
    });
    Ok(())
}
