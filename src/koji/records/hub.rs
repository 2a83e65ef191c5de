//! The hub itself, its people and its builders.

use crate::koji::shape::{Words, record};
use crate::model::Name;

record! {
    /// A Koji event: a number that every change of a hub's data gets. Source: `getLastEvent`.
    Event {
        /// The number.
        id: i64 = "id";
    }
}

record! {
    /// A builder. Source: `listHosts`.
    Host {
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
    }
}

record! {
    /// A channel, into which tasks are put and from which builders take them. Source: `getChannel`.
    Channel {
        /// Its number.
        id: i64 = "id";
    }
}

record! {
    /// A user. Source: `getLoggedInUser`, `getUser`.
    User {
        /// Its number, which `owner` of a task is.
        id: i64 = "id";
        /// Its name.
        name: Name = "name";
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
