//! Integration tests, one binary because linking is slow; one module per topic.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests fail by panicking and are not a library")]

mod jetstream;
mod nats_server;
