//! Whom the HTTP client trusts.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::error::FetchError;

/// The system's authorities, and those in a PEM file.
///
/// # Errors
/// [`FetchError::Authorities`] (rejected) when the file cannot be read or has none in it.
pub(super) fn config(authorities: Option<&Path>) -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(error = %crate::model::causes::with_causes(&error), "a certificate of the system's authorities \
            cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = authorities {
        let wrong = |problem: String| FetchError::Authorities { path: path.to_owned(), problem };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::Client { problem: error.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
