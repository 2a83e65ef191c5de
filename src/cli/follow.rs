//! `koschei follow`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use tokio_util::sync::CancellationToken;

use super::open::resolver;
use super::{CliError, DbArgs, Done};
use crate::buildroot::RepoResolver;
use crate::bus::amqp::{self, Binding, Tls};
use crate::bus::{
    AmqpSettings, AmqpSource, CommandSink, Connection, FedoraMessaging, Login, MessageSource, Server, SourceError,
    SourceSettings,
};
use crate::config::Config;
use crate::event::Source;
use crate::intake::stream::{Follower, Following};
use crate::intake::{IntakeError, recording};
use crate::log::{self, AnyLog, EventLog, Options};
use crate::model::Hub;
use crate::service::signals;
use crate::telemetry::Metrics;
use crate::telemetry::probe::{self, Readiness};

/// Receive Koji's messages from RabbitMQ or NATS JetStream, and decide what to rebuild.
///
/// A message is acknowledged as soon as it is stored in the inbox. RabbitMQ messages have the form
/// that Koji's plugin for Fedora Messaging sends. NATS messages are JSON objects like the lines of
/// a recording. No hub is asked, so every message is believed. The command stops at SIGTERM or
/// SIGINT, after it has handled the messages at hand.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("bus").required(true).args(["nats", "amqp", "fedora_messaging"])),
    after_help = "Example:\n  \
        koschei follow --amqp amqps://mq.example.org/%2Fkoji --amqp-ca ca.pem --amqp-cert koschei.pem \
        --amqp-key koschei.key --queue koschei --listen 127.0.0.1:9464\n  \
        koschei follow --fedora-messaging /etc/fedora-messaging/config.toml --commands commands.jsonl\n  \
        koschei follow --nats nats://127.0.0.1:4222 --stream KOJI --subject 'koji.>' \
        --commands-stream KOSCHEI --commands-subject koschei.commands"
)]
pub(crate) struct FollowArgs {
    // No doc comment: rustdoc reads the brackets as a link.
    #[arg(
        long,
        value_name = "URL",
        env = "KOSCHEI_AMQP",
        hide_env_values = true,
        help = "Address of RabbitMQ: amqp[s]://USER:PASSWORD@HOST:PORT/VHOST; write `/` in the virtual host as %2F"
    )]
    amqp: Option<String>,
    /// CA certificates to trust, PEM; default: those of the system
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nats", "fedora_messaging"])]
    amqp_ca: Option<PathBuf>,
    /// Client certificate, PEM; it is the login if the address has no password
    #[arg(long, value_name = "FILE", requires = "amqp_key", conflicts_with_all = ["nats", "fedora_messaging"])]
    amqp_cert: Option<PathBuf>,
    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "amqp_cert", conflicts_with_all = ["nats", "fedora_messaging"])]
    amqp_key: Option<PathBuf>,
    /// Configuration file of Fedora Messaging: address of RabbitMQ, certificates, queue, bindings
    #[arg(long, value_name = "FILE")]
    fedora_messaging: Option<PathBuf>,
    /// Queue to read, created as durable if absent; with --fedora-messaging, which of its queues
    /// [default: koschei, or the only one]
    #[arg(long, value_name = "NAME", conflicts_with = "nats")]
    queue: Option<String>,
    /// Exchange that Koji publishes to
    #[arg(long, value_name = "NAME", conflicts_with_all = ["nats", "fedora_messaging"], default_value = amqp::EXCHANGE)]
    exchange: String,
    /// Routing key to bind the queue with, instead of all that Koji's messages end with; may be
    /// repeated
    #[arg(long = "routing-key", value_name = "KEY", conflicts_with_all = ["nats", "fedora_messaging"])]
    routing_keys: Vec<String>,
    /// Addresses of NATS servers, separated by commas; a login may precede the host
    /// (USER:PASSWORD@HOST, TOKEN@HOST), with reserved characters as %XX
    #[arg(long, value_name = "URL", env = "KOSCHEI_NATS", hide_env_values = true, requires_all = ["stream", "subject"])]
    nats: Option<String>,
    /// NATS user to log in as
    #[arg(long, value_name = "NAME", requires_all = ["nats", "nats_password_file"])]
    nats_user: Option<String>,
    /// File whose first line is the password of --nats-user
    #[arg(long, value_name = "FILE", requires = "nats_user")]
    nats_password_file: Option<PathBuf>,
    /// File whose first line is a token for the login
    #[arg(long, value_name = "FILE", requires = "nats", conflicts_with = "nats_user")]
    nats_token_file: Option<PathBuf>,
    /// Credentials file for the login (.creds: a user's JWT and key)
    #[arg(long, value_name = "FILE", requires = "nats", conflicts_with_all = ["nats_user", "nats_token_file"])]
    nats_credentials: Option<PathBuf>,
    /// CA certificates to trust, PEM; default: those of the system
    #[arg(long, value_name = "FILE")]
    nats_ca: Option<PathBuf>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "nats_key")]
    nats_cert: Option<PathBuf>,
    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "nats_cert")]
    nats_key: Option<PathBuf>,
    /// Stream to read; created if absent
    #[arg(long, value_name = "NAME", conflicts_with_all = ["amqp", "fedora_messaging"])]
    stream: Option<String>,
    /// Subject of the messages in the stream; wildcards are allowed
    #[arg(long, value_name = "SUBJECT", conflicts_with_all = ["amqp", "fedora_messaging"])]
    subject: Option<String>,
    /// Durable consumer that remembers the position in the stream; created if absent
    #[arg(long, value_name = "NAME", default_value = "koschei")]
    consumer: String,
    /// File for rebuild commands, one JSON object per line, or - for standard output; default: they
    /// stay in the outbox
    #[arg(long, value_name = "DEST", conflicts_with = "commands_stream")]
    commands: Option<PathBuf>,
    /// NATS stream for rebuild commands; created if absent
    #[arg(long, value_name = "NAME", requires = "commands_subject", conflicts_with_all = ["amqp", "fedora_messaging"])]
    commands_stream: Option<String>,
    /// Subject to publish rebuild commands to
    #[arg(long, value_name = "SUBJECT", requires = "commands_stream")]
    commands_subject: Option<String>,
    /// Directory that stands in for a hub: repos/, buildrequires.jsonl and recorded answers
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    db: DbArgs,
    /// Configuration: collections, tracked packages, rules
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to serve /metrics, /alive and /ready at
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = crate::config::listen_address)]
    listen: Option<SocketAddr>,
    /// Number of messages per commit
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// Stop when no more messages wait
    #[arg(long)]
    until_idle: bool,
    /// Time after which NATS sends an unacknowledged message again
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ack_wait: u64,
}

