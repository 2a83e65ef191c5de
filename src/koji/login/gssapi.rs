//! Tokens of the system's GSSAPI library. Its calls may ask a KDC, so they belong on threads that may wait.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libgssapi::context::{ClientCtx, CtxFlags};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::Error;
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_MECH_SPNEGO, GSS_NT_HOSTBASED_SERVICE, GSS_NT_USER_NAME, OidSet};

/// Largest token of a server, in characters; they have some hundred.
const MAX_TOKEN: usize = 64 << 10;

/// What the library complained of.
pub(super) struct Trouble {
    pub(super) problem: String,
    /// Whether no KDC answered.
    pub(super) unreachable: bool,
}

impl Trouble {
    pub(super) fn new(problem: &str) -> Self {
        // Codes of the mechanism are not the same everywhere; its words are.
        let unreachable = ["Cannot contact any KDC", "Cannot resolve network address for KDC"]
            .iter()
            .any(|words| problem.contains(words));
        let problem = problem.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let problem = problem.collect::<Vec<_>>().join(" ");
        Self { problem, unreachable }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::new(&error.to_string())
    }
}

/// A context that was begun and not finished.
pub(super) struct Negotiation(ClientCtx);

impl Negotiation {
    /// The first token for the web server of a host, in base64.
    pub(super) fn begin(principal: Option<&str>, host: &str) -> Result<(String, Self), Trouble> {
        let service = Name::new(format!("HTTP@{host}").as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE))?;
        let credentials = match principal {
            Some(principal) => {
                let name = Name::new(principal.as_bytes(), Some(GSS_NT_USER_NAME))?;
                Some(Cred::acquire(Some(&name), None, CredUsage::Initiate, None)?)
            }
            None => None,
        };
        let flags = CtxFlags::GSS_C_MUTUAL_FLAG | CtxFlags::GSS_C_SEQUENCE_FLAG;
        let mut context = ClientCtx::new(credentials, service, flags, Some(GSS_MECH_SPNEGO));
        match context.step(None, None) {
            Ok(Some(token)) => Ok((STANDARD.encode(&*token), Self(context))),
            Ok(None) => Err(Trouble::new("there is no token to send")),
            Err(error) => Err(reason().unwrap_or_else(|| error.into())),
        }
    }

    /// Takes the server's token, which proves who it is.
    pub(super) fn finish(mut self, token: &str) -> Result<(), Trouble> {
        if token.len() > MAX_TOKEN {
            return Err(Trouble::new("the server's token is too long"));
        }
        let token = STANDARD.decode(token).map_err(|_| Trouble::new("the server's token is not base64"))?;
        self.0.step(Some(&token), None)?;
        Ok(())
    }
}

/// Why there are no credentials, when that is so: the negotiation only says that there is nothing to negotiate with.
fn reason() -> Option<Trouble> {
    let kerberos = OidSet::singleton(GSS_MECH_KRB5).ok()?;
    Cred::acquire(None, None, CredUsage::Initiate, Some(&kerberos)).err().map(Trouble::from)
}
