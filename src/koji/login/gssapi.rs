//! Tokens for a login with Kerberos, in the form that web servers use (RFC 4559).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::koji::gss::{GssError, Initiator, without_credentials};

/// Maximum length of a server's token, in characters. Real ones have some hundred.
const MAX_TOKEN: usize = 64 << 10;

/// A security context that was begun and is not finished.
pub(super) struct Negotiation(Initiator);

impl Negotiation {
    /// Returns the first token for the web server of a host, in base64.
    pub(super) fn begin(principal: Option<&str>, host: &str) -> Result<(String, Self), GssError> {
        let mut initiator = Initiator::new(&format!("HTTP@{host}"), principal)?;
        match initiator.step(&[]) {
            Ok((token, _)) if token.is_empty() => Err(GssError::new("there is no token to send")),
            Ok((token, _)) => Ok((STANDARD.encode(token), Self(initiator))),
            Err(error) => Err(without_credentials().unwrap_or(error)),
        }
    }

    /// Takes the server's token, which proves the server's identity.
    pub(super) fn finish(mut self, token: &str) -> Result<(), GssError> {
        if token.len() > MAX_TOKEN {
            return Err(GssError::new("the server's token is too long"));
        }
        let token = STANDARD.decode(token).map_err(|_| GssError::new("the server's token is not base64"))?;
        let (_, proved) = self.0.step(&token)?;
        if proved { Ok(()) } else { Err(GssError::new("the server did not prove who it is")) }
    }
}
