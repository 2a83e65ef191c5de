//! One connection: socket, TLS, login, queue, bindings, consumer.
//!
//! The sockets and TLS are made here and handed to the client, for three reasons: everything has a time limit, certificates are
//! trusted as configured, and a server that accepts and then says nothing is hung up on. (The client's thread would wait for it for
//! ever, one thread for each attempt.)

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::tcp::{AsyncTcpStream, RustlsConnector};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, Consumer};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::timeout;

use super::error::{AmqpError, Doing};
use super::settings::{AmqpSettings, Plan, Tls};

/// Largest file with certificates or a key, in bytes. All authorities of a system together have a quarter of that.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// A connection with a consumer on it. Dropped, it ends, and what was not acknowledged comes again.
pub(super) struct Session {
    _connection: Connection,
    pub(super) channel: Channel,
    pub(super) consumer: Consumer,
    /// The queue's name, which the broker may have chosen.
    pub(super) queue: ShortString,
}

/// A second handle on a socket that the client owns, to hang up with.
#[derive(Default)]
struct Socket(Mutex<Held>);

#[derive(Default)]
enum Held {
    /// There is none yet.
    #[default]
    Nothing,
    Socket(std::net::TcpStream),
    /// It was given up, or came to be the client's alone.
    Over,
}

impl Socket {
    fn replace(&self, by: Held) -> Held {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), by)
    }

    /// Remembers it, unless nobody waits for it any more.
    fn hold(&self, socket: std::net::TcpStream) -> io::Result<()> {
        if matches!(self.replace(Held::Socket(socket)), Held::Over) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

/// Hangs up when dropped, however that comes about, unless the socket was released before.
struct HangUp(Arc<Socket>);

impl HangUp {
    /// All is well: the client looks after it from now on.
    fn release(&self) {
        self.0.replace(Held::Over);
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        if let Held::Socket(socket) = self.0.replace(Held::Over) {
            // It may have ended by itself.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Session {
    /// Connects, sees to the queue and its bindings, and asks for messages.
    ///
    /// # Errors
    /// [`AmqpError`].
    pub(super) async fn open(settings: &AmqpSettings, plan: &Plan) -> Result<Self, AmqpError> {
        let url = &plan.shown;
        let connection = connect(settings, plan).await?;
        // A request refused ends the channel, not the connection; nothing is tried again on it.
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
            Ok(Ok((channel, consumer, queue))) => Ok(Self { _connection: connection, channel, consumer, queue }),
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
async fn connect(settings: &AmqpSettings, plan: &Plan) -> Result<Connection, AmqpError> {
    let doing = Doing::Connecting { external: plan.external() };
    let tls = match plan.uri.scheme {
        AMQPScheme::AMQP => None,
        AMQPScheme::AMQPS => Some(client_config(settings.tls.clone()).await?),
    };
    let mut properties = ConnectionProperties::default().with_connection_name(settings.connection_name.as_str().into());
    for (key, value) in &plan.client_properties {
        properties = properties.with_client_property(key.clone(), value.as_str().into());
    }
    let socket = HangUp(Arc::default());
    let (limit, held) = (settings.timeout, Arc::clone(&socket.0));
    let runtime = lapin::runtime::default_runtime().map_err(|e| AmqpError::of(doing, &plan.shown, e))?;
    let connecting = Connection::connector(
        plan.uri.clone(),
        runtime,
        async move |uri: AMQPUri, runtime| {
            let opening = async {
                let (host, port) = (uri.authority.host.as_str(), uri.authority.port);
                let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
                let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    let second = plain.get_ref().as_fd().try_clone_to_owned()?;
                    held.hold(second.into())?;
                }
                match &tls {
                    None => Ok(stream),
                    Some(config) => stream.into_rustls(&RustlsConnector::from(Arc::clone(config)), host).await,
                }
            };
            let opened = timeout(limit, opening).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
            Ok(opened?)
        },
        properties,
    );
    match timeout(limit, connecting).await {
        Ok(Ok(connection)) => {
            socket.release();
            Ok(connection)
        }
        Ok(Err(error)) => Err(AmqpError::of(doing, &plan.shown, error)),
        Err(elapsed) => Err(AmqpError::unavailable(doing, &plan.shown, elapsed)),
    }
}

/// TLS as configured. Reads files, so on a thread for that.
async fn client_config(tls: Tls) -> Result<Arc<rustls::ClientConfig>, AmqpError> {
    let made = tokio::task::spawn_blocking(move || make_client_config(&tls)).await;
    made.unwrap_or_else(|e| Err(AmqpError::Settings { setting: "tls", reason: e.to_string() }))
}

fn make_client_config(tls: &Tls) -> Result<Arc<rustls::ClientConfig>, AmqpError> {
    const OURS: &str = "our certificate";
    let mut roots = rustls::RootCertStore::empty();
    match &tls.ca_cert {
        Some(path) => {
            const WHAT: &str = "certificates to trust";
            for certificate in certificates(WHAT, path)? {
                roots.add(certificate).map_err(|e| unreadable(WHAT, path, e))?;
            }
        }
        // What cannot be parsed there is not our operator's to repair.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| AmqpError::Settings { setting: "tls", reason: e.to_string() })?
        .with_root_certificates(roots);
    let config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some((path, key_path)) => {
            const KEY: &str = "the key of our certificate";
            let chain = certificates(OURS, path)?;
            let key = PrivateKeyDer::from_pem_slice(&pem(KEY, key_path)?).map_err(|e| unreadable(KEY, key_path, e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| unreadable(OURS, path, e))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, AmqpError> {
    let text = pem(what, path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|e| unreadable(what, path, e))?;
    if found.is_empty() {
        return Err(unreadable(what, path, "there is none in it; expected PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

fn pem(what: &'static str, path: &Path) -> Result<Vec<u8>, AmqpError> {
    let size = std::fs::metadata(path).map_err(|e| unreadable(what, path, e))?.len();
    if size > PEM_BYTES_MAX {
        return Err(unreadable(what, path, format!("{size} bytes long, at most {PEM_BYTES_MAX}")));
    }
    std::fs::read(path).map_err(|e| unreadable(what, path, e))
}

fn unreadable(what: &'static str, path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AmqpError {
    AmqpError::Certificate { what, path: path.to_owned(), source: Arc::from(why.into()) }
}
