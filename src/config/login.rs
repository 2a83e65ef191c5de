//! Reads `[login]`: how people are known to the pages, and who may do what.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Longest time a login may last, in hours: a month.
const SESSION_HOURS_MAX: u32 = 31 * 24;

/// Logins, as written in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginConfig {
    /// Address at which browsers reach the pages, such as `https://koschei.example.org`.
    pub url: Option<String>,
    /// Names of administrators.
    pub admins: Vec<String>,
    /// Teams whose members are administrators, as the provider or the proxy names them.
    pub admin_teams: Vec<String>,
    /// Whether everybody who is logged in may change every package, as in the original Koschei.
    pub everybody_edits: bool,
    /// How long a login lasts, in hours.
    pub session_hours: u32,
    /// A provider of logins by OpenID Connect.
    pub oidc: Option<OidcConfig>,
    /// A proxy that logs people in.
    pub proxy: Option<ProxyConfig>,
}

/// A provider of logins by OpenID Connect, as written in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Its address, such as `https://id.fedoraproject.org/openidc/`.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// File whose first line is our secret there. Without one, we have none.
    pub client_secret_file: Option<PathBuf>,
    /// What to ask for, besides `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim that is the name of the person.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// The claim that lists the teams of the person.
    #[serde(default = "teams_claim")]
    pub teams_claim: String,
    /// Certificates to trust (PEM), in addition to the system's.
    pub ca_cert: Option<PathBuf>,
}

/// A proxy that logs people in, as written in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// The header with the name of the person.
    pub header: String,
    /// The header with the teams of the person, with commas between them.
    pub teams_header: Option<String>,
    /// The addresses of the proxy. Headers from other addresses count for nothing.
    pub addresses: Vec<IpAddr>,
}

fn scopes() -> Vec<String> {
    ["profile", "email"].map(str::to_owned).to_vec()
}

fn name_claim() -> String {
    "preferred_username".to_owned()
}

fn teams_claim() -> String {
    "groups".to_owned()
}

impl Default for LoginConfig {
    fn default() -> Self {
        Self {
            url: None,
            admins: Vec::new(),
            admin_teams: Vec::new(),
            everybody_edits: false,
            session_hours: 12,
            oidc: None,
            proxy: None,
        }
    }
}

impl LoginConfig {
    /// Returns what is wrong with the settings, and what they should be.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("[login]: {what}"));
        if let Some(url) = &self.url {
            crate::model::weburl::check(url).map_err(|e| format!("[login]: `url`: {e}"))?;
        }
        if !(1..=SESSION_HOURS_MAX).contains(&self.session_hours) {
            return wrong(&format!("`session_hours` must be from 1 to {SESSION_HOURS_MAX} (a month)"));
        }
        if let Some(oidc) = &self.oidc {
            if self.url.is_none() {
                return wrong("`[login.oidc]` needs `url`: the provider sends browsers back to it");
            }
            let local =
                ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|l| oidc.issuer.starts_with(l));
            if !oidc.issuer.starts_with("https://") && !local {
                return wrong("`issuer` must begin with https://; only a provider on this machine may do without");
            }
            if oidc.client_id.is_empty() || oidc.name_claim.is_empty() {
                return wrong("`client_id` and `name_claim` must not be empty");
            }
        }
        if let Some(proxy) = &self.proxy {
            if proxy.addresses.is_empty() {
                return wrong(
                    "`addresses` of `[login.proxy]` is empty: name the proxy's addresses, or anybody could \
                    claim to be anybody",
                );
            }
            let is_header = |name: &str| axum::http::HeaderName::from_bytes(name.as_bytes()).is_ok();
            if let Some(bad) = std::iter::once(&proxy.header).chain(&proxy.teams_header).find(|name| !is_header(name)) {
                return wrong(&format!("`{bad}` cannot be the name of a header"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("url = 'javascript:x'", "`url`")]
    #[case("session_hours = 0", "from 1 to 744")]
    #[case("[oidc]\nissuer = 'https://id.example.org'\nclient_id = 'k'", "needs `url`")]
    #[case("url = 'https://k'\n[oidc]\nissuer = 'http://id.example.org'\nclient_id = 'k'", "https://")]
    #[case("url = 'https://k'\n[oidc]\nissuer = 'https://id.example.org'\nclient_id = ''", "must not be empty")]
    #[case("[proxy]\nheader = 'X-User'\naddresses = []", "anybody could claim")]
    #[case("[proxy]\nheader = 'X User'\naddresses = ['127.0.0.1']", "`X User`")]
    fn faults_are_named(#[case] text: &str, #[case] says: &str) {
        let config: LoginConfig = toml::from_str(text).unwrap();
        let said = config.check().unwrap_err();
        assert!(said.contains(says), "{said}");
    }

    #[test]
    fn a_provider_and_a_proxy() {
        let text = "url = 'https://koschei.example.org'\nadmins = ['alice']\n[oidc]\nissuer = \
            'https://id.example.org/'\nclient_id = 'koschei'\n[proxy]\nheader = 'X-Remote-User'\naddresses = ['::1']";
        let config: LoginConfig = toml::from_str(text).unwrap();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.oidc.unwrap().teams_claim, "groups");
    }
}
