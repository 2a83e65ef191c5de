//! Errors of calls to a hub.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::settings::SettingsError;
use crate::koji::faults::FaultKind;
use crate::koji::shape::ShapeError;
use crate::koji::xmlrpc::{EncodeError, Fault, XmlRpcError};
use crate::model::{Class, Classified};

/// Which call to which hub an error is about.
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

/// What took too long.
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

/// The error of a call that gave no usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HubError {
    /// The settings cannot be used. Rejected.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The call cannot be encoded. Rejected.
    #[error("{at}")]
    Request {
        /// The call.
        at: At,
        /// The encoding error.
        #[source]
        source: EncodeError,
    },
    /// The call is larger than the hub accepts. Rejected.
    #[error("{at}: the request has {bytes} bytes, and the hub takes {limit}; ask for less at a time")]
    RequestTooLarge {
        /// The call.
        at: At,
        /// Size of the request, in bytes.
        bytes: usize,
        /// The hub's limit, in bytes.
        limit: usize,
    },
    /// There is no connection. Unavailable. The call did not reach the hub.
    #[error("{at}: cannot connect: {cause}")]
    Connect {
        /// The call.
        at: At,
        /// The cause.
        cause: String,
    },
    /// The hub's certificate is not trusted. Rejected.
    #[error("{at}: its certificate is not trusted: {cause}; {hint}")]
    Untrusted {
        /// The call.
        at: At,
        /// The cause.
        cause: String,
        /// What to do.
        hint: String,
    },
    /// The web server wants a client certificate, or a different one. Rejected.
    #[error("{at}: the TLS handshake was refused: {cause}; {hint}")]
    Handshake {
        /// The call.
        at: At,
        /// The cause.
        cause: String,
        /// What to do.
        hint: String,
    },
    /// The hub asks for the certificate only after it has seen the request, with TLS 1.3. We cannot
    /// answer this. Rejected.
    #[error(
        "{at}: the hub refuses the login as without a certificate ({refused}) and speaks TLS 1.3 only: it asks for \
         certificates after the request (post-handshake authentication), which this program cannot answer; set \
         `SSLVerifyClient optional` for the whole virtual host of the hub's web server instead of `require` for its \
         login path, or let it speak TLS 1.2, too (`SSLProtocol +TLSv1.2`)"
    )]
    PostHandshake {
        /// The call.
        at: At,
        /// How the hub refused the login.
        refused: String,
    },
    /// The call took too long. Unavailable.
    #[error("{at}: {wait} within {}", seconds(*.limit))]
    Timeout {
        /// The call.
        at: At,
        /// What took too long.
        wait: Wait,
        /// The time limit.
        limit: Duration,
    },
    /// The connection broke before the answer was complete. Unavailable. The call may have been
    /// executed.
    #[error("{at}: the connection broke: {cause}")]
    Lost {
        /// The call.
        at: At,
        /// The cause.
        cause: String,
    },
    /// The answer is larger than we accept. The rest was not read. Rejected.
    #[error("{at}: the answer has more than {limit} bytes; ask for less at a time")]
    TooLarge {
        /// The call.
        at: At,
        /// Our limit, in bytes.
        limit: usize,
    },
    /// The web server redirects elsewhere. Rejected: a hub never redirects, and credentials go only
    /// where they are meant to.
    #[error("{at}: the server answered with {status} and points to {to}; if the hub is there now, set `server` to it")]
    Redirect {
        /// The call.
        at: At,
        /// HTTP status.
        status: u16,
        /// The address it redirects to.
        to: String,
    },
    /// The web server wants another kind of login (HTTP 401). Rejected.
    #[error("{at}: the server wants a login (`{scheme}`); {hint}")]
    Unauthorized {
        /// The call.
        at: At,
        /// The kind of login.
        scheme: String,
        /// What to do.
        hint: String,
    },
    /// The web server itself answered, not the hub. Unavailable for status 408, 429 and from 500
    /// on, otherwise rejected.
    #[error("{at}: the server answered with HTTP {status}{}{excerpt}", if .excerpt.is_empty() { "" } else { ": " })]
    Status {
        /// The call.
        at: At,
        /// HTTP status.
        status: u16,
        /// The beginning of the answer.
        excerpt: String,
    },
    /// The answer is not XML-RPC. It may be the page of a proxy or a maintenance page, or this is
    /// not a hub. Unavailable.
    #[error(
        "{at}: this is not the answer of a hub: `{excerpt}`; check that `server` is the address of its XML-RPC \
        interface"
    )]
    NotAHub {
        /// The call.
        at: At,
        /// The beginning of the answer.
        excerpt: String,
    },
    /// The answer is cut off. Unavailable. The call may have been executed.
    #[error("{at}: the answer ends in the middle, after {bytes} bytes")]
    CutOff {
        /// The call.
        at: At,
        /// Number of bytes received.
        bytes: usize,
    },
    /// The answer is not what Koji writes. Rejected. The call may have been executed.
    #[error("{at}: the answer cannot be read")]
    Malformed {
        /// The call.
        at: At,
        /// What is wrong.
        #[source]
        source: Arc<XmlRpcError>,
    },
    /// The answer does not have the shape that Koji documents. Rejected. The call was executed.
    #[error("{at}: the answer has another shape than expected")]
    Shape {
        /// The call.
        at: At,
        /// Where the shape differs, and how.
        #[source]
        source: ShapeError,
    },
    /// The hub is closed for maintenance or has no database (fault 1014). Unavailable. The call was
    /// not executed.
    #[error("{at}: the hub is offline: {}", .fault.message)]
    Offline {
        /// The call.
        at: At,
        /// The hub's fault.
        fault: Fault,
    },
    /// The login was refused (faults 1002, 1006, 1023 of a login). Rejected, or unavailable for 1006.
    #[error("{at}: the login was refused: {} (fault {}); {hint}", .fault.message, .fault.code)]
    Denied {
        /// The call.
        at: At,
        /// The hub's fault.
        fault: Fault,
        /// What to do.
        hint: String,
    },
    /// The hub is too old for us. Rejected.
    #[error("{at}: the hub is too old: {lacks}")]
    TooOld {
        /// The call.
        at: At,
        /// What the hub cannot do.
        lacks: &'static str,
    },
    /// Kerberos did not provide what a login needs. Rejected, or unavailable if no KDC answers.
    #[error("{at}: Kerberos: {problem}; {hint}")]
    Kerberos {
        /// The call.
        at: At,
        /// The message of the system's library.
        problem: String,
        /// What to do.
        hint: String,
        /// Whether no KDC answered.
        unreachable: bool,
    },
    /// The call was executed in an earlier attempt, and its result is lost (fault 1009).
    /// Unavailable. Look for the result on the hub before repeating the call.
    #[error("{at}: the hub executed the call, but its result is lost ({fault}); look at the hub before repeating it")]
    ResultLost {
        /// The call.
        at: At,
        /// The hub's fault.
        fault: Fault,
    },
    /// The answer of one attempt was lost, and no later attempt returned the result. Class of the
    /// last attempt's error. Look for the result on the hub before repeating the call.
    #[error("{at}: the hub may have executed the call, but its answer is lost; look at the hub before repeating it")]
    Uncertain {
        /// The call.
        at: At,
        /// The error of the last attempt.
        #[source]
        source: Box<HubError>,
    },
    /// The caller no longer wanted the call. Unavailable. It was not sent.
    #[error("{at}: the call was not sent, because it is no longer wanted")]
    Withheld {
        /// The call.
        at: At,
    },
    /// Any other fault. Its kind decides the class.
    #[error("{at}: {fault}")]
    Fault {
        /// The call.
        at: At,
        /// The hub's fault.
        fault: Fault,
    },
}

