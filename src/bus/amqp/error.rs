//! Errors of a message broker, and whether waiting helps.
//!
//! Brokers use the same codes for permanent and for passing refusals. A queue whose machine is down
//! is "not found". A user directory that does not answer gives "access refused". So a refusal
//! counts at once only for the first connection. Later it counts only when it repeats, see
//! [`super::REFUSALS_MAX`].

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use super::guard::NotAmqp;
use crate::model::{Class, Classified};

/// Error of a message broker. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AmqpError {
    /// A setting is invalid.
    #[error("use the settings for the message broker: {setting}: {reason}")]
    Settings {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with the setting.
        reason: String,
    },
    /// A certificate or key cannot be read.
    #[error("read {what} {}", path.display())]
    Certificate {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The broker refuses, and will refuse again.
    #[error("{doing} at {url}: {reason}; {advice}")]
    Refused {
        /// The operation that failed.
        doing: String,
        /// Address of the broker.
        url: String,
        /// The broker's error text.
        reason: String,
        /// What the operator should do.
        advice: &'static str,
    },
    /// The broker cannot be reached or does not answer.
    #[error("{doing} at {url}")]
    Unavailable {
        /// The operation that failed.
        doing: String,
        /// Address of the broker.
        url: String,
        /// Why it failed.
        #[source]
        source: Arc<dyn StdError + Send + Sync>,
    },
}

impl Classified for AmqpError {
    fn class(&self) -> Class {
        match self {
            Self::Settings { .. } | Self::Certificate { .. } | Self::Refused { .. } => Class::Rejected,
            Self::Unavailable { .. } => Class::Unavailable,
        }
    }
}

/// Advice if the server there does not speak AMQP.
const OTHER_PROTOCOL: &str =
    "what answers there does not speak AMQP 0-9-1: check host and port, and whether it wants amqps://";

