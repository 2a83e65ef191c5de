//! A web server that requests the client certificate after it has read the request, as in Koji's
//! sample configuration. `openssl s_server` plays it, because it can be told to do so.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use koschei::koji::xmlrpc::encode_response;
use koschei::koji::{Auth, HubClient, HubError, HubSettings};
use koschei::model::{Class, Classified};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::koji::tls::Authority;
use crate::koji_stub::{Reply, http, quick};

/// The server. It stops when this value is dropped.
struct Server {
    child: Child,
    url: String,
    /// Output that no one has waited for yet.
    out: String,
}

impl Server {
    async fn start(dir: &Path, authority: &Authority, version: &str) -> Self {
        let port = crate::hub::ports::free();
        let server = dir.join("server.pem");
        std::fs::write(&server, authority.signed_pem("localhost")).unwrap();
        let child = Command::new("openssl")
            // No session to resume: a resumed session would not request the certificate.
            .args([
                "s_server",
                version,
                "-msg",
                "-no_ticket",
                "-no_cache",
                "-accept",
                &format!("127.0.0.1:{port}"),
                "-cert",
            ])
            .arg(&server)
            .arg("-CAfile")
            .arg(authority.write(dir))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl can be started; install it, for example with `apt install openssl`");
        let url = format!("https://localhost:{port}/kojihub");
        let mut server = Self { child, url, out: String::new() };
        server.wait_out("ACCEPT").await;
        server
    }

    /// Sends bytes to the client, or gives the server a one-letter command.
    async fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// Waits until the output has this text, and drops everything up to it.
    async fn wait_out(&mut self, what: &str) {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.out.find(what) {
                self.out = self.out.split_off(at + what.len());
                return;
            }
            let read = self.child.stdout.as_mut().unwrap().read(&mut buffer);
            let read = tokio::time::timeout(Duration::from_secs(300), read).await;
            let read = read.unwrap_or_else(|_| panic!("openssl does not come to `{what}`: {}", self.out)).unwrap();
            assert!(read > 0, "openssl ended without `{what}`: {}", self.out);
            self.out.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_asked_for_in_the_middle_is_given() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let mut server = Server::start(dir.path(), &authority, "-tls1_2").await;
    let cert = dir.path().join("me.pem");
    std::fs::write(&cert, authority.signed_pem("koschei")).unwrap();
    let auth = Auth::Certificate { cert, key: None };
    let serverca = Some(authority.write(dir.path()));
    let hub = HubClient::new(HubSettings { auth, serverca, ..quick(&server.url) }).unwrap();
    let login = tokio::spawn({
        let mut session = hub.session();
        async move { session.login().await.map(|()| session) }
    });

    // Answer without requesting the certificate, like a server that cannot.
    server.wait_out("POST /kojihub/ssllogin").await;
    server.wait_out("</methodCall>").await;
    server.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;

    // The other way: the request, then the certificate request, then the answer.
    server.wait_out("POST /kojihub/ssllogin").await;
    server.wait_out("host: localhost").await;
    server.wait_out("</methodCall>").await;
    server.write(b"R\n").await;
    // It follows a certificate, and not the message that there is none.
    server.wait_out(", CertificateVerify").await;
    let Reply::Answer(session) = Reply::session(5) else { unreachable!() };
    server.write(&http(200, &[("Content-Type", "text/xml".to_owned())], &encode_response(&session).unwrap())).await;

    let session = login.await.unwrap().unwrap();
    assert_eq!((session.id(), hub.requests()), (Some(5), 2));
}

/// With TLS 1.3 the server requests the certificate in a way that we cannot answer. The error says
/// so, and what to set on the hub.
#[tokio::test]
async fn a_server_that_asks_by_tls_1_3_only_is_named() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let mut server = Server::start(dir.path(), &authority, "-tls1_3").await;
    let cert = dir.path().join("me.pem");
    std::fs::write(&cert, authority.signed_pem("koschei")).unwrap();
    let auth = Auth::Certificate { cert, key: None };
    let serverca = Some(authority.write(dir.path()));
    let hub = HubClient::new(HubSettings { auth, serverca, ..quick(&server.url) }).unwrap();
    let login = tokio::spawn(async move { hub.session().login().await });
    server.wait_out("POST /kojihub/ssllogin").await;
    server.wait_out("</methodCall>").await;
    // Like Apache, if the client did not offer post-handshake authentication.
    server.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let error = login.await.unwrap().unwrap_err();
    assert!(matches!(error, HubError::PostHandshake { .. }), "{error}");
    assert_eq!(error.class(), Class::Rejected);
    let text = error.to_string();
    for says in [
        "HTTP 403",
        "TLS 1.3 only",
        "post-handshake authentication",
        "`SSLVerifyClient optional`",
        "`SSLProtocol +TLSv1.2`",
    ] {
        assert!(text.contains(says), "`{says}` is not in: {text}");
    }
}
