//! What the configuration says about logins and rights.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::http::HeaderName;

use crate::config::LoginConfig;

/// Settings of logins, checked.
#[derive(Clone, Debug, Default)]
pub struct LoginSettings {
    /// Address at which browsers reach the pages, without a slash at its end.
    pub url: Option<String>,
    /// Names of administrators.
    pub admins: BTreeSet<String>,
    /// Teams of administrators.
    pub admin_teams: BTreeSet<String>,
    /// Whether everybody who is known may change every package.
    pub everybody_edits: bool,
    /// How long a login lasts, in seconds.
    pub session_secs: i64,
    /// The proxy that we trust.
    pub proxy: Option<Proxy>,
}

/// A proxy that logs people in.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The header with the name.
    pub header: HeaderName,
    /// The header with the teams.
    pub teams_header: Option<HeaderName>,
    /// The addresses of the proxy.
    pub addresses: Vec<IpAddr>,
}

impl From<&LoginConfig> for LoginSettings {
    fn from(config: &LoginConfig) -> Self {
        let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        let proxy = config.proxy.as_ref().and_then(|p| {
            Some(Proxy {
                header: header(&p.header)?,
                teams_header: p.teams_header.as_deref().and_then(header),
                addresses: p.addresses.clone(),
            })
        });
        Self {
            url: config.url.as_deref().map(|url| url.trim_end_matches('/').to_owned()),
            admins: config.admins.iter().cloned().collect(),
            admin_teams: config.admin_teams.iter().cloned().collect(),
            everybody_edits: config.everybody_edits,
            session_secs: i64::from(config.session_hours) * 3_600,
            proxy,
        }
    }
}

impl LoginSettings {
    /// Checks whether browsers must send our cookies only over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    /// Checks whether a person is an administrator.
    pub(super) fn is_admin(&self, name: &str, teams: &[String]) -> bool {
        self.admins.contains(name) || teams.iter().any(|team| self.admin_teams.contains(team))
    }
}
