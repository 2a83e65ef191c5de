//! People: how they are known to the pages, what they may do, their sessions and tokens.
//!
//! Somebody is known by a session (a login in a browser, by OpenID Connect or with a token), by an
//! API token, or because a proxy that we trust says so. [`who`] finds out, [`rights`] says what a
//! person may do. Nothing of this is in the log.

mod account;
mod form;
mod login;
mod oidc;
mod owners;
pub(super) mod rights;
mod settings;
mod who;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};

use super::{Site, timed};
use crate::base::clock;
use crate::log::{AnyLog, Credentials as _};
use crate::model::causes::with_causes;
pub use oidc::{Oidc, ProviderError};
pub use owners::{Owners, OwnersError};
pub(super) use rights::Owned;
pub use settings::{LoginSettings, Proxy};
pub(super) use who::known;

/// How often credentials that have ended are deleted.
const SWEEP: Duration = Duration::from_secs(3_600);

/// What the pages need to know people. Cheap to clone. By default, nobody can log in.
#[derive(Clone, Debug, Default)]
pub struct People(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether sessions can be stored.
    opens: bool,
    settings: LoginSettings,
    oidc: Option<Oidc>,
    owners: Owners,
    /// Logins that were begun at the provider.
    begun: login::Begun,
}

impl People {
    /// Makes it from the configuration. Without `oidc`, there is no provider.
    pub fn new(settings: LoginSettings, oidc: Option<Oidc>, owners: Owners) -> Self {
        Self(Arc::new(Inner { opens: true, settings, oidc, owners, begun: login::Begun::default() }))
    }

    /// Checks whether people can log in at all.
    fn opens(&self) -> bool {
        self.0.opens
    }

    pub(super) fn settings(&self) -> &LoginSettings {
        &self.0.settings
    }

    /// Returns who owns packages besides their owners in Koji.
    pub(super) fn owners(&self) -> &Owners {
        &self.0.owners
    }

    fn oidc(&self) -> Option<&Oidc> {
        self.0.oidc.as_ref()
    }

    fn begun(&self) -> &login::Begun {
        &self.0.begun
    }
}

/// Addresses of people, in the form of the router.
pub(super) const ADDRESSES: &[&str] = &[
    "/login",
    "/login/start",
    "/login/callback",
    "/login/token",
    "/logout",
    "/account",
    "/account/tokens",
    "/account/revoke",
    "/user/{name}",
];

/// Makes the router of these addresses.
pub(super) fn router(site: &Site) -> Router<Site> {
    let routes = [
        get(login::page),
        get(login::start),
        get(login::callback),
        post(login::token),
        post(login::logout),
        get(account::page),
        post(account::make_token),
        post(account::revoke),
        get(account::user),
    ];
    let add = |router: Router<Site>, (address, route): (&&'static str, MethodRouter<Site>)| {
        router.route(address, timed(route, address, site))
    };
    ADDRESSES.iter().zip(routes).fold(Router::new(), add).layer(DefaultBodyLimit::max(form::FORM_BYTES_MAX))
}

/// Deletes credentials that have ended, now and then, until told to stop.
pub async fn sweep(log: AnyLog, stop: tokio_util::sync::CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = log.drop_ended(clock::now()).await {
            tracing::warn!(error = %with_causes(&error), "sessions and tokens that have ended could not be deleted; \
                tried again in an hour");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}
