//! TLS for hubs, files and buses: the authorities we trust and our own certificate, from PEM files
//! and from the system.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Largest PEM file, in bytes. A system's bundle of all authorities has a quarter of a megabyte.
const MAX_PEM: u64 = 8 << 20;

/// Error: a PEM file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// The file's content is unusable. Says why.
    #[error("{0}")]
    Content(String),
}

/// Returns the bytes of a PEM file.
///
/// # Errors
/// Returns [`PemError`] if the file cannot be read or is larger than 8 MiB.
pub fn pem(path: &Path) -> Result<Vec<u8>, PemError> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_PEM + 1).read_to_end(&mut content)?;
    match u64::try_from(content.len()).is_ok_and(|length| length > MAX_PEM) {
        true => Err(PemError::Content(format!("it has more than {MAX_PEM} bytes"))),
        false => Ok(content),
    }
}

/// Returns the certificates of a PEM file, at least one.
///
/// # Errors
/// Returns [`PemError`] if the file cannot be read or has no valid certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let pem = pem(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| PemError::Content(error.to_string()))?;
    match found.is_empty() {
        true => Err(PemError::Content(
            "there is no certificate in it; expected PEM (-----BEGIN CERTIFICATE-----)".to_owned(),
        )),
        false => Ok(found),
    }
}

/// Returns the private key of a PEM file.
///
/// # Errors
/// Returns [`PemError`] if the file cannot be read or has no usable key. An encrypted key is not
/// usable.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(&pem(path)?).map_err(|error| {
        PemError::Content(format!(
            "there is no private key in it that can be read, and an encrypted one cannot: {error}"
        ))
    })
}

/// Returns the system's trusted authorities, read once. If there are none, no server is trusted
/// over TLS. The error then says which setting helps.
pub fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!("a certificate of the system is left out: {error}");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system.certs);
        Arc::new(roots)
    };
    Arc::clone(SYSTEM.get_or_init(read))
}

/// Adds the authorities of a PEM file. Skips unusable ones as long as one is usable.
///
/// # Errors
/// Returns [`PemError`] if the file cannot be read or no certificate in it is usable.
pub fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), PemError> {
    match roots.add_parsable_certificates(certificates(path)?) {
        (0, _) => Err(PemError::Content("no certificate in it can be used".to_owned())),
        _ => Ok(()),
    }
}

/// Returns the authorities of a PEM file, or those of the system if `path` is `None`.
///
/// # Errors
/// Returns [`PemError`] if the file cannot be read or no certificate in it is usable.
pub fn authorities(path: Option<&Path>) -> Result<Arc<RootCertStore>, PemError> {
    let Some(path) = path else { return Ok(system()) };
    let mut roots = RootCertStore::empty();
    add_authorities(&mut roots, path)?;
    Ok(Arc::new(roots))
}

/// Returns a TLS configuration that trusts these authorities. It uses ring's cryptography and the
/// protocol versions that rustls considers safe.
///
/// # Errors
/// Returns rustls's error.
pub fn trusting(
    roots: impl Into<Arc<RootCertStore>>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots))
}