pub(super) async fn run(args: &FollowArgs) -> Done {
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let archive = match &args.archive {
        Some(dir) => Some(super::open::archive(dir, Hub::new(&config.default_hub))?),
        None => None,
    };
    let stop = CancellationToken::new();
    signals::stop_on_signals(stop.clone())?;
    let metrics = Metrics::new();
    let readiness = Readiness::default();
    if let Some(at) = args.listen {
        let address = probe::serve(at, metrics.clone(), readiness.clone(), config.serve.limits(), stop.clone())
            .await
            .map_err(|source| CliError::Listen { at, source })?;
        eprintln!("koschei: metrics at http://{address}/metrics");
    }
    let log = log::open(&args.db.db, &Options::default()).await?;
    let pruning = tokio::spawn(crate::service::retention::keep(log.clone(), config.raw_days, stop.clone()));
    let settings = config.settings(Source::Bus);
    let resolver = resolver(archive, &settings);
    let done = follow(args, &log, settings, resolver, &metrics, &readiness, &stop).await;
    stop.cancel();
    // Cancelling ends the task. Its result no longer matters.
    drop(pruning.await);
    log.close().await;
    let done = done?;
    eprintln!(
        "koschei: {} messages taken in, {} handled, {} seen before, {} set aside",
        done.read, done.handled, done.duplicates, done.parked
    );
    Ok(ExitCode::SUCCESS)
}

