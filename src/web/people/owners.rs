//! Who owns packages besides their owners in Koji: a file or an address in the form of pagure's
//! `pagure_owner_alias.json`, which lists the people of each package under `rpms`.
//!
//! What was read last stays until it can be read again. (The original Koschei forgets all owners if
//! the address does not answer.)

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::base::tls;
use crate::config::OwnersConfig;
use crate::model::Name;
use crate::model::causes::with_causes;

/// Largest list, in bytes. Fedora's has about three megabytes.
const BYTES_MAX: usize = 64 << 20;
/// Longest time until the list is there.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Why owners cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OwnersError {
    /// The file cannot be read.
    #[error("read the list of owners {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The address does not answer.
    #[error("get the list of owners")]
    Address(#[from] reqwest::Error),
    /// It is too large.
    #[error("the list of owners has more than {BYTES_MAX} bytes")]
    TooLarge,
    /// It is not such a list.
    #[error("the list of owners is not in the form of pagure_owner_alias.json")]
    Form(#[from] serde_json::Error),
}

/// The part of the list that counts.
#[derive(Deserialize)]
struct Alias {
    rpms: BTreeMap<Name, Vec<String>>,
}

/// The packages of each person.
type ByPerson = HashMap<String, Arc<HashSet<Name>>>;

/// Owners of packages. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Owners(Arc<RwLock<Arc<ByPerson>>>);

impl Owners {
    /// Returns the packages of a person.
    pub(in crate::web) fn packages(&self, person: &str) -> Arc<HashSet<Name>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(person).cloned().unwrap_or_default()
    }

    /// Takes lists.
    fn take(&self, texts: &[Vec<u8>]) -> Result<usize, OwnersError> {
        let mut all: HashMap<String, HashSet<Name>> = HashMap::new();
        let mut packages = 0;
        for text in texts {
            let alias: Alias = serde_json::from_slice(text)?;
            packages += alias.rpms.len();
            for (package, people) in alias.rpms {
                for person in people {
                    all.entry(person).or_default().insert(package.clone());
                }
            }
        }
        let all: ByPerson = all.into_iter().map(|(person, packages)| (person, Arc::new(packages))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        Ok(packages)
    }

    /// Reads the lists once. Returns the number of packages they name.
    ///
    /// # Errors
    /// Returns an [`OwnersError`]. What was known before stays.
    pub async fn read(&self, config: &OwnersConfig) -> Result<usize, OwnersError> {
        let mut texts = Vec::new();
        if let Some(path) = &config.file {
            texts.push(file(path).await?);
        }
        if let Some(url) = &config.url {
            texts.push(address(url).await?);
        }
        self.take(&texts)
    }

    /// Reads the list again and again until told to stop.
    pub async fn refresh(self, config: OwnersConfig, stop: CancellationToken) {
        if config.file.is_none() && config.url.is_none() {
            return;
        }
        while !stop.is_cancelled() {
            match self.read(&config).await {
                Ok(packages) => tracing::info!(packages, "owners of packages were read"),
                Err(error) => tracing::warn!(
                    error = %with_causes(&error),
                    "owners of packages could not be read; those known before count, and it is tried again"
                ),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(Duration::from_secs(config.refresh_secs.into())) => {}
            }
        }
    }
}

async fn file(path: &PathBuf) -> Result<Vec<u8>, OwnersError> {
    let failed = |source| OwnersError::File { path: path.clone(), source };
    let size = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if usize::try_from(size).unwrap_or(usize::MAX) > BYTES_MAX {
        return Err(OwnersError::TooLarge);
    }
    tokio::fs::read(path).await.map_err(failed)
}

async fn address(url: &str) -> Result<Vec<u8>, OwnersError> {
    let mut builder = reqwest::Client::builder().timeout(TIME_MAX);
    if let Ok(trust) = tls::trusting(tls::system()) {
        builder = builder.tls_backend_preconfigured(trust.with_no_client_auth());
    }
    let mut answer = builder.build()?.get(url).send().await?.error_for_status()?;
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > BYTES_MAX {
            return Err(OwnersError::TooLarge);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn owners_stay_until_they_can_be_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alias.json");
        let config = OwnersConfig { file: Some(path.clone()), ..OwnersConfig::default() };
        let owners = Owners::default();
        assert!(matches!(owners.read(&config).await, Err(OwnersError::File { .. })));
        let text = r#"{"rpms": {"curl": ["alice", "bob"], "zlib": ["alice"]}, "modules": {"x": ["carol"]}}"#;
        std::fs::write(&path, text).unwrap();
        assert_eq!(owners.read(&config).await.unwrap(), 2);
        let of = |person: &str| {
            let mut packages: Vec<String> = owners.packages(person).iter().map(ToString::to_string).collect();
            packages.sort();
            packages.join(",")
        };
        assert_eq!((of("alice"), of("bob"), of("carol")), ("curl,zlib".to_owned(), "curl".to_owned(), String::new()));
        for broken in ["", "[]", "{}", r#"{"rpms": {"curl": "alice"}}"#] {
            std::fs::write(&path, broken).unwrap();
            assert!(matches!(owners.read(&config).await, Err(OwnersError::Form(_))), "{broken}");
        }
        std::fs::File::create(&path).unwrap().set_len(BYTES_MAX as u64 + 1).unwrap();
        assert!(matches!(owners.read(&config).await, Err(OwnersError::TooLarge)));
        assert_eq!(of("alice"), "curl,zlib");
        assert_eq!(Owners::default().read(&OwnersConfig::default()).await.unwrap(), 0);
    }

    /// An address is read like a file, and one that fails changes nothing.
    #[tokio::test]
    async fn owners_come_from_an_address() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/alias.json", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for status in ["200 OK", "500 Internal Server Error"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                assert!(stream.read(&mut asked).await.unwrap() > 0);
                let body = r#"{"rpms": {"curl": ["alice"]}}"#;
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let (owners, config) = (Owners::default(), OwnersConfig { url: Some(url), ..OwnersConfig::default() });
        assert_eq!(owners.read(&config).await.unwrap(), 1);
        assert!(matches!(owners.read(&config).await, Err(OwnersError::Address(_))));
        assert_eq!(owners.packages("alice").len(), 1);
    }
}
