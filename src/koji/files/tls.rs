//! TLS configuration of the HTTP client.

use std::path::Path;

use rustls::ClientConfig;

use super::error::FetchError;
use crate::base::tls::{self, PemError};

/// Trusts the system's certificate authorities, and those in a PEM file.
///
/// # Errors
/// Returns [`FetchError::Authorities`] (rejected) if the file cannot be read or has no
/// certificates.
pub(super) fn config(authorities: Option<&Path>) -> Result<ClientConfig, FetchError> {
    let mut roots = (*tls::system()).clone();
    if let Some(path) = authorities {
        tls::add_authorities(&mut roots, path).map_err(|error| FetchError::Authorities {
            path: path.to_owned(),
            problem: match error {
                PemError::Read(error) => error.to_string(),
                PemError::Content(problem) => problem,
            },
        })?;
    }
    let config = tls::trusting(roots).map_err(|error| FetchError::Client { problem: error.to_string() })?;
    Ok(config.with_no_client_auth())
}
