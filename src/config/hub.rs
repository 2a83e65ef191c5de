//! Reads `[[hub]]`, `[bus]` and `[serve]`: what a live installation needs besides rules and
//! collections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::listen::Limits;
use crate::decide::command::BindRepo;

/// Upper limit for the number of connections. Each is an open file.
const CONNECTIONS_MAX: usize = 65_536;
/// Upper limit for the time to wait for a peer.
const WAIT_SECS_MAX: u64 = 3600;

/// How to log in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthName {
    /// No login. We look and decide, but submit nothing.
    None,
    /// With a client certificate (`sslLogin`).
    Certificate,
    /// With Kerberos (`sslLogin` behind `Negotiate`).
    Gssapi,
}

/// Who carries out the commands for a hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// This service, if it has a login.
    #[default]
    Koschei,
    /// Another program, which takes them from a work queue on NATS JetStream.
    Jetstream,
}

/// A hub, as written in the file. Missing settings come from the named koji profile, or from Koji's
/// own defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// Instance name, as the hub's messages have it (`instance`).
    #[serde(default = "primary")]
    pub name: String,
    /// Profile of the koji command that settings are taken from (`/etc/koji.conf`,
    /// `/etc/koji.conf.d`, `~/.koji/config`).
    #[serde(default)]
    pub profile: Option<String>,
    /// XML-RPC address, such as `https://koji.example.org/kojihub`.
    #[serde(default)]
    pub server: Option<String>,
    /// Where the hub's files are: `https://…` or a mounted directory.
    #[serde(default)]
    pub topurl: Option<String>,
    /// URL of the web interface, for links.
    #[serde(default)]
    pub weburl: Option<String>,
    /// How to log in.
    #[serde(default)]
    pub auth: Option<AuthName>,
    /// Client certificate (PEM). Its key is in the same file or in `key`.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Key of the client certificate (PEM).
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Certificates to trust (PEM). Default: those of the system.
    #[serde(default)]
    pub serverca: Option<PathBuf>,
    /// Kerberos principal to log in as.
    #[serde(default)]
    pub principal: Option<String>,
    /// Kerberos key table.
    #[serde(default)]
    pub keytab: Option<PathBuf>,
    /// Maximum time for one call, in seconds.
    #[serde(default)]
    pub timeout_secs: Option<u64>,
    /// Maximum number of calls per second.
    #[serde(default)]
    pub requests_per_second: Option<u32>,
    /// Seconds between polls of objects that change without a message.
    #[serde(default = "sixty")]
    pub poll_secs: u64,
    /// Seconds between comparisons of everything.
    #[serde(default = "day")]
    pub reconcile_secs: u64,
    /// Who carries out the commands.
    #[serde(default)]
    pub executor: Executor,
    /// Whether scratch builds are bound to the repository they were resolved in.
    #[serde(default)]
    pub bind_repo: BindRepo,
    /// Request a repository if a build tag has changed and no repository has covered the change for
    /// this many seconds. 0: never.
    #[serde(default)]
    pub request_repo_after_secs: u64,
    /// Maximum number of files fetched at a time.
    #[serde(default = "eight")]
    pub files_at_once: usize,
}

fn primary() -> String {
    "primary".to_owned()
}

const fn sixty() -> u64 {
    60
}

const fn day() -> u64 {
    86_400
}

const fn eight() -> usize {
    8
}

/// Where messages come from, as written in the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusConfig {
    /// A fedora-messaging configuration (TOML). Address, certificates, queue and bindings come from
    /// it.
    pub fedora_messaging: Option<PathBuf>,
    /// Address of the broker: `amqp://` or `amqps://`. Overrides that of the file.
    pub amqp_url: Option<String>,
    /// Name of our durable queue. Overrides that of the file.
    pub queue: Option<String>,
    /// Certificates to trust (PEM).
    pub ca_cert: Option<PathBuf>,
    /// Our client certificate (PEM).
    pub cert: Option<PathBuf>,
    /// Key of our client certificate (PEM).
    pub key: Option<PathBuf>,
}

