//! Records of the hub itself, its users and its builders.

use crate::koji::shape::{Words, record};
use crate::model::Name;

record! {
    /// A Koji event. Every change of a hub's data gets such a number. Source: `getLastEvent`.
    Event {
        /// Number of the event.
        id: i64 = "id";
    }
}

record! {
    /// A builder. Source: `listHosts`.
    Host {
        /// Architectures the builder builds for, canonical or not, without `noarch`.
        arches: Option<Words> = "arches";
        /// Maximum load of the builder.
        capacity: f64 = "capacity";
        /// Current load of the builder: the sum of its tasks' weights.
        task_load: f64 = "task_load";
        /// Whether the builder takes tasks now.
        ready: bool = "ready";
        /// Whether the builder may take tasks.
        enabled: bool = "enabled";
    }
}

record! {
    /// A channel. Tasks are put into it, and builders take them from it. Source: `getChannel`.
    Channel {
        /// Number of the channel.
        id: i64 = "id";
    }
}

record! {
    /// A user. Source: `getLoggedInUser`, `getUser`.
    User {
        /// Number of the user. A task's `owner` is such a number.
        id: i64 = "id";
        /// Name of the user.
        name: Name = "name";
    }
}

record! {
    /// The result of a login. Source: `sslLogin`.
    SessionGrant {
        /// Number of the session.
        id: i64 = "session-id";
        /// The key that proves that the session is ours.
        key: String = "session-key";
        /// Whether the hub accepts session headers (hubs from 1.31 on).
        header_auth: bool = "header-auth";
    }
}
