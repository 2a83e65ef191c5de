//! Makes one connection: socket, TLS, login, queue, bindings, consumer.
//!
//! This module makes socket and TLS itself and hands them to the client through a [`Relay`]. There
//! are three reasons:
//!
//! - Certificates are trusted as configured.
//! - Frames are checked before the client parses them.
//! - We can hang up on a server that accepts the connection and then says nothing. The client's
//!   thread would wait for it for ever, one thread for each attempt.
//!
//! The client may also wait for ever after a connection that is refused at once, because it learns
//! of the refusal before it listens for it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_compat::Compat;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::tcp::AsyncTcpStream;
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPScheme;
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::{AmqpError, Doing};
use super::relay::Relay;
use super::settings::{AmqpSettings, Plan, Tls};
use crate::base::tls::{self, PemError};

/// How long the client may take to notice that its connection ended during the login.
const NOTICED: Duration = Duration::from_secs(1);

/// A connection with a consumer. Dropping it ends the connection; messages that were not
/// acknowledged come again.
pub(super) struct Session {
    _connection: Connection,
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
    /// Name of the queue. The broker may have chosen it.
    pub(super) queue: ShortString,
    pub(super) relay: Relay,
}

/// Hangs up the relay when dropped.
struct HangUp(Option<Relay>);

impl Drop for HangUp {
    fn drop(&mut self) {
        if let Some(relay) = &self.0 {
            relay.hang_up();
        }
    }
}

impl Session {
    /// Connects, declares and binds the queue, and starts a consumer.
    ///
    /// # Errors
    /// Returns [`AmqpError`] if any of these steps fails.
    pub(super) async fn open(settings: &AmqpSettings, plan: &Plan) -> Result<Self, AmqpError> {
        let url = &plan.shown;
        let (connection, relay) = connect(settings, plan).await?;
        // A refused request ends the channel but not the connection. No request is repeated on that
        // channel.
        let requests = async {
            let channel = connection
                .create_channel()
                .await
                .map_err(|e| AmqpError::of(Doing::Running("open a channel"), url, e))?;
            let queue = declare(settings, plan, &channel).await?;
            for (exchange, key) in &plan.bindings {
                let doing = Doing::Binding { queue: queue.as_str(), exchange: exchange.as_str(), key: key.as_str() };
                let options = QueueBindOptions::default();
                let bound =
                    channel.queue_bind(queue.clone(), exchange.clone(), key.clone(), options, FieldTable::default());
                bound.await.map_err(|e| AmqpError::of(doing, url, e))?;
            }
            let doing = Doing::Consuming { queue: queue.as_str() };
            let limited = channel.basic_qos(settings.prefetch, BasicQosOptions::default()).await;
            limited.map_err(|e| AmqpError::of(doing, url, e))?;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            let consumer = channel.basic_consume(queue.clone(), ShortString::default(), options, arguments).await;
            let consumer = consumer.map_err(|e| AmqpError::of(doing, url, e))?;
            Ok((channel, consumer, queue))
        };
        match timeout(settings.timeout, requests).await {
            Ok(Ok((channel, consumer, queue))) => Ok(Self { _connection: connection, channel, consumer, queue, relay }),
            Ok(Err(error)) => Err(error),
            Err(elapsed) => Err(AmqpError::unavailable(Doing::Running("set up a consumer"), url, elapsed)),
        }
    }
}

