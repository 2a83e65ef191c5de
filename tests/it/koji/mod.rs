//! Calls to a hub, logins, and files of repositories.

pub(crate) mod bad_answers;
pub(crate) mod client;
pub(crate) mod exchanges;
pub(crate) mod files_fetch;
pub(crate) mod files_headers;
pub(crate) mod files_mirror;
#[cfg(feature = "gssapi")]
pub(crate) mod kerberos;
pub(crate) mod records;
#[cfg(feature = "openssl")]
pub(crate) mod renegotiation;
pub(crate) mod session;
pub(crate) mod tls;
