//! What can go wrong with a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::settings::SettingsError;
use crate::koji::faults::FaultKind;
use crate::koji::shape::ShapeError;
use crate::koji::xmlrpc::{EncodeError, Fault, XmlRpcError};
use crate::model::{Class, Classified};

/// Which call it was, and of which hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At {
    /// The method.
    pub method: Arc<str>,
    /// The hub's address.
    pub hub: Arc<str>,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call `{}` at {}", self.method, self.hub)
    }
}

/// What was waited for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// The connection.
    Connection,
    /// The whole answer.
    Answer,
    /// The next piece of an answer that had begun.
    Piece,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "no connection",
            Self::Answer => "no whole answer",
            Self::Piece => "the answer stopped in the middle, nothing more came",
        })
    }
}

/// A call that did not give an answer we can use.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HubError {
    /// The settings cannot be used. Rejected.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The call cannot be written. Rejected.
    #[error("{at}")]
    Request {
        /// Which call.
        at: At,
        /// Why not.
        #[source]
        source: EncodeError,
    },
    /// The call is larger than the hub takes. Rejected.
    #[error("{at}: the request has {bytes} bytes, and the hub takes {limit}; ask for less at a time")]
    RequestTooLarge {
        /// Which call.
        at: At,
        /// How large.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// There is no connection. Unavailable; the call did not reach the hub.
    #[error("{at}: cannot connect: {cause}")]
    Connect {
        /// Which call.
        at: At,
        /// Why.
        cause: String,
    },
    /// The hub's certificate is not trusted. Rejected.
    #[error("{at}: its certificate is not trusted: {cause}; {hint}")]
    Untrusted {
        /// Which call.
        at: At,
        /// Why.
        cause: String,
        /// What to do.
        hint: String,
    },
    /// The web server wants a client certificate, or another one. Rejected.
    #[error("{at}: the TLS handshake was refused: {cause}; {hint}")]
    Handshake {
        /// Which call.
        at: At,
        /// Why.
        cause: String,
        /// What to do.
        hint: String,
    },
    /// The hub asks for the certificate when it has seen the request, by TLS 1.3, which we cannot answer. Rejected.
    #[error(
        "{at}: the hub refuses the login as without a certificate ({refused}) and speaks TLS 1.3 only: it asks for \
         certificates after the request (post-handshake authentication), which this program cannot answer; set \
         `SSLVerifyClient optional` for the whole virtual host of the hub's web server instead of `require` for its \
         login path, or let it speak TLS 1.2, too (`SSLProtocol +TLSv1.2`)"
    )]
    PostHandshake {
        /// Which call.
        at: At,
        /// How it refused the login.
        refused: String,
    },
    /// It took too long. Unavailable.
    #[error("{at}: {wait} within {}", seconds(*.limit))]
    Timeout {
        /// Which call.
        at: At,
        /// What took too long.
        wait: Wait,
        /// How long it may take.
        limit: Duration,
    },
    /// The connection broke before the answer was complete. Unavailable; the call may have been executed.
    #[error("{at}: the connection broke: {cause}")]
    Lost {
        /// Which call.
        at: At,
        /// Why.
        cause: String,
    },
    /// The answer is larger than we take; the rest was not read. Rejected.
    #[error("{at}: the answer has more than {limit} bytes; ask for less at a time")]
    TooLarge {
        /// Which call.
        at: At,
        /// How large it may be.
        limit: usize,
    },
    /// The web server points elsewhere. Rejected: a hub never does, and credentials go only where they are meant to.
    #[error("{at}: the server answered with {status} and points to {to}; if the hub is there now, set `server` to it")]
    Redirect {
        /// Which call.
        at: At,
        /// HTTP status.
        status: u16,
        /// Where to.
        to: String,
    },
    /// The web server wants a login by other means (HTTP 401). Rejected.
    #[error("{at}: the server wants a login (`{scheme}`); {hint}")]
    Unauthorized {
        /// Which call.
        at: At,
        /// What it asks for.
        scheme: String,
        /// What to do.
        hint: String,
    },
    /// The web server answered itself. Unavailable for 408, 429 and from 500 on, else rejected.
    #[error("{at}: the server answered with HTTP {status}{}{excerpt}", if .excerpt.is_empty() { "" } else { ": " })]
    Status {
        /// Which call.
        at: At,
        /// HTTP status.
        status: u16,
        /// The beginning of what it said.
        excerpt: String,
    },
    /// Something else than XML-RPC came: a proxy's or maintenance page, or this is not a hub. Unavailable.
    #[error("{at}: this is no answer of a hub: `{excerpt}`; is `server` the address of its XML-RPC interface?")]
    NotAHub {
        /// Which call.
        at: At,
        /// Its beginning.
        excerpt: String,
    },
    /// The answer ends in the middle. Unavailable; the call may have been executed.
    #[error("{at}: the answer ends in the middle, after {bytes} bytes")]
    CutOff {
        /// Which call.
        at: At,
        /// How much came.
        bytes: usize,
    },
    /// The answer is not what Koji writes. Rejected; the call may have been executed.
    #[error("{at}: the answer cannot be read")]
    Malformed {
        /// Which call.
        at: At,
        /// Why not.
        #[source]
        source: Arc<XmlRpcError>,
    },
    /// The answer does not have the shape Koji documents. Rejected; the call was executed.
    #[error("{at}: the answer has another shape than expected")]
    Shape {
        /// Which call.
        at: At,
        /// Where and how.
        #[source]
        source: ShapeError,
    },
    /// The hub is closed for maintenance, or has no database (fault 1014). Unavailable; the call was not executed.
    #[error("{at}: the hub is offline: {}", .fault.message)]
    Offline {
        /// Which call.
        at: At,
        /// What it said.
        fault: Fault,
    },
    /// The login was refused (faults 1002, 1006, 1023 of a login). Rejected, or unavailable for 1006.
    #[error("{at}: the login was refused: {} (fault {}); {hint}", .fault.message, .fault.code)]
    Denied {
        /// Which call.
        at: At,
        /// What the hub said.
        fault: Fault,
        /// What to do.
        hint: String,
    },
    /// The hub is older than what we can work with. Rejected.
    #[error("{at}: the hub is too old: {lacks}")]
    TooOld {
        /// Which call.
        at: At,
        /// What it cannot do.
        lacks: &'static str,
    },
    /// Kerberos did not give what a login needs. Rejected, or unavailable when no KDC answers.
    #[error("{at}: Kerberos: {problem}; {hint}")]
    Kerberos {
        /// Which call.
        at: At,
        /// What the system's library said.
        problem: String,
        /// What to do.
        hint: String,
        /// Whether no KDC answered.
        unreachable: bool,
    },
    /// The call was executed in an earlier attempt, and its result is lost (fault 1009). Unavailable: look what came of
    /// it before doing it again.
    #[error("{at}: it was executed and its result is lost ({fault}); look at the hub before repeating it")]
    ResultLost {
        /// Which call.
        at: At,
        /// What the hub said.
        fault: Fault,
    },
    /// An attempt was lost on the way, and no other one told what came of it. Class of the last attempt's error: look
    /// what came of it before doing it again.
    #[error("{at}: it may have been executed, the answer is lost; look at the hub before repeating it")]
    Uncertain {
        /// Which call.
        at: At,
        /// Why the last attempt did not answer.
        #[source]
        source: Box<HubError>,
    },
    /// Whoever calls did not want it any more. Unavailable; it was not sent.
    #[error("{at}: it was not sent, because it is not wanted any more")]
    Withheld {
        /// Which call.
        at: At,
    },
    /// Any other fault. Class by its kind.
    #[error("{at}: {fault}")]
    Fault {
        /// Which call.
        at: At,
        /// What the hub said.
        fault: Fault,
    },
}

