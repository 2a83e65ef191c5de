//! Logs in to a web server that asks for the client certificate only after it has seen the request.
//!
//! Koji's sample configuration has `SSLVerifyClient require` only for `…/ssllogin`. The server then
//! asks for the certificate on the open connection. With TLS 1.2 it begins a second handshake
//! (renegotiation). With TLS 1.3 it uses post-handshake authentication.
//!
//! `rustls` supports neither. OpenSSL renegotiates by itself. It supports post-handshake
//! authentication only when told to, and its bindings have no safe function for that. So a refused
//! login is sent once more over an OpenSSL connection, with TLS 1.2 at most. A server with TLS 1.3
//! only cannot be used, and the error says so ([`HubError::PostHandshake`]). Only the login takes
//! this way. It ignores proxies of the environment.

use std::pin::Pin;

use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use reqwest::{Body, Response};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::koji::client::{At, Auth, HubClient, HubError, HubSettings, Request, SettingsError, Wait, read_pem};

impl HubClient {
    /// Sends a request over its own connection.
    pub(in crate::koji) async fn post_renegotiating(&self, request: Request) -> Result<Response, HubError> {
        let Request { at, url, headers, body, .. } = request;
        let settings = self.settings();
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        let connector = connector(settings)?;
        let refused = |error: &ErrorStack| SettingsError::Tls { problem: error.to_string() };
        let ssl = connector.configure().and_then(|c| c.into_ssl(&host)).map_err(|error| refused(&error))?;

        let limit = settings.connect_timeout;
        let connected = tokio::time::timeout(limit, TcpStream::connect((host.as_str(), port))).await;
        let connected = connected.map_err(|_| HubError::Timeout { at: at.clone(), wait: Wait::Connection, limit })?;
        let stream = connected.map_err(|error| HubError::Connect { at: at.clone(), cause: error.to_string() })?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| refused(&error))?;
        let handshake = Pin::new(&mut stream).connect().await;
        handshake.map_err(|error| handshake_failed(self, at.clone(), &error))?;

        let lost = |error: hyper::Error| HubError::Lost { at: at.clone(), cause: causes(&error) };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // The task ends with the answer, or when the connection is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the connection of a login ended: {error}");
            }
        });
        let mut sent = hyper::Request::new(body);
        *sent.method_mut() = hyper::Method::POST;
        *sent.headers_mut() = headers;
        let header = |text: &str| HeaderValue::from_str(text).ok();
        let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        for (name, value) in [(HOST, header(&authority)), (USER_AGENT, header(&settings.user_agent))] {
            if let Some(value) = value {
                sent.headers_mut().insert(name, value);
            }
        }
        if let Ok(path) = url.path().parse() {
            *sent.uri_mut() = path;
        }
        let answer = sender.send_request(sent).await.map_err(lost)?;
        Ok(answer.map(Body::wrap).into())
    }
}

fn connector(settings: &HubSettings) -> Result<SslConnector, SettingsError> {
    let Auth::Certificate { cert, key } = &settings.auth else {
        return Err(SettingsError::NoLogin { server: settings.server.clone() });
    };
    let tls = |error: ErrorStack| SettingsError::Tls { problem: error.to_string() };
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(tls)?;
    builder.set_max_proto_version(Some(SslVersion::TLS1_2)).map_err(tls)?;
    if let Some(path) = &settings.serverca {
        let mut store = X509StoreBuilder::new().map_err(tls)?;
        for authority in X509::stack_from_pem(&read_pem(path, "serverca")?).map_err(tls)? {
            store.add_cert(authority).map_err(tls)?;
        }
        builder.set_verify_cert_store(store.build()).map_err(tls)?;
    }
    let pem = read_pem(cert, "cert")?;
    let mut chain = X509::stack_from_pem(&pem).map_err(tls)?.into_iter();
    if let Some(own) = chain.next() {
        builder.set_certificate(&own).map_err(tls)?;
    }
    for authority in chain {
        builder.add_extra_chain_cert(authority).map_err(tls)?;
    }
    let pem = key.as_ref().map_or(Ok(pem), |key| read_pem(key, "key"))?;
    // OpenSSL calls the callback for the password of an encrypted key, and gets none. Without the
    // callback it would ask on the terminal.
    let key = PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(tls)?;
    builder.set_private_key(&key).map_err(tls)?;
    Ok(builder.build())
}

/// OpenSSL's reason codes for "the server does not support what we offered":
/// `SSL_R_TLSV1_ALERT_PROTOCOL_VERSION`, `SSL_R_UNSUPPORTED_PROTOCOL`.
const NO_SUCH_PROTOCOL: [i32; 2] = [1070, 258];

fn handshake_failed(hub: &HubClient, at: At, error: &openssl::ssl::Error) -> HubError {
    let told = error.ssl_error().map_or(&[][..], ErrorStack::errors);
    if told.iter().any(|e| NO_SUCH_PROTOCOL.contains(&e.reason_code())) {
        return HubError::PostHandshake { at, refused: "it asked for one by TLS 1.2 before".to_owned() };
    }
    HubError::Handshake { at, cause: error.to_string(), hint: hub.login_hint() }
}

/// Formats an error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