/// Formats seconds for people.
fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

impl HubError {
    /// Makes the error for a fault of an ordinary call.
    pub fn from_fault(at: At, fault: Fault) -> Self {
        match fault.kind() {
            FaultKind::Offline => Self::Offline { at, fault },
            FaultKind::Retry => Self::ResultLost { at, fault },
            _ => Self::Fault { at, fault },
        }
    }

    /// Returns the hub's fault, if there was one.
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

    /// Checks whether the hub said that it is offline.
    pub fn is_offline(&self) -> bool {
        self.fault().is_some_and(|fault| fault.kind() == FaultKind::Offline)
    }

    /// Checks whether the hub says that the object does not exist.
    pub fn is_unknown_object(&self) -> bool {
        self.fault().is_some_and(Fault::is_unknown_object)
    }

    /// Checks whether the hub is too old to know the method.
    pub fn is_unknown_method(&self) -> bool {
        self.fault().is_some_and(Fault::is_unknown_method)
    }

    /// Says what a person can do, or that nothing needs to be done.
    pub fn remedy(&self) -> &'static str {
        if self.is_offline() {
            return "it is closed for maintenance or has no database; the service waits and continues by itself. If \
                this lasts, ask the administrators of the hub";
        }
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Lost { .. } | Self::CutOff { .. } => {
                "check `server`, name resolution, and firewalls on the way"
            }
            Self::NotAHub { .. } | Self::Redirect { .. } | Self::Status { .. } => {
                "check `server`: it must be the address of the XML-RPC interface, such as \
                    https://koji.example.org/kojihub"
            }
            Self::Denied { .. } | Self::Unauthorized { .. } | Self::Handshake { .. } => {
                "ask the administrators of the hub for a certificate or keytab for our user, and check that it is \
                    the configured one"
            }
            Self::PostHandshake { .. } => {
                "nothing can be set here: ask the administrators of the hub for the change \
                of its web server that the error names"
            }
            Self::Kerberos { .. } => "check with `kinit` and `klist` as the user the service runs as",
            Self::Settings(_) => "correct the `[[hub]]`",
            Self::ResultLost { .. } | Self::Uncertain { .. } => {
                "there is nothing to do: Koschei searches its tasks before it repeats the call"
            }
            Self::Fault { fault, .. } => match fault.kind() {
                FaultKind::SessionExpired | FaultKind::Sequence | FaultKind::Auth => {
                    "there is nothing to do: Koschei begins another session. If this lasts, its address may change \
                        between calls (`CheckClientIP` on the hub)"
                }
                FaultKind::Locked | FaultKind::AuthLock => {
                    "another client holds a lock, and the call is repeated. If this lasts, ask the administrators of \
                        the hub"
                }
                FaultKind::NotAllowed => "ask the administrators of the hub to allow it for our user",
                _ => "read the error; the service would repeat the call again and again",
            },
            _ => "read the error; the service would repeat the call again and again",
        }
    }

    /// Checks whether the call may have been executed although no complete answer came. If a call
    /// creates something, the caller must look for it before repeating the call.
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

    /// Checks whether the same request may be sent again at once, because only the transport
    /// failed.
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

/// Checks whether an HTTP status usually goes away by itself.
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
