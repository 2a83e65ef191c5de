//! Reads how to reach a hub from the files of the `koji` command.
//!
//! A profile is a section with its name. Files are read in this order: `/etc/koji.conf.d/*.conf`,
//! `/etc/koji.conf`, `~/.koji/config.d/*.conf`, `~/.koji/config`. Within a directory, they are read
//! in the order of their names. Later files override earlier ones, key by key (`koji.read_config`).
//! Missing files are skipped. Keys that do not concern reaching a hub are ignored.

mod ini;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::client::{Auth, HubSettings};
use crate::model::{Class, Classified};
use ini::Section;

/// Maximum size of a file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Maximum number of files in one directory.
const MAX_FILES: usize = 200;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No file has a section of that name.
    #[error("find the profile `{name}`: {}", where_looked(.read))]
    Missing {
        /// Name of the profile.
        name: String,
        /// Files that were read.
        read: Vec<PathBuf>,
    },
    /// A file or directory cannot be read.
    #[error("read {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file or directory exceeds a limit.
    #[error("read {path}: more than {limit} {what}")]
    Bound {
        /// The file or directory.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A line cannot be understood.
    #[error("read {path}, line {line}: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The settings of the profile contradict each other or are incomplete.
    #[error("use the profile `{name}`: {problem}")]
    Content {
        /// Name of the profile.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

fn where_looked(read: &[PathBuf]) -> String {
    if read.is_empty() {
        return "there is no configuration of Koji (install the `koji` command, or set `server` directly)".to_owned();
    }
    let read: Vec<_> = read.iter().map(|path| path.display().to_string()).collect();
    format!("it is not in {}", read.join(", "))
}

impl Classified for ProfileError {
    fn class(&self) -> Class {
        Class::Rejected
    }
}

/// Where the files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfilePaths {
    /// Directory with `koji.conf` and `koji.conf.d`.
    pub etc: PathBuf,
    /// Directory with `.koji`. Also replaces `~` in paths.
    pub home: Option<PathBuf>,
    /// A file to read instead of those in `home`. It must exist.
    pub file: Option<PathBuf>,
}

impl ProfilePaths {
    /// Returns `/etc` and the home directory of the process's user (`HOME`).
    pub fn system() -> Self {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Self { etc: "/etc".into(), home, file: None }
    }

    /// Returns the files to read, in order.
    fn files(&self) -> Result<Vec<PathBuf>, ProfileError> {
        let mut files = directory(&self.etc.join("koji.conf.d"))?;
        files.push(self.etc.join("koji.conf"));
        match (&self.file, &self.home) {
            (Some(file), _) => files.push(file.clone()),
            (None, Some(home)) => {
                files.extend(directory(&home.join(".koji/config.d"))?);
                files.push(home.join(".koji/config"));
            }
            (None, None) => {}
        }
        Ok(files)
    }

    fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix('~'), &self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => path.into(),
        }
    }
}

/// A profile, as the files have it. The caller may change fields before turning it into settings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    /// Name of the profile.
    pub name: String,
    /// URL of the XML-RPC interface.
    pub server: Option<String>,
    /// URL of the web interface.
    pub weburl: Option<String>,
    /// URL of the hub's files.
    pub topurl: Option<String>,
    /// `noauth`, `ssl`, `kerberos` or `gssapi`. If absent: `ssl` if there is a certificate,
    /// otherwise Kerberos.
    pub authtype: Option<String>,
    /// PEM file with the certificate, and with the key unless [`key`](Self::key) is set. By default
    /// `~/.koji/client.crt`, if that exists.
    pub cert: Option<PathBuf>,
    /// PEM file with the key. Koji has no such setting.
    pub key: Option<PathBuf>,
    /// PEM file with trusted certificates. By default `~/.koji/serverca.crt`, if that exists.
    pub serverca: Option<PathBuf>,
    /// Whether certificates should not be checked. This is refused unless `serverca` is set. Koji
    /// itself then checks them, too.
    pub no_ssl_verify: bool,
    /// The principal whose ticket to use.
    pub principal: Option<String>,
    /// Keytab to obtain tickets from.
    pub keytab: Option<PathBuf>,
    /// Where tickets are stored.
    pub ccache: Option<String>,
    /// Maximum time for a request, in seconds.
    pub timeout: Option<u64>,
    /// Maximum time for a login request, in seconds.
    pub auth_timeout: Option<u64>,
    /// Maximum number of retries of a call.
    pub max_retries: Option<u32>,
    /// Pause between attempts, in seconds. Our first pauses are shorter.
    pub retry_interval: Option<u64>,
    /// Whether calls without a session are retried.
    pub anon_retry: Option<bool>,
    /// Whether calls are retried while the hub is offline.
    pub offline_retry: Option<bool>,
    /// Pause between attempts while the hub is offline, in seconds.
    pub offline_retry_interval: Option<u64>,
}

