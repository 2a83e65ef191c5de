//! Logins by OpenID Connect: the authorization code flow with PKCE (RFC 7636), a nonce and a state.
//!
//! The name and the teams come from claims that the configuration names, of the ID token or else of
//! the provider's userinfo, as at Fedora Accounts.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    TokenResponse as _,
};
use reqwest::redirect::Policy;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::base::{secret, tls};
use crate::config::OidcConfig;
use crate::model::causes::with_causes;
use crate::web::refusal::Refusal;

/// Where a provider sends browsers back to, within the site.
const CALLBACK: &str = "/login/callback";
/// Longest time for one answer of the provider.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Largest answer of the provider, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long what the provider says of itself, and its keys, count.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// Why a provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A setting is wrong. Says which, and why.
    #[error("[login.oidc]: {0}")]
    Setting(String),
}

impl crate::model::Classified for ProviderError {
    fn class(&self) -> crate::model::Class {
        crate::model::Class::Rejected
    }
}

/// An error of a request to the provider.
#[derive(Debug, thiserror::Error)]
enum Asking {
    #[error("it does not answer")]
    Connection(#[from] reqwest::Error),
    #[error("its answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("its answer is not understood")]
    Odd(#[from] openidconnect::http::Error),
}

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// A provider of logins. Cheap to clone.
#[derive(Clone)]
pub struct Oidc(Arc<Inner>);

struct Inner {
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    redirect: RedirectUrl,
    scopes: Vec<String>,
    name_claim: String,
    teams_claim: String,
    http: reqwest::Client,
    known: Mutex<Option<(CoreProviderMetadata, Instant)>>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oidc").field("issuer", &self.0.issuer).finish_non_exhaustive()
    }
}

/// A login that was begun.
#[derive(Debug)]
pub(super) struct Attempt {
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

impl Attempt {
    /// Returns what the provider must send back.
    pub(super) fn state(&self) -> &str {
        self.state.secret()
    }
}

/// Who the provider says it is.
pub(super) struct Known {
    pub(super) name: String,
    pub(super) teams: Vec<String>,
}

impl Oidc {
    /// Makes a provider from the configuration. `url` is the address of the site. Asks nobody yet.
    ///
    /// # Errors
    /// Returns a [`ProviderError`] if a file cannot be read or an address is none.
    pub fn new(config: &OidcConfig, url: &str) -> Result<Self, ProviderError> {
        let wrong = |what: &str, why: &dyn std::fmt::Display| ProviderError::Setting(format!("`{what}`: {why}"));
        let client_secret = config.client_secret_file.as_deref().map(secret::first_line).transpose();
        let client_secret = client_secret.map_err(|e| wrong("client_secret_file", &e))?;
        let roots = match &config.ca_cert {
            None => tls::system(),
            Some(path) => {
                let mut roots = (*tls::system()).clone();
                tls::add_authorities(&mut roots, path).map_err(|e| wrong("ca_cert", &e))?;
                Arc::new(roots)
            }
        };
        let trust = tls::trusting(roots).map_err(|e| wrong("ca_cert", &e))?.with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust)
            // A redirect could lead to addresses within the operator's network.
            .redirect(Policy::none())
            .timeout(ANSWER_MAX)
            .build()
            .map_err(|e| wrong("ca_cert", &with_causes(&e)))?;
        let redirect = format!("{}{CALLBACK}", url.trim_end_matches('/'));
        Ok(Self(Arc::new(Inner {
            issuer: IssuerUrl::new(config.issuer.clone()).map_err(|e| wrong("issuer", &e))?,
            client_id: ClientId::new(config.client_id.clone()),
            client_secret: client_secret.map(ClientSecret::new),
            redirect: RedirectUrl::new(redirect).map_err(|e| wrong("url", &e))?,
            scopes: config.scopes.clone(),
            name_claim: config.name_claim.clone(),
            teams_claim: config.teams_claim.clone(),
            http,
            known: Mutex::default(),
        })))
    }