async fn declare(settings: &AmqpSettings, plan: &Plan, channel: &Channel) -> Result<ShortString, AmqpError> {
    let queue = &settings.queue;
    let options = QueueDeclareOptions {
        passive: queue.passive,
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(plan.queue.clone(), options, plan.arguments.clone()).await;
    let doing = Doing::Declaring { queue: &queue.name, passive: queue.passive };
    Ok(declared.map_err(|e| AmqpError::of(doing, &plan.shown, e))?.name().clone())
}

/// Connects and logs in.
pub(super) async fn connect(settings: &AmqpSettings, plan: &Plan) -> Result<(Connection, Relay), AmqpError> {
    let doing = Doing::Connecting { external: plan.external() };
    let failed = |e: lapin::Error| AmqpError::of(doing, &plan.shown, e);
    let opened = match timeout(settings.timeout, open(settings, plan)).await {
        Ok(opened) => opened?,
        Err(elapsed) => return Err(AmqpError::unavailable(doing, &plan.shown, elapsed)),
    };
    let (relay, stream) = opened.map_err(|e| failed(e.into()))?;
    let mut hang_up = HangUp(Some(relay));
    let mut properties = ConnectionProperties::default().with_connection_name(settings.connection_name.as_str().into());
    for (key, value) in &plan.client_properties {
        properties = properties.with_client_property(key.clone(), value.as_str().into());
    }
    // The client asks for the stream once: nothing here makes it reconnect by itself.
    let stream = Mutex::new(Some(AsyncTcpStream::Plain(stream)));
    let taken = async move |_, _| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    };
    let runtime = lapin::runtime::default_runtime().map_err(failed)?;
    let logging_in = timeout(settings.timeout, Connection::connector(plan.uri.clone(), runtime, taken, properties));
    let ended = async {
        match &mut hang_up.0 {
            Some(relay) => relay.ended().await,
            None => std::future::pending().await,
        }
        tokio::time::sleep(NOTICED).await;
    };
    let logged_in = tokio::select! {
        logged_in = logging_in => logged_in.unwrap_or_else(|elapsed| Err(io::Error::from(elapsed).into())),
        () = ended => Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
    };
    match (logged_in, hang_up.0.take()) {
        (Ok(connection), Some(relay)) => Ok((connection, relay)),
        (Err(error), Some(relay)) => {
            relay.hang_up();
            Err(failed(relay.why().map_or(error, Into::into)))
        }
        (_, None) => Err(failed(io::Error::from(io::ErrorKind::ConnectionAborted).into())),
    }
}

type Opened = (Relay, Compat<TcpStream>);

/// Opens the socket, with TLS if the scheme asks for it. The outer error is about settings, the
/// inner one about the connection.
async fn open(settings: &AmqpSettings, plan: &Plan) -> Result<io::Result<Opened>, AmqpError> {
    let host = plan.uri.authority.host.as_str();
    let tls = match plan.uri.scheme {
        AMQPScheme::AMQP => None,
        AMQPScheme::AMQPS => {
            let name = ServerName::try_from(host.to_owned()).map_err(|e| AmqpError::Settings {
                setting: "amqp_url",
                reason: format!("no certificate can be for host `{host}`: {e}"),
            })?;
            Some((TlsConnector::from(client_config(settings.tls.clone()).await?), name))
        }
    };
    let opening = async {
        let socket = TcpStream::connect((host, plan.uri.authority.port)).await?;
        socket.set_nodelay(true)?;
        match tls {
            None => Relay::start(socket),
            Some((connector, name)) => Relay::start(connector.connect(name, socket).await?),
        }
    };
    Ok(opening.await)
}

/// Makes the TLS configuration. It reads files, so it runs on a blocking thread.
async fn client_config(tls: Tls) -> Result<Arc<rustls::ClientConfig>, AmqpError> {
    let made = tokio::task::spawn_blocking(move || make_client_config(&tls)).await;
    made.unwrap_or_else(|e| Err(AmqpError::Settings { setting: "tls", reason: e.to_string() }))
}

fn make_client_config(settings: &Tls) -> Result<Arc<rustls::ClientConfig>, AmqpError> {
    const OURS: &str = "our certificate";
    const KEY: &str = "the key of our certificate";
    let ca_cert = settings.ca_cert.as_deref();
    let trusted = ca_cert.unwrap_or(Path::new(""));
    let roots = tls::authorities(ca_cert).map_err(|e| unusable("certificates to trust", trusted, e))?;
    let builder = tls::trusting(roots).map_err(|e| AmqpError::Settings { setting: "tls", reason: e.to_string() })?;
    let config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some((path, key_path)) => {
            let chain = tls::certificates(path).map_err(|e| unusable(OURS, path, e))?;
            let key = tls::private_key(key_path).map_err(|e| unusable(KEY, key_path, e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| unreadable(OURS, path, e))?
        }
    };
    Ok(Arc::new(config))
}

fn unusable(what: &'static str, path: &Path, error: PemError) -> AmqpError {
    match error {
        PemError::Read(source) => unreadable(what, path, source),
        PemError::Content(problem) => unreadable(what, path, problem),
    }
}

fn unreadable(what: &'static str, path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AmqpError {
    AmqpError::Certificate { what, path: path.to_owned(), source: Arc::from(why.into()) }
}
