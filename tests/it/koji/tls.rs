//! Certificates of the hub and of the client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use koschei::koji::{Auth, HubClient, HubError, HubSettings, SettingsError};
use koschei::model::{Class, Classified};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rstest::rstest;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;

use crate::koji_stub::{Reply, Seen, Stub, quick, raw};

/// A certificate authority.
pub(crate) struct Authority {
    pem: String,
    der: rustls_pki_types::CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Signed {
    cert: rcgen::Certificate,
    key: KeyPair,
}

impl Signed {
    fn pem(&self) -> String {
        self.cert.pem() + &self.key.serialize_pem()
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // A unique name, so that it is not confused with another authority.
        params.distinguished_name.push(DnType::CommonName, format!("Test authority {:02x?}", key.public_key_raw()));
        let cert = params.self_signed(&key).unwrap();
        Self { pem: cert.pem(), der: cert.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn write(&self, dir: &Path) -> PathBuf {
        let path = dir.join("ca.pem");
        std::fs::write(&path, &self.pem).unwrap();
        path
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Signed { cert, key }
    }

    /// Returns a certificate with its key for this name.
    pub(crate) fn signed_pem(&self, name: &str) -> String {
        self.sign(name, |_| ()).pem()
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        Arc::new(roots)
    }

    /// Returns a server configuration. `demands` says whether it requests client certificates of
    /// this authority, or requires them.
    fn server(
        &self,
        server: &Signed,
        demands: Option<bool>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
        let builder = match demands {
            None => builder.with_no_client_auth(),
            Some(demands) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider);
                let verifier = if demands { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(server.key.serialize_der()).unwrap();
        builder.with_single_cert(vec![server.cert.der().clone()], key).unwrap()
    }

    /// Returns the usual configuration, for `localhost`.
    pub(crate) fn localhost(&self) -> ServerConfig {
        self.server(&self.sign("localhost", |_| ()), Some(false), rustls::ALL_VERSIONS)
    }
}

/// A hub that accepts every client with a certificate.
fn hub(seen: &Seen) -> Reply {
    match (&seen.peer, seen.is_login()) {
        (None, true) => Reply::fault(1002, "could not verify client: NONE"),
        (Some(_), true) => Reply::session(1),
        _ => Reply::value(7),
    }
}

fn client(settings: HubSettings) -> HubClient {
    HubClient::new(settings).unwrap()
}

#[derive(Clone, Copy)]
enum Files {
    CertThenKey,
    KeyThenCert,
    Two,
}

#[rstest]
#[case::in_one_file(Files::CertThenKey)]
#[case::key_first(Files::KeyThenCert)]
#[case::in_two_files(Files::Two)]
#[tokio::test]
async fn a_certificate_logs_in(
    #[case] files: Files,
    #[values(&rustls::version::TLS12, &rustls::version::TLS13)] version: &'static SupportedProtocolVersion,
) {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let config = authority.server(&authority.sign("localhost", |_| ()), Some(false), &[version]);
    let stub = Stub::start_tls(config, hub).await;
    let me = authority.sign("koschei", |_| ());
    let (cert, key) = (dir.path().join("me.pem"), dir.path().join("key.pem"));
    let (cert_pem, key_pem) = (me.cert.pem(), me.key.serialize_pem());
    let auth = match files {
        Files::CertThenKey => {
            std::fs::write(&cert, cert_pem + &key_pem).unwrap();
            Auth::Certificate { cert, key: None }
        }
        Files::KeyThenCert => {
            std::fs::write(&cert, key_pem + &cert_pem).unwrap();
            Auth::Certificate { cert, key: None }
        }
        Files::Two => {
            std::fs::write(&cert, cert_pem).unwrap();
            std::fs::write(&key, key_pem).unwrap();
            Auth::Certificate { cert, key: Some(key) }
        }
    };
    let hub = client(HubSettings { auth, serverca: Some(authority.write(dir.path())), ..stub.settings() });
    let mut session = hub.session();
    session.ask(raw("build", vec![])).await.unwrap();
    hub.ask(raw("getLastEvent", vec![])).await.unwrap();
    let peers: Vec<_> = stub.seen().into_iter().map(|seen| (seen.call.method.clone(), seen.peer)).collect();
    let mine = Some(me.cert.der().to_vec());
    let expected = [("sslLogin", mine.clone()), ("build", mine), ("getLastEvent", None)];
    assert_eq!(
        peers,
        expected.map(|(method, peer)| (method.to_owned(), peer)),
        "without a login we do not say who we are"
    );
}

#[tokio::test]
async fn a_login_without_a_certificate_is_denied() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    // The web server never requests a certificate.
    let config = authority.server(&authority.sign("localhost", |_| ()), None, rustls::ALL_VERSIONS);
    let stub = Stub::start_tls(config, hub).await;
    let cert = dir.path().join("me.pem");
    std::fs::write(&cert, authority.sign("koschei", |_| ()).pem()).unwrap();
    let settings = HubSettings { serverca: Some(authority.write(dir.path())), ..stub.settings_with_login(&cert) };
    let error = client(settings).session().login().await.unwrap_err();
    let HubError::Denied { fault, hint, .. } = &error else { panic!("{error:?}") };
    assert_eq!((fault.code, error.class()), (1002, Class::Rejected));
    assert!(hint.contains("me.pem"), "{hint}");
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_at_the_next_login() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let stub = Stub::start_tls(authority.localhost(), hub).await;
    let cert = dir.path().join("me.pem");
    let (old, new) = (authority.sign("koschei", |_| ()), authority.sign("koschei", |_| ()));
    std::fs::write(&cert, old.pem()).unwrap();
    let settings = HubSettings { serverca: Some(authority.write(dir.path())), ..stub.settings_with_login(&cert) };
    let mut session = client(settings).session();
    session.login().await.unwrap();
    std::fs::write(&cert, new.pem()).unwrap();
    session.logout().await.unwrap();
    session.login().await.unwrap();
    let peers: Vec<_> = stub.seen().into_iter().map(|seen| seen.peer.unwrap()).collect();
    assert_eq!(peers, [&old, &old, &new].map(|signed| signed.cert.der().to_vec()));
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    SystemOnly,
    OtherAuthority,
    OtherName,
    Expired,
}

#[rstest]
#[case(Trouble::SystemOnly, "set `serverca` to a PEM file")]
#[case(Trouble::OtherAuthority, "ca.pem (`serverca`)?")]
#[case(Trouble::OtherName, "is `server` the name the certificate was made for?")]
#[case(Trouble::Expired, "the hub needs a new one")]
#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_talked_to(#[case] trouble: Trouble, #[case] hint: &str) {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let name = if matches!(trouble, Trouble::OtherName) { "other.example.org" } else { "localhost" };
    let server = authority.sign(name, |params| {
        if matches!(trouble, Trouble::Expired) {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
    });
    let stub = Stub::start_tls(authority.server(&server, Some(false), rustls::ALL_VERSIONS), hub).await;
    let serverca = match trouble {
        Trouble::SystemOnly => None,
        Trouble::OtherAuthority => Some(Authority::new().write(dir.path())),
        _ => Some(authority.write(dir.path())),
    };
    let cert = dir.path().join("me.pem");
    std::fs::write(&cert, authority.sign("koschei", |_| ()).pem()).unwrap();
    let hub = client(HubSettings { serverca, ..stub.settings_with_login(&cert) });
    for error in [hub.session().login().await.unwrap_err(), hub.ask(raw("x", vec![])).await.unwrap_err()] {
        assert!(matches!(&error, HubError::Untrusted { .. }), "{error:?}");
        assert!(error.to_string().contains(hint), "{error}");
        assert_eq!((error.class(), error.may_have_happened()), (Class::Rejected, false));
    }
    assert_eq!((hub.requests(), stub.seen().len()), (2, 0), "it is not tried again, and nothing was said");
}

#[rstest]
#[tokio::test]
async fn a_web_server_that_demands_a_certificate_says_so(
    #[values(&rustls::version::TLS12, &rustls::version::TLS13)] version: &'static SupportedProtocolVersion,
    #[values(false, true)] with_another: bool,
) {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let config = authority.server(&authority.sign("localhost", |_| ()), Some(true), &[version]);
    let stub = Stub::start_tls(config, hub).await;
    let serverca = Some(authority.write(dir.path()));
    let error = if with_another {
        let cert = dir.path().join("me.pem");
        std::fs::write(&cert, Authority::new().sign("koschei", |_| ()).pem()).unwrap();
        let hub = client(HubSettings { serverca, ..stub.settings_with_login(&cert) });
        hub.session().login().await.unwrap_err()
    } else {
        client(HubSettings { serverca, ..stub.settings() }).ask(raw("x", vec![])).await.unwrap_err()
    };
    assert!(matches!(&error, HubError::Handshake { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Rejected);
    let hint = if with_another { "is the certificate in" } else { "no login is configured" };
    assert!(error.to_string().contains(hint), "{error}");
}

#[tokio::test]
async fn plain_and_tls_do_not_meet() {
    let authority = Authority::new();
    let tls = Stub::start_tls(authority.localhost(), hub).await;
    let plain = Stub::start(hub).await;
    for url in [tls.url.replace("https:", "http:"), plain.url.replace("http:", "https:")] {
        // A server that waits for the end of a request never answers the beginning of a handshake.
        let connect_timeout = Duration::from_millis(200);
        let hub = client(HubSettings { max_retries: 0, connect_timeout, ..quick(&url) });
        let error = hub.ask(raw("x", vec![])).await.unwrap_err();
        assert_eq!(error.class(), Class::Unavailable, "{error:?}");
    }
}

#[rstest]
#[case::cert_missing("none.pem", None, "read ")]
#[case::no_cert("key.pem", None, "there is no certificate in it")]
#[case::no_key("cert.pem", None, "there is no private key in it that can be read")]
#[case::other_key("cert.pem", Some("other-key.pem"), "certificate and key do not fit")]
#[case::nonsense("text.pem", None, "there is no certificate in it")]
#[case::broken("broken.pem", None, "")]
fn files_that_are_no_login_are_refused_at_once(#[case] cert: &str, #[case] key: Option<&str>, #[case] message: &str) {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let me = authority.sign("koschei", |_| ());
    let files = [
        ("cert.pem", me.cert.pem()),
        ("key.pem", me.key.serialize_pem()),
        ("other-key.pem", KeyPair::generate().unwrap().serialize_pem()),
        ("text.pem", "hello".to_owned()),
        ("broken.pem", "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n".to_owned()),
    ];
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let auth = Auth::Certificate { cert: dir.path().join(cert), key: key.map(|key| dir.path().join(key)) };
    let error = HubClient::new(HubSettings { auth, ..HubSettings::new("https://localhost/kojihub") }).unwrap_err();
    assert!(matches!(&error, HubError::Settings(SettingsError::File { .. } | SettingsError::Content { .. })));
    let text = error.to_string();
    assert!(text.contains(message) && text.contains(dir.path().to_str().unwrap()), "{text}");
    assert_eq!(error.class(), Class::Rejected);
}

#[test]
fn an_authority_file_without_any_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "nothing").unwrap();
    let settings = HubSettings { serverca: Some(path.clone()), ..HubSettings::new("https://localhost/kojihub") };
    let error = HubClient::new(settings.clone()).unwrap_err().to_string();
    assert!(error.contains("(serverca): there is no certificate in it"), "{error}");
    std::fs::remove_file(path).unwrap();
    assert!(HubClient::new(settings).unwrap_err().to_string().contains("(serverca)"));
}

#[tokio::test]
async fn connections_are_used_again() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let stub = Stub::start_tls(authority.localhost(), hub).await;
    let hub = client(HubSettings { serverca: Some(authority.write(dir.path())), ..stub.settings() });
    for _ in 0..5 {
        hub.ask(raw("x", vec![])).await.unwrap();
    }
    assert_eq!((stub.seen().len(), stub.connections()), (5, 1));
}
