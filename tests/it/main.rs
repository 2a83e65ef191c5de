//! Integration tests, one binary: linking is slow. Servers are started by the tests themselves.

#![expect(clippy::unwrap_used, reason = "tests")]

mod jetstream;
mod nats_server;