impl BusConfig {
    /// Checks whether a bus is configured. Without one, only polling finds changes.
    pub fn is_there(&self) -> bool {
        self.fedora_messaging.is_some() || self.amqp_url.is_some()
    }
}

/// Settings of the service, as written in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address for pages, `/metrics`, `/alive` and `/ready`. Absent: they are not served.
    #[serde(deserialize_with = "super::listen::deserialize")]
    pub listen: Option<SocketAddr>,
    /// Maximum number of connections at a time. Beyond it, only monitoring gets an answer.
    pub connections_max: usize,
    /// Maximum number of connections from one peer.
    pub connections_per_peer: usize,
    /// Seconds in which a peer must send its request.
    pub idle_secs: u64,
    /// Seconds in which a peer must receive the response.
    pub write_secs: u64,
    /// Directory for repositories and build requirements. It has the layout of an archive.
    pub cache_dir: PathBuf,
    /// Number of repository generations kept per build tag.
    pub repos_kept: usize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        let Limits { connections, per_peer, idle, write } = Limits::default();
        Self {
            listen: None,
            connections_max: connections,
            connections_per_peer: per_peer,
            idle_secs: idle.as_secs(),
            write_secs: write.as_secs(),
            cache_dir: PathBuf::from("cache"),
            repos_kept: 4,
        }
    }
}

impl ServeConfig {
    /// Returns the limits for connections.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.connections_max,
            per_peer: self.connections_per_peer,
            idle: Duration::from_secs(self.idle_secs),
            write: Duration::from_secs(self.write_secs),
        }
    }

    /// Checks everything that can be checked without asking another service.
    ///
    /// # Errors
    /// Returns a text that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            let given = self.connections_max;
            return Err(format!("`connections_max` is {given}, but must be from 1 to {CONNECTIONS_MAX}"));
        }
        if self.connections_per_peer == 0 {
            return Err("`connections_per_peer` is 0, but must be at least 1".to_owned());
        }
        for (key, secs) in [("idle_secs", self.idle_secs), ("write_secs", self.write_secs)] {
            if !(1..=WAIT_SECS_MAX).contains(&secs) {
                return Err(format!("`{key}` is {secs}, but must be from 1 to {WAIT_SECS_MAX}"));
            }
        }
        Ok(())
    }
}

impl HubConfig {
    /// Checks everything that can be checked without asking another service.
    ///
    /// # Errors
    /// Returns a text that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let at = format!("hub `{}`", self.name);
        if self.name.is_empty() || self.name.contains(['/', ' ']) {
            return Err(format!("{at}: a name must not be empty nor contain `/` or spaces"));
        }
        if self.profile.is_none() && self.server.is_none() {
            return Err(format!("{at}: give a koji `profile`, or `server` and `topurl`"));
        }
        if self.profile.is_none() && self.topurl.is_none() {
            return Err(format!("{at}: `topurl` is missing; set it, because repositories are read from there"));
        }
        if self.auth == Some(AuthName::Certificate) && self.cert.is_none() && self.profile.is_none() {
            return Err(format!("{at}: `auth = \"certificate\"` needs `cert`"));
        }
        if self.poll_secs == 0 || self.reconcile_secs < self.poll_secs {
            return Err(format!("{at}: `poll_secs` must be at least 1, and `reconcile_secs` at least `poll_secs`"));
        }
        if self.executor == Executor::Jetstream && self.request_repo_after_secs > 0 {
            return Err(format!("{at}: with `executor = \"jetstream\"`, `request_repo_after_secs` must be 0"));
        }
        if !(1..=64).contains(&self.files_at_once) {
            return Err(format!("{at}: `files_at_once` is {}, must be between 1 and 64", self.files_at_once));
        }
        if let Some(weburl) = &self.weburl {
            crate::model::weburl::check(weburl).map_err(|e| format!("{at}: `weburl`: {e}"))?;
        }
        if self.requests_per_second == Some(0) {
            return Err(format!("{at}: `requests_per_second` is 0; leave it out for the default"));
        }
        Ok(())
    }
}
