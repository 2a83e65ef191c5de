//! TLS configuration for a hub: which certificates we trust, and which one we present.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};

use super::settings::{Auth, SettingsError};
use crate::base::tls::{self, PemError};

/// Makes `ring` the cryptography provider of the process, unless there is one already. This client
/// does not need it. Other users of TLS in the process may (the bus, the mirror of repositories).
pub fn install_provider() {
    if CryptoProvider::get_default().is_none() && ring::default_provider().install_default().is_err() {
        tracing::debug!("another thread has installed a provider of cryptography first");
    }
}

/// Returns the TLS configuration for a hub. It trusts `serverca`, or else the system's authorities.
/// It presents a client certificate if that is the login.
///
/// # Errors
/// Returns a [`SettingsError`] (rejected) if a file cannot be read or used.
pub fn client_config(serverca: Option<&Path>, auth: &Auth) -> Result<ClientConfig, SettingsError> {
    let roots = tls::authorities(serverca).map_err(|e| unusable(serverca.unwrap_or(Path::new("")), "serverca", e))?;
    let builder = tls::trusting(roots).map_err(|error| SettingsError::Tls { problem: error.to_string() })?;
    let mut config = match auth {
        Auth::Certificate { cert, key } => {
            let chain = tls::certificates(cert).map_err(|e| unusable(cert, "cert", e))?;
            let (path, what) = key.as_deref().map_or((cert.as_path(), "cert"), |key| (key, "key"));
            let key = tls::private_key(path).map_err(|e| unusable(path, what, e))?;
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

/// Reads a PEM file, for OpenSSL.
#[cfg(feature = "openssl")]
pub(crate) fn read_pem(path: &Path, what: &'static str) -> Result<Vec<u8>, SettingsError> {
    tls::pem(path).map_err(|e| unusable(path, what, e))
}

fn unusable(path: &Path, what: &'static str, error: PemError) -> SettingsError {
    match error {
        PemError::Read(source) => SettingsError::File { path: path.to_owned(), what, source: Arc::new(source) },
        PemError::Content(problem) => SettingsError::Content { path: path.to_owned(), what, problem },
    }
}

/// Returns the TLS error among an error and its causes.
pub(super) fn complaint<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<std::io::Error>() {
            // The `source` of an `io::Error` skips the error that it wraps, so `get_ref` is needed.
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    None
}
