//! Whom we trust, and who we are.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::{Auth, SettingsError};

/// Largest PEM file, in bytes. A system's bundle of all authorities has a quarter of a megabyte.
const MAX_PEM: u64 = 8 << 20;

/// Makes `ring` the process's provider of cryptography, unless there is one already. What is here does not need it;
/// other users of TLS in the same process (the bus, the mirror of repositories) may.
pub fn install_provider() {
    if CryptoProvider::get_default().is_none() && ring::default_provider().install_default().is_err() {
        tracing::debug!("another thread has installed a provider of cryptography first");
    }
}

/// How TLS is spoken with a hub: trusting `serverca` or else the system, with a client certificate if that is the
/// login.
///
/// # Errors
/// [`SettingsError`] (rejected).
pub fn client_config(serverca: Option<&Path>, auth: &Auth) -> Result<ClientConfig, SettingsError> {
    let tls = |error: rustls::Error| SettingsError::Tls { problem: error.to_string() };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots(serverca)?);
    let mut config = match auth {
        Auth::Certificate { cert, key } => {
            let (chain, key) = identity(cert, key.as_deref())?;
            builder.with_client_auth_cert(chain, key).map_err(|error| SettingsError::Content {
                path: cert.clone(),
                what: "cert",
                problem: format!("certificate and key do not fit: {error}"),
            })?
        }
        Auth::Anonymous | Auth::Gssapi { .. } => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What the system trusts, read once. Without any, a hub behind TLS is not trusted, and the error says which setting
/// helps.
fn system() -> Arc<RootCertStore> {
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

fn roots(serverca: Option<&Path>) -> Result<Arc<RootCertStore>, SettingsError> {
    let Some(path) = serverca else { return Ok(system()) };
    let mut roots = RootCertStore::empty();
    let content = |problem| SettingsError::Content { path: path.to_owned(), what: "serverca", problem };
    let pem = read_pem(path, "serverca")?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|e| content(e.to_string()))?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(content("there is no certificate in it".to_owned()));
    }
    Ok(Arc::new(roots))
}

fn identity(
    cert: &Path,
    key: Option<&Path>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SettingsError> {
    let content = |path: &Path, what, problem| SettingsError::Content { path: path.to_owned(), what, problem };
    let pem = read_pem(cert, "cert")?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| content(cert, "cert", error.to_string()))?;
    if chain.is_empty() {
        return Err(content(cert, "cert", "there is no certificate in it".to_owned()));
    }
    let (path, what) = key.map_or((cert, "cert"), |key| (key, "key"));
    let pem = if key.is_some() { read_pem(path, what)? } else { pem };
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        content(
            path,
            what,
            format!("there is no private key in it that can be read, and an encrypted one cannot: {error}"),
        )
    })?;
    Ok((chain, key))
}

/// A PEM file.
pub(crate) fn read_pem(path: &Path, what: &'static str) -> Result<Vec<u8>, SettingsError> {
    let io = |source| SettingsError::File { path: path.to_owned(), what, source: Arc::new(source) };
    let mut content = Vec::new();
    File::open(path).map_err(io)?.take(MAX_PEM + 1).read_to_end(&mut content).map_err(io)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MAX_PEM) {
        let problem = format!("it has more than {MAX_PEM} bytes");
        return Err(SettingsError::Content { path: path.to_owned(), what, problem });
    }
    Ok(content)
}

/// What TLS complained of, looked for in an error and all its causes.
pub(super) fn complaint<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<std::io::Error>() {
            // An `io::Error` that wraps another gives that one's cause, not itself.
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    None
}
