//! Certificates of a hub and its users, made for one test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// An authority, a certificate for `localhost` and `127.0.0.1`, and one per user, as files below a
/// directory.
#[derive(Clone)]
pub struct Pki {
    dir: PathBuf,
    ca: Arc<CertifiedIssuer<'static, KeyPair>>,
}

impl Pki {
    pub fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(dir.join("ca.crt"), ca.pem()).unwrap();
        let pki = Self { dir: dir.to_owned(), ca: Arc::new(ca) };
        pki.issue("server", &["localhost", "127.0.0.1"]);
        pki
    }

    fn issue(&self, name: &str, alternatives: &[&str]) -> PathBuf {
        let names: Vec<String> = alternatives.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.ca).unwrap();
        let path = self.dir.join(format!("{name}.pem"));
        std::fs::write(&path, format!("{}{}", cert.pem(), key.serialize_pem())).unwrap();
        path
    }

    /// Returns a file with certificate and key of a user. Its CN is the user's name.
    pub fn user(&self, name: &str) -> PathBuf {
        self.issue(name, &[])
    }

    /// Returns a file with certificate and key of a server on this machine.
    #[allow(dead_code, reason = "for tests of other servers than the hub")]
    pub fn server(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    /// Returns the authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// Returns the hub's TLS configuration. It verifies a client certificate if the client sends
    /// one.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = verifier.allow_unauthenticated().build().unwrap();
        let pem = self.dir.join("server.pem");
        let certs = CertificateDer::pem_file_iter(&pem).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&pem).unwrap();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_client_cert_verifier(verifier).with_single_cert(certs, key).unwrap())
    }
}

/// Returns the common name of a certificate's subject. That is the last attribute of this type,
/// because the issuer's name comes first.
pub fn common_name(der: &[u8]) -> Option<String> {
    let kind = [0x06, 0x03, 0x55, 0x04, 0x03];
    let at = der.windows(kind.len()).rposition(|w| w == kind)? + kind.len();
    let length = usize::from(*der.get(at + 1)?);
    String::from_utf8(der.get(at + 2..at + 2 + length)?.to_vec()).ok()
}
