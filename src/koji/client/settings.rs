//! Settings for reaching a hub.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::koji::xmlrpc::MAX_DOCUMENT;
use crate::model::{Class, Classified};

/// How to log in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Auth {
    /// No login. Everything can be read, and nothing changed.
    #[default]
    Anonymous,
    /// With a client certificate.
    Certificate {
        /// PEM file with the certificate, and possibly with its key.
        cert: PathBuf,
        /// PEM file with the key, if it is a different file.
        key: Option<PathBuf>,
    },
    /// With Kerberos. The system's library reads keytab and credentials cache. It takes their
    /// places from the process's environment
    /// ([`gssapi_environment`](super::super::login::gssapi_environment)).
    Gssapi {
        /// The principal whose ticket to use. `None`: the default one.
        principal: Option<String>,
        /// Keytab to obtain tickets from without a password.
        keytab: Option<PathBuf>,
        /// Where tickets are stored: `FILE:/path` or a path.
        ccache: Option<String>,
    },
}

/// How to reach a hub, and limits for requests to it.
#[derive(Clone, PartialEq, Debug)]
pub struct HubSettings {
    /// URL of the XML-RPC interface, such as `https://koji.fedoraproject.org/kojihub`.
    pub server: String,
    /// URL of the web interface, for links.
    pub weburl: Option<String>,
    /// URL of the hub's files.
    pub topurl: Option<String>,
    /// How to log in.
    pub auth: Auth,
    /// PEM file with certificates to trust instead of the system's.
    pub serverca: Option<PathBuf>,
    /// Maximum time for connecting, including TLS.
    pub connect_timeout: Duration,
    /// Maximum time for one request from beginning to end.
    pub request_timeout: Duration,
    /// Maximum time without data in the middle of an answer.
    pub idle_timeout: Duration,
    /// Maximum time for one login request.
    pub auth_timeout: Duration,
    /// Maximum time for one call, including all attempts and the pauses between them.
    pub deadline: Duration,
    /// Maximum number of retries of a call.
    pub max_retries: u32,
    /// Maximum pause before the first retry. It doubles with each retry.
    pub first_wait: Duration,
    /// Maximum pause before any retry.
    pub longest_wait: Duration,
    /// Whether calls without a session are retried.
    pub anon_retry: bool,
    /// Whether calls are retried while the hub says that it is offline. If not, the caller gets the
    /// error at once.
    pub offline_retry: bool,
    /// Pause before a retry while the hub is offline.
    pub offline_wait: Duration,
    /// Maximum number of requests per second. `None`: no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// Maximum number of concurrent calls without a session.
    pub max_concurrent: usize,
    /// Maximum number of calls in one request.
    pub batch: usize,
    /// Maximum size of a request in bytes. The hub's own limit (`MaxRequestLength`) is 4 MiB by
    /// default.
    pub max_request: usize,
    /// Maximum size of an answer in bytes. The rest is not read.
    pub max_response: usize,
    /// The `User-Agent` header.
    pub user_agent: String,
}

impl HubSettings {
    /// Returns default settings for a hub, without a login.
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

/// Why settings cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address of the hub is invalid.
    #[error("use the hub `{server}`: {problem}")]
    Server {
        /// The address, as configured.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// A file cannot be read.
    #[error("read {path} ({what})")]
    File {
        /// The file.
        path: PathBuf,
        /// Purpose of the file: the name of the setting.
        what: &'static str,
        /// The cause.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A file does not have the expected content.
    #[error("use {path} ({what}): {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Purpose of the file: the name of the setting.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("set up TLS: {problem}")]
    Tls {
        /// The cause.
        problem: String,
    },
    /// A session was asked for, but no login is configured.
    #[error("log in to {server}: no login is configured (set `authtype` to `ssl` or `gssapi`)")]
    NoLogin {
        /// Address of the hub.
        server: String,
    },
    /// Kerberos was asked for, but is not built in.
    #[error("log in with Kerberos: this program was built without it (cargo feature `gssapi`)")]
    NoGssapi,
    /// A path for Kerberos differs from the environment. The system's library takes it only from
    /// there.
    #[error("log in with Kerberos: start the program with {name}={wanted} in its environment")]
    Environment {
        /// The environment variable.
        name: &'static str,
        /// The value it must have.
        wanted: String,
    },
}

impl Classified for SettingsError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}
