//! What the service does on NATS JetStream: it publishes the log's events, and gives commands to
//! outside executors and takes their results.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::bus::{Connection, JetStreamError, Login, QueueSettings, ResultSource, Server, SourceSettings};
use crate::config::{HubConfig, JetStreamConfig};
use crate::hub::to_writer::ToWriter;
use crate::intake::publishing::EventPublisher;
use crate::intake::queueing::{AGAIN_AFTER, Queueing};
use crate::intake::receive;
use crate::log::AnyLog;
use crate::model::Hub;
use crate::telemetry::Metrics;
use crate::writer::pauses::Held;

/// Name of our durable consumer of results.
const CONSUMER: &str = "koschei";
/// Time after which a result that was not acknowledged comes again.
const ACK_WAIT: Duration = Duration::from_secs(60);

/// Returns the NATS server. `None`: none is used.
pub(crate) fn server(config: &JetStreamConfig) -> Result<Option<Server>, StartError> {
    let logins = [config.user.is_some(), config.token_file.is_some(), config.credentials.is_some()];
    if logins.into_iter().filter(|given| *given).count() > 1 {
        const ONE: &str = "use NATS (`[jetstream]`): give one login: `user`, `token_file` or `credentials`";
        return Err(StartError::Rejected(ONE.to_owned()));
    }
    let Some(url) = config.url.clone() else { return Ok(None) };
    let login = match (&config.user, &config.password_file, &config.token_file, &config.credentials) {
        (Some(user), Some(file), ..) => Login::User(user.clone(), file.clone()),
        (.., Some(file), _) => Login::Token(file.clone()),
        (.., Some(file)) => Login::Credentials(file.clone()),
        _ => Login::InAddress,
    };
    Ok(Some(Server {
        url,
        login,
        root_certificates: config.ca_cert.clone(),
        client_certificate: config.cert.clone().zip(config.key.clone()),
    }))
}

/// Returns the queue for the commands of a hub.
pub(crate) fn queue(config: &JetStreamConfig, hub: &str) -> QueueSettings {
    let (stream, subject) = (config.commands_stream.clone(), config.commands_subject.clone());
    QueueSettings { stream, subject, hub: hub.to_owned() }
}

/// Returns where results come from.
pub(crate) fn results(config: &JetStreamConfig) -> SourceSettings {
    SourceSettings {
        stream: config.results_stream.clone(),
        subject: config.results_subject.clone(),
        consumer: CONSUMER.to_owned(),
        ack_wait: ACK_WAIT,
    }
}

/// NATS JetStream, and what all its tasks share.
pub(crate) struct JetStream<'a> {
    pub(crate) config: &'a JetStreamConfig,
    pub(crate) server: Server,
    pub(crate) log: &'a AnyLog,
    pub(crate) metrics: &'a Metrics,
    pub(crate) stop: &'a CancellationToken,
}

impl JetStream<'_> {
    /// Starts to publish the log's events.
    pub(crate) fn publish(&self, log_id: &str, tasks: &mut JoinSet<()>) {
        let publisher = EventPublisher {
            log: self.log.clone(),
            log_id: log_id.to_owned(),
            server: self.server.clone(),
            stream: self.config.events_stream.clone(),
            subject: self.config.events_subject.clone(),
            from_start: self.config.from_start,
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
        };
        tasks.spawn(publisher.run());
    }

    /// Starts to give the commands of a hub to outside executors.
    pub(crate) fn give_commands(
        &self,
        hub: &HubConfig,
        writer: &ToWriter,
        (outbox, held): (watch::Receiver<u64>, watch::Receiver<Held>),
        tasks: &mut JoinSet<()>,
    ) {
        self.metrics.delivery_begins();
        let queueing = Queueing {
            hub: Hub::new(&hub.name),
            log: self.log.clone(),
            writer: writer.clone(),
            server: self.server.clone(),
            queue: queue(self.config, &hub.name),
            bind: hub.bind_repo,
            again_after: AGAIN_AFTER,
            outbox,
            held,
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
        };
        tasks.spawn(queueing.run());
    }

    /// Starts to take in the results of outside executors.
    pub(crate) fn take_results(&self, inbox: watch::Sender<u64>, tasks: &mut JoinSet<()>) {
        let (server, settings) = (self.server.clone(), results(self.config));
        let (log, metrics, stop) = (self.log.clone(), self.metrics.clone(), self.stop.clone());
        tasks.spawn(async move {
            let mut patience = receive::RESULTS.patience();
            let source = loop {
                match open(&server, &settings).await {
                    Ok(source) => break source,
                    Err(e) => {
                        if !patience.wait(&e, &stop).await {
                            return;
                        }
                    }
                }
            };
            receive::run((source, receive::RESULTS), log, inbox, |_| false, metrics, stop).await;
        });
    }
}

async fn open(server: &Server, settings: &SourceSettings) -> Result<ResultSource, JetStreamError> {
    Ok(ResultSource(Connection::open(server).await?.source(settings).await?))
}
