//! The hub itself, its people, its builders, and sessions.

use super::{Query, seconds};
use crate::koji::records::{Channel, Event, Host, SessionGrant, User};
use crate::koji::xmlrpc::Value;
use crate::model::{Name, Timestamp};

/// Version of the hub, `1.35.3`; since 1.23. Later ones say it in a header of every answer, too
/// ([`HubClient::hub_version`](crate::koji::HubClient::hub_version)).
pub fn get_koji_version() -> Query<Name> {
    Query::new("getKojiVersion", Vec::new())
}

/// The newest Koji event, or the newest before a time. Many changes and every new repository make one, so it always
/// moves.
pub fn get_last_event(before: Option<Timestamp>) -> Query<Option<Event>> {
    Query::new("getLastEvent", Vec::new()).maybe("before", before.map(seconds))
}

/// Builders that may take tasks, all or those of a channel.
pub fn list_hosts(channel: Option<i64>) -> Query<Vec<Host>> {
    Query::new("listHosts", Vec::new()).with("enabled", true).maybe("channelID", channel)
}

/// A channel.
pub fn get_channel(channel: &str) -> Query<Option<Channel>> {
    Query::new("getChannel", vec![channel.into()])
}

/// Who we are; `None` without a login.
pub fn get_logged_in_user() -> Query<Option<User>> {
    Query::new("getLoggedInUser", Vec::new())
}

/// A user.
pub fn get_user(user: &str) -> Query<Option<User>> {
    Query::new("getUser", vec![user.into()])
}

/// Our permissions. Needs a login.
pub fn get_perms() -> Query<Vec<Name>> {
    Query::new("getPerms", Vec::new())
}

/// The method of [`ssl_login`], for errors and counting.
pub(crate) const LOGIN: &str = "sslLogin";

/// Makes a session; sent to a path the web server protects ([`Session::login`](crate::koji::Session::login)).
pub fn ssl_login() -> Query<SessionGrant> {
    Query::new(LOGIN, Vec::new()).with("proxyuser", Value::Nil)
}

/// Ends the session it is asked in.
pub fn logout() -> Query<()> {
    Query::new("logout", Vec::new())
}