    /// Returns what the provider says of itself.
    async fn provider(&self) -> Result<Client, Refusal> {
        let inner = &self.0;
        let mut known = inner.known.lock().await;
        let metadata = match known.as_ref().filter(|(_, at)| at.elapsed() < KNOWN_FOR) {
            Some((metadata, _)) => metadata.clone(),
            None => {
                let http = |request| ask(inner.http.clone(), request);
                let found = CoreProviderMetadata::discover_async(inner.issuer.clone(), &http).await;
                let found = found.map_err(|e| unavailable(&e))?;
                *known = Some((found.clone(), Instant::now()));
                found
            }
        };
        let client = CoreClient::from_provider_metadata(metadata, inner.client_id.clone(), inner.client_secret.clone());
        Ok(client.set_redirect_uri(inner.redirect.clone()))
    }

    /// Begins a login. Returns the address to send the browser to.
    ///
    /// # Errors
    /// Refuses if the provider does not answer.
    pub(super) async fn begin(&self) -> Result<(String, Attempt), Refusal> {
        let client = self.provider().await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let mut request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        for scope in &self.0.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (address, state, nonce) = request.set_pkce_challenge(challenge).url();
        Ok((address.into(), Attempt { state, nonce, verifier }))
    }

    /// Ends a login with the code that the browser brought back.
    ///
    /// # Errors
    /// Refuses if the provider does not answer, does not take the code, or does not prove who it is.
    pub(super) async fn end(&self, attempt: Attempt, code: String) -> Result<Known, Refusal> {
        let inner = &self.0;
        let client = self.provider().await?;
        let http = |request| ask(inner.http.clone(), request);
        let exchange = client.exchange_code(AuthorizationCode::new(code)).map_err(|e| unavailable(&e))?;
        let tokens = exchange.set_pkce_verifier(attempt.verifier).request_async(&http).await;
        let tokens = tokens.map_err(|e| forbidden(&e))?;
        let id = tokens.id_token().ok_or_else(|| Refusal::Forbidden("the provider sent no ID token".to_owned()))?;
        let claims = id.claims(&client.id_token_verifier(), &attempt.nonce).map_err(|e| forbidden(&e))?;
        let subject = claims.subject().as_str().to_owned();
        // The signature was checked, so the same text may be read again for claims of other names.
        let mut all = payload(&id.to_string()).unwrap_or_default();
        let has =
            |all: &Map<String, Value>| all.contains_key(&inner.name_claim) && all.contains_key(&inner.teams_claim);
        if !has(&all)
            && let Some(url) = client.user_info_url()
        {
            let more = self.userinfo(url.as_str(), tokens.access_token().secret()).await?;
            if more.get("sub").and_then(Value::as_str) != Some(&subject) {
                return Err(Refusal::Forbidden("the provider's userinfo is about somebody else".to_owned()));
            }
            for (name, value) in more {
                all.entry(name).or_insert(value);
            }
        }
        let name = all.get(&inner.name_claim).and_then(Value::as_str).ok_or_else(|| {
            Refusal::Forbidden(format!("the provider does not say your name (`{}`)", inner.name_claim))
        })?;
        let teams = all.get(&inner.teams_claim).and_then(Value::as_array).into_iter().flatten();
        Ok(Known { name: name.to_owned(), teams: teams.filter_map(Value::as_str).map(str::to_owned).collect() })
    }

    async fn userinfo(&self, url: &str, access: &str) -> Result<Map<String, Value>, Refusal> {
        let request = openidconnect::http::Request::get(url)
            .header("authorization", format!("Bearer {access}"))
            .header("accept", "application/json")
            .body(Vec::new())
            .map_err(|e| unavailable(&e))?;
        let answer = ask(self.0.http.clone(), request).await.map_err(|e| unavailable(&e))?;
        serde_json::from_slice(answer.body()).map_err(|e| unavailable(&e))
    }
}

/// Returns the claims of a token.
fn payload(token: &str) -> Option<Map<String, Value>> {
    let text = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&text).ok()
}

async fn ask(http: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, Asking> {
    let (parts, body) = request.into_parts();
    let request = http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
    let mut answer = request.send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Asking::TooLarge);
        }
    }
    let mut response = openidconnect::http::Response::builder().status(status).body(bytes)?;
    *response.headers_mut() = headers;
    Ok(response)
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::warn!(error = %with_causes(error), "the provider of logins cannot be used");
    Refusal::Unavailable("the provider of logins does not answer as it should".to_owned())
}

fn forbidden(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::warn!(error = %with_causes(error), "a login was refused");
    Refusal::Forbidden("the provider's answer does not prove who you are; log in again".to_owned())
}
