//! The hub itself, its people and its builders.

use crate::koji::shape::{Words, record};
use crate::model::{Name, Timestamp};

record! {
    /// A Koji event: a number that every change of a hub's data gets. Source: `getLastEvent`, `getEvent`.
    Event {
        /// The number.
        id: i64 = "id";
        /// When.
        time: Timestamp = "ts";
    }
}

record! {
    /// A builder. Source: `listHosts`.
    Host {
        /// Its number.
        id: i64 = "id";
        /// Its name.
        name: Name = "name";
        /// What it builds for, canonical or not, `noarch` not among them.
        arches: Option<Words> = "arches";
        /// How much it takes.
        capacity: f64 = "capacity";
        /// How much it has; the sum of its tasks' weights.
        task_load: f64 = "task_load";
        /// Whether it takes tasks now.
        ready: bool = "ready";
        /// Whether it may.
        enabled: bool = "enabled";
        /// When it last said something.
        updated: Option<Timestamp> = "update_ts";
    }
}

record! {
    /// A channel, into which tasks are put and from which builders take them. Source: `getChannel`.
    Channel {
        /// Its number.
        id: i64 = "id";
        /// Its name.
        name: Name = "name";
        /// Whether it is used; hubs before 1.27 do not say.
        enabled: Option<bool> = "enabled";
    }
}

record! {
    /// A user. Source: `getLoggedInUser`, `getUser`.
    User {
        /// Its number, which `owner` of a task is.
        id: i64 = "id";
        /// Its name.
        name: Name = "name";
        /// 0 normal, 1 host, 2 group.
        kind: Option<i64> = "usertype";
        /// How the session was made: 0 password, 2 certificate, 3 GSSAPI; only of oneself.
        login: Option<i64> = "authtype";
        /// 0 normal, 1 blocked.
        status: Option<i64> = "status";
        /// Its principals.
        principals: Option<Vec<String>> = "krb_principals";
    }
}

record! {
    /// What a login gives. Source: `sslLogin`.
    SessionGrant {
        /// Number of the session.
        id: i64 = "session-id";
        /// What proves that it is ours.
        key: String = "session-key";
        /// Whether the hub takes session headers (since 1.31).
        header_auth: bool = "header-auth";
    }
}
