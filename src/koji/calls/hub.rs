//! The hub itself, its people and its builders.

use super::Query;
use crate::koji::records::{Channel, Event, Host, User};
use crate::koji::xmlrpc::Value;
use crate::model::{Name, Timestamp};

/// Version of the API; 1 since there are hubs.
pub fn get_api_version() -> Query<i64> {
    Query::new("getAPIVersion", Vec::new())
}

/// Version of the hub, `1.35.3`; since 1.23. Later ones say it in a header of every answer, too
/// ([`HubClient::hub_version`](crate::koji::HubClient::hub_version)).
pub fn get_koji_version() -> Query<Name> {
    Query::new("getKojiVersion", Vec::new())
}

/// The newest Koji event, or the newest before a time. Many changes and every new repository make one, so it always moves.
pub fn get_last_event(before: Option<Timestamp>) -> Query<Option<Event>> {
    Query::new("getLastEvent", Vec::new()).maybe("before", before.map(super::tasks::seconds))
}

/// When a Koji event was.
pub fn get_event(id: i64) -> Query<Option<Event>> {
    Query::new("getEvent", vec![id.into()])
}

/// Which builders to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListHosts {
    /// Those that build for one of these, canonical or not; all when empty.
    pub arches: Vec<Name>,
    /// Those in this channel.
    pub channel_id: Option<i64>,
    /// Those that take tasks now, or do not.
    pub ready: Option<bool>,
    /// Those that may, or may not.
    pub enabled: Option<bool>,
}

/// Builders, by number.
pub fn list_hosts(which: &ListHosts) -> Query<Vec<Host>> {
    let arches = (!which.arches.is_empty()).then(|| which.arches.clone());
    Query::new("listHosts", Vec::new())
        .maybe("arches", arches)
        .maybe("channelID", which.channel_id)
        .maybe("ready", which.ready)
        .maybe("enabled", which.enabled)
}

/// Canonical architectures of all enabled builders.
pub fn get_all_arches() -> Query<Vec<Name>> {
    Query::new("getAllArches", Vec::new())
}

/// A channel.
pub fn get_channel(channel: impl Into<Value>) -> Query<Option<Channel>> {
    Query::new("getChannel", vec![channel.into()])
}

/// Who we are; `None` without a login.
pub fn get_logged_in_user() -> Query<Option<User>> {
    Query::new("getLoggedInUser", Vec::new())
}

/// A user.
pub fn get_user(user: impl Into<Value>) -> Query<Option<User>> {
    Query::new("getUser", vec![user.into()])
}

/// Whether we have a permission; admins have all. Needs a login.
pub fn has_perm(permission: &str) -> Query<bool> {
    Query::new("hasPerm", vec![permission.into()])
}

/// Our permissions. Needs a login.
pub fn get_perms() -> Query<Vec<Name>> {
    Query::new("getPerms", Vec::new())
}
