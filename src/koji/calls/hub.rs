//! Calls about the hub itself, its users, its builders, and sessions.

use super::{Query, seconds};
use crate::koji::records::{Channel, Event, Host, SessionGrant, User};
use crate::koji::xmlrpc::Value;
use crate::model::{Name, Timestamp};

/// Asks for the hub's version, such as `1.35.3` (hubs from 1.23 on). Later hubs also send it in a
/// header of every answer ([`HubClient::hub_version`](crate::koji::HubClient::hub_version)).
pub fn get_koji_version() -> Query<Name> {
    Query::new("getKojiVersion", Vec::new())
}

/// Asks for the newest Koji event, or the newest before a time. Many changes and every new
/// repository make an event, so the number always grows.
pub fn get_last_event(before: Option<Timestamp>) -> Query<Option<Event>> {
    Query::new("getLastEvent", Vec::new()).maybe("before", before.map(seconds))
}

/// Asks for the enabled builders, all or those of a channel.
pub fn list_hosts(channel: Option<i64>) -> Query<Vec<Host>> {
    Query::new("listHosts", Vec::new()).with("enabled", true).maybe("channelID", channel)
}

/// Asks for a channel.
pub fn get_channel(channel: &str) -> Query<Option<Channel>> {
    Query::new("getChannel", vec![channel.into()])
}

/// Asks who we are. `None` without a login.
pub fn get_logged_in_user() -> Query<Option<User>> {
    Query::new("getLoggedInUser", Vec::new())
}

/// Asks for a user.
pub fn get_user(user: &str) -> Query<Option<User>> {
    Query::new("getUser", vec![user.into()])
}

/// Asks for our permissions. Needs a login.
pub fn get_perms() -> Query<Vec<Name>> {
    Query::new("getPerms", Vec::new())
}

/// The method of [`ssl_login`], for errors and counting.
pub(crate) const LOGIN: &str = "sslLogin";

/// Logs in. Sent to a path that the web server protects
/// ([`Session::login`](crate::koji::Session::login)).
pub fn ssl_login() -> Query<SessionGrant> {
    Query::new(LOGIN, Vec::new()).with("proxyuser", Value::Nil)
}

/// Ends the session that makes the call.
pub fn logout() -> Query<()> {
    Query::new("logout", Vec::new())
}
