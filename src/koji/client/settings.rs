//! How to reach a hub.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::koji::xmlrpc::MAX_DOCUMENT;
use crate::model::{Class, Classified};

/// How to log in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Auth {
    /// Not at all: everything can be read, nothing done.
    #[default]
    Anonymous,
    /// With a client certificate.
    Certificate {
        /// PEM file with the certificate, and perhaps with its key.
        cert: PathBuf,
        /// PEM file with the key, if it is another.
        key: Option<PathBuf>,
    },
    /// With Kerberos. Keytab and credentials cache are read by the system's library, which takes their places from the
    /// process's environment ([`gssapi_environment`](super::super::login::gssapi_environment)).
    Gssapi {
        /// Whose ticket to use; the default one when absent.
        principal: Option<String>,
        /// Where tickets are got from without a password.
        keytab: Option<PathBuf>,
        /// Where tickets are kept, `FILE:/path` or a path.
        ccache: Option<String>,
    },
}

/// How to reach a hub, and how much is asked of it.
#[derive(Clone, PartialEq, Debug)]
pub struct HubSettings {
    /// URL of the XML-RPC interface, such as `https://koji.fedoraproject.org/kojihub`.
    pub server: String,
    /// URL of the web interface, for links.
    pub weburl: Option<String>,
    /// URL of the files.
    pub topurl: Option<String>,
    /// How to log in.
    pub auth: Auth,
    /// PEM file with the certificates that are trusted instead of the system's.
    pub serverca: Option<PathBuf>,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long one request may take from beginning to end.
    pub request_timeout: Duration,
    /// How long the hub may say nothing in the middle of an answer.
    pub idle_timeout: Duration,
    /// How long one request to log in may take.
    pub auth_timeout: Duration,
    /// How long a call may take altogether, with all its attempts and the waiting between them.
    pub deadline: Duration,
    /// How often a call is tried again at most.
    pub max_retries: u32,
    /// How long to wait before the first retry, at most. It doubles each time.
    pub first_wait: Duration,
    /// How long to wait before a retry, at most.
    pub longest_wait: Duration,
    /// Whether calls without a session are tried again.
    pub anon_retry: bool,
    /// Whether calls are tried again while the hub says that it is offline; otherwise the caller hears of it at once.
    pub offline_retry: bool,
    /// How long to wait then.
    pub offline_wait: Duration,
    /// How many requests are made per second at most; `None` for no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// How many calls without a session run at a time at most.
    pub max_concurrent: usize,
    /// How many calls are put into one request at most.
    pub batch: usize,
    /// Largest request in bytes. The hub's own limit (`MaxRequestLength`) is 4 MiB by default.
    pub max_request: usize,
    /// Largest answer in bytes; nothing beyond is read.
    pub max_response: usize,
    /// What we call ourselves.
    pub user_agent: String,
}

impl HubSettings {
    /// Defaults for a hub, without a login.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            weburl: None,
            topurl: None,
            auth: Auth::Anonymous,
            serverca: None,
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(60),
            auth_timeout: Duration::from_secs(60),
            deadline: Duration::from_secs(1800),
            max_retries: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(20),
            anon_retry: true,
            offline_retry: false,
            offline_wait: Duration::from_secs(120),
            requests_per_second: NonZeroU32::new(20),
            max_concurrent: 4,
            batch: 100,
            max_request: 4 << 20,
            max_response: MAX_DOCUMENT,
            user_agent: concat!("koschei/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Settings that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address of the hub is none.
    #[error("use the hub `{server}`: {problem}")]
    Server {
        /// As it was given.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// A file cannot be read.
    #[error("read {path} ({what})")]
    File {
        /// Which.
        path: PathBuf,
        /// What it is for, by the name of the setting.
        what: &'static str,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A file has not in it what it should have.
    #[error("use {path} ({what}): {problem}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What it is for, by the name of the setting.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("set up TLS: {problem}")]
    Tls {
        /// Why.
        problem: String,
    },
    /// A session was asked for where there is no login.
    #[error("log in to {server}: no login is configured (set `authtype` to `ssl` or `gssapi`)")]
    NoLogin {
        /// Where.
        server: String,
    },
    /// Kerberos was asked for and is not built in.
    #[error("log in with Kerberos: this program was built without it (cargo feature `gssapi`)")]
    NoGssapi,
    /// A place for Kerberos differs from that in the environment, from which alone the system's library takes it.
    #[error("log in with Kerberos: start the program with {name}={wanted} in its environment")]
    Environment {
        /// Which variable.
        name: &'static str,
        /// What it must be.
        wanted: String,
    },
}

impl Classified for SettingsError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}