async fn follow(
    args: &FollowArgs,
    log: &AnyLog,
    settings: crate::writer::Settings,
    resolver: Arc<dyn RepoResolver>,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<recording::Ingested, CliError> {
    let how = Following { batch: args.batch as usize, until_idle: args.until_idle };
    let sink = args.commands.as_deref().map(CommandSink::open).transpose().map_err(crate::intake::IntakeError::from)?;
    match &args.nats {
        Some(url) => {
            let (source, commands) = nats(args, url).await?;
            let sink = commands.or(sink);
            follow_source(&source, log, settings, resolver, sink, how, (metrics, readiness, stop)).await
        }
        None => {
            let source = AmqpSource::open(amqp_settings(args)?).await.map_err(source_error)?;
            follow_source(&source, log, settings, resolver, sink, how, (metrics, readiness, stop)).await
        }
    }
}

async fn follow_source<S: MessageSource>(
    source: &S,
    log: &AnyLog,
    settings: crate::writer::Settings,
    resolver: Arc<dyn RepoResolver>,
    sink: Option<CommandSink>,
    how: Following,
    (metrics, readiness, stop): (&Metrics, &Readiness, &CancellationToken),
) -> Result<recording::Ingested, CliError> {
    metrics.intake_begins(crate::base::clock::now());
    let (metrics, readiness, stop) = (metrics.clone(), readiness.clone(), stop.clone());
    Ok(Box::pin(Follower { log, settings, resolver, source, sink, how, metrics, readiness, stop }.run()).await?)
}

fn source_error(error: impl Into<SourceError>) -> CliError {
    IntakeError::from(error.into()).into()
}

/// Opens the stream of messages, and the stream for commands if one was asked for.
async fn nats(args: &FollowArgs, url: &str) -> Result<(impl MessageSource + use<>, Option<CommandSink>), CliError> {
    let login = match (&args.nats_user, &args.nats_password_file, &args.nats_token_file, &args.nats_credentials) {
        (Some(user), Some(file), ..) => Login::User(user.clone(), file.clone()),
        (_, _, Some(file), _) => Login::Token(file.clone()),
        (.., Some(file)) => Login::Credentials(file.clone()),
        _ => Login::InAddress,
    };
    let server = Server {
        url: url.to_owned(),
        login,
        root_certificates: args.nats_ca.clone(),
        client_certificate: args.nats_cert.clone().zip(args.nats_key.clone()),
    };
    let connection = Connection::open(&server).await.map_err(source_error)?;
    // The parser requires both options with --nats.
    let settings = SourceSettings {
        stream: args.stream.clone().unwrap_or_default(),
        subject: args.subject.clone().unwrap_or_default(),
        consumer: args.consumer.clone(),
        ack_wait: Duration::from_secs(args.ack_wait),
    };
    let source = connection.source(&settings).await.map_err(source_error)?;
    let sink = match (&args.commands_stream, &args.commands_subject) {
        (Some(name), Some(subject)) => {
            let stream = connection.commands(name, subject).await.map_err(source_error)?;
            Some(CommandSink::Stream(Box::new(stream)))
        }
        _ => None,
    };
    Ok((source, sink))
}

/// Returns the settings of the queue, from options or from a file. Prints warnings about the file.
fn amqp_settings(args: &FollowArgs) -> Result<AmqpSettings, CliError> {
    if let Some(path) = &args.fedora_messaging {
        let file = FedoraMessaging::read(path, args.queue.as_deref())
            .map_err(|e| CliError::Rejected(super::with_causes("use the configuration of Fedora Messaging", &e)))?;
        for warning in &file.warnings {
            eprintln!("koschei: warning: {}: {warning}", path.display());
        }
        return Ok(file.amqp);
    }
    let url = args.amqp.as_deref().unwrap_or_default();
    let mut settings = AmqpSettings::new(url, args.queue.as_deref().unwrap_or(amqp::QUEUE));
    settings.tls =
        Tls { ca_cert: args.amqp_ca.clone(), certificate: args.amqp_cert.clone().zip(args.amqp_key.clone()) };
    settings.bindings = vec![match args.routing_keys.as_slice() {
        [] => Binding::koji(&args.exchange),
        keys => Binding { exchange: args.exchange.clone(), routing_keys: keys.to_vec() },
    }];
    Ok(settings)
}