/// Seconds as a person writes them.
fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

impl HubError {
    /// From a fault of an ordinary call.
    pub fn from_fault(at: At, fault: Fault) -> Self {
        match fault.kind() {
            FaultKind::Offline => Self::Offline { at, fault },
            FaultKind::Retry => Self::ResultLost { at, fault },
            _ => Self::Fault { at, fault },
        }
    }

    /// The fault, where the hub gave one.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Offline { fault, .. }
            | Self::Denied { fault, .. }
            | Self::ResultLost { fault, .. }
            | Self::Fault { fault, .. } => Some(fault),
            Self::Uncertain { source, .. } => source.fault(),
            _ => None,
        }
    }

    /// Whether the hub said that it is offline.
    pub fn is_offline(&self) -> bool {
        self.fault().is_some_and(|fault| fault.kind() == FaultKind::Offline)
    }

    /// Whether the hub says that there is no such object.
    pub fn is_unknown_object(&self) -> bool {
        self.fault().is_some_and(Fault::is_unknown_object)
    }

    /// Whether the hub is older than what it was asked.
    pub fn is_unknown_method(&self) -> bool {
        self.fault().is_some_and(Fault::is_unknown_method)
    }

    /// What a person can do about it, or that nothing is to be done.
    pub fn remedy(&self) -> &'static str {
        if self.is_offline() {
            return "it is closed for maintenance or has no database; the service waits and goes on by itself. Ask who \
                runs the hub when it lasts";
        }
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Lost { .. } | Self::CutOff { .. } => {
                "check `server`, name resolution, and firewalls between here and there"
            }
            Self::NotAHub { .. } | Self::Redirect { .. } | Self::Status { .. } => {
                "check `server`: it must be the address of the XML-RPC interface, such as \
                    https://koji.example.org/kojihub"
            }
            Self::Denied { .. } | Self::Unauthorized { .. } | Self::Handshake { .. } => {
                "have a certificate or key table made for our user by who runs the hub, and check that it is the one \
                    configured"
            }
            Self::PostHandshake { .. } => "nothing can be set here: have the hub's web server changed as it says",
            Self::Kerberos { .. } => "check with `kinit` and `klist` as the user the service runs as",
            Self::Settings(_) => "correct the `[[hub]]`",
            Self::ResultLost { .. } | Self::Uncertain { .. } => {
                "nothing is to be done: our tasks are searched for it before it is asked for again"
            }
            Self::Fault { fault, .. } => match fault.kind() {
                FaultKind::SessionExpired | FaultKind::Sequence | FaultKind::Auth => {
                    "nothing is to be done: another session is made. When it lasts, our address may change between \
                        calls (`CheckClientIP` on the hub)"
                }
                FaultKind::Locked | FaultKind::AuthLock => {
                    "somebody else holds a lock; it is tried again. Ask who runs the hub when it lasts"
                }
                FaultKind::NotAllowed => "ask who runs the hub to allow it for our user",
                _ => "see what it says; the service would try again and again",
            },
            _ => "see what it says; the service would try again and again",
        }
    }

    /// Whether the call may have been executed although its answer did not come, or did not come whole. Who makes
    /// something with a call must look for it before making it again.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Timeout { wait, .. } => *wait != Wait::Connection,
            Self::Status { status, .. } => *status >= 500,
            Self::Lost { .. }
            | Self::TooLarge { .. }
            | Self::NotAHub { .. }
            | Self::CutOff { .. }
            | Self::Malformed { .. }
            | Self::Shape { .. }
            | Self::ResultLost { .. }
            | Self::Uncertain { .. } => true,
            _ => false,
        }
    }

    /// Whether the same request may be sent again at once: nothing but an accident of the way was in between.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Lost { .. }
            | Self::NotAHub { .. }
            | Self::CutOff { .. }
            | Self::Kerberos { unreachable: true, .. } => true,
            Self::Status { status, .. } => is_passing(*status),
            _ => false,
        }
    }
}

/// HTTP statuses that pass by themselves.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504)
}

impl Classified for HubError {
    fn class(&self) -> Class {
        match self {
            Self::Settings(error) => error.class(),
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Lost { .. }
            | Self::NotAHub { .. }
            | Self::CutOff { .. }
            | Self::Offline { .. }
            | Self::Withheld { .. }
            | Self::ResultLost { .. } => Class::Unavailable,
            Self::Status { status, .. } if is_passing(*status) || *status >= 500 => Class::Unavailable,
            Self::Kerberos { unreachable: true, .. } => Class::Unavailable,
            Self::Denied { fault, .. } | Self::Fault { fault, .. } => fault.kind().class(),
            Self::Uncertain { source, .. } => source.class(),
            Self::Request { .. }
            | Self::RequestTooLarge { .. }
            | Self::Untrusted { .. }
            | Self::Handshake { .. }
            | Self::PostHandshake { .. }
            | Self::TooLarge { .. }
            | Self::Redirect { .. }
            | Self::Unauthorized { .. }
            | Self::Status { .. }
            | Self::Malformed { .. }
            | Self::Shape { .. }
            | Self::TooOld { .. }
            | Self::Kerberos { .. } => Class::Rejected,
        }
    }
}