/// Reads a profile.
///
/// # Errors
/// Returns a [`ProfileError`] (rejected), with file and line if there is one.
pub fn load_profile(name: &str, paths: &ProfilePaths) -> Result<Profile, ProfileError> {
    let mut section = Section::new(name);
    let mut read = Vec::new();
    for path in paths.files()? {
        match content(&path) {
            Ok(content) => {
                section.read(&path, &content)?;
                read.push(path);
            }
            Err(ProfileError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound && paths.file.as_ref() != Some(&path) => {}
            // Like the `koji` command, skips a file that we may not read. It is not meant for us.
            Err(ProfileError::Read { path, source })
                if source.kind() == io::ErrorKind::PermissionDenied && paths.file.as_ref() != Some(&path) =>
            {
                tracing::warn!("{} is left out: {source}", path.display());
            }
            Err(error) => return Err(error),
        }
    }
    if !section.found {
        return Err(ProfileError::Missing { name: name.to_owned(), read });
    }
    let default = |value: Option<String>, file: &str| match value {
        Some(path) => Some(paths.expand(&path)),
        None => paths.home.as_ref().map(|home| home.join(file)).filter(|path| path.exists()),
    };
    Ok(Profile {
        name: name.to_owned(),
        server: section.text("server")?,
        weburl: section.text("weburl")?,
        topurl: section.text("topurl")?,
        authtype: section.text("authtype")?,
        cert: default(section.text("cert")?, ".koji/client.crt"),
        key: None,
        serverca: default(section.text("serverca")?, ".koji/serverca.crt"),
        no_ssl_verify: section.truth("no_ssl_verify")?.unwrap_or(false),
        principal: section.text("principal")?,
        keytab: section.text("keytab")?.map(|path| paths.expand(&path)),
        ccache: section.text("ccache")?.map(|place| paths.expand(&place).display().to_string()),
        timeout: section.number("timeout")?,
        auth_timeout: section.number("auth_timeout")?,
        max_retries: section.number("max_retries")?,
        retry_interval: section.number("retry_interval")?,
        anon_retry: section.truth("anon_retry")?,
        offline_retry: section.truth("offline_retry")?,
        offline_retry_interval: section.number("offline_retry_interval")?,
    })
}

impl Profile {
    /// Returns settings, with our defaults for what the profile does not set.
    ///
    /// # Errors
    /// Returns [`ProfileError::Content`] (rejected) if the profile is incomplete or contradicts
    /// itself.
    pub fn into_settings(self) -> Result<HubSettings, ProfileError> {
        let auth = self.auth()?;
        let problem = |problem: &str| ProfileError::Content { name: self.name.clone(), problem: problem.to_owned() };
        if self.no_ssl_verify && self.serverca.is_none() {
            return Err(problem("certificates are always checked; set `serverca` instead of `no_ssl_verify`"));
        }
        let server = self.server.clone().ok_or_else(|| problem("there is no `server`"))?;
        let mut settings = HubSettings { auth, ..HubSettings::new(server) };
        let set = |to: &mut Duration, seconds: Option<u64>| {
            if let Some(seconds) = seconds {
                *to = Duration::from_secs(seconds);
            }
        };
        settings.weburl = self.weburl;
        settings.topurl = self.topurl;
        settings.serverca = self.serverca;
        set(&mut settings.request_timeout, self.timeout);
        set(&mut settings.auth_timeout, self.auth_timeout);
        set(&mut settings.longest_wait, self.retry_interval);
        set(&mut settings.offline_wait, self.offline_retry_interval);
        settings.deadline = settings.deadline.max(settings.request_timeout);
        settings.max_retries = self.max_retries.unwrap_or(settings.max_retries);
        settings.anon_retry = self.anon_retry.unwrap_or(settings.anon_retry);
        settings.offline_retry = self.offline_retry.unwrap_or(settings.offline_retry);
        Ok(settings)
    }

    /// Chooses the login like the `koji` command (`koji_cli.lib.activate_session`).
    fn auth(&self) -> Result<Auth, ProfileError> {
        let problem = |problem: String| ProfileError::Content { name: self.name.clone(), problem };
        let certificate = |cert: &PathBuf| Auth::Certificate { cert: cert.clone(), key: self.key.clone() };
        match (self.authtype.as_deref(), &self.cert) {
            (Some("noauth"), _) => Ok(Auth::Anonymous),
            (Some("ssl"), Some(cert)) => Ok(certificate(cert)),
            (Some("ssl"), None) => Err(problem("`authtype` is `ssl`, and there is no `cert`".to_owned())),
            (None, Some(cert)) if cert.is_file() => Ok(certificate(cert)),
            (None | Some("kerberos" | "gssapi"), _) => Ok(Auth::Gssapi {
                principal: self.principal.clone(),
                keytab: self.keytab.clone(),
                ccache: self.ccache.clone(),
            }),
            (Some(other), _) => {
                Err(problem(format!("`authtype` is `{other}`; it can be `ssl`, `gssapi`, `kerberos` or `noauth`")))
            }
        }
    }
}

/// Returns the `.conf` files of a directory, ordered by name. Empty if the directory does not
/// exist.
fn directory(path: &Path) -> Result<Vec<PathBuf>, ProfileError> {
    let failed = |source| ProfileError::Read { path: path.to_owned(), source };
    let entries = match path.read_dir() {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "conf") && file.is_file() {
            files.insert(file.file_name().map(ToOwned::to_owned), file);
        }
        if files.len() > MAX_FILES {
            let limit = u64::try_from(MAX_FILES).unwrap_or(u64::MAX);
            return Err(ProfileError::Bound { path: path.to_owned(), what: "files", limit });
        }
    }
    Ok(files.into_values().collect())
}

fn content(path: &Path) -> Result<String, ProfileError> {
    let failed = |source| ProfileError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_FILE + 1).read_to_end(&mut content).map_err(failed)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(ProfileError::Bound { path: path.to_owned(), what: "bytes", limit: MAX_FILE });
    }
    String::from_utf8(content).map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")))
}

impl Section {
    /// Returns a value if it is not empty.
    fn text(&self, key: &str) -> Result<Option<String>, ProfileError> {
        Ok(self.get(key)?.map(|value| value.text).filter(|text| !text.is_empty()))
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, ProfileError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let number = value.text.parse();
        number.map(Some).map_err(|_| value.wrong(&format!("`{key}` must be a whole number that is not negative")))
    }

    /// Reads a truth value like Python's `ConfigParser.getboolean`.
    fn truth(&self, key: &str) -> Result<Option<bool>, ProfileError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        match value.text.to_ascii_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Ok(Some(true)),
            "0" | "no" | "false" | "off" => Ok(Some(false)),
            _ => Err(value.wrong(&format!("`{key}` must be yes or no"))),
        }
    }
}

#[cfg(test)]
#[path = "profile/tests.rs"]
mod tests;