/// Error kinds of a connection that the other side ends.
const HUNG_UP: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// The operation during which an error came.
#[derive(Clone, Copy)]
pub(super) enum Doing<'a> {
    /// Connecting and logging in. `external` means login by certificate.
    Connecting { external: bool },
    /// Declaring this queue, or only checking that it exists.
    Declaring { queue: &'a str, passive: bool },
    /// Binding the queue.
    Binding { queue: &'a str, exchange: &'a str, key: &'a str },
    /// Starting a consumer on the queue.
    Consuming { queue: &'a str },
    /// Publishing to an exchange.
    Publishing { exchange: &'a str },
    /// Any later operation. A refusal there does not count as final.
    Running(&'a str),
}

impl Doing<'_> {
    fn text(&self) -> String {
        match self {
            Self::Connecting { .. } => "connect to the message broker".to_owned(),
            Self::Declaring { queue, passive: false } => format!("declare queue {queue}"),
            Self::Declaring { queue, passive: true } => format!("look for queue {queue}"),
            Self::Binding { queue, exchange, key } => format!("bind queue {queue} to exchange {exchange} with {key}"),
            Self::Consuming { queue } => format!("ask for the messages of queue {queue}"),
            Self::Publishing { exchange } => format!("publish to exchange {exchange}"),
            Self::Running(what) => (*what).to_owned(),
        }
    }
}

impl AmqpError {
    /// Makes the error for an operation that took too long or ended without a reason.
    pub(super) fn unavailable(doing: Doing<'_>, url: &str, why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable { doing: doing.text(), url: url.to_owned(), source: Arc::from(why.into()) }
    }

    /// Makes the error for what the client reports.
    pub(super) fn of(doing: Doing<'_>, url: &str, error: lapin::Error) -> Self {
        let hung_up = matches!(error.kind(), ErrorKind::IOError(e) if HUNG_UP.contains(&e.kind()));
        if hung_up && matches!(doing, Doing::Connecting { external: true }) {
            // Since TLS 1.3 a server refuses a certificate after the handshake. That refusal may be
            // lost when the connection closes.
            let why = format!("{error}; if this lasts, the broker refuses our certificate: its log says why");
            return Self::unavailable(doing, url, why);
        }
        match advice(doing, &error) {
            Some((reason, advice)) => Self::Refused { doing: doing.text(), url: url.to_owned(), reason, advice },
            None => Self::unavailable(doing, url, error),
        }
    }
}

/// Returns the broker's text and the advice for an error that waiting does not repair. `None` for
/// any other error.
fn advice(doing: Doing<'_>, error: &lapin::Error) -> Option<(String, &'static str)> {
    use AMQPHardError::{COMMANDINVALID, NOTALLOWED};
    use AMQPSoftError::{ACCESSREFUSED, NOTFOUND, PRECONDITIONFAILED};
    let protocol = match error.kind() {
        ErrorKind::ProtocolError(protocol) => protocol,
        ErrorKind::IOError(error) => return bytes(doing, error),
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_)
            if matches!(doing, Doing::Connecting { .. }) =>
        {
            let advice =
                "what answers there does not speak AMQP 0-9-1: check host and port, and whether it wants amqps://";
            return Some((error.to_string(), advice));
        }
        _ => return None,
    };
    let said = protocol.get_message().to_string();
    let advice = match (protocol.kind(), doing) {
        // Some causes share a code with permanent ones. These pass by themselves.
        _ if ["is down", "is reached"].iter().any(|passing| said.contains(passing)) => return None,
        (AMQPErrorKind::Soft(ACCESSREFUSED), Doing::Connecting { external: false }) => {
            "check user and password in amqp_url; RabbitMQ accepts `guest` only from its own machine"
        }
        (AMQPErrorKind::Soft(ACCESSREFUSED), Doing::Connecting { external: true }) => {
            "the broker needs a user with the name of our certificate's subject (rabbitmqctl add_user, \
                set_permissions)"
        }
        (AMQPErrorKind::Hard(NOTALLOWED), Doing::Connecting { .. }) => {
            "check the virtual host in amqp_url (`/` is written %2F), and that our user may use it (rabbitmqctl \
                set_permissions)"
        }
        (AMQPErrorKind::Hard(COMMANDINVALID), Doing::Connecting { external: true }) => {
            "the broker must allow logging in by certificate (plugin rabbitmq_auth_mechanism_ssl, mechanism EXTERNAL), \
             or put user and password into amqp_url"
        }
        (AMQPErrorKind::Soft(NOTFOUND), Doing::Declaring { .. } | Doing::Consuming { .. }) => {
            "ask the administrators of the broker to create the queue, or let Koschei declare it (passive_declares = \
                false)"
        }
        (AMQPErrorKind::Soft(NOTFOUND), Doing::Binding { .. }) => {
            "the publishers create the exchange: check its name, and the virtual host in amqp_url"
        }
        (AMQPErrorKind::Soft(NOTFOUND), Doing::Publishing { .. }) => {
            "the administrators of the broker create the exchange: check `exchange` in `[announce]`, and the virtual \
                host in amqp_url"
        }
        (AMQPErrorKind::Soft(ACCESSREFUSED), Doing::Publishing { .. }) => {
            "our user needs write permission for the exchange, and for topics with our `topic_prefix` (rabbitmqctl \
                set_permissions, set_topic_permissions)"
        }
        (AMQPErrorKind::Soft(PRECONDITIONFAILED), Doing::Declaring { .. }) => {
            "the queue exists with other settings: use these settings, use the queue as it is (passive_declares = \
                true), or use another name"
        }
        (AMQPErrorKind::Soft(ACCESSREFUSED), Doing::Declaring { .. }) => {
            "our user may not configure this queue: ask for the permission, use a name it may use, or use an \
                existing queue (passive_declares = true)"
        }
        (AMQPErrorKind::Soft(ACCESSREFUSED), Doing::Binding { .. }) => {
            "our user needs write permission for the queue and read permission for the exchange; configure no \
                bindings if the administrators of the broker create them"
        }
        (AMQPErrorKind::Soft(ACCESSREFUSED), Doing::Consuming { .. }) => "our user needs read permission for the queue",
        _ => return None,
    };
    Some((said, advice))
}

/// Like [`advice`], but for I/O errors that will repeat: wrong protocol or refused certificates.
fn bytes(doing: Doing<'_>, error: &io::Error) -> Option<(String, &'static str)> {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let error = error.get_ref()?;
    if error.is::<NotAmqp>() && matches!(doing, Doing::Connecting { .. }) {
        return Some((error.to_string(), OTHER_PROTOCOL));
    }
    let error = error.downcast_ref::<rustls::Error>()?;
    let advice = match error {
        InvalidCertificate(_) => {
            "the broker's certificate is not trusted: check host name and clock, and name the file with the \
             authority that issued it (tls ca_cert)"
        }
        AlertReceived(_) => "the broker refuses our certificate: check certfile and keyfile",
        InvalidMessage(_) => "what answers there does not speak TLS: check the port, or use amqp://",
        _ => return None,
    };
    Some((error.to_string(), advice))
}
