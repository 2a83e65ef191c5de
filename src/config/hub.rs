//! `[[hub]]`, `[bus]` and `[serve]`: what a live installation needs besides rules and collections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::listen::Limits;
use crate::decide::command::BindRepo;

/// Most connections that can be allowed: each is an open file.
const CONNECTIONS_MAX: usize = 65_536;
/// Longest time a peer can be waited for.
const WAIT_SECS_MAX: u64 = 3600;

/// How we log in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthName {
    /// Not at all: we look and decide, and submit nothing.
    None,
    /// With a client certificate (`sslLogin`).
    Certificate,
    /// With Kerberos (`sslLogin` behind `Negotiate`).
    Gssapi,
}

/// A hub, as written. What is not said comes from the koji profile named, or from Koji's own defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// Instance name, as its messages have it (`instance`).
    #[serde(default = "primary")]
    pub name: String,
    /// Profile of the koji command (`/etc/koji.conf`, `/etc/koji.conf.d`, `~/.koji/config`) to take settings from.
    #[serde(default)]
    pub profile: Option<String>,
    /// XML-RPC address, such as `https://koji.example.org/kojihub`.
    #[serde(default)]
    pub server: Option<String>,
    /// Where files lie: `https://…` or a mounted directory.
    #[serde(default)]
    pub topurl: Option<String>,
    /// Web pages, for links.
    #[serde(default)]
    pub weburl: Option<String>,
    /// How to log in.
    #[serde(default)]
    pub auth: Option<AuthName>,
    /// Client certificate, PEM, its key in the same file or in `key`.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Key of the client certificate, PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Certificates to trust, PEM; default: the system's.
    #[serde(default)]
    pub serverca: Option<PathBuf>,
    /// Kerberos principal to log in as.
    #[serde(default)]
    pub principal: Option<String>,
    /// Kerberos key table.
    #[serde(default)]
    pub keytab: Option<PathBuf>,
    /// Seconds one call may take.
    #[serde(default)]
    pub timeout_secs: Option<u64>,
    /// Most calls a second.
    #[serde(default)]
    pub requests_per_second: Option<u32>,
    /// Seconds between looks at what moves without a message.
    #[serde(default = "sixty")]
    pub poll_secs: u64,
    /// Seconds between comparisons of everything.
    #[serde(default = "day")]
    pub reconcile_secs: u64,
    /// Whether scratch builds are bound to the repository they were resolved in.
    #[serde(default)]
    pub bind_repo: BindRepo,
    /// Ask for a repository when a build tag has moved and none covers it for so many seconds; 0: never ask.
    #[serde(default)]
    pub request_repo_after_secs: u64,
    /// Most files fetched at a time.
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

/// Where messages come from, as written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusConfig {
    /// A fedora-messaging configuration (TOML) to take address, certificates, queue and bindings from.
    pub fedora_messaging: Option<PathBuf>,
    /// Address of the broker: `amqp://` or `amqps://`; overrides the file's.
    pub amqp_url: Option<String>,
    /// Name of our durable queue; overrides the file's.
    pub queue: Option<String>,
    /// Certificates to trust.
    pub ca_cert: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl BusConfig {
    /// Whether there is a bus at all; without one only polling finds what happens.
    pub fn is_there(&self) -> bool {
        self.fedora_messaging.is_some() || self.amqp_url.is_some()
    }
}

/// The service, as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Pages, `/metrics`, `/alive` and `/ready` are served here; absent: nowhere.
    #[serde(deserialize_with = "super::listen::deserialize")]
    pub listen: Option<SocketAddr>,
    /// Connections to them at a time; beyond that only monitoring is answered.
    pub connections_max: usize,
    /// Of these from one peer.
    pub connections_per_peer: usize,
    /// Seconds in which a peer has to say what it wants.
    pub idle_secs: u64,
    /// Seconds in which a peer has to take an answer.
    pub write_secs: u64,
    /// Repositories and build requirements are kept here; it is laid out like an archive.
    pub cache_dir: PathBuf,
    /// Generations kept per build tag.
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
    /// What is allowed of connections.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.connections_max,
            per_peer: self.connections_per_peer,
            idle: Duration::from_secs(self.idle_secs),
            write: Duration::from_secs(self.write_secs),
        }
    }

    /// Checks what can be checked without asking anybody.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            let given = self.connections_max;
            return Err(format!("`connections_max` is {given}: from 1 to {CONNECTIONS_MAX}"));
        }
        if self.connections_per_peer == 0 {
            return Err("`connections_per_peer` is 0: at least 1".to_owned());
        }
        for (key, secs) in [("idle_secs", self.idle_secs), ("write_secs", self.write_secs)] {
            if !(1..=WAIT_SECS_MAX).contains(&secs) {
                return Err(format!("`{key}` is {secs}: from 1 to {WAIT_SECS_MAX}"));
            }
        }
        Ok(())
    }
}

impl HubConfig {
    /// Checks what can be checked without asking anybody.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let at = format!("hub `{}`", self.name);
        if self.name.is_empty() || self.name.contains(['/', ' ']) {
            return Err(format!("{at}: a name must not be empty nor contain `/` or spaces"));
        }
        if self.profile.is_none() && self.server.is_none() {
            return Err(format!("{at}: give a koji `profile`, or `server` and `topurl`"));
        }
        if self.profile.is_none() && self.topurl.is_none() {
            return Err(format!("{at}: `topurl` is missing: repositories are read from there"));
        }
        if self.auth == Some(AuthName::Certificate) && self.cert.is_none() && self.profile.is_none() {
            return Err(format!("{at}: `auth = \"certificate\"` needs `cert`"));
        }
        if self.poll_secs == 0 || self.reconcile_secs < self.poll_secs {
            return Err(format!("{at}: `poll_secs` must be at least 1 and `reconcile_secs` no less than that"));
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
